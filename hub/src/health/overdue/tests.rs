//! What is overdue, by facts that a test makes up.

use super::super::breaches::Breaches;
use super::*;
use crate::backup::manifest::{Manifest, Verified};
use crate::backup::{CopyState, Listed, Placed, Settings, calendar};
use crate::folder::Folder;
use crate::journal::ship::PART;
use crate::store::HubStore;
use rusqlite::Connection;
use std::fs;
use tempfile::TempDir;
use tt_migrations::{policy, runner};
use tt_protocol::number::Millis;

pub(crate) const NOON: i64 = 1_795_953_600;

/// A hub whose backups were made at these moments, all good in their vaults.
pub(crate) struct World {
    dir: TempDir,
    pub(crate) backups: Backups,
    pub(crate) catalog: Catalog,
    pub(crate) drill: Option<Drill>,
}

impl World {
    pub(crate) fn new(made: &[(Tier, i64)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings: Settings = toml::from_str("zone = \"UTC\"").unwrap();
        let backups = Backups::open(&Folder::new(dir.path()), &settings).unwrap();
        let listed = |(tier, at): &(Tier, i64)| {
            let mut manifest = Manifest::sample(*tier, calendar::utc(*at));
            manifest.verified = Some(Verified { at: calendar::utc(*at), how: String::new() });
            let takes = |(_, placed): &(usize, &Placed)| placed.takes.contains(tier);
            let vaults = backups.vaults.iter().enumerate().filter(takes);
            Listed { manifest, copies: vaults.map(|(number, _)| (number, CopyState::Verified)).collect() }
        };
        let names = backups.vaults.iter().map(|_| Some(Vec::new())).collect();
        let catalog = Catalog {
            backups: made.iter().map(listed).collect(),
            problems: Vec::new(),
            names,
            ..Catalog::default()
        };
        Self { dir, backups, catalog, drill: None }
    }

    pub(crate) fn with<T>(&self, now: i64, ask: impl Fn(&Facts<'_>) -> T) -> T {
        let journal = Folder::new(self.dir.path()).journal();
        let standing = &Standing::read(&journal, (Some(&self.backups), &self.catalog), Millis(now * 1_000));
        let Self { backups, catalog, drill, .. } = self;
        ask(&Facts { backups, catalog, standing, drill: drill.as_ref(), now })
    }

    fn keys(&self, now: i64) -> Vec<String> {
        self.with(now, all).into_iter().map(|one| one.key).collect()
    }
}

fn one_of_each(at: i64) -> Vec<(Tier, i64)> {
    [Tier::Hourly, Tier::Daily, Tier::Weekly, Tier::Monthly, Tier::Yearly].map(|tier| (tier, at)).to_vec()
}

#[test]
fn each_tier_is_overdue_by_itself_and_none_before_its_time() {
    let world = World::new(&one_of_each(NOON));
    let tiers =
        |now| world.keys(now).into_iter().filter(|key| key.starts_with("backups")).collect::<Vec<_>>();
    assert_eq!(tiers(NOON + 2 * 3_600), [""; 0]);
    assert_eq!(tiers(NOON + 2 * 3_600 + 1), ["backups hourly"]);
    assert_eq!(tiers(NOON + 26 * 3_600 + 1), ["backups hourly", "backups daily"]);
    assert_eq!(tiers(NOON + 369 * DAY).len(), 5);
    assert_eq!(tiers(NOON - DAY), ["backups"], "all from the future: nobody knows how old they are");
    assert_eq!(World::new(&[]).keys(NOON), ["backups"]);
}

#[test]
fn a_backup_from_the_future_is_not_taken_for_a_young_one() {
    let mut made = one_of_each(NOON);
    made.push((Tier::Hourly, NOON + 400 * DAY));
    let keys = World::new(&made).keys(NOON + 3 * 3_600);
    assert_eq!(keys, ["backups", "reading"], "the clock went back: nobody knows how old any of them is");
}

#[test]
fn copies_nobody_read_and_restores_nobody_rehearsed_are_overdue() {
    let mut made = one_of_each(NOON);
    let mut world = World::new(&made);
    let has = |world: &World, now, key: &str| world.keys(now).iter().any(|found| found == key);
    assert!(!has(&world, NOON + 8 * DAY, "reading") && has(&world, NOON + 8 * DAY + 1, "reading"));
    assert!(!has(&world, NOON + 2 * DAY, "drill") && has(&world, NOON + 2 * DAY + 1, "drill"));
    let drill = |at: i64| Drill {
        at: calendar::utc(at),
        newest: String::new(),
        older: None,
        version: 1,
        tables: 1,
        moment: None,
        notes: Vec::new(),
        failed: None,
    };
    world.drill = Some(drill(NOON + DAY));
    assert!(!has(&world, NOON + 3 * DAY, "drill") && has(&world, NOON + 3 * DAY + 1, "drill"));
    world.drill = Some(drill(NOON + 400 * DAY));
    assert!(has(&world, NOON + 4 * DAY, "drill"), "no clock that was wrong hides it");
    made.push((Tier::Yearly, NOON));
    let mut world = World::new(&made);
    world.catalog.backups[5].manifest.verified =
        Some(Verified { at: calendar::utc(NOON + 400 * DAY), how: String::new() });
    assert!(has(&world, NOON, "reading"), "nor one that dated a reading");
}

#[test]
fn a_vault_that_lacks_the_journal_is_overdue_by_the_age_of_the_first_entry_that_it_lacks() {
    let world = World::new(&one_of_each(NOON));
    let journal = Folder::new(world.dir.path()).journal();
    let database = Folder::new(world.dir.path()).database();
    runner::apply_all(&Connection::open(&database).unwrap(), 0).unwrap();
    let write = |name: &str, at: i64| {
        let mut store = HubStore::open_journaled(&database, policy::shipped(), &journal).unwrap();
        let sql = "INSERT INTO employees(username, full_name, password_hash) VALUES (?1, ?1, '')";
        Connection::open(&database).unwrap().execute(sql, [name]).unwrap();
        assert!(store.cut_local(Millis(at * 1_000)).unwrap());
        store.flush().unwrap();
    };
    write("first", NOON - 30 * DAY);
    let ship = || {
        for vault in world.backups.places() {
            let part = vault.part(PART);
            for segment in fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap()) {
                let bytes = fs::read(segment.path()).unwrap();
                crate::backup::vault::put(part.as_ref(), segment.file_name().to_str().unwrap(), &bytes)
                    .unwrap();
            }
        }
    };
    ship();
    assert_eq!(world.keys(NOON), [""; 0]);
    write("second", NOON);
    write("third", NOON + 600);
    assert_eq!(world.keys(NOON + 15 * 60), [""; 0], "a month without an entry is no lag");
    let late = NOON + 15 * 60 + 1;
    assert_eq!(world.keys(late), ["vault primary", "vault secondary", "vault archive"]);
    let said = world.with(late, all)[0].what.clone();
    assert!(said.contains("primary lacks the journal of the last 15 min"), "{said}");
    ship();
    assert_eq!(world.keys(late), [""; 0]);
}

#[test]
fn a_vault_that_does_not_answer_is_one_breach_whatever_it_lacks_as_well() {
    let mut world = World::new(&one_of_each(NOON));
    world.catalog.names[1] = None;
    let mut breaches = Breaches::default();
    let told = breaches.follow(&world.with(NOON, all), NOON);
    assert!(told.len() == 1 && told[0].what.contains("vault secondary"), "{told:?}");
    assert_eq!(breaches.follow(&world.with(NOON + 60, all), NOON + 60), []);
    world.catalog.names[1] = Some(Vec::new());
    let over = breaches.follow(&world.with(NOON + 120, all), NOON + 120);
    assert!(over.len() == 1 && over[0].to_string().starts_with("RESOLVED: over since"), "{over:?}");
}
