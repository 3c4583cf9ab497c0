//! Makes backups: one snapshot for all tiers of a run, compressed once, into every vault.

use super::catalog::{CopyState, Listed};
use super::check::Checker;
use super::manifest::{self, Facts, Manifest};
use super::pack::Effort;
use super::record::{Kind, Problem};
use super::snapshot::{self, Snapshot};
use super::{BackupError, BackupLock, Backups, Catalog, Outcome, Tier, calendar, copy, due, made};
use crate::space::{Space, readable};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;
use tt_migrations::progress::Unit;

/// Left on the hub's disk whatever a backup needs.
pub(crate) const RESERVE_BYTES: u64 = 64 << 20;

/// A vault that takes longer is named in the log, again and again, so that nobody wonders what a run waits for.
const SLOW_AFTER: Duration = Duration::from_secs(10);

/// Room for the copy, the compressed file, and the copy that is read again or back.
const fn needed(database: u64) -> u64 {
    database.saturating_mul(3).saturating_add(RESERVE_BYTES)
}

/// A compressed snapshot on its way into vaults.
struct Prepared {
    snapshot: Snapshot,
    file: PathBuf,
    stamp: String,
    taken_at: String,
    clock_life: u64,
}

impl Backups {
    /// Makes one backup of each of these tiers, the finest first, and then lets retention act. `now` is in
    /// seconds since 1970. A vault that fails is a problem; when all do, there is no such backup.
    pub(crate) fn make(&self, lock: &BackupLock, tiers: &[Tier], now: i64) -> Result<Outcome, BackupError> {
        let made = self.scratch().and_then(|scratch| {
            let made = self.make_in(&scratch, tiers, now);
            Self::clear(&scratch);
            made
        });
        let mut outcome = match made {
            Ok(outcome) => outcome,
            Err(error) => {
                let mut problems = vec![Problem { kind: Kind::BackupFailed, what: error.to_string() }];
                self.record(now, "backup: failed", &mut problems);
                return Err(error);
            }
        };
        if outcome.backups.iter().any(Listed::is_verified) {
            outcome.problems.extend(self.drop_old(lock, now).problems);
        }
        let one = |backup: &Listed| {
            let good = backup.copies.iter().filter(|(_, state)| state.is_good()).count();
            format!("{} {good} of {} copies", backup.manifest.id, backup.copies.len())
        };
        let run = outcome.backups.iter().map(one).collect::<Vec<_>>().join(", ");
        self.record(now, &format!("backup: {run}"), &mut outcome.problems);
        Ok(outcome)
    }

    fn make_in(&self, scratch: &Path, tiers: &[Tier], now: i64) -> Result<Outcome, BackupError> {
        let catalog = self.catalog();
        let mut outcome = Outcome { problems: self.clean(&catalog), ..Outcome::default() };
        let checker = Checker::new(scratch, self.progress());
        let prepared = self.prepare(scratch, &catalog, &checker, tiers, now)?;
        let ids = tiers.iter().map(|tier| manifest::id(*tier, &prepared.stamp));
        made::begin(&self.root, ids)
            .map_err(|source| BackupError::File { path: self.root.clone(), source })?;
        // Each copy is written and read back.
        let bytes = 2 * prepared.snapshot.packed.bytes * self.copies(tiers);
        self.progress().phase("making copies", Some(bytes), Unit::Bytes);
        for plan in self.plans.iter().filter(|plan| tiers.contains(&plan.tier)) {
            let facts = Facts {
                tier: plan.tier,
                slot: self.slot(plan, now),
                taken_at: prepared.taken_at.clone(),
                stamp: &prepared.stamp,
                taken: &prepared.snapshot.taken,
                packed: &prepared.snapshot.packed,
            };
            let manifest = Manifest { clock_life: prepared.clock_life, ..Manifest::new(facts) };
            let backup = self.store(manifest, &prepared, &checker, &mut outcome.problems);
            outcome.backups.push(backup);
        }
        Ok(outcome)
    }

    /// How many copies a run of these tiers makes.
    fn copies(&self, tiers: &[Tier]) -> u64 {
        let of = |tier: &Tier| self.vaults.iter().filter(|vault| vault.takes.contains(tier)).count();
        tiers.iter().map(|tier| of(tier) as u64).sum()
    }

    /// Removes what runs that were cut off have left in the vaults.
    pub(super) fn clean(&self, catalog: &Catalog) -> Vec<Problem> {
        let mut problems = catalog.problems.clone();
        let made = made::all(&self.root);
        let is_ours = |name: &str| name.split('.').next().is_some_and(|id| made.contains(id));
        let orphans = catalog.orphans();
        for (number, placed) in self.vaults.iter().enumerate() {
            let listed = catalog.names[number].is_some();
            let mut left = orphans.iter().filter(|(vault, name)| listed && *vault == number && is_ours(name));
            let tidied = if listed { placed.vault.tidy() } else { Ok(()) };
            let cleaned = tidied.and_then(|()| left.try_for_each(|(_, name)| placed.vault.remove(name)));
            if let Err(error) = cleaned {
                let what = format!("the vault {} cannot be tidied: {error}", placed.vault.name());
                problems.push(Problem::warning(what));
            }
        }
        problems
    }

    fn prepare(
        &self,
        scratch: &Path,
        catalog: &Catalog,
        checker: &Checker<'_>,
        tiers: &[Tier],
        now: i64,
    ) -> Result<Prepared, BackupError> {
        let plain = scratch.join("snapshot.db");
        let file = scratch.join("snapshot.db.gz");
        self.expect_room(scratch)?;
        let snapshot = snapshot::take(&self.database, &plain, &file, Effort::Small, self.progress())?;
        fs::remove_file(&plain).map_err(|source| BackupError::File { path: plain, source })?;
        checker.knows_snapshot(&snapshot);
        // Names are the local time. The hour that comes twice in autumn, a clock that was set back, or two runs
        // in one second must not take a name that is taken.
        let is_taken = |local: &i64| {
            let stamp = calendar::Civil::of(*local).stamp();
            tiers.iter().any(|tier| catalog.has(&manifest::id(*tier, &stamp)))
        };
        let local = self.zone.local(now);
        let local = (local..).find(|local| !is_taken(local)).unwrap_or(local);
        let stamp = calendar::Civil::of(local).stamp();
        let clock_life = due::life(&catalog.entries(), self.present(), now);
        Ok(Prepared { snapshot, file, stamp, taken_at: calendar::utc(now), clock_life })
    }

    /// The disk on which stations' counts arrive must not be filled by a backup.
    fn expect_room(&self, scratch: &Path) -> Result<(), BackupError> {
        let failed = |source| BackupError::File { path: self.database.clone(), source };
        let log = self.database.with_extension("db-wal");
        let database = fs::metadata(&self.database).map_err(failed)?.len();
        let needed = needed(database + fs::metadata(log).map_or(0, |log| log.len()));
        match Space::of(scratch) {
            Ok(space) if space.free < needed => {
                let (needed, free) = (readable(needed), readable(space.free));
                Err(BackupError::NoRoom { path: scratch.to_owned(), needed, free })
            }
            // Where nobody can say, the attempt will.
            _ => Ok(()),
        }
    }

    /// Does the same in several vaults, in all of them at once: a slow disk does not keep the others waiting.
    fn in_each_vault(
        &self,
        numbers: Vec<usize>,
        work: &(dyn Fn(usize) -> Result<(), String> + Sync),
    ) -> Vec<(usize, Result<(), String>)> {
        if !self.at_once {
            return numbers.into_iter().map(|number| (number, work(number))).collect();
        }
        thread::scope(|scope| {
            let (ends, ended) = mpsc::channel::<()>();
            let start = |number| {
                let ends = ends.clone();
                let work = move || {
                    let done = work(number);
                    drop(ends);
                    done
                };
                (number, scope.spawn(work))
            };
            let under_way: Vec<_> = numbers.into_iter().map(start).collect();
            drop(ends);
            while ended.recv_timeout(SLOW_AFTER) == Err(RecvTimeoutError::Timeout) {
                for (number, _) in under_way.iter().filter(|(_, thread)| !thread.is_finished()) {
                    let vault = self.vaults[*number].vault.name();
                    tracing::warn!(
                        vault,
                        "the vault is slow: the others have their copies, and the run waits for it"
                    );
                }
            }
            let died = |_| Err("the thread that wrote it has ended before its work was done".to_owned());
            under_way
                .into_iter()
                .map(|(number, thread)| (number, thread.join().unwrap_or_else(died)))
                .collect()
        })
    }

    /// Brings one backup into all its vaults.
    fn store(
        &self,
        manifest: Manifest,
        prepared: &Prepared,
        checker: &Checker<'_>,
        problems: &mut Vec<Problem>,
    ) -> Listed {
        let at = &prepared.taken_at;
        let takes = |number: &usize| self.vaults[*number].takes.contains(&manifest.tier);
        let bring = |number: usize| {
            let vault = self.vaults[number].vault.as_ref();
            let written = copy::bring(vault, &manifest.file, &prepared.file, self.progress());
            written.and_then(|()| self.confirm(number, &manifest, checker, at).map(drop))
        };
        let copies = self.in_each_vault((0..self.vaults.len()).filter(takes).collect(), &bring);
        let good = copies.iter().find(|(_, written)| written.is_ok()).map(|(number, _)| *number);
        let mut states = Vec::new();
        for (number, written) in copies {
            let again = |reason: String| match good {
                Some(good) => self
                    .copy(good, number, &manifest)
                    .and_then(|()| self.confirm(number, &manifest, checker, at))
                    .map(|_| CopyState::Repaired)
                    .map_err(|_| reason),
                None => Err(reason),
            };
            let state = match written {
                Ok(()) => Ok(CopyState::Verified),
                Err(reason) => again(reason),
            };
            states.push((
                number,
                state.unwrap_or_else(|reason| {
                    // What cannot be removed now has no good manifest, and goes with the next run.
                    let _ = self.discard(number, &manifest.id);
                    let vault = self.vaults[number].vault.name();
                    problems.push(Problem::warning(format!(
                        "{}: no copy in the vault {vault}: {reason}",
                        manifest.id
                    )));
                    CopyState::Failed(reason)
                }),
            ));
        }
        let backup = Listed { manifest, copies: states };
        if !backup.is_verified() {
            let what = format!("{}: no vault has a copy", backup.manifest.id);
            problems.push(Problem { kind: Kind::BackupFailed, what });
        }
        backup
    }
}
