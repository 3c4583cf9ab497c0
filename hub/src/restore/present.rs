//! The present database as a still copy: the plan compares with it, and a restore keeps it safe.
//!
//! Where a restore follows at once, it is read only once for both. Whoever asks a person first reads it again
//! afterwards: the answer may take all day.

use super::live::Watch;
use super::safety::is_damaged;
use super::{RestoreError, Scratch};
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

/// What was found.
pub(super) enum State {
    /// It is sound and holds this.
    Seen(Contents),
    /// It is sound, and its packed copy is ready to be kept.
    Taken(Box<Snapshot>),
    /// SQLite's checks say so.
    Damaged,
}

/// A look at the present database. Its copy is in the scratch folder, unless it is damaged.
pub(super) struct Present {
    pub(super) state: State,
    watch: Option<Watch>,
}

impl Present {
    /// Copies and checks the database at `live`. Nobody watches: other work goes on at the same time.
    pub(super) fn look(live: &Path, scratch: &Scratch, purpose: Purpose) -> Result<Self, RestoreError> {
        let plain = scratch.former();
        scratch.begin(&plain)?;
        let (watch, state) = match purpose {
            Purpose::Tell => {
                let seen = snapshot::look(live, &plain);
                (None, seen.map(|(taken, is_sound)| is_sound.then_some(State::Seen(taken.contents))))
            }
            Purpose::Restore => {
                let watch = Watch::open(live)?;
                let taken = snapshot::take(live, &plain, &scratch.former_packed(), Effort::Quick, &Unwatched);
                let sound = |taken: Snapshot| taken.is_sound.then(|| State::Taken(Box::new(taken)));
                (Some(watch), taken.map(sound))
            }
        };
        let reason = match state {
            Ok(Some(state)) => return Ok(Self { state, watch }),
            Ok(None) => "its copy in the scratch folder is damaged, and itself it is not".to_owned(),
            Err(error) => error.to_string(),
        };
        if !is_damaged(live) {
            return Err(RestoreError::Safety(reason));
        }
        // Half a copy of it must never be put back.
        scratch.begin(&plain)?;
        Ok(Self { state: State::Damaged, watch })
    }

    /// Whether anybody has written to it since the look, or it was only a look.
    pub(super) fn is_past(&self) -> Result<bool, RestoreError> {
        self.watch.as_ref().map_or(Ok(true), Watch::changed)
    }

    /// What it holds; None when it is damaged.
    pub(super) fn contents(&self) -> Option<&Contents> {
        match &self.state {
            State::Seen(contents) => Some(contents),
            State::Taken(snapshot) => Some(&snapshot.taken.contents),
            State::Damaged => None,
        }
    }
}
