//! Replays the journal onto a copy of a snapshot, up to a version or a moment.
//!
//! Only whole entries are done, in order. The copy must be one of the chain that is read: its own last entry says
//! where to begin, and the entry before that is not looked at.

use super::reader::{Reader, ReaderError};
use super::record::{Entry, Lsn, What};
use crate::store::replayed::ReplayedError;
use crate::store::{HubStore, StoreError};
use std::ops::Range;
use tt_migrations::progress::{Progress, Unit, Unwatched};
use tt_protocol::number::{Epoch, Millis, Version};

/// Entries that share a commit.
const ENTRIES_PER_COMMIT: usize = 256;

/// Where a replay ends. What ends it first, ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The last version that goes in; all that belongs to it goes in as well.
    pub version: Option<Version>,
    /// Nothing later goes in.
    pub at: Option<Millis>,
    /// No entry after this one goes in.
    pub last: Option<Lsn>,
}

impl Target {
    fn has(&self, entry: &Entry) -> bool {
        let Self { version, at, last } = *self;
        version.is_none_or(|version| entry.version <= version)
            && at.is_none_or(|at| entry.at <= at)
            && last.is_none_or(|last| entry.lsn <= last)
    }
}

/// What a replay came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The copy is at this version now.
    pub version: Version,
    /// When the last entry was made; `None` when none was done.
    pub at: Option<Millis>,
    /// The last entry that it contains.
    pub last: Lsn,
    /// How many entries were done.
    pub entries: u64,
    /// The journal ended before the target, or the target has no end.
    pub to_the_end: bool,
}

/// Why a replay stopped. The copy is not to be used then.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReaderError),
    /// An entry did not come out as it did.
    #[error(transparent)]
    Replayed(#[from] ReplayedError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The copy is of a history that a restore has left.
    #[error(
        "the journal cannot be replayed onto this copy of epoch {copy}: epoch {journal} (entry {lsn}) began from an earlier state \
         of the hub; choose an earlier backup, or a target before that restore"
    )]
    Epoch {
        /// The entry.
        lsn: Lsn,
        /// What it says.
        journal: Epoch,
        /// What the copy says.
        copy: Epoch,
    },
}

/// Does all entries of the journal above the copy's own last one, up to the target.
///
/// # Errors
/// [`ReplayError`].
pub fn replay(store: &mut HubStore, journal: &Reader, target: Target) -> Result<Replayed, ReplayError> {
    replay_watched(store, journal, target, &Unwatched)
}

/// As [`replay`], and tells how far it is.
pub(crate) fn replay_watched(
    store: &mut HubStore,
    journal: &Reader,
    target: Target,
    progress: &dyn Progress,
) -> Result<Replayed, ReplayError> {
    let versions = target.version.map(|version| version.0.saturating_sub(store.version().0));
    progress.phase("replaying the journal", versions, Unit::Versions);
    let first = store.begin_replay()?;
    let skipped = abandoned(journal, first, store.epoch(), target)?;
    let mut done =
        Replayed { version: store.version(), last: first, to_the_end: true, ..Replayed::default() };
    let mut batch: Vec<Entry> = Vec::new();
    for entry in journal.after(first)? {
        let entry = entry?;
        if skipped.iter().any(|range| range.contains(&entry.lsn)) {
            continue;
        }
        if !target.has(&entry) {
            done.to_the_end = false;
            break;
        }
        batch.push(entry);
        if batch.len() >= ENTRIES_PER_COMMIT {
            commit(store, &mut batch, &mut done, progress)?;
        }
    }
    commit(store, &mut batch, &mut done, progress)?;
    store.end_replay(done.last)?;
    Ok(done)
}

/// Entries that a restore left behind, if the target lies after it: what came later does not build on them.
///
/// The last restore before the target counts first, and hides all those that it left behind: of two restores to the same
/// evening, the second builds on nothing that the first began.
fn abandoned(
    journal: &Reader,
    first: Lsn,
    epoch: Epoch,
    target: Target,
) -> Result<Vec<Range<Lsn>>, ReplayError> {
    if journal.reach()?.is_none_or(|reach| reach.last_epoch <= epoch) {
        return Ok(Vec::new());
    }
    let mut begun = Vec::new();
    for entry in journal.after(first)? {
        let entry = entry?;
        let What::Epoch { epoch, restored, .. } = entry.what else { continue };
        if !target.has(&entry) {
            break;
        }
        begun.push((entry.lsn, epoch, restored));
    }
    let mut found: Vec<Range<Lsn>> = Vec::new();
    for (lsn, begun, restored) in begun.into_iter().rev() {
        if found.last().is_some_and(|later| later.contains(&lsn)) {
            continue;
        }
        if restored < first {
            return Err(ReplayError::Epoch { lsn, journal: begun, copy: epoch });
        }
        found.push(restored.next()..lsn);
    }
    Ok(found)
}

fn commit(
    store: &mut HubStore,
    batch: &mut Vec<Entry>,
    done: &mut Replayed,
    progress: &dyn Progress,
) -> Result<(), ReplayError> {
    let Some(last) = batch.last() else { return Ok(()) };
    store.replay(batch)?;
    progress.advance(last.version.0.saturating_sub(done.version.0));
    (done.version, done.at, done.last) = (last.version, Some(last.at), last.lsn);
    done.entries += batch.len() as u64;
    batch.clear();
    Ok(())
}
