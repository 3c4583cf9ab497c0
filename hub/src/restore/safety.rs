//! Keeps the present database in `backups/before_restore` before anything is changed: verified, compressed and with
//! a manifest like every backup, so that it can itself be restored.

use super::present::State;
use super::{RestoreError, Restores, Scratch};
use crate::backup::check::{Checker, HOW};
use crate::backup::contents;
use crate::backup::copy;
use crate::backup::manifest::{self, Facts, MANIFEST_BYTES_MAX, Manifest, Verified};
use crate::backup::pack::pump;
use crate::backup::snapshot::Snapshot;
use crate::backup::tier::Tier;
use crate::backup::vault::{self, Vault};
use crate::backup::{BeforeRestore, calendar};
use rusqlite::Connection;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tt_migrations::progress::Unwatched;

const PREFIX: &str = "before_restore_";

impl Restores {
    /// Keeps the present database under this name. `now` is in seconds since 1970.
    pub(super) fn keep_safe(
        &self,
        id: &str,
        present: &State,
        scratch: &Scratch,
        now: i64,
    ) -> Result<(), RestoreError> {
        self.vault.tidy().map_err(|error| RestoreError::Safety(error.to_string()))?;
        let kept = match present {
            State::Taken(snapshot) => self.keep_whole(id, snapshot, scratch, now),
            State::Damaged => self.keep_damaged(id),
        };
        kept.map_err(|reason| {
            self.discard_safety(id);
            RestoreError::Safety(reason)
        })
    }

    /// Nobody watches: the next database is prepared at the same time.
    fn keep_whole(&self, id: &str, snapshot: &Snapshot, scratch: &Scratch, now: i64) -> Result<(), String> {
        let checker = Checker::new(&scratch.0, &Unwatched);
        checker.knows_snapshot(snapshot);
        let local = self.backups.zone().local(now);
        let facts = Facts {
            // The tier is that of backups made by hand; the name and the slot say what it is.
            tier: Tier::Hourly,
            slot: "before_restore".to_owned(),
            taken_at: calendar::utc(now),
            stamp: &calendar::Civil::of(local).stamp(),
            taken: &snapshot.taken,
            packed: &snapshot.packed,
        };
        let made = Manifest { id: id.to_owned(), file: manifest::file(id), ..Manifest::new(facts) };
        copy::bring(&self.vault, &made.file, &scratch.former_packed(), &Unwatched)?;
        checker.check(&self.vault, &made)?;
        let checksum = manifest::checksum_file(id);
        let put = |name: &str, bytes: &[u8]| {
            vault::put(&self.vault, name, bytes).map_err(|error| format!("{name} cannot be written: {error}"))
        };
        put(&checksum, made.checksum_line().as_bytes())?;
        let verified = Some(Verified { at: calendar::utc(now), how: HOW.to_owned() });
        let bytes = Manifest { verified, ..made }.to_bytes().map_err(|error| error.to_string())?;
        put(&manifest::manifest_file(id), &bytes)
    }

    /// Nobody can make a sound copy of it; its bytes and those of its log may still help somebody.
    fn keep_damaged(&self, id: &str) -> Result<(), String> {
        for ending in ["", "-wal"] {
            let mut path = self.database.clone().into_os_string();
            path.push(ending);
            let path = PathBuf::from(path);
            if !path.exists() {
                continue;
            }
            let failed = |error: std::io::Error| format!("{}: {error}", path.display());
            let mut upload = self.vault.begin(&format!("{id}.damaged.db{ending}")).map_err(failed)?;
            let mut source = File::open(&path).map_err(failed)?;
            pump(&mut source, |bytes| upload.write_all(bytes)).map_err(failed)?;
            upload.commit().map_err(failed)?;
        }
        Ok(())
    }

    /// The manifest of a safety copy.
    pub(super) fn safety_copy(&self, id: &str) -> Option<Manifest> {
        id.strip_prefix(PREFIX)?;
        let bytes = vault::get(&self.vault, &manifest::manifest_file(id), MANIFEST_BYTES_MAX).ok()?;
        Manifest::from_bytes(id, &bytes).ok()
    }

    /// All of them, oldest first.
    pub(super) fn safety_copies(&self) -> Vec<Manifest> {
        let ids = self.safety_ids();
        let mut copies: Vec<_> = ids.iter().filter_map(|id| self.safety_copy(id)).collect();
        copies.sort_by(|a, b| (&a.taken_at, &a.id).cmp(&(&b.taken_at, &b.id)));
        copies
    }

    fn safety_ids(&self) -> Vec<String> {
        let names = self.vault.list().unwrap_or_default();
        let stems = names.iter().filter_map(|name| name.strip_suffix(".json"));
        stems.filter(|stem| stem.starts_with(PREFIX)).map(str::to_owned).collect()
    }

    /// Removes one, the manifest first. What cannot be removed goes at another time.
    pub(super) fn discard_safety(&self, id: &str) {
        for file in [manifest::manifest_file(id), manifest::file(id), manifest::checksum_file(id)] {
            let _ = self.vault.remove(&file);
        }
    }

    /// Removes what is no longer kept, and what a run that was cut off has left.
    pub(super) fn drop_old_safety(&self, now: i64) {
        let copies: Vec<_> = self.safety_copies().into_iter().map(|copy| (copy.id, copy.taken_at)).collect();
        for id in to_drop(&copies, self.before, now) {
            self.discard_safety(&id);
        }
        let listed = self.safety_ids();
        for name in self.vault.list().unwrap_or_default() {
            let is_part = name.ends_with(".db.gz") || name.ends_with(".db.gz.sha256");
            let stem = name.split('.').next().unwrap_or_default();
            if is_part && stem.starts_with(PREFIX) && !listed.iter().any(|id| id == stem) {
                let _ = self.vault.remove(&name);
            }
        }
    }

    /// The name of the next one. Two in one second, or in the hour that comes twice, have two names.
    pub(super) fn free_id(&self, now: i64) -> String {
        let names = self.vault.list().unwrap_or_default();
        let local = self.backups.zone().local(now);
        let id = |local: i64| format!("{PREFIX}{}", calendar::Civil::of(local).stamp());
        let is_taken = |id: &String| names.iter().any(|name| name.split('.').next() == Some(id));
        (local..).map(id).find(|id| !is_taken(id)).unwrap_or_else(|| id(local))
    }
}

/// Those that are neither young nor among the newest. `copies` is a list of ids and times in UTC, oldest first.
fn to_drop(copies: &[(String, String)], before: BeforeRestore, now: i64) -> Vec<String> {
    let young = calendar::utc(now - before.days * calendar::DAY);
    let old = copies.iter().rev().skip(before.keep).filter(|(_, at)| *at < young);
    old.map(|(id, _)| id.clone()).collect()
}

/// Whether it is the database itself that is not sound.
pub(super) fn is_damaged(database: &Path) -> bool {
    let problems = || contents::integrity_problems(&Connection::open(database)?);
    match problems() {
        Ok(problems) => !problems.is_empty(),
        Err(error) => matches!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_young_one_and_the_newest_three_always_stay() {
        let at = |day: i64| (format!("before_restore_{day}"), calendar::utc(day * calendar::DAY));
        let before = BeforeRestore { keep: 3, days: 30 };
        let dropped = |days: &[i64], today: i64| {
            to_drop(&days.iter().map(|day| at(*day)).collect::<Vec<_>>(), before, today * calendar::DAY)
        };
        assert_eq!(dropped(&[1, 2, 3], 1_000), Vec::<String>::new(), "the newest three, however old");
        assert_eq!(dropped(&[1, 2, 3, 4], 1_000), [at(1).0]);
        assert_eq!(dropped(&[70, 71, 72, 73, 74], 100), Vec::<String>::new(), "all are young");
        assert_eq!(dropped(&[60, 69, 70, 80, 90, 95], 100), [at(69).0, at(60).0]);
    }
}
