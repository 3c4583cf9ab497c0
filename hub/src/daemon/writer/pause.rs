//! The writer lets go of the database for a command that restores it, and goes on with what it is then.

use super::Writer;
use crate::control::Reply;
use crate::daemon::kept_policy;

const REASON: &str = "the hub is being restored; come back in a moment";

impl Writer {
    /// What came before is merged; then no link is served, and the database is closed.
    pub(super) fn pause(&mut self) -> Reply {
        if self.paused {
            return Reply::Failed {
                reason: "another command has the database to itself; try again later".into(),
            };
        }
        self.step();
        self.record();
        self.paused = true;
        self.let_go(REASON);
        tracing::info!("the database is closed while a command has it to itself");
        Reply::Paused
    }

    /// Opens the database again, whatever it is now. When that fails, it is tried again like after any trouble.
    pub(super) fn go_on(&mut self) -> Reply {
        self.paused = false;
        self.shared.count_pause();
        match kept_policy(&self.path) {
            Ok(policy) => self.policy = policy,
            Err(error) => tracing::error!(%error, "the policy in the database cannot be read"),
        }
        self.try_again();
        match self.shared.failing() {
            None => Reply::WentOn,
            Some(reason) => Reply::Failed { reason },
        }
    }
}
