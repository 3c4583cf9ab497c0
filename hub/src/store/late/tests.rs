//! What waits, and what is looked at of it.

use super::super::{Changeset, HubStore, TABLES};
use super::asleep::READ;
use super::*;
use crate::dice::Dice;
use std::path::Path;
use tt_migrations::policy;
use tt_protocol::ids::IdBlock;
use tt_protocol::number::Seq;
use tt_protocol::pieces;

const MANY: i64 = 300;

/// A hub that was put back, with two tables of which one points at the other.
fn hub(dir: &Path) -> HubStore {
    let path = dir.join("hub.db");
    let sql = "CREATE TABLE p(id INTEGER PRIMARY KEY AUTOINCREMENT, note INTEGER);
               CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, p INTEGER REFERENCES p(id), note INTEGER)";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let store = HubStore::open(&path, policy::shipped()).unwrap();
    for device in 1..=3 {
        let sql = "INSERT INTO _sync_edge(device, name, role, enrolled_at, cert_sha256)
                   VALUES (?1, 'd' || ?1, 'station', 1, randomblob(32))";
        store.conn.execute(sql, [device]).unwrap();
    }
    state::set(&store.conn, state::EPOCH, 2).unwrap();
    drop(store);
    HubStore::open(&path, policy::shipped()).unwrap()
}

/// Devices that each send one changeset after the other.
#[derive(Default)]
struct Devices([u64; 4]);

impl Devices {
    fn sends(&mut self, device: u16, fill: impl FnOnce(&mut PieceBuilder)) -> Changeset {
        let mut builder = PieceBuilder::default();
        fill(&mut builder);
        let (pieces, seq) = (builder.finish(), &mut self.0[usize::from(device)]);
        *seq += 1;
        let hash = pieces::hash(&pieces);
        Changeset { edge: EdgeId(device), seq: Seq(*seq), hash, pieces, cursor: Version(0) }
    }
}

fn first(device: u16) -> i64 {
    IdBlock::above(0, EdgeId(device)).unwrap().first()
}

fn order(builder: &mut PieceBuilder, kind: Kind, id: i64) {
    builder.push(kind, "p", 1, &["id", "note"], [id, 0, 7].map(ValueRef::Integer));
}

fn line(builder: &mut PieceBuilder, kind: Kind, id: i64, order: i64) {
    builder.push(kind, "t", 1, &["id", "p", "note"], [id, order, 0, 7].map(ValueRef::Integer));
}

fn number(store: &HubStore, sql: &str) -> i64 {
    store.conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn merge(store: &mut HubStore, changesets: &[Changeset]) {
    let outcomes = store.merge(changesets, Millis(9)).unwrap();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

#[test]
fn what_waits_is_found_without_a_look_at_the_rest() {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(TABLES).unwrap();
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {READ}")).unwrap();
    let plan: Vec<String> =
        statement.query_map([], |row| row.get("detail")).unwrap().collect::<Result<_>>().unwrap();
    let plan = plan.join("; ");
    assert!(plan.contains("_sync_conflict_late") && plan.contains("_sync_conflict_deletes"), "{plan}");
    assert!(READ.contains(WAITS), "the entries that `wait` makes");
}

#[test]
fn a_changeset_looks_at_those_that_wait_for_its_rows_and_at_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut devices) = (hub(dir.path()), Devices::default());
    // Deletes of another's orders, and lines of others, both before what they need.
    let deletes = devices.sends(2, |builder| {
        (0..MANY).for_each(|at| order(builder, Kind::Delete, first(1) + MANY + at));
    });
    let lines = devices.sends(2, |builder| {
        (0..MANY).for_each(|at| line(builder, Kind::Insert, first(2) + at, first(1) + at));
    });
    merge(&mut store, &[deletes, lines]);
    let waiting =
        "SELECT count(*) FROM _sync_conflict WHERE state = 'open' OR decision = 'waits for its row'";
    assert_eq!(number(&store, waiting), 2 * MANY);
    let other = devices.sends(3, |builder| order(builder, Kind::Insert, first(3)));
    let before = store.late.looks;
    merge(&mut store, &[other]);
    assert_eq!(store.late.looks, before, "nobody waits for it");
    let one = devices.sends(1, |builder| order(builder, Kind::Insert, first(1) + 7));
    merge(&mut store, &[one]);
    assert_eq!(store.late.looks, before + 1);
    assert_eq!(number(&store, waiting), 2 * MANY - 1);
    let deleted = devices.sends(1, |builder| order(builder, Kind::Insert, first(1) + MANY + 9));
    merge(&mut store, &[deleted]);
    assert_eq!(store.late.looks, before + 2);
    assert_eq!(number(&store, waiting), 2 * MANY - 2);
}

/// All that a hub knows in the end, whoever remembered what waits.
fn end(store: &HubStore) -> Vec<String> {
    let all = |sql: &str| -> Vec<String> {
        let mut statement = store.conn.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_>>().unwrap()
    };
    let mut found = all("SELECT json_array('p', id, note) FROM p ORDER BY id");
    found.extend(all("SELECT json_array('t', id, p, note) FROM t ORDER BY id"));
    found.extend(all(
        "SELECT json_array(id, version, kind, tab, hex(key), hex(row), hex(work), state, decision, action)
         FROM _sync_conflict ORDER BY id",
    ));
    found.extend(all(
        "SELECT json_array(version, part, origin, hex(keys)) FROM _sync_log ORDER BY version, part",
    ));
    found
}

/// Work of three devices in any order; a hub that remembers comes to the same as one that looks at all each time. A
/// failing seed joins by its number.
#[test]
fn who_remembers_what_waits_comes_to_the_same() {
    let seeds = std::env::var("TT_LATE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    for seed in 0..seeds {
        eprintln!("seed {seed}");
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [mut one, mut other] = [hub(dirs[0].path()), hub(dirs[1].path())];
        let (mut dice, mut devices) = (Dice(seed), Devices::default());
        for _ in 0..60 {
            let device = 1 + dice.roll(3) as u16;
            let changeset = devices.sends(device, |builder| {
                for _ in 0..=dice.roll(3) {
                    let of = |dice: &mut Dice| first(1 + dice.roll(3) as u16) + dice.roll(4) as i64;
                    let (id, parent) = (of(&mut dice), of(&mut dice));
                    let kind = [Kind::Insert, Kind::Insert, Kind::Delete][dice.roll(3) as usize];
                    match dice.roll(2) {
                        0 => order(builder, kind, id),
                        _ => line(builder, kind, id, parent),
                    }
                }
            });
            // Nothing is remembered.
            other.late = Asleep::default();
            for store in [&mut one, &mut other] {
                store.merge(std::slice::from_ref(&changeset), Millis(9)).unwrap();
            }
            assert_eq!(end(&one), end(&other), "seed {seed}");
        }
    }
}
