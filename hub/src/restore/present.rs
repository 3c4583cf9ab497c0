//! The present database as a still copy: the plan compares with it, and a restore keeps it safe.
//!
//! Where a restore follows at once, it is read only once for both. Whoever asks a person first reads it again
//! afterwards: the answer may take all day.

use super::live::Watch;
use super::safety::is_damaged;
use super::{RestoreError, Scratch};
use crate::backup::BackupError;
use crate::backup::contents::Contents;
use crate::backup::pack::Effort;
use crate::backup::snapshot::{self, Snapshot};
use std::path::Path;
use tt_migrations::progress::Unwatched;

/// What a look at the present database is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To say what would change.
    Tell,
    /// To restore, right afterwards.
    Restore,
}

/// A look at the present database.
pub(super) enum Look {
    /// What it holds; None when it is damaged. Nothing of it is ready to be kept.
    Told(Option<Contents>),
    /// It is ready to be restored over.
    Ready(Present),
}

/// The present database as a restore finds it. Its copy is in the scratch folder, unless it is damaged.
pub(super) struct Present {
    pub(super) state: State,
    watch: Watch,
}

/// What a restore is to keep safe.
pub(super) enum State {
    /// It is sound, and its packed copy is ready to be kept.
    Taken(Box<Snapshot>),
    /// SQLite's checks say so.
    Damaged,
}

impl Look {
    /// Copies and checks the database at `live`.
    pub(super) fn at(live: &Path, scratch: &Scratch, purpose: Purpose) -> Result<Self, RestoreError> {
        match purpose {
            Purpose::Tell => {
                let seen = still(live, scratch, |plain| {
                    snapshot::look(live, plain).map(|(taken, is_sound)| is_sound.then_some(taken.contents))
                })?;
                Ok(Self::Told(seen))
            }
            Purpose::Restore => Present::look(live, scratch).map(Self::Ready),
        }
    }

    /// What it holds; None when it is damaged.
    pub(super) const fn contents(&self) -> Option<&Contents> {
        match self {
            Self::Told(contents) => contents.as_ref(),
            Self::Ready(Present { state: State::Taken(snapshot), .. }) => Some(&snapshot.taken.contents),
            Self::Ready(Present { state: State::Damaged, .. }) => None,
        }
    }

    /// For the restore itself, unless it was only told, or somebody has written since.
    pub(super) fn fresh(self) -> Result<Option<Present>, RestoreError> {
        match self {
            Self::Ready(present) if !present.is_past()? => Ok(Some(present)),
            _ => Ok(None),
        }
    }
}

impl Present {
    /// Copies, packs and checks the database at `live`. Nobody watches: other work goes on at the same time.
    pub(super) fn look(live: &Path, scratch: &Scratch) -> Result<Self, RestoreError> {
        let watch = Watch::open(live)?;
        let taken = still(live, scratch, |plain| {
            let taken = snapshot::take(live, plain, &scratch.former_packed(), Effort::Quick, &Unwatched);
            taken.map(|taken| taken.is_sound.then_some(taken))
        })?;
        let state = taken.map_or(State::Damaged, |taken| State::Taken(Box::new(taken)));
        Ok(Self { state, watch })
    }

    /// Whether anybody has written to it since the look.
    pub(super) fn is_past(&self) -> Result<bool, RestoreError> {
        self.watch.changed()
    }
}

/// What `copy` makes of the database at `live` in a file that it is given. None when the database is damaged.
fn still<T>(
    live: &Path,
    scratch: &Scratch,
    copy: impl FnOnce(&Path) -> Result<Option<T>, BackupError>,
) -> Result<Option<T>, RestoreError> {
    let plain = scratch.former();
    scratch.begin(&plain)?;
    let reason = match copy(&plain) {
        Ok(Some(made)) => return Ok(Some(made)),
        Ok(None) => "its copy in the scratch folder is damaged, and itself it is not".to_owned(),
        Err(error) => error.to_string(),
    };
    if !is_damaged(live) {
        return Err(RestoreError::Safety(reason));
    }
    // Half a copy of it must never be put back.
    scratch.begin(&plain)?;
    Ok(None)
}
