//! Reads copies back that were made long ago, and makes bad ones again from good ones.

use super::catalog::{Catalog, CopyState, Listed};
use super::check::Checker;
use super::manifest::Manifest;
use super::record::{Kind, Problem};
use super::{BackupError, BackupLock, Backups, Outcome, calendar};
use tt_migrations::progress::Unit;

/// A backup that nobody has read for so long is read by the daemon: every byte at least once a week.
const READ_AFTER: i64 = 6 * calendar::DAY;
/// One in so many is read at a time, the longest unread first: all of them in half a day.
const PARTS: usize = 12;

impl Backups {
    /// Reads back every copy of one backup, or of all. `now` is in seconds since 1970.
    pub(crate) fn verify(&self, _: &BackupLock, id: Option<&str>, now: i64) -> Result<Outcome, BackupError> {
        let catalog = self.catalog();
        let wanted = |backup: &&Listed| id.is_none_or(|id| backup.manifest.id == id);
        let backups: Vec<&Listed> = catalog.backups.iter().filter(wanted).collect();
        if let (Some(id), true) = (id, backups.is_empty()) {
            return Err(BackupError::Unknown(id.to_owned()));
        }
        self.read_back(&catalog, backups, "verify", now)
    }

    /// Reads back a part of what has been unread for days, so that rot is found while there is a good copy. None
    /// when nothing is due.
    pub(crate) fn scrub(&self, _: &BackupLock, now: i64) -> Result<Option<Outcome>, BackupError> {
        let catalog = self.catalog();
        let read = |backup: &Listed| backup.manifest.read_at(now).unwrap_or(0);
        let mut due: Vec<&Listed> =
            catalog.backups.iter().filter(|backup| now - read(backup) > READ_AFTER).collect();
        if due.is_empty() {
            return Ok(None);
        }
        due.sort_by_key(|backup| read(backup));
        due.truncate(catalog.backups.len().div_ceil(PARTS));
        self.read_back(&catalog, due, "scrub", now).map(Some)
    }

    fn read_back(
        &self,
        catalog: &Catalog,
        backups: Vec<&Listed>,
        what: &str,
        now: i64,
    ) -> Result<Outcome, BackupError> {
        let scratch = self.scratch()?;
        let checker = Checker::new(&scratch, self.progress());
        let mut outcome = Outcome { problems: catalog.problems.clone(), ..Outcome::default() };
        let readable = |backup: &&Listed| backup.copies.iter().filter(|(_, state)| state.is_there()).count();
        let bytes = backups.iter().map(|backup| readable(backup) as u64 * backup.manifest.bytes).sum();
        self.progress().phase("reading copies back", Some(bytes), Unit::Bytes);
        for backup in backups {
            let verified = self.verify_one(backup, catalog, &checker, now, &mut outcome.problems);
            outcome.backups.push(verified);
        }
        Self::clear(&scratch);
        let good = outcome.backups.iter().filter(|backup| backup.is_verified()).count();
        let run = format!("{what}: {good} of {} backups have a good copy", outcome.backups.len());
        self.record(now, &run, &mut outcome.problems);
        Ok(outcome)
    }

    fn verify_one(
        &self,
        backup: &Listed,
        catalog: &Catalog,
        checker: &Checker<'_>,
        now: i64,
        problems: &mut Vec<Problem>,
    ) -> Listed {
        let Listed { manifest, copies } = backup;
        let at = calendar::utc(now);
        let mut good = None;
        let mut read = Vec::new();
        for number in self.near_first(copies.iter().map(|(number, _)| *number)) {
            let Some((_, before)) = copies.iter().find(|(of, _)| *of == number) else { continue };
            let checked = match before {
                CopyState::Missing => Err(format!("{} is not there", manifest.file)),
                CopyState::Failed(reason) => Err(reason.clone()),
                CopyState::Verified => self.confirm_again(number, manifest, checker, &at, problems),
                _ => self.confirm(number, manifest, checker, &at),
            };
            good = good.or(checked.is_ok().then_some(number));
            read.push((number, before, checked));
        }
        read.sort_by_key(|(number, ..)| *number);
        let mut states = Vec::new();
        for (number, before, checked) in read {
            let state = match checked {
                Ok(false) if *before == CopyState::Verified => CopyState::Verified,
                Ok(_) => {
                    let what = "its checksum or manifest was written again, its file is good";
                    problems.push(self.problem(number, manifest, Kind::Warning, what));
                    CopyState::Repaired
                }
                Err(reason) => match self.repair(manifest, (good, number), &reason, checker, &at, problems) {
                    CopyState::Damaged(_) if matches!(before, CopyState::Missing | CopyState::Failed(_)) => {
                        before.clone()
                    }
                    state => state,
                },
            };
            if let (CopyState::Damaged(reason), Some(names)) = (&state, &catalog.names[number])
                && names.contains(&manifest.file)
            {
                // The manifest says it from now on; where it cannot, the next reading finds out again.
                let damaged = Some(reason.clone());
                let _ =
                    self.write_manifest(number, &Manifest { verified: None, damaged, ..manifest.clone() });
            }
            states.push((number, state));
        }
        if good.is_none() {
            let what = format!("{}: no vault has a good copy: this backup is lost", manifest.id);
            problems.push(Problem { kind: Kind::Critical, what });
        }
        Listed { manifest: manifest.clone(), copies: states }
    }

    /// Reads back a copy that was good. Where a vault lets nothing be written the copy is good all the same.
    fn confirm_again(
        &self,
        number: usize,
        manifest: &Manifest,
        checker: &Checker<'_>,
        at: &str,
        problems: &mut Vec<Problem>,
    ) -> Result<bool, String> {
        checker.check(self.vaults[number].vault.as_ref(), manifest)?;
        Ok(self.write_down(number, manifest, at).unwrap_or_else(|error| {
            let what = format!("its copy is good, but that cannot be written down: {error}");
            problems.push(self.problem(number, manifest, Kind::Warning, &what));
            false
        }))
    }

    /// Makes a bad copy again from a good one, and reads it back.
    fn repair(
        &self,
        manifest: &Manifest,
        (good, number): (Option<usize>, usize),
        reason: &str,
        checker: &Checker<'_>,
        at: &str,
        problems: &mut Vec<Problem>,
    ) -> CopyState {
        let again = good.map(|good| {
            self.copy(good, number, manifest).and_then(|()| self.confirm(number, manifest, checker, at))
        });
        match again {
            Some(Ok(_)) => {
                let what = format!("{reason}; made again from another vault");
                problems.push(self.problem(number, manifest, Kind::Warning, &what));
                CopyState::Repaired
            }
            Some(Err(error)) => {
                let what = format!("{reason}; and it cannot be made again: {error}");
                problems.push(self.problem(number, manifest, Kind::Warning, &what));
                CopyState::Damaged(reason.to_owned())
            }
            None => {
                problems.push(self.problem(number, manifest, Kind::Warning, reason));
                CopyState::Damaged(reason.to_owned())
            }
        }
    }

    fn problem(&self, number: usize, manifest: &Manifest, kind: Kind, what: &str) -> Problem {
        let vault = self.vaults[number].vault.name();
        Problem { kind, what: format!("{}, vault {vault}: {what}", manifest.id) }
    }
}
