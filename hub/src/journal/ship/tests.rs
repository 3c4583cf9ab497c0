//! Vaults that come and go, and what they have afterwards.

use super::*;
use crate::backup::vault::FolderVault;
use crate::backup::vault::tests::MemoryVault;
use crate::journal::reader::Reader;
use crate::journal::record::Entry;
use crate::store::HubStore;
use rusqlite::Connection;
use tempfile::TempDir;
use tt_protocol::number::Millis;
use tt_protocol::policy::Policy;

const EPOCH: Epoch = Epoch(1);

struct Hub {
    dir: TempDir,
    store: HubStore,
    program: Connection,
}

impl Hub {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hub.db");
        let program = Connection::open(&path).unwrap();
        program.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT)").unwrap();
        let journal = dir.path().join("journal");
        let store = HubStore::open_journaled(&path, Policy::default(), &journal).unwrap();
        Self { dir, store, program }
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    fn write(&mut self, at: i64) -> Tail {
        self.program.execute("INSERT INTO t(note) VALUES ('x')", []).unwrap();
        self.store.cut_local(Millis(at)).unwrap();
        self.store.tail().unwrap()
    }
}

fn entries(reader: &Reader) -> Vec<Entry> {
    let first = reader.reach().unwrap().unwrap().first;
    reader.after(Lsn(first.0 - 1)).unwrap().map(Result::unwrap).collect()
}

fn here(hub: &Hub) -> Vec<Entry> {
    entries(&Reader::of_folder(&hub.journal()))
}

fn there(vault: &MemoryVault) -> Vec<Entry> {
    entries(&Reader::of_vault(vault.part(PART)))
}

#[test]
fn every_round_brings_what_is_new_and_parts_are_put_together() {
    let (mut hub, vault) = (Hub::new(), MemoryVault::default());
    let folder = hub.journal();
    let mut shipper = Shipper::new(&folder, &vault);
    for round in 0..200 {
        let tail = hub.write(round);
        shipper.round(tail, EPOCH).unwrap();
        assert!(vault.part(PART).list().unwrap().len() <= PARTS_MAX + 1);
        if round % 20 == 0 {
            assert_eq!(there(&vault), here(&hub), "round {round}");
        }
    }
    assert_eq!(there(&vault), here(&hub));
}

#[test]
fn a_closed_segment_is_there_whole_and_its_parts_go() {
    let (mut hub, vault) = (Hub::new(), MemoryVault::default());
    let folder = hub.journal();
    let mut shipper = Shipper::new(&folder, &vault);
    for day in 0..3 {
        for second in 0..3 {
            shipper.round(hub.write(day * 86_400_000 + second), EPOCH).unwrap();
        }
    }
    let names = vault.part(PART).list().unwrap();
    assert_eq!(names.iter().filter(|name| name.ends_with(".seg")).count(), 2, "{names:?}");
    assert_eq!(names.iter().filter(|name| name.ends_with(".part")).count(), 3, "{names:?}");
    assert_eq!(there(&vault), here(&hub));
}

#[test]
fn a_vault_that_comes_late_or_loses_files_gets_what_it_lacks() {
    let (mut hub, vault) = (Hub::new(), MemoryVault::default());
    let folder = hub.journal();
    for day in 0..4 {
        hub.write(day * 86_400_000);
    }
    let tail = hub.write(4 * 86_400_000);
    Shipper::new(&folder, &vault).round(tail, EPOCH).unwrap();
    assert_eq!(there(&vault), here(&hub));
    for name in vault.part(PART).list().unwrap() {
        vault.part(PART).remove(&name).unwrap();
        // A part of which only the second half is there is no beginning.
        Shipper::new(&folder, &vault).round(tail, EPOCH).unwrap();
        assert_eq!(there(&vault), here(&hub), "{name} was lost");
    }
}

#[test]
fn a_part_that_is_there_twice_or_overlaps_does_no_harm() {
    let (mut hub, vault) = (Hub::new(), MemoryVault::default());
    let folder = hub.journal();
    let mut shipper = Shipper::new(&folder, &vault);
    for round in 0..5 {
        shipper.round(hub.write(round), EPOCH).unwrap();
    }
    let tail = hub.store.tail().unwrap();
    let whole = fs::read(folder.join(segment::name(tail.segment))).unwrap();
    for (offset, length) in [(0, 50), (20, 100), (40, tail.bytes - 40)] {
        let part = Part { first: tail.segment, offset, length };
        let from = usize::try_from(offset).unwrap();
        let bytes = &whole[from..from + usize::try_from(length).unwrap()];
        vault::put(vault.part(PART).as_ref(), &part.name(), bytes).unwrap();
        assert_eq!(there(&vault), here(&hub));
    }
}

#[test]
fn without_a_verified_backup_nothing_in_a_vault_is_safe() {
    let (mut hub, vault) = (Hub::new(), MemoryVault::default());
    let folder = hub.journal();
    let mut shipper = Shipper::new(&folder, &vault);
    let tail = hub.write(1);
    assert_eq!(shipper.round(tail, EPOCH).unwrap(), Version(0));
    let backup = |version| Verified { epoch: EPOCH, version: Version(version) };
    shipper.backups.1 = vec![backup(0)];
    assert_eq!(shipper.safe(tail, EPOCH), tail.version, "the backup and the journal from there on");
    assert_eq!(shipper.safe(tail, Epoch(2)), Version(0), "a backup of another epoch");
    for name in vault.part(PART).list().unwrap() {
        vault.part(PART).remove(&name).unwrap();
    }
    shipper.stored = Some(BTreeMap::new());
    shipper.backups.1 = vec![backup(1)];
    assert_eq!(shipper.safe(tail, EPOCH), Version(1), "only the backup");
}

#[test]
fn what_no_backup_needs_any_more_goes_from_the_vault_and_from_here_and_does_not_come_back() {
    let (mut hub, vault) = (Hub::new(), MemoryVault::default());
    let folder = hub.journal();
    let mut shipper = Shipper::new(&folder, &vault);
    let day = 86_400_000;
    for number in 0..10 {
        shipper.round(hub.write(number * day), EPOCH).unwrap();
    }
    let tail = hub.store.tail().unwrap();
    shipper.backups.1 = vec![Verified { epoch: EPOCH, version: Version(5) }];
    shipper.clean_up(2, Some(tail.last), Millis(10 * day));
    shipper.round(tail, EPOCH).unwrap();
    let (left, kept) = (here(&hub), there(&vault));
    assert_eq!(left, kept);
    assert_eq!(
        left.first().map(|entry| entry.version),
        Some(Version(5)),
        "the segment before the backup's own"
    );
    assert_eq!(left.last().map(|entry| entry.lsn), Some(tail.last));
}

#[test]
fn a_vault_that_lets_nothing_be_removed_has_the_journal_all_the_same() {
    let vault = MemoryVault { keeps: true, ..MemoryVault::default() };
    let mut hub = Hub::new();
    let folder = hub.journal();
    let mut shipper = Shipper::new(&folder, &vault);
    for round in 0..200 {
        let tail = hub.write(round);
        shipper.round(tail, EPOCH).unwrap();
    }
    assert!(vault.part(PART).list().unwrap().len() >= 200, "it keeps every part");
    assert_eq!(there(&vault), here(&hub));
}

#[test]
fn what_a_death_in_the_middle_of_an_upload_left_goes_when_the_vault_is_cleaned_up() {
    let mut hub = Hub::new();
    let (folder, place) = (hub.journal(), hub.dir.path().join("vault"));
    let vault = FolderVault::new("own", &place, true);
    let mut shipper = Shipper::new(&folder, &vault);
    shipper.round(hub.write(1), EPOCH).unwrap();
    let half = place.join(PART).join(".00000000000000000009.part.new");
    std::fs::write(&half, "half").unwrap();
    shipper.clean_up(35, None, Millis(1));
    assert!(!half.exists());
    assert_eq!(entries(&Reader::of_vault(vault.part(PART))), here(&hub));
}
