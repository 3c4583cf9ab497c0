//! Keeps everybody else of ours away from the database: the folder's lock, or a daemon that has let go of it.

use super::RestoreError;
use crate::control::pause::{self, Paused};
use crate::daemon::Lock;
use crate::folder::Folder;

/// As long as it is there, no daemon works with the database.
pub(crate) enum Hold {
    /// No daemon runs, and none starts.
    Alone(#[expect(dead_code, reason = "the lock lives as long as it is held")] Lock),
    /// A running one waits; it goes on when this is dropped, however that happens.
    Paused(Paused),
}

impl Hold {
    /// Asks a running daemon to let go of the database, or takes the folder's lock.
    pub(crate) fn take(folder: &Folder) -> Result<Self, RestoreError> {
        match pause::ask(folder)? {
            Some(Ok(paused)) => Ok(Self::Paused(paused)),
            Some(Err(reason)) => Err(RestoreError::Broken(reason)),
            None => Ok(Self::Alone(Lock::take(folder)?)),
        }
    }

    /// Makes sure that the daemon still waits: one that was stopped meanwhile may have been started anew.
    pub(super) fn confirm(&mut self) -> Result<(), RestoreError> {
        match self {
            Self::Alone(_) => Ok(()),
            Self::Paused(paused) => paused.confirm().map_err(|error| {
                RestoreError::Broken(format!("the running hub has gone away ({error}); try again"))
            }),
        }
    }

    /// Lets the daemon go on. The text is what it says when it cannot.
    pub(crate) fn release(self) -> Result<(), String> {
        match self {
            Self::Alone(_) => Ok(()),
            Self::Paused(paused) => paused.resume(),
        }
    }
}
