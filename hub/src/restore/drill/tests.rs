//! Drills of a small journaled hub: what it proves when all is well, and that it fails when the journal is not its own.

use super::super::Restores;
use super::{Chance, Drill};
use crate::backup::Tier;
use crate::folder::Folder;
use crate::restore::RestoreError;
use crate::store::HubStore;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tt_migrations::{policy, runner};
use tt_protocol::number::Millis;

const NOON: i64 = 1_795_953_600;

/// A hub whose programs write a name at a time, each a version of its own.
struct World {
    dir: TempDir,
    folder: Folder,
    restores: Restores,
}

impl World {
    fn of(dir: TempDir) -> Self {
        let folder = Folder::new(dir.path());
        let restores = Restores::open(&folder, &toml::from_str("zone = \"UTC\"").unwrap()).unwrap();
        Self { dir, folder, restores }
    }

    fn new() -> Self {
        let world = Self::of(tempfile::tempdir().unwrap());
        runner::apply_all(&Connection::open(world.folder.database()).unwrap(), 0).unwrap();
        world.write(0, &["first"]);
        world
    }

    /// Programs write, and the hub cuts and journals, a second later each.
    fn write(&self, at: i64, names: &[&str]) {
        let path = self.folder.database();
        let mut store = HubStore::open_journaled(&path, policy::shipped(), &self.folder.journal()).unwrap();
        let program = Connection::open(&path).unwrap();
        for (second, name) in names.iter().enumerate() {
            let sql = "INSERT INTO employees(username, full_name, password_hash) VALUES (?1, ?1, '')";
            program.execute(sql, [name]).unwrap();
            program.execute("UPDATE employees SET full_name = ?1 WHERE username = 'first'", [name]).unwrap();
            let at = Millis((NOON + at + i64::try_from(second).unwrap()) * 1_000);
            assert!(store.cut_local(at).unwrap());
        }
        store.flush().unwrap();
    }

    fn backup(&self, tier: Tier, at: i64) -> u64 {
        let lock = self.restores.backups.lock().unwrap();
        let made = self.restores.backups.make(&lock, &[tier], NOON + at).unwrap();
        assert!(made.problems.is_empty(), "{:?}", made.problems);
        made.backups[0].manifest.version
    }

    fn drill(&self, dice: u64) -> Result<Drill, RestoreError> {
        self.drill_at(7_200, dice)
    }

    fn drill_at(&self, at: i64, dice: u64) -> Result<Drill, RestoreError> {
        let lock = self.restores.backups.lock()?;
        let chance = Chance { dice, now: NOON + at, keep_days: 35 };
        Ok(self.restores.drill(&lock, chance)?.unwrap())
    }

    fn alerts(&self) -> String {
        fs::read_to_string(self.dir.path().join("backups/backup_alerts.log")).unwrap_or_default()
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut paths = Vec::new();
    for entry in entries {
        match entry.file_type().unwrap().is_dir() {
            true => paths.extend(files(&entry.path())),
            false => paths.push(entry.path()),
        }
    }
    paths
}

fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        let copy = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(path, copy).unwrap();
    }
}

#[test]
fn it_goes_by_every_version_on_the_way_and_compares_its_rows() {
    let world = World::new();
    let older = world.backup(Tier::Hourly, 60);
    world.write(120, &["a", "b", "c", "d"]);
    let newest = world.backup(Tier::Daily, 180);
    assert_eq!(newest, older + 4);
    let mut seen = BTreeSet::new();
    for dice in 0..16 {
        let drill = world.drill(dice).unwrap();
        assert_eq!((&drill.failed, drill.notes.as_slice(), drill.version), (&None, &[][..], newest));
        let moment = drill.moment.clone().unwrap();
        assert_eq!(moment.rows, 2, "the new row and the changed one");
        assert!(moment.at.starts_with("2026-"), "{moment:?}");
        assert!(drill.way().contains(&format!("by way of version {}", moment.version)));
        assert_eq!(super::last(world.restores.root()), Some(drill));
        seen.insert(moment.version);
    }
    assert_eq!(seen, (older + 1..newest).collect(), "chance comes to all that lie between, and to no other");
    assert_eq!(world.alerts(), "");
}

#[test]
fn rows_that_lack_their_parent_at_one_version_only_are_said_and_fail_nothing() {
    let world = World::new();
    world.backup(Tier::Hourly, 60);
    let path = world.folder.database();
    let mut store = HubStore::open_journaled(&path, policy::shipped(), &world.folder.journal()).unwrap();
    let program = Connection::open(&path).unwrap();
    program.pragma_update(None, "foreign_keys", false).unwrap();
    let early = "INSERT INTO po_lines(po_id, inventory_item_id) VALUES (4711, 'x')";
    for (second, sql) in [early, "DELETE FROM po_lines"].into_iter().enumerate() {
        program.execute_batch(sql).unwrap();
        let at = Millis((NOON + 120 + i64::try_from(second).unwrap()) * 1_000);
        assert!(store.cut_local(at).unwrap());
    }
    store.flush().unwrap();
    drop(store);
    world.backup(Tier::Daily, 180);
    let drill = world.drill(3).unwrap();
    assert_eq!(drill.failed, None, "{drill:?}");
    assert!(drill.notes[0].contains("1 row of po_lines named a row that was not there"), "{drill:?}");
}

#[test]
fn a_journal_that_was_tampered_with_fails_it_and_a_good_one_elsewhere_is_used() {
    let world = World::new();
    world.backup(Tier::Hourly, 60);
    world.write(120, &["a", "b", "c"]);
    world.backup(Tier::Daily, 180);
    let elsewhere = world.dir.path().join("backups/primary/journal");
    copy(&world.folder.journal(), &elsewhere);
    let segment = files(&world.folder.journal()).pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let place = bytes.len() - 200;
    bytes[place] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let drill = world.drill(1).unwrap();
    assert_eq!(drill.failed, None);
    assert!(drill.notes[0].contains("the journal of the hub was not used"), "{:?}", drill.notes);
    assert!(world.alerts().contains("WARNING: the drill: the journal of the hub"), "{}", world.alerts());
    fs::remove_dir_all(elsewhere).unwrap();
    let drill = world.drill(1).unwrap();
    assert!(drill.failed.unwrap().contains("journal"));
    assert!(world.alerts().contains("CRITICAL: the drill failed"), "{}", world.alerts());
}

#[test]
fn a_journal_of_another_life_fails_it_although_each_of_its_entries_is_sound() {
    let world = World::new();
    world.backup(Tier::Hourly, 60);
    let twin = tempfile::tempdir().unwrap();
    copy(world.dir.path(), twin.path());
    let twin = World::of(twin);
    world.write(120, &["a", "b", "c"]);
    world.backup(Tier::Daily, 180);
    twin.write(120, &["a", "forged", "c"]);
    fs::remove_dir_all(world.folder.journal()).unwrap();
    copy(&twin.folder.journal(), &world.folder.journal());
    let failed = world.drill(1).unwrap().failed.unwrap();
    assert!(failed.contains("employees") && failed.contains("not the newest backup"), "{failed}");
    assert!(world.alerts().contains("CRITICAL: the drill failed"), "{}", world.alerts());
}

#[test]
fn the_newest_is_the_one_that_holds_most_whatever_the_clocks_said() {
    let world = World::new();
    world.backup(Tier::Yearly, 400 * 86_400);
    world.write(60, &["second"]);
    let version = world.backup(Tier::Hourly, 3_600);
    let drill = world.drill(7).unwrap();
    assert_eq!((drill.version, drill.failed.as_deref()), (version, None), "{drill:?}");
    assert!(drill.older.is_some_and(|older| older.contains("yearly")));
}

#[test]
fn a_clock_that_is_behind_calls_no_journal_lost_that_was_let_go() {
    let world = World::new();
    world.backup(Tier::Hourly, 60);
    world.write(120, &["a"]);
    world.write(86_400, &["b"]);
    world.backup(Tier::Daily, 86_460);
    let mut segments = files(&world.folder.journal());
    segments.sort();
    assert_eq!(segments.len(), 2, "{segments:?}");
    fs::remove_file(&segments[0]).unwrap();
    let right = world.drill_at(86_400 + 7_200, 0).unwrap();
    assert!(right.failed.is_some(), "that journal is of the last days and should be there");
    for days in [-400, -2] {
        let drill = world.drill_at(days * 86_400, 0).unwrap();
        assert_eq!((drill.failed, drill.older), (None, None), "{days} days off");
    }
}
