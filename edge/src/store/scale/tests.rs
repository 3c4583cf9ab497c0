//! The record and the notes move together, once, whoever looks first.

use super::*;
use tempfile::TempDir;
use tt_protocol::clock::Boot;
use tt_protocol::number::{EdgeId, Millis};
use tt_protocol::policy::Policy;

const NOON: i64 = 1_800_000_000_000;
const DAY: i64 = 86_400_000;

fn reading(wall: i64, elapsed_ms: i64) -> Reading {
    Reading { wall: Millis(wall), boot: Some(Boot { id: 1, elapsed_ms }) }
}

/// A device seen at noon, with one row noted a second before.
fn device() -> (TempDir, EdgeStore) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.db");
    let program = Connection::open(&path).unwrap();
    program.execute_batch("CREATE TABLE t(k TEXT PRIMARY KEY, v); INSERT INTO t VALUES ('a', 1)").unwrap();
    let mut store = EdgeStore::adopt(&path, Policy::default(), EdgeId(1)).unwrap();
    store.cut(Millis(0)).unwrap();
    program.execute_batch("UPDATE t SET v = 2").unwrap();
    store.connection().execute("UPDATE _sync_base_t SET _at = ?1", [NOON - 1_000]).unwrap();
    store.look_at_clock(reading(NOON, 60_000)).unwrap();
    (dir, store)
}

fn noted_at(store: &EdgeStore) -> i64 {
    store.connection().query_row("SELECT _at FROM _sync_base_t", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_step_that_a_command_has_seen_is_not_taken_twice() {
    let (_dir, mut daemon) = device();
    let path = daemon.connection().path().unwrap().to_owned();
    let later = reading(NOON + DAY + 1_000, 61_000);
    let command = Connection::open(path).unwrap();
    look_before_writing(&command, later).unwrap();
    assert_eq!(noted_at(&daemon), NOON - 1_000 + DAY);
    daemon.look_at_clock(reading(NOON + DAY + 2_000, 62_000)).unwrap();
    assert_eq!((noted_at(&daemon), daemon.clock_offset().unwrap()), (NOON - 1_000 + DAY, DAY));
}

#[test]
fn a_look_that_finds_nothing_writes_nothing() {
    let (_dir, mut store) = device();
    store.look_at_clock(reading(NOON + 60_000, 120_000)).unwrap();
    assert_eq!(seen(&store), NOON, "not on every look");
    store.look_at_clock(reading(NOON + KEEP_MS, 60_000 + KEEP_MS)).unwrap();
    assert_eq!(seen(&store), NOON + KEEP_MS, "but now and then");
}

fn seen(store: &EdgeStore) -> i64 {
    store.connection().query_row("SELECT seen_ms FROM _sync_clock", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_daemon_that_starts_again_remembers_the_clock() {
    let (_dir, store) = device();
    let path = store.connection().path().unwrap().to_owned();
    drop(store);
    let mut store = EdgeStore::open(path.as_ref(), Policy::default()).unwrap();
    assert!(store.look_at_clock(reading(NOON - DAY, 120_000)).unwrap());
    assert_eq!(noted_at(&store), NOON - 1_000 - DAY - 60_000);
    store.set_clock_offset(-DAY).unwrap();
    assert_eq!(store.clock_offset().unwrap(), -DAY);
}

#[test]
fn a_file_without_a_record_is_left_alone() {
    let conn = Connection::open_in_memory().unwrap();
    look_before_writing(&conn, reading(NOON, 1)).unwrap();
}

#[test]
fn a_person_is_told_of_a_clock_that_is_off() {
    assert_eq!(trouble(1_999, false), None);
    let said = trouble(DAY + 5_000, false).unwrap();
    assert!(said.contains("24 h ahead of the hub's") && said.contains("corrected"), "{said}");
    let said = trouble(-90_000, true).unwrap();
    assert!(said.contains("90 s behind the hub's") && said.contains("met again"), "{said}");
}
