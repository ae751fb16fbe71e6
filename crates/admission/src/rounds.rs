//! What a mutating plug-in keeps from the first round to the second: whom it called, and how it left the object.

use std::collections::HashSet;

use corten_registry::admission::Reinvocation;
use serde_json::Value;

#[derive(Default)]
struct Memory {
    /// Called with `IfNeeded`, and nothing has changed since.
    called: HashSet<String>,
    /// To be called again.
    again: HashSet<String>,
    /// The object as this plug-in left it.
    left: Option<Value>,
}

impl Memory {
    fn changed(&mut self) {
        self.again.extend(self.called.drain());
    }
}

/// The rounds of one request as one plug-in, named by its plug-in name, sees them.
#[derive(Clone, Copy)]
pub(crate) struct Rounds<'a> {
    plugin: &'static str,
    request: &'a Reinvocation,
}

impl<'a> Rounds<'a> {
    pub fn new(plugin: &'static str, request: &'a Reinvocation) -> Self {
        Self { plugin, request }
    }

    fn memory<R>(&self, change: impl FnOnce(&mut Memory) -> R) -> R {
        self.request.with(self.plugin, change)
    }

    /// Before the first call of a round: plug-ins before this one may have changed the object since.
    pub fn begin(&self, object: &Value) {
        if self.request.is_second() {
            self.memory(|memory| {
                if memory.left.as_ref().is_some_and(|left| left != object) {
                    memory.changed();
                }
            });
        }
    }

    /// Nobody is called for the first time in the second round.
    pub fn may_call(&self, id: &str) -> bool {
        !self.request.is_second() || self.memory(|memory| memory.again.contains(id))
    }

    /// The object was changed by the one in work.
    pub fn changed(&self) {
        self.memory(Memory::changed);
        self.request.ask();
    }

    /// Remembers one that was called with `IfNeeded`.
    pub fn called(&self, id: String) {
        self.memory(|memory| memory.called.insert(id));
    }

    /// After the last call of a round. Only who was called with `IfNeeded` can be called again.
    pub fn end(&self, object: &Value) {
        self.memory(|memory| {
            if !memory.called.is_empty() {
                memory.left = Some(object.clone());
            }
        });
    }
}
