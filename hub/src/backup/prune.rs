//! Lets retention act: removes what it drops from every vault.

use super::record::Problem;
use super::retention::{self, Decision};
use super::{BackupLock, Backups, Catalog};
use tt_migrations::progress::Unit;

/// What retention decided, and what was wrong when it was carried out.
#[derive(Debug)]
pub(crate) struct Pruned {
    pub(crate) decisions: Vec<Decision>,
    pub(crate) problems: Vec<Problem>,
}

impl Backups {
    /// What would stay and go. `now` is in seconds since 1970.
    pub(crate) fn plan_prune(&self, now: i64) -> Pruned {
        let catalog = self.catalog();
        Pruned { decisions: self.decide(&catalog, now), problems: catalog.problems }
    }

    /// Removes what goes, and writes it down.
    pub(crate) fn prune(&self, lock: &BackupLock, now: i64) -> Pruned {
        let mut pruned = self.drop_old(lock, now);
        let gone = pruned.decisions.iter().filter(|decision| !decision.keep).count();
        let run = format!("prune: {} kept, {gone} removed", pruned.decisions.len() - gone);
        self.record(now, &run, &mut pruned.problems);
        pruned
    }

    /// The problems are those of removing only.
    pub(super) fn drop_old(&self, _: &BackupLock, now: i64) -> Pruned {
        let catalog = self.catalog();
        let decisions = self.decide(&catalog, now);
        let mut problems = Vec::new();
        let gone = decisions.iter().filter(|decision| !decision.keep).count();
        self.progress().phase("removing what no tier keeps", Some(gone as u64), Unit::Files);
        for decision in decisions.iter().filter(|decision| !decision.keep) {
            for (number, placed) in self.vaults.iter().enumerate() {
                let of_backup = |name: &String| name.split('.').next() == Some(decision.id.as_str());
                let has = catalog.names[number].iter().flatten().any(of_backup);
                if let (true, Err(error)) =
                    (has, if has { self.discard(number, &decision.id) } else { Ok(()) })
                {
                    let vault = placed.vault.name();
                    problems.push(Problem::warning(format!(
                        "{} cannot be removed from the vault {vault}: {error}",
                        decision.id
                    )));
                }
            }
            self.progress().advance(1);
        }
        Pruned { decisions, problems }
    }

    fn decide(&self, catalog: &Catalog, now: i64) -> Vec<Decision> {
        retention::decide(&catalog.entries(), &self.plans, |plan| self.slot(plan, now))
    }
}
