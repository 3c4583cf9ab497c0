//! The history is cut: now and then by itself, and when the operator says so.

use super::Writer;
use crate::clock;
use crate::control::Reply;
use crate::store::history::Cut;
use tt_protocol::number::Version;

/// How often the daemon looks for history that is old enough to go.
const EVERY_MS: i64 = 3_600_000;

impl Writer {
    /// Cuts what is old enough, if it is time to look.
    pub(super) fn forget_old(&mut self) {
        let now = clock::now();
        if (0..EVERY_MS).contains(&(now.0 - self.forgot_at.0)) {
            return;
        }
        self.forgot_at = now;
        let keep = self.keep;
        let Some(engine) = &mut self.engine else { return };
        match engine.store_mut().forget_old(keep, now) {
            Ok(cut) => self.forgot(cut),
            Err(error) => tracing::warn!(%error, "the history could not be cut; trying again later"),
        }
    }

    pub(super) fn forget(&mut self, before: Option<u64>) -> Reply {
        let Some(engine) = &mut self.engine else {
            return Reply::Failed { reason: self.shared.failing().unwrap_or_default() };
        };
        let store = engine.store_mut();
        let cut = match before {
            Some(before) => store.forget_before(Version(before), clock::now()),
            None => store.forget_old(self.keep, clock::now()),
        };
        match cut {
            Ok(cut) => {
                self.forgot(cut);
                let Cut { forgotten, versions, images } = cut;
                Reply::Forgotten { forgotten: forgotten.0, versions, images }
            }
            Err(error) => Reply::Failed { reason: error.to_string() },
        }
    }

    /// Devices that are linked and have not applied what went are greeted anew: they take a snapshot.
    fn forgot(&mut self, cut: Cut) {
        let Some(engine) = self.engine.as_ref().filter(|_| cut.versions > 0) else { return };
        tracing::info!(forgotten = cut.forgotten.0, versions = cut.versions, "the history was cut");
        let behind: Vec<_> =
            engine.cursors().filter(|(_, cursor)| *cursor < cut.forgotten).map(|(edge, _)| edge).collect();
        for device in behind {
            self.greet_anew(device, "the history that this device needs was cut");
        }
    }
}
