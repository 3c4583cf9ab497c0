//! Restores in which something fails at any step, programs write all the while, or the process dies.
//!
//! Every world has its seed, which a failure prints. `TT_RESTORE_SEEDS=1000` runs more of them. Whatever happens,
//! the live file holds the old state or the new one, whole, and the next restore works.

mod files;

use super::*;
use crate::backup::contents::{self, Contents};
use crate::backup::{Listed, Tier};
use crate::dice::Dice;
use crate::store::HubStore;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tempfile::TempDir;
use tt_migrations::{policy, runner, state};

const SEEDS: u64 = 28;
const NOON_MS: i64 = 1_795_953_600_000;
const STEPS: [Step; 7] =
    [Step::Keep, Step::Prepare, Step::Intend, Step::Lock, Step::Write, Step::Check, Step::Record];

/// A hub with a backup in which `employees` has one row of ours, and a live file in which it has three.
struct World {
    _dir: TempDir,
    folder: Folder,
    restores: Restores,
    id: String,
    purpose: Purpose,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        runner::apply_all(&Connection::open(folder.database()).unwrap(), 0).unwrap();
        let restores = Restores::open(&folder, &toml::from_str("zone = \"UTC\"").unwrap()).unwrap();
        let mut world = Self { _dir: dir, folder, restores, id: String::new(), purpose: Purpose::Restore };
        drop(world.store());
        world.add("first");
        drop(world.store());
        let lock = world.restores.backups.lock().unwrap();
        let made = world.restores.backups.make(&lock, &[Tier::Hourly], NOON_MS / 1_000).unwrap();
        world.id = made.backups[0].manifest.id.clone();
        world.add("second");
        world.add("third");
        world
    }

    fn store(&self) -> HubStore {
        let mut store = HubStore::open(&self.folder.database(), policy::shipped()).unwrap();
        store.cut_local(tt_protocol::number::Millis(NOON_MS)).unwrap();
        store
    }

    fn program(&self) -> Connection {
        let conn = Connection::open(self.folder.database()).unwrap();
        conn.busy_timeout(Duration::from_secs(20)).unwrap();
        conn
    }

    fn add(&self, name: &str) {
        add(&self.program(), name).unwrap();
    }

    /// The epoch, and our rows.
    fn state(&self) -> (i64, Vec<String>) {
        seen(&self.program())
    }

    fn contents(&self) -> Contents {
        contents::read(&self.program()).unwrap()
    }

    fn restore(&self, watcher: Watcher<'_>) -> Result<Done, RestoreError> {
        let lock = self.restores.backups.lock()?;
        let mut hold = Hold::take(&self.folder)?;
        let looked = self.restores.look(&lock, &What::Named(self.id.clone()), self.purpose)?;
        self.restores.carry_out(&lock, looked, &mut hold, NOON_MS, watcher)
    }

    fn copy(&self, vault: &str) -> PathBuf {
        self.folder.path().join("backups").join(vault).join(format!("{}.db.gz", self.id))
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("backups").join(name)).unwrap_or_default()
    }

    fn listed(&self) -> Listed {
        self.restores.backups.catalog().backups[0].clone()
    }

    /// What must hold after anything.
    fn is_sound(&self, seed: u64) {
        let problems = contents::integrity_problems(&self.program()).unwrap();
        assert!(problems.is_empty(), "seed {seed}: {problems:?}");
        drop(self.store());
    }
}

fn add(conn: &Connection, name: &str) -> rusqlite::Result<usize> {
    conn.execute(
        "INSERT INTO employees(username, full_name, password_hash) VALUES ('ours-' || ?1, ?1, '')",
        [name],
    )
}

fn seen(conn: &Connection) -> (i64, Vec<String>) {
    // One moment, that of the caller if it has one.
    let _moment = conn.is_autocommit().then(|| conn.unchecked_transaction().unwrap());
    let epoch = state::get(conn, state::EPOCH).unwrap().unwrap();
    let sql = "SELECT full_name FROM employees WHERE username LIKE 'ours-%' ORDER BY id";
    let mut statement = conn.prepare(sql).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap();
    (epoch, names)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn old() -> (i64, Vec<String>) {
    (1, names(&["first", "second", "third"]))
}

fn new() -> (i64, Vec<String>) {
    (2, names(&["first"]))
}

fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("TT_RESTORE_SEEDS").ok().and_then(|text| text.parse().ok());
    0..count.unwrap_or(SEEDS)
}

#[test]
fn a_failure_or_a_death_at_any_step_leaves_the_old_state_or_the_new_one() {
    for seed in seeds() {
        let mut dice = Dice(seed);
        let mut world = World::new();
        let before = world.contents();
        let at = STEPS[usize::try_from(dice.roll(STEPS.len() as u64)).unwrap()];
        let dies = dice.roll(2) == 0;
        let writes_again = dice.roll(3) == 0;
        // After a question the present database is read again.
        world.purpose = if dice.roll(2) == 0 { Purpose::Tell } else { Purpose::Restore };
        let mut watcher = |step: Step| {
            if step == Step::Intend && writes_again && at > Step::Lock {
                world.add("late");
            }
            match (step == at, dies) {
                (true, true) => std::panic::panic_any("the process dies"),
                (true, false) => Err(RestoreError::Broken("injected".to_owned())),
                (false, _) => Ok(()),
            }
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| world.restore(&mut watcher)));
        let what = format!("seed {seed}: {at:?}, dies {dies}, writes {writes_again}");
        assert!(outcome.is_err() || outcome.unwrap().is_err(), "{what}");
        let is_new = at >= Step::Check;
        if is_new {
            assert_eq!(world.state(), new(), "{what}");
        } else if writes_again && at > Step::Lock {
            assert_eq!(world.state(), (1, names(&["first", "second", "third", "late"])), "{what}");
        } else {
            assert_eq!(world.contents(), before, "{what}");
        }
        let said = world.restores.settle(NOON_MS).unwrap();
        assert_eq!(said.is_some(), dies && at > Step::Intend, "{what}: {said:?}");
        if let Some(said) = said {
            assert_eq!(said.contains("complete"), is_new, "{what}: {said}");
            let outcome = last(&world.restores.root).unwrap().outcome;
            assert_eq!(outcome, if is_new { "restored" } else { "failed" }, "{what}");
        }
        assert!(!world.restores.is_pending(), "{what}");
        world.is_sound(seed);
        let epoch = world.state().0;
        let done = world.restore(&mut |_| Ok(())).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(done.begun.epoch.0 > epoch.unsigned_abs(), "{what}");
        assert_eq!(world.state().1, new().1, "{what}");
        assert!(!world.restores.root.join(".restore").exists(), "{what}");
        world.is_sound(seed);
    }
}

#[test]
fn what_is_in_the_way_is_said_and_nothing_changes() {
    let blocked = |seed: u64, world: &World| -> Option<Connection> {
        let root = world.folder.path().join("backups");
        let spoil = |path: PathBuf, keep: usize| {
            let mut bytes = fs::read(&path).unwrap();
            bytes.truncate(keep.min(bytes.len()));
            let middle = bytes.len() / 2;
            bytes[middle] ^= 8;
            fs::write(path, bytes).unwrap();
        };
        match seed % 7 {
            0 => fs::write(root.join("before_restore"), "a file").unwrap(),
            1 => ["primary", "secondary"].iter().for_each(|vault| spoil(world.copy(vault), usize::MAX / 2)),
            2 => ["primary", "secondary"].iter().for_each(|vault| spoil(world.copy(vault), 900)),
            3 => {
                ["primary", "secondary"].iter().for_each(|vault| fs::remove_file(world.copy(vault)).unwrap())
            }
            4 => fs::create_dir(root.join("restore.json")).unwrap(),
            5 => fs::write(root.join(".restore"), "a file").unwrap(),
            _ => {
                let holder = world.program();
                holder.execute_batch("BEGIN IMMEDIATE; DELETE FROM employees WHERE 0").unwrap();
                return Some(holder);
            }
        }
        None
    };
    let words = [
        "cannot be kept safe",
        "cannot be restored",
        "cannot be restored",
        "is not there",
        "restore.json",
        ".restore",
        "a program has been writing",
    ];
    for seed in 0..7 {
        let mut world = World::new();
        world.restores.patience = Duration::from_millis(300);
        let before = world.contents();
        let holder = blocked(seed, &world);
        let error = world.restore(&mut |_| Ok(())).unwrap_err().to_string();
        let word = words[usize::try_from(seed % 7).unwrap()];
        assert!(error.contains(word), "seed {seed}: {error}");
        drop(holder);
        assert_eq!(world.contents(), before, "seed {seed}");
        if (1..4).contains(&seed) {
            // Nothing was begun, so nothing is to be undone.
            assert!(!world.restores.is_pending(), "seed {seed}");
        }
    }
}

#[test]
fn a_damaged_copy_is_left_aside_for_a_good_one() {
    let world = World::new();
    let mut bytes = fs::read(world.copy("primary")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(world.copy("primary"), bytes).unwrap();
    assert!(world.listed().copies[0].1.is_good(), "the manifest does not know it yet");
    let lock = world.restores.backups.lock().unwrap();
    let fetched = world.restores.fetch(&lock, &What::Named(world.id.clone()), Depth::Bytes).unwrap();
    assert!(fetched.source.notes[0].contains("primary"), "{:?}", fetched.source.notes);
    drop((fetched, lock));
    world.restore(&mut |_| Ok(())).unwrap();
    assert_eq!(world.state(), new());
}

#[test]
fn a_write_that_comes_out_wrong_is_found_and_taken_back() {
    for seed in seeds().take(8) {
        let world = World::new();
        let before = world.contents();
        let next = world.restores.root.join(".restore/next.db");
        let mut watcher = |step: Step| {
            if step == Step::Write {
                // The disk loses what was prepared: rows that are in no other place any more.
                let conn = Connection::open(&next).unwrap();
                conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
                    .unwrap();
                let sql = [
                    "UPDATE employees SET full_name = 'rot'",
                    "DELETE FROM employees",
                    "DELETE FROM _sync_state",
                ];
                conn.execute_batch(sql[usize::try_from(seed % 3).unwrap()]).unwrap();
            }
            Ok(())
        };
        let error = world.restore(&mut watcher).unwrap_err().to_string();
        assert!(error.contains("was put back"), "seed {seed}: {error}");
        assert_eq!(world.contents(), before, "seed {seed}");
        assert!(world.log("backup_alerts.log").contains("RESTORE_FAILED"), "seed {seed}");
        world.is_sound(seed);
    }
}

#[test]
fn a_check_that_cannot_copy_the_live_file_reads_it_where_it_is() {
    let world = World::new();
    // As on a disk that is full by now.
    let in_the_way = world.restores.root.join(".restore/written.db/x");
    let mut watcher = |step: Step| {
        if step == Step::Check {
            fs::create_dir_all(&in_the_way).unwrap();
        }
        Ok(())
    };
    world.restore(&mut watcher).unwrap();
    assert_eq!(world.state(), new());
    world.is_sound(0);
}

#[test]
fn a_program_sees_one_state_or_the_other_and_goes_on_writing() {
    let world = World::new();
    let reader = world.program();
    reader.execute_batch("BEGIN").unwrap();
    reader.query_row("SELECT count(*) FROM employees", [], |_| Ok(())).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watched = scope.spawn(|| {
            let conn = world.program();
            let mut states = Vec::new();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let (epoch, found) = seen(&conn);
                let is_whole =
                    (epoch == 1 && found.starts_with(&old().1)) || (epoch > 1 && found.starts_with(&new().1));
                assert!(is_whole, "{epoch} {found:?}");
                states.push(epoch);
            }
            states
        });
        let writer = scope.spawn(|| {
            let conn = world.program();
            let mut number = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                add(&conn, &format!("w{number}")).unwrap();
                number += 1;
            }
            number
        });
        let done = world.restore(&mut |_| Ok(()));
        let count = |conn: &Connection| {
            let sql = "SELECT count(*) FROM employees WHERE username LIKE 'ours-%'";
            conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        let after = count(&world.program());
        while count(&world.program()) == after {
            std::thread::yield_now();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let done = done.unwrap();
        assert!(writer.join().unwrap() > 0);
        let states = watched.join().unwrap();
        assert!(states.contains(&1), "the old state was seen");
        assert!(states.is_sorted());
        // All that was written before is in the safety copy: ids are counted without a gap.
        let manifest = world.restores.safety_copy(&done.safety).unwrap();
        let rows = manifest.contents.tables["employees"].rows;
        assert!(rows >= 3, "{rows}");
    });
    assert_eq!(seen(&reader), old(), "its transaction still sees the old state");
    reader.execute_batch("COMMIT").unwrap();
    assert!(seen(&reader).0 > 1);
    add(&reader, "afterwards").unwrap();
    let mut store = world.store();
    let stored: i64 = store
        .connection()
        .query_row("SELECT count(*) FROM employees WHERE full_name = 'afterwards'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(stored, 1);
}

#[test]
fn nothing_that_a_program_wrote_before_the_switch_is_missing_from_the_safety_copy() {
    let world = World::new();
    let mut watcher = |step: Step| {
        if step == Step::Lock {
            world.add("in the last moment");
        }
        Ok(())
    };
    let done = world.restore(&mut watcher).unwrap();
    assert_eq!(world.state().1, new().1);
    let lock = world.restores.backups.lock().unwrap();
    assert_eq!(world.restores.safety_copies().len(), 1, "the stale one is gone");
    let looked = world.restores.look(&lock, &What::Undo, Purpose::Tell).unwrap();
    assert_eq!(looked.source.label, done.safety);
    let mut hold = Hold::take(&world.folder).unwrap();
    world.restores.carry_out(&lock, looked, &mut hold, NOON_MS + 1_000, &mut |_| Ok(())).unwrap();
    assert_eq!(world.state().1, names(&["first", "second", "third", "in the last moment"]));
}
