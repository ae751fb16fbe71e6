//! Ends of processes: whose they were, and who is told.

use super::{MAX_UNCLAIMED, Server, Source};
use crate::keeper::container::{Container, now_ns};
use crate::keeper::protocol::{Ended, Exit};
use corten_sys::process;

impl Server {
    pub(super) fn take_signals(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        while let Some(exit) = process::reap_any() {
            if self
                .workers
                .values()
                .any(|pending| pending.worker.pid == exit.pid)
            {
                continue;
            }
            if !self.claim(exit) {
                self.unclaimed.push_back(exit);
            }
        }
        self.settle_unclaimed();
    }

    /// Whatever no worker can still report was an orphan of some container.
    pub(super) fn settle_unclaimed(&mut self) {
        let waiting = std::mem::take(&mut self.unclaimed);
        for exit in waiting {
            if !self.claim(exit) && !self.workers.is_empty() && self.unclaimed.len() < MAX_UNCLAIMED {
                self.unclaimed.push_back(exit);
            }
        }
    }

    /// True when the process was a container, an exec session or a sandbox init.
    fn claim(&mut self, ended: process::Exit) -> bool {
        let pid = ended.pid;
        let running = |container: &&mut Container| container.pid == pid && container.exit.is_none();
        if let Some(container) = self.containers.values_mut().find(running) {
            let exit = container.ended(ended.code, ended.signal);
            let id = container.id.clone();
            self.sources
                .retain(|_, source| !matches!(source, Source::Output { container, .. } if *container == id));
            self.emit(Ended::Container { id, exit });
            return true;
        }
        if let Some(id) = self
            .execs
            .iter()
            .find(|(_, exec)| **exec == pid)
            .map(|(id, _)| id.clone())
        {
            self.execs.remove(&id);
            let exit = Exit {
                code: ended.code,
                signal: ended.signal,
                oom_killed: false,
                at_ns: now_ns(),
            };
            self.emit(Ended::Exec { id, exit });
            return true;
        }
        if let Some(id) = self
            .sandbox_inits
            .iter()
            .find(|(_, init)| **init == pid)
            .map(|(id, _)| id.clone())
        {
            self.sandbox_inits.remove(&id);
            self.emit(Ended::SandboxInit { id });
            return true;
        }
        false
    }
}
