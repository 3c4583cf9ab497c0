//! The daily drill: what would be restored in earnest is restored into a scratch folder, by the same way.
//!
//! The newest verified backup is fetched and opened. An older one, chosen by chance, is brought on to the same version
//! by the journal; both must hold the same rows. That proves the copies, the journal and the replay at once, without
//! touching anything that lives. How it went stays in `backups/drill.json`.

use super::prepare::{in_one_file, open_store};
use super::{RestoreError, Restores, Target, What, replay};
use crate::backup::BackupLock;
use crate::backup::Listed;
use crate::backup::calendar;
use crate::backup::contents;
use crate::backup::record::{Kind, Problem};
use crate::database::DatabaseError;
use crate::store::StoreError;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tt_migrations::{digest, durable};
use tt_protocol::digest::TableDigest;

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

/// Rows and digest of each table.
type Digests = BTreeMap<String, (u64, String)>;

impl Restores {
    /// The drill. None when there is no verified backup yet. `dice` chooses the older backup; `now` is in seconds.
    pub(crate) fn drill(
        &self,
        lock: &BackupLock,
        dice: u64,
        now: i64,
    ) -> Result<Option<Drill>, RestoreError> {
        let mut backups = self.backups.catalog().backups;
        backups.retain(Listed::is_verified);
        let Some(newest) = backups.last().cloned() else { return Ok(None) };
        let manifest = &newest.manifest;
        backups.retain(|backup| {
            let older = &backup.manifest;
            older.epoch == manifest.epoch && older.version < manifest.version
        });
        let chosen = usize::try_from(dice % backups.len().max(1) as u64).unwrap_or(0);
        let older = backups.get(chosen);
        let mut drill = Drill {
            at: calendar::utc(now),
            newest: manifest.id.clone(),
            older: older.map(|older| older.manifest.id.clone()),
            version: manifest.version,
            tables: 0,
            failed: None,
        };
        match self.compared(lock, &newest, older) {
            Ok(tables) => drill.tables = tables,
            Err(error) => drill.failed = Some(error.to_string()),
        }
        self.write_drill(&drill, now)?;
        Ok(Some(drill))
    }

    /// Gives the number of tables that are equal.
    fn compared(
        &self,
        lock: &BackupLock,
        newest: &Listed,
        older: Option<&Listed>,
    ) -> Result<usize, RestoreError> {
        let expected = self.restored(lock, newest, None)?;
        if let Some(older) = older {
            let found = self.restored(lock, older, Some(newest.manifest.version))?;
            let differing = expected.iter().filter(|(table, digest)| found.get(*table) != Some(digest));
            let mut differing: Vec<&str> = differing.map(|(table, _)| table.as_str()).collect();
            differing.extend(found.keys().filter(|table| !expected.contains_key(*table)).map(String::as_str));
            if !differing.is_empty() {
                let what = older.manifest.id.clone();
                let reason = format!(
                    "brought on by the journal to version {}, it is not the newest backup: {}",
                    newest.manifest.version,
                    differing.join(", ")
                );
                return Err(RestoreError::Unusable { what, reason });
            }
        }
        Ok(expected.len())
    }

    /// Restores a backup into the scratch folder, brings it on, and reads what it holds.
    fn restored(
        &self,
        lock: &BackupLock,
        backup: &Listed,
        version: Option<u64>,
    ) -> Result<Digests, RestoreError> {
        let fetched = self.fetch(lock, &What::Named(backup.manifest.id.clone()))?;
        let path = fetched.scratch.fetched();
        if let Some(version) = version {
            replay::up_to(self, &path, &backup.manifest, Target::Version(version))?;
        }
        let unusable = |reason| RestoreError::Unusable { what: backup.manifest.id.clone(), reason };
        let mut store = open_store(&path)?;
        // What programs at the hub had written and no version has yet is in one of them and not in the other.
        store.begin_replay()?;
        let replica = Arc::clone(store.replica());
        let digests = digest::tables(store.connection(), &replica).map_err(StoreError::from)?;
        drop(store);
        in_one_file(&path).map_err(|error| DatabaseError::new(&path, &error))?;
        let problems = Connection::open(&path).and_then(|conn| contents::integrity_problems(&conn));
        match problems.map_err(|error| DatabaseError::new(&path, &error))?.first() {
            Some(problem) => Err(unusable(format!("integrity_check says: {problem}"))),
            None => {
                let text = |(name, digest): (String, TableDigest)| (name, (digest.rows, digest.to_string()));
                Ok(digests.into_iter().map(text).collect())
            }
        }
    }

    fn write_drill(&self, drill: &Drill, now: i64) -> Result<(), RestoreError> {
        let failed = |source| RestoreError::File { path: path(&self.root), source };
        let bytes = serde_json::to_vec_pretty(drill).map_err(|error| failed(error.into()))?;
        durable::write(&path(&self.root), &bytes).map_err(failed)?;
        let mut problems: Vec<Problem> = drill
            .failed
            .iter()
            .map(|reason| Problem { kind: Kind::Critical, what: format!("the drill failed: {reason}") })
            .collect();
        let by = drill.older.as_ref().map(|older| format!(", {older} brought on by the journal"));
        let run = format!("drill: {} at version {}{}", drill.newest, drill.version, by.unwrap_or_default());
        self.backups.record(now, &run, &mut problems);
        Ok(())
    }
}
