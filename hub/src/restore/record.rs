//! Remembers restores: the one that is under way, and how the last one ended.
//!
//! * Before the live file is written, the intent is in `backups/restore.json`.
//! * The restored file itself carries a mark, which comes with it in the same transaction: so it is always clear
//!   whether an interrupted restore happened or not.

use super::{RestoreError, Restores};
use crate::backup::record::{Kind, Problem};
use crate::database::{self, DatabaseError};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use tt_migrations::{durable, state};

/// The name of the mark in the restored file.
const MARK: &str = "last_restore";

/// Says in the restored file which restore brought it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Milliseconds since 1970.
    pub(super) at: i64,
    /// What was restored.
    pub(super) id: String,
    /// What keeps the state of before.
    pub(super) safety_copy: Option<String>,
    /// The epoch that began.
    pub(super) epoch: u64,
}

/// How the last restore ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Milliseconds since 1970.
    pub(crate) at: i64,
    pub(crate) id: String,
    /// `restored` or `failed`.
    pub(crate) outcome: String,
    pub(crate) epoch: Option<u64>,
    pub(crate) safety_copy: Option<String>,
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    last: Option<Entry>,
    pending: Option<Mark>,
}

/// How the last restore of the hub ended, by the folder of its backups.
pub(crate) fn last(root: &Path) -> Option<Entry> {
    read(root).last
}

fn path(root: &Path) -> PathBuf {
    root.join("restore.json")
}

/// What cannot be read was never written: the file is replaced whole.
fn read(root: &Path) -> Record {
    let bytes = fs::read(path(root)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn write(root: &Path, record: &Record) -> Result<(), RestoreError> {
    let failed = |source| RestoreError::File { path: path(root), source };
    let bytes = serde_json::to_vec_pretty(record).map_err(|error| failed(error.into()))?;
    durable::write(&path(root), &bytes).map_err(failed)
}

/// The mark of the live file.
pub(super) fn mark_in(database: &Path) -> Result<Option<Mark>, RestoreError> {
    let conn = database::open(database)?;
    let text = state::get_text(&conn, MARK).map_err(|error| DatabaseError::new(database, &error))?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

pub(super) fn put_mark(conn: &Connection, mark: &Mark) -> rusqlite::Result<()> {
    // A struct of numbers and texts always has a text.
    state::set_text(conn, MARK, &serde_json::to_string(mark).unwrap_or_default())
}

impl Mark {
    fn entry(&self, outcome: &str, reason: Option<String>) -> Entry {
        let is_done = reason.is_none();
        Entry {
            at: self.at,
            id: self.id.clone(),
            outcome: outcome.to_owned(),
            epoch: is_done.then_some(self.epoch),
            safety_copy: self.safety_copy.clone(),
            reason,
        }
    }
}

impl Restores {
    pub(super) fn record_intent(&self, mark: &Mark) -> Result<(), RestoreError> {
        write(&self.root, &Record { pending: Some(mark.clone()), ..read(&self.root) })
    }

    /// Writes the end of the pending restore down. What cannot be written down is a note: the restore has happened.
    pub(super) fn record_success(&self, now_ms: i64) -> Option<String> {
        self.close(now_ms, |mark| mark.entry("restored", None))
    }

    /// Writes down that it failed.
    pub(super) fn record_failure(&self, id: &str, reason: &str, now_ms: i64) {
        let nothing = Mark { at: now_ms, id: id.to_owned(), safety_copy: None, epoch: 0 };
        let entry = |mark: &Mark| mark.entry("failed", Some(reason.to_owned()));
        let pending = read(&self.root).pending.unwrap_or(nothing);
        let _ = self.end(&pending, &entry(&pending), now_ms);
    }

    /// A restore that was cut off has happened when the live file has its mark, and else it has not. Says which.
    pub(crate) fn settle(&self, now_ms: i64) -> Result<Option<String>, RestoreError> {
        let Some(pending) = read(&self.root).pending else { return Ok(None) };
        let happened = mark_in(&self.database)?.as_ref() == Some(&pending);
        let reason = (!happened).then(|| "it was interrupted; the state of before stands".to_owned());
        let outcome = if happened { "restored" } else { "failed" };
        let said = match &reason {
            Some(reason) => format!("the restore of {}: {reason}", pending.id),
            None => {
                format!("the restore of {} was interrupted after it had happened: it is complete", pending.id)
            }
        };
        let _ = fs::remove_dir_all(self.root.join(".restore"));
        self.end(&pending, &pending.entry(outcome, reason), now_ms)?;
        Ok(Some(said))
    }

    /// Whether a restore was begun and has not ended.
    pub(crate) fn is_pending(&self) -> bool {
        read(&self.root).pending.is_some()
    }

    fn close(&self, now_ms: i64, entry: impl Fn(&Mark) -> Entry) -> Option<String> {
        let pending = read(&self.root).pending?;
        let ended = self.end(&pending, &entry(&pending), now_ms);
        ended.err().map(|error| format!("how it ended could not be written down: {error}"))
    }

    fn end(&self, mark: &Mark, entry: &Entry, now_ms: i64) -> Result<(), RestoreError> {
        let (run, mut problems) = match &entry.reason {
            None => (
                format!(
                    "restore: {} is the database now, epoch {}; the one before is {}",
                    mark.id,
                    mark.epoch,
                    mark.safety_copy.as_deref().unwrap_or("nowhere")
                ),
                Vec::new(),
            ),
            Some(reason) => {
                let what = format!("{}: {reason}", mark.id);
                (format!("restore: {} failed", mark.id), vec![Problem { kind: Kind::RestoreFailed, what }])
            }
        };
        self.backups.record(now_ms.div_euclid(1_000), &run, &mut problems);
        write(&self.root, &Record { last: Some(entry.clone()), pending: None })
    }
}
