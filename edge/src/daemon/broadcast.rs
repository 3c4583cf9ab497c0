//! How far long work of the daemon is, for every command that waits for it.
//!
//! The link's task and the file's thread tell it here; a command that asked to hear of it gets it line by line
//! through the control socket, and tells its own terminal.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tt_migrations::progress::{Progress, Unit};

/// How far a phase is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The phase.
    what: String,
    /// How much of it is done.
    done: u64,
    /// How much there is, when that can be known.
    total: Option<u64>,
    /// What is counted.
    unit: Unit,
}

impl Standing {
    /// Whether this is a later moment of the same phase, as far as can be seen.
    pub(crate) fn is_of_phase(&self, before: &Self) -> bool {
        (&self.what, self.total, self.unit) == (&before.what, before.total, before.unit)
            && before.done <= self.done
    }
}

/// Tells everybody who listens; nobody need listen.
#[derive(Debug)]
pub struct Broadcast(watch::Sender<Option<Standing>>);

impl Default for Broadcast {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Broadcast {
    /// Hears of every phase from now on; of its pieces as often as it looks.
    #[must_use]
    pub fn listen(&self) -> watch::Receiver<Option<Standing>> {
        self.0.subscribe()
    }
}

impl Progress for Broadcast {
    fn phase(&self, what: &str, total: Option<u64>, unit: Unit) {
        self.0.send_replace(Some(Standing { what: what.to_owned(), done: 0, total, unit }));
    }

    fn advance(&self, done: u64) {
        self.0.send_modify(|standing| {
            if let Some(standing) = standing {
                standing.done = standing.done.saturating_add(done);
            }
        });
    }

    fn end(&self) {
        self.0.send_replace(None);
    }
}

/// Tells another watcher what is heard of the daemon's.
#[derive(Default)]
pub struct Retelling(Option<Standing>);

impl Retelling {
    /// The next that was heard.
    pub fn tell(&mut self, now: Standing, progress: &dyn Progress) {
        let before = self.0.as_ref().filter(|before| now.is_of_phase(before)).map(|before| before.done);
        if before.is_none() {
            progress.phase(&now.what, now.total, now.unit);
        }
        progress.advance(now.done - before.unwrap_or(0));
        self.0 = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_retold_is_what_was_told() {
        let (told, retold) = (Broadcast::default(), Broadcast::default());
        let (mut heard, seen) = (told.listen(), retold.listen());
        let mut retelling = Retelling::default();
        let mut hear = |retold: &Broadcast| {
            let standing = heard.borrow_and_update().clone().unwrap();
            let line = serde_json::to_string(&standing).unwrap();
            retelling.tell(serde_json::from_str(&line).unwrap(), retold);
            assert_eq!(seen.borrow().as_ref(), Some(&standing));
        };
        told.phase("fetching", Some(10), Unit::Bytes);
        hear(&retold);
        told.advance(3);
        told.advance(4);
        hear(&retold);
        told.phase("fetching", Some(10), Unit::Bytes);
        told.advance(2);
        hear(&retold);
        told.step("writing");
        hear(&retold);
        told.end();
        assert_eq!(*told.listen().borrow(), None);
    }
}
