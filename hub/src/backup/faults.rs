//! Worlds in which vaults fail, lie and lose, and in which the process dies at any step.
//!
//! Every world has its seed, which a failure prints. `TT_BACKUP_SEEDS=10000` runs more of them.

mod vault;

use self::vault::{Fault, Faulty, Shared, Trouble};
use super::vault::Vault as _;
use super::vault::tests::{MemoryVault, conforms};
use super::*;
use crate::dice::Dice;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;
use tier::TIERS;
use tt_migrations::state;

const SEEDS: u64 = 40;

/// A hub's database with three vaults in memory.
struct World {
    dir: tempfile::TempDir,
    backups: Backups,
    vaults: Vec<Faulty>,
    trouble: Shared,
    dice: Dice,
    now: i64,
    rows: i64,
}

impl World {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("tablet_counter.db");
        let conn = Connection::open(&database).unwrap();
        conn.execute_batch(state::TABLES).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE counts(id INTEGER PRIMARY KEY, n INT);")
            .unwrap();
        state::set(&conn, state::EPOCH, 1).unwrap();
        let trouble = Shared::default();
        let vaults: Vec<Faulty> = ["primary", "secondary", "archive"]
            .map(|name| Faulty {
                inner: MemoryVault { name: name.to_owned(), ..MemoryVault::default() },
                trouble: Arc::clone(&trouble),
            })
            .into();
        let takes = |name: &str| match name {
            "archive" => vec![Tier::Monthly, Tier::Yearly],
            _ => TIERS.map(|plan| plan.tier).to_vec(),
        };
        let placed =
            vaults.iter().map(|vault| Placed { vault: Arc::new(vault.clone()), takes: takes(vault.name()) });
        let root = dir.path().to_owned();
        let backups = Backups {
            database,
            root,
            plans: TIERS,
            alert_command: Vec::new(),
            webhook: None,
            at_once: false,
            progress: Arc::new(Unwatched),
            zone: Zone::named("UTC").unwrap(),
            vaults: placed.collect(),
        };
        Self { dir, backups, vaults, trouble, dice: Dice(seed), now: 1_796_000_000, rows: 0 }
    }

    /// One more row, and some time later.
    fn count(&mut self) {
        let conn = Connection::open(&self.backups.database).unwrap();
        conn.execute("INSERT INTO counts(n) VALUES (?1)", [self.rows]).unwrap();
        self.rows += 1;
        state::set(&conn, state::VERSION, self.rows).unwrap();
        self.now += [1_800, 3_600, 86_400, 3_000_000][self.dice.roll(4) as usize];
    }

    fn heal(&self) {
        *self.trouble.lock().unwrap() = Trouble::default();
    }

    fn make(&mut self) -> Option<Outcome> {
        let lock = self.backups.lock().unwrap();
        self.backups.make(&lock, &[Tier::Hourly, Tier::Monthly], self.now).ok()
    }

    /// The unpacked rows of a copy, read without any of the code that is tested.
    fn restored(&self, vault: &Faulty, file: &str) -> Result<i64, String> {
        let bytes = vault.inner.files.lock().unwrap().get(file).cloned().ok_or("no file")?;
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes.as_slice())
            .read_to_end(&mut plain)
            .map_err(|error| error.to_string())?;
        let path = self.dir.path().join("restored.db");
        fs::write(&path, plain).unwrap();
        let conn = Connection::open(&path).unwrap();
        let sound: String =
            conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(|e| e.to_string())?;
        assert_eq!(sound, "ok");
        conn.query_row("SELECT count(*) FROM counts", [], |row| row.get(0)).map_err(|error| error.to_string())
    }

    /// Every copy that is listed as verified restores to what its manifest says.
    fn assert_honest(&self) {
        let catalog = self.backups.catalog();
        for backup in &catalog.backups {
            let file = &backup.manifest.file;
            for (number, _) in backup.copies.iter().filter(|(_, state)| state.is_good()) {
                let rows = self.restored(&self.vaults[*number], file);
                assert_eq!(
                    rows,
                    Ok(backup.manifest.contents.tables["counts"].rows as i64),
                    "{file} in {number}"
                );
                assert_eq!(rows, Ok(backup.manifest.version as i64), "rows and version are of one moment");
            }
        }
    }

    /// The ids that a person sees.
    fn ids(&self) -> Vec<String> {
        self.backups.catalog().backups.iter().map(|backup| backup.manifest.id.clone()).collect()
    }

    /// After a healthy run nothing is in a vault that does not belong to a backup.
    fn assert_no_litter(&self) {
        let ids = self.ids();
        for vault in &self.vaults {
            let mut files: BTreeMap<String, usize> = BTreeMap::new();
            for name in vault.inner.list().unwrap() {
                *files.entry(manifest::parse_name(&name).unwrap().0.to_owned()).or_default() += 1;
            }
            assert!(
                files.iter().all(|(id, count)| ids.contains(id) && *count == 3),
                "{}: {files:?}",
                vault.name()
            );
        }
    }

    fn any_fault(&mut self) -> (String, u64, Fault) {
        use Fault::{Error, Flip, Lose, NoSpace, Swap, Truncate};
        let kinds = [NoSpace, Error, Truncate, Flip, Lose, Swap];
        let vault = self.vaults[self.dice.roll(3) as usize].name().to_owned();
        (vault, self.dice.roll(60), kinds[self.dice.roll(6) as usize])
    }
}

/// Runs a world for each seed and names the one that fails.
fn worlds(run: impl Fn(&mut World)) {
    let seeds = std::env::var("TT_BACKUP_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for seed in 0..seeds {
        eprintln!("seed {seed}");
        run(&mut World::new(seed));
    }
}

#[test]
fn a_faulty_vault_without_faults_is_a_vault() {
    conforms(&World::new(0).vaults[0]);
}

#[test]
fn a_process_that_dies_at_any_step_leaves_no_backup_that_does_not_restore() {
    worlds(|world| {
        for _ in 0..3 {
            world.count();
            let crash_at = Some(1 + world.dice.roll(90));
            *world.trouble.lock().unwrap() = Trouble { crash_at, ..Trouble::default() };
            let before: usize = world.vaults.iter().map(|vault| vault.inner.list().unwrap().len()).sum();
            world.make();
            let crashed = world.trouble.lock().unwrap().crashed;
            world.heal();
            world.assert_honest();
            assert!(
                crashed || before < world.vaults.iter().map(|vault| vault.inner.list().unwrap().len()).sum()
            );
        }
        world.count();
        let outcome = world.make().unwrap();
        assert_eq!(outcome.problems, [], "the next run needs nobody's help");
        let lock = world.backups.lock().unwrap();
        world.backups.verify(&lock, None, world.now).unwrap();
        world.assert_honest();
        world.assert_no_litter();
    });
}

#[test]
fn one_bad_vault_never_harms_the_others_and_is_said() {
    worlds(|world| {
        for _ in 0..3 {
            world.count();
            let fault = world.any_fault();
            world.trouble.lock().unwrap().fault = Some(fault.clone());
            let outcome = world.make().unwrap_or_else(|| panic!("{fault:?}"));
            let lied = world.trouble.lock().unwrap().silent_done;
            world.heal();
            if fault.2 == Fault::Swap {
                // It spoils a copy of an earlier run as well, and that is found when that copy is read again.
                let lock = world.backups.lock().unwrap();
                let read = world.backups.verify(&lock, None, world.now).unwrap();
                let mut problems = outcome.problems.iter().chain(&read.problems);
                let mut copies = outcome.backups.iter().flat_map(|backup| &backup.copies);
                let said = copies.any(|(_, state)| *state == CopyState::Repaired)
                    || problems.any(|problem| problem.what.contains(&fault.0));
                assert_eq!(said, lied, "{fault:?} {outcome:?} {read:?}");
            }
            world.assert_honest();
            for backup in &outcome.backups {
                for (number, state) in &backup.copies {
                    let is_bad = world.vaults[*number].name() == fault.0;
                    assert!(is_bad || *state == CopyState::Verified, "{fault:?} {backup:?}");
                    let said = outcome.problems.iter().any(|problem| problem.what.contains(&fault.0));
                    assert!(state.is_good() || said, "{fault:?} {outcome:?}");
                }
            }
        }
    });
}

#[test]
fn what_rots_in_one_vault_is_made_again_from_another() {
    worlds(|world| {
        for _ in 0..3 {
            world.count();
            assert_eq!(world.make().unwrap().problems, []);
        }
        let vault = world.vaults[world.dice.roll(3) as usize].clone();
        let files = vault.inner.list().unwrap();
        let kind = [Fault::Truncate, Fault::Flip, Fault::Lose, Fault::Swap][world.dice.roll(4) as usize];
        let file = &files[world.dice.roll(files.len() as u64) as usize];
        vault.spoil(file, kind);
        let lock = world.backups.lock().unwrap();
        let outcome = world.backups.verify(&lock, None, world.now).unwrap();
        let said = outcome.problems.iter().filter(|problem| problem.what.contains(vault.name())).count();
        assert!(said > 0, "{kind:?} of {file}: {outcome:?}");
        assert!(outcome.backups.iter().flat_map(|backup| &backup.copies).all(|(_, state)| state.is_good()));
        drop(lock);
        world.assert_honest();
        world.assert_no_litter();
        let lock = world.backups.lock().unwrap();
        let again = world.backups.verify(&lock, None, world.now).unwrap();
        assert_eq!(again.problems, [], "all is well again");
    });
}

#[test]
fn what_a_vault_only_seemed_to_have_is_found_by_the_next_reading_and_made_again() {
    worlds(|world| {
        world.count();
        assert_eq!(world.make().unwrap().problems, []);
        world.count();
        let vault = world.vaults[world.dice.roll(3) as usize].name().to_owned();
        let at = world.dice.roll(25);
        world.trouble.lock().unwrap().fault = Some((vault.clone(), at, Fault::Cache));
        assert_eq!(world.make().unwrap().problems, [], "it shows what it should have");
        let lied = world.trouble.lock().unwrap().silent_done;
        world.heal();
        let lock = world.backups.lock().unwrap();
        let outcome = world.backups.verify(&lock, None, world.now).unwrap();
        assert_eq!(outcome.problems.is_empty(), !lied, "{outcome:?}");
        assert!(outcome.problems.iter().all(|problem| problem.what.contains(&vault)), "{outcome:?}");
        assert!(outcome.backups.iter().flat_map(|backup| &backup.copies).all(|(_, state)| state.is_good()));
        drop(lock);
        world.assert_honest();
        world.assert_no_litter();
    });
}

#[test]
fn a_backup_that_rots_everywhere_is_listed_as_damaged_and_the_alert_says_so() {
    let mut world = World::new(1);
    world.count();
    let id = world.make().unwrap().backups[0].manifest.id.clone();
    for vault in &world.vaults {
        vault.spoil(&manifest::file(&id), Fault::Flip);
    }
    let lock = world.backups.lock().unwrap();
    let outcome = world.backups.verify(&lock, Some(&id), world.now).unwrap();
    assert!(outcome.backups[0].copies.iter().all(|(_, state)| matches!(state, CopyState::Damaged(_))));
    let listed = world.backups.catalog();
    let listed = listed.backups.iter().find(|backup| backup.manifest.id == id).unwrap();
    assert!(!listed.is_verified(), "{listed:?}");
    let alerts = fs::read_to_string(world.backups.root.join("backup_alerts.log")).unwrap();
    assert!(alerts.contains("CRITICAL: ") && alerts.contains(&id), "{alerts}");
    assert!(fs::read_to_string(world.backups.root.join("backup.log")).unwrap().lines().count() == 2);
}
