//! The daily drill: what would be restored in earnest is restored into a scratch folder, by the same way.
//!
//! The newest verified backup is fetched and opened. An older one, chosen by chance, is brought on by the journal: to a
//! version chosen by chance, which is looked at, and from there to that of the newest; both must hold the same rows.
//! That proves the copies, the journal and the replay at once, without touching anything that lives. How it went stays
//! in `backups/drill.json`.

use super::prepare::open_store;
use super::rehearsal::{self, Moment};
use super::{RestoreError, Restores, What, journal};
use crate::backup::BackupLock;
use crate::backup::Listed;
use crate::backup::calendar;
use crate::backup::check::Depth;
use crate::backup::due::credible;
use crate::backup::record::{Kind, Problem};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use tt_migrations::durable;

/// What a drill goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance {
    /// Chooses the older backup and the version on the way.
    pub(crate) dice: u64,
    /// Seconds since 1970.
    pub(crate) now: i64,
    /// Any moment of so many days can be brought back: the journal leads on from every backup of that time.
    pub(crate) keep_days: u32,
}

impl Chance {
    /// A number that has nothing to do with the first.
    fn again(self) -> u64 {
        let hash = Sha256::digest(self.dice.to_be_bytes());
        hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// How the last drill went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Drill {
    /// UTC.
    pub(crate) at: String,
    /// The newest backup, which was restored.
    pub(crate) newest: String,
    /// The older one that was brought on by the journal; None when there is no other of this epoch.
    pub(crate) older: Option<String>,
    /// The version at which both were compared.
    pub(crate) version: u64,
    /// Tables that were compared.
    pub(crate) tables: usize,
    /// Where the way through the journal was stopped and looked at; None when there is no version between both.
    #[serde(default)]
    pub(crate) moment: Option<Moment>,
    /// Copies and journals that were of no use, while another one was.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
    /// What went wrong; None when all is well.
    pub(crate) failed: Option<String>,
}

/// The last drill, by the folder of the backups.
pub(crate) fn last(root: &Path) -> Option<Drill> {
    // What cannot be read was never written: the file is replaced whole.
    serde_json::from_slice(&fs::read(path(root)).ok()?).ok()
}

fn path(root: &Path) -> PathBuf {
    root.join("drill.json")
}

impl Drill {
    /// What was done with the journal, for the end of a sentence.
    pub(crate) fn way(&self) -> String {
        let Some(older) = &self.older else { return String::new() };
        let by = self.moment.as_ref().map(|Moment { version, at, rows }| {
            format!(" by way of version {version} ({at}, {rows} of its rows compared)")
        });
        format!(", {older} brought on by the journal{}", by.unwrap_or_default())
    }
}

impl Restores {
    /// The drill. None when there is no verified backup yet.
    pub(crate) fn drill(&self, lock: &BackupLock, chance: Chance) -> Result<Option<Drill>, RestoreError> {
        let catalog = self.backups.catalog();
        let entries = catalog.entries();
        let mut backups = catalog.backups;
        backups.retain(Listed::is_verified);
        let Some(newest) = self.newest(&backups).cloned() else { return Ok(None) };
        let manifest = &newest.manifest;
        let journals = journal::all(self);
        // What is older was let go everywhere. Dates say so only where they can be true, and the clock of now as well.
        let dated = credible(&entries, self.backups.present(), chance.now);
        let is_dated = |id: &str| dated.iter().any(|entry| entry.id == id);
        let begins = journals.iter().filter_map(|found| found.reach).map(|reach| reach.from.0).min();
        let since = calendar::utc(chance.now - i64::from(chance.keep_days) * calendar::DAY);
        backups.retain(|backup| {
            let older = &backup.manifest;
            let is_young = older.taken_at >= since && is_dated(&older.id) && is_dated(&manifest.id);
            let is_kept = is_young || begins.is_some_and(|begins| older.version >= begins);
            older.epoch == manifest.epoch && older.version < manifest.version && is_kept
        });
        let chosen = usize::try_from(chance.dice % backups.len().max(1) as u64).unwrap_or(0);
        let older = backups.get(chosen);
        let mut drill = Drill {
            at: calendar::utc(chance.now),
            newest: manifest.id.clone(),
            older: older.map(|older| older.manifest.id.clone()),
            version: manifest.version,
            tables: 0,
            moment: None,
            notes: Vec::new(),
            failed: None,
        };
        if let Err(error) = self.rehearse(lock, (older, &newest), (&journals, chance.again()), &mut drill) {
            drill.failed = Some(error.to_string());
        }
        self.write_drill(&drill, chance.now)?;
        Ok(Some(drill))
    }

    /// The newest of them, oldest first, by what they hold and not by their dates: a clock may have been wrong. What is
    /// beyond the present database comes from another life of this hub.
    fn newest<'b>(&self, backups: &'b [Listed]) -> Option<&'b Listed> {
        let present = self.backups.present();
        let is_ours = |backup: &&Listed| present.is_none_or(|present| backup.manifest.point() <= present);
        let by_version = |backup: &&Listed| (backup.manifest.point(), backup.manifest.taken_at.clone());
        backups.iter().filter(is_ours).max_by_key(by_version).or(backups.last())
    }

    fn rehearse(
        &self,
        lock: &BackupLock,
        (older, newest): (Option<&Listed>, &Listed),
        (journals, dice): (&[journal::Found], u64),
        drill: &mut Drill,
    ) -> Result<(), RestoreError> {
        // The fetch checks the bytes by themselves; what follows is only what it cannot know.
        let fetch = |backup: &Listed| self.fetch(lock, &What::Named(backup.manifest.id.clone()), Depth::Rows);
        let fetched = fetch(newest)?;
        self.backups.progress().step("comparing tables");
        let expected = rehearsal::digests(&mut open_store(&fetched.scratch.fetched())?)?;
        drill.notes = fetched.source.notes.clone();
        drop(fetched);
        drill.tables = expected.len();
        if let Some(older) = older {
            let fetched = fetch(older)?;
            drill.notes.extend(fetched.source.notes.iter().cloned());
            let way = (older, newest);
            let (moment, notes) = rehearsal::walk(
                &fetched.scratch.fetched(),
                way,
                journals,
                &expected,
                (dice, self.backups.progress()),
            )?;
            drill.moment = moment;
            drill.notes.extend(notes);
        }
        Ok(())
    }

    fn write_drill(&self, drill: &Drill, now: i64) -> Result<(), RestoreError> {
        let failed = |source| RestoreError::File { path: path(&self.root), source };
        let bytes = serde_json::to_vec_pretty(drill).map_err(|error| failed(error.into()))?;
        durable::write(&path(&self.root), &bytes).map_err(failed)?;
        let failed = drill.failed.iter().map(|reason| format!("the drill failed: {reason}"));
        let mut problems: Vec<Problem> = failed.map(|what| Problem { kind: Kind::Critical, what }).collect();
        problems.extend(drill.notes.iter().map(|note| Problem::warning(format!("the drill: {note}"))));
        let run = format!("drill: {} at version {}{}", drill.newest, drill.version, drill.way());
        self.backups.record(now, &run, &mut problems);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
