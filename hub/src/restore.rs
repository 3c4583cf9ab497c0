//! Brings the hub's database back from a backup: whole, or not at all.
//!
//! The way of a restore: `source` fetches a copy that was verified into a scratch folder, while `present` copies and
//! checks what is there now; `plan` says what would change. `safety` keeps the present state, while `prepare` makes the
//! fetched file the hub's next incarnation and `sound` checks it; `live` writes it into the live file in one
//! transaction, which programs may keep open all the while. `record` remembers what was begun, so that whatever happens
//! in between has a clear end; `hold` keeps everybody else of ours away.
//!
//! Nothing here replaces, renames or copies over the live file.

mod choice;
pub(crate) mod drill;
#[cfg(test)]
mod faults;
mod hold;
mod journal;
mod live;
mod plan;
mod prepare;
mod present;
mod record;
mod rehearsal;
mod replay;
mod safety;
mod sound;
mod source;
mod told;
mod unpack;
mod watched;

use crate::backup::check::{Depth, finished};
use crate::backup::vault::FolderVault;
use crate::backup::{BEFORE_RESTORE, BackupError, BackupLock, Backups, BeforeRestore, Settings};
use crate::control::ControlError;
use crate::daemon::DaemonError;
use crate::database::DatabaseError;
use crate::folder::Folder;
use crate::store::StoreError;
use crate::store::epoch::Begun;
pub(crate) use choice::{Target, What};
pub(crate) use hold::Hold;
pub(crate) use plan::Plan;
pub(crate) use present::Purpose;
use present::{Look, Present, State};
pub(crate) use record::last;
use sound::Sound;
pub(crate) use source::Source;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tt_migrations::durable;

/// How long a program may hold the live file for itself before a restore gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Why nothing was restored. Unless it says otherwise, everything is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Daemon(Box<DaemonError>),
    #[error("there is no backup and no file {0}: `tt-hub backups` lists the backups")]
    Unknown(String),
    #[error("{what} cannot be restored: {reason}; nothing was changed; `tt-hub backups` lists others")]
    Unusable { what: String, reason: String },
    #[error("cannot use {path}: {source}; nothing was changed; check the space on its disk, its owner and its mode", path = .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(
        "{0:?} is no time and no version: write \"2026-11-22 14:30:00\", 2026-11-22T13:30:00Z or a number"
    )]
    Time(String),
    #[error("no verified backup is as old as {0}: `tt-hub backups` lists them, the oldest first")]
    TooOld(String),
    #[error(
        "the journal does not reach {to} ({why}): the nearest older backup is {id}; restore that one, or name another"
    )]
    Journal { to: String, id: String, why: String },
    #[error("there is no restore to undo: the present database does not come from one")]
    NothingToUndo,
    #[error("the present database cannot be kept safe: {0}; nothing was changed")]
    Safety(String),
    #[error("{path} cannot be written: {reason}; nothing was changed; stop the program that holds it, then restore again", path = .path.display())]
    Held { path: PathBuf, reason: String },
    #[error("the file that was written is not the one that was prepared ({reason}); {outcome}")]
    Checked { reason: String, outcome: String },
    #[error("the restore was broken off: {0}; nothing was changed")]
    Broken(String),
}

impl From<DaemonError> for RestoreError {
    fn from(error: DaemonError) -> Self {
        Self::Daemon(Box::new(error))
    }
}

/// What a restore has come to, for whoever watches it. A watcher that fails breaks the restore off there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// The present state is about to be kept safe.
    Keep,
    /// The next database is about to be prepared.
    Prepare,
    /// The intent is about to be written down.
    Intend,
    /// The live file is about to be locked.
    Lock,
    /// It is locked and about to be written.
    Write,
    /// It was written, and is about to be checked.
    Check,
    /// All is well, and is about to be written down.
    Record,
}

/// Watches a restore.
pub(crate) type Watcher<'w> = &'w mut dyn FnMut(Step) -> Result<(), RestoreError>;

/// Restores of one hub.
pub(crate) struct Restores {
    database: PathBuf,
    /// The hub's own journal.
    journal: PathBuf,
    root: PathBuf,
    pub(crate) backups: Arc<Backups>,
    before: BeforeRestore,
    vault: FolderVault,
    patience: Duration,
}

/// A verified file in the scratch folder. The folder goes with it.
pub(crate) struct Fetched {
    scratch: Scratch,
    pub(crate) source: Source,
}

/// A verified file in the scratch folder, and what restoring it would change.
pub(crate) struct Looked {
    scratch: Scratch,
    pub(crate) source: Source,
    pub(crate) plan: Plan,
    look: Look,
}

/// What a restore came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) begun: Begun,
    pub(crate) safety: String,
    pub(crate) notes: Vec<String>,
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now goes at the next run.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Scratch {
    /// What was fetched; it stays as it is.
    fn fetched(&self) -> PathBuf {
        self.0.join("fetched.db")
    }

    /// The hub's next database, made from it.
    fn next(&self) -> PathBuf {
        self.0.join("next.db")
    }

    /// The live file as it is after the write.
    fn written(&self) -> PathBuf {
        self.0.join("written.db")
    }

    /// The present database, as it is before the write.
    fn former(&self) -> PathBuf {
        self.0.join("former.db")
    }

    fn former_packed(&self) -> PathBuf {
        self.0.join("former.db.gz")
    }

    /// Makes sure that no earlier file is there: SQLite would copy into it.
    fn begin(&self, path: &Path) -> Result<(), RestoreError> {
        match fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(RestoreError::File { path: path.to_owned(), source })
            }
            _ => Ok(()),
        }
    }
}

impl Restores {
    /// As the settings say. Nothing is read or written yet.
    pub(crate) fn open(folder: &Folder, settings: &Settings) -> Result<Self, RestoreError> {
        let root = folder.backups();
        Ok(Self {
            database: folder.database(),
            journal: folder.journal(),
            backups: Arc::new(Backups::open(folder, settings)?),
            before: settings.before_restore(),
            vault: FolderVault::new(BEFORE_RESTORE, &root.join(BEFORE_RESTORE), true),
            patience: PATIENCE,
            root,
        })
    }

    /// `DIR/backups`, where restores and drills are written down.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The hub's own journal.
    pub(crate) fn journal(&self) -> &Path {
        &self.journal
    }

    /// Fetches what is to be restored into the scratch folder, and checks it there.
    pub(crate) fn fetch(&self, _: &BackupLock, what: &What, depth: Depth) -> Result<Fetched, RestoreError> {
        let scratch = self.scratch()?;
        let source = source::fetch(self, what, &scratch.fetched(), depth)?;
        Ok(Fetched { scratch, source })
    }

    /// Fetches it, and says what restoring it would change. Nothing but the scratch folder is written.
    pub(crate) fn look(&self, _: &BackupLock, what: &What, purpose: Purpose) -> Result<Looked, RestoreError> {
        let scratch = self.scratch()?;
        let (source, look) = thread::scope(|scope| {
            let look = scope.spawn(|| Look::at(&self.database, &scratch, purpose));
            // What is written into the live file is put through SQLite's checks after it was prepared.
            let source = source::fetch(self, what, &scratch.fetched(), Depth::Bytes);
            self.backups.progress().step("comparing with the present database");
            (source, finished(look))
        });
        let (source, look) = (source?, look?);
        let plan = plan::make(look.contents(), &scratch.former(), &source, &scratch.fetched())?;
        Ok(Looked { scratch, source, plan, look })
    }

    /// Restores. Until the one write into the live file nothing there changes, and it happens whole or not at all.
    pub(crate) fn carry_out(
        &self,
        _: &BackupLock,
        looked: Looked,
        hold: &mut Hold,
        now_ms: i64,
        watcher: Watcher<'_>,
    ) -> Result<Done, RestoreError> {
        let label = looked.source.label.clone();
        let outcome = self.restore(looked, hold, now_ms, watcher);
        if let Err(error) = &outcome {
            self.record_failure(&label, &error.to_string(), now_ms);
        } else {
            self.drop_old_safety(now_ms.div_euclid(1_000));
        }
        outcome
    }

    fn restore(
        &self,
        looked: Looked,
        hold: &mut Hold,
        now_ms: i64,
        watcher: Watcher<'_>,
    ) -> Result<Done, RestoreError> {
        let Looked { scratch, source, look, .. } = looked;
        let brought = journal::bring_back(self)?;
        watcher(Step::Keep)?;
        let fresh = look.fresh()?;
        let mut present = fresh.map_or_else(|| Present::look(&self.database, &scratch), Ok)?;
        let mut ready = self.make_ready(&scratch, &source, &present, now_ms, watcher)?;
        watcher(Step::Lock)?;
        hold.confirm()?;
        live::write(&self.database, &scratch.next(), self.patience, &mut || {
            if present.is_past()? {
                // A program has written since. Nobody can write now, so this time it is all of it.
                let stale = ready.safety.clone();
                present = Present::look(&self.database, &scratch)?;
                ready = self.make_ready(&scratch, &source, &present, now_ms, &mut |_| Ok(()))?;
                self.discard_safety(&stale);
            }
            watcher(Step::Write)
        })?;
        watcher(Step::Check)?;
        let mut notes: Vec<String> = brought.into_iter().chain(ready.notes).collect();
        match live::check(&self.database, &ready.sound, &scratch.next(), &scratch.written()) {
            Ok(note) => notes.extend(note),
            Err(reason) => return Err(self.put_back(&scratch, reason)),
        }
        watcher(Step::Record)?;
        notes.extend(self.record_success(now_ms));
        Ok(Done { begun: ready.begun, safety: ready.safety, notes })
    }

    /// The present state is safe, the next database prepared above it, and the intent written down.
    fn make_ready(
        &self,
        scratch: &Scratch,
        source: &Source,
        present: &Present,
        now_ms: i64,
        watcher: Watcher<'_>,
    ) -> Result<Ready, RestoreError> {
        let now = now_ms.div_euclid(1_000);
        let safety = self.free_id(now);
        let mark = record::Mark {
            at: now_ms,
            id: source.label.clone(),
            safety_copy: Some(safety.clone()),
            epoch: 0,
        };
        let state = &present.state;
        let (prepared, kept) = thread::scope(|scope| {
            let kept = scope.spawn(|| self.keep_safe(&safety, state, scratch, now));
            let prepared = watcher(Step::Prepare).and_then(|()| self.make_next(scratch, state, mark, now_ms));
            (prepared, finished(kept))
        });
        kept?;
        let (prepared, sound) = prepared?;
        watcher(Step::Intend)?;
        self.record_intent(&prepared.mark)?;
        Ok(Ready { safety, begun: prepared.begun, notes: prepared.notes, sound })
    }

    fn make_next(
        &self,
        scratch: &Scratch,
        present: &State,
        mark: record::Mark,
        now_ms: i64,
    ) -> Result<(prepare::Prepared, Sound), RestoreError> {
        let what = mark.id.clone();
        let whole = !matches!(present, State::Damaged);
        let former = scratch.former();
        let former = prepare::Former { path: if whole { &former } else { &self.database }, whole };
        let prepared = self.prepare(&scratch.fetched(), &scratch.next(), former, mark, now_ms)?;
        let sound = sound::examine(&scratch.next(), &what)?;
        Ok((prepared, sound))
    }

    /// The write came out wrong, which no program has seen for long: the former state goes back in.
    fn put_back(&self, scratch: &Scratch, reason: String) -> RestoreError {
        let former = scratch.former();
        if !former.exists() {
            let outcome = "the state of before was damaged, and was not put back".to_owned();
            return RestoreError::Checked { reason, outcome };
        }
        let outcome = match live::write(&self.database, &former, self.patience, &mut || Ok(())) {
            Ok(()) => "the state of before was put back".to_owned(),
            Err(error) => {
                format!(
                    "the state of before could not be put back, either: {error}; `tt-hub restore undo` tries again"
                )
            }
        };
        RestoreError::Checked { reason, outcome }
    }

    /// The scratch folder, empty: what a restore that was cut off has left goes now.
    fn scratch(&self) -> Result<Scratch, RestoreError> {
        let path = self.root.join(".restore");
        let failed = |source| RestoreError::File { path: path.clone(), source };
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => durable::make_folder(&path).map_err(failed)?,
        }
        Ok(Scratch(path))
    }
}

/// All that must be before the live file is written.
struct Ready {
    /// The name of the safety copy.
    safety: String,
    begun: Begun,
    notes: Vec<String>,
    sound: Sound,
}
