//! A reseed as the file's thread sees it: asks for the snapshot, writes it, and greets the hub anew.

use super::{Seed, Thread};
use crate::clock;
use crate::daemon::fetch;
use crate::engine::Fetch;
use crate::store::difference::Ground;
use tokio::sync::oneshot;

impl Thread {
    /// A snapshot is needed. A link that is gone asks again by itself.
    pub(super) fn fetch(&mut self, wanted: Fetch) {
        let since = clock::now().0;
        let reason = "a snapshot of the hub's rows is on its way: this device is being reseeded";
        tracing::info!(epoch = wanted.epoch.0, at_least = wanted.at_least.0, "{reason}");
        self.state.send_modify(|state| state.waiting_for = Some((reason.to_owned(), since)));
        if self.link.as_ref().is_none_or(|link| link.fetches.try_send(wanted).is_err()) {
            self.greet_anew();
        }
    }

    /// The head of the snapshot is here: whoever fetches the rows wants to know with what to compare.
    pub(super) fn head(&mut self, head: &Seed, answer: oneshot::Sender<Option<Ground>>) {
        match self.engine.make_ready(clock::now(), head) {
            Ok(ground) => {
                if ground.is_none() && self.engine.feed_refused().is_none() {
                    fetch::clean(&self.folder);
                }
                // Whoever asked may be gone with the link.
                let _ = answer.send(ground);
            }
            Err(error) => {
                fetch::clean(&self.folder);
                self.failed(&error);
            }
        }
    }

    /// The snapshot is here. Written or not, the next greeting says how things stand.
    pub(super) fn fetched(&mut self, seed: &Seed) {
        match self.engine.seed(clock::now(), seed) {
            Ok(true) => {
                fetch::clean(&self.folder);
                tracing::info!("this device was reseeded: its rows are the hub's");
                self.greet_anew();
            }
            // One that the file refuses may go in later.
            Ok(false) if self.engine.feed_refused().is_some() => {}
            Ok(false) => fetch::clean(&self.folder),
            Err(error) => {
                fetch::clean(&self.folder);
                self.failed(&error);
            }
        }
    }

    /// Somebody wants the file made anew. Who asks is answered when all is in step after that.
    pub(super) fn reseed(&mut self, answer: oneshot::Sender<Result<(), String>>) {
        if let Err(error) = self.engine.store().want_seed() {
            let _ = answer.send(Err(error.to_string()));
            return self.failed(&error);
        }
        self.asks.push(answer);
        self.greet_anew();
    }

    /// Ends the link; another one comes by itself.
    fn greet_anew(&mut self) {
        self.engine.end();
        self.link = None;
        self.reported = None;
        self.state.send_modify(|state| state.connected = false);
    }
}
