//! Where in an object a value is; rendered only when something is wrong with it.

use corten_meta::field::Path;

/// A step from a value to its parent, kept on the stack while walking.
#[derive(Clone, Copy)]
pub(crate) struct Place<'p> {
    parent: Option<&'p Place<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Under(&'p Path),
    Field(&'p str),
    Key(&'p str),
    Index(usize),
}

impl<'p> Place<'p> {
    pub const ROOT: Place<'static> = Place {
        parent: None,
        step: Step::Root,
    };

    /// A walk that starts inside a larger object.
    pub fn under(path: &'p Path) -> Self {
        Self {
            parent: None,
            step: Step::Under(path),
        }
    }

    fn step<'s>(&'s self, step: Step<'s>) -> Place<'s> {
        Place {
            parent: Some(self),
            step,
        }
    }

    pub fn field<'s>(&'s self, name: &'s str) -> Place<'s> {
        self.step(Step::Field(name))
    }

    /// An entry of a map: `[key]`.
    pub fn key<'s>(&'s self, key: &'s str) -> Place<'s> {
        self.step(Step::Key(key))
    }

    pub fn index(&self, index: usize) -> Place<'_> {
        self.step(Step::Index(index))
    }

    pub fn path(&self) -> Path {
        let parent = self.parent.map(Place::path).unwrap_or_default();
        match self.step {
            Step::Root => parent,
            Step::Under(path) => path.clone(),
            Step::Field(name) => parent.child(name),
            Step::Key(key) => parent.key(key),
            Step::Index(index) => parent.index(index),
        }
    }

    /// The path with entries of maps written as fields, as unknown fields are reported.
    pub fn dotted(&self) -> String {
        let mut out = self.parent.map(Place::dotted).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Under(path) => out.push_str(path.as_str()),
            Step::Field(name) | Step::Key(name) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Step::Index(index) => {
                out.push('[');
                out.push_str(&index.to_string());
                out.push(']');
            }
        }
        out
    }

    pub fn is_root(&self) -> bool {
        matches!(self.step, Step::Root)
    }
}
