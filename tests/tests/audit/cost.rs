//! What a compare costs: bytes on the link, and reads of the hub's table.

use crate::life::{HUB, past_capture, quiet, world};
use rusqlite::Connection;
use std::path::Path;
use tt_edge::store::Outcome;
use tt_hub::store::HubStore;
use tt_hub::store::audit::AuditReader;
use tt_migrations::audit;
use tt_migrations::replica::Replica;
use tt_protocol::audit::{Compare, Finding, Question};
use tt_protocol::number::{Millis, Version};
use tt_protocol::policy::Policy;

/// Rows in the large table. A million would be five times as many rows in a leaf, and the same digests.
const ROWS: usize = 200_000;
const MILLION: usize = 1_000_000;
/// What one differing row in a million may cost on the link.
const BYTES_MAX: usize = 64 * 1024;

#[test]
fn one_differing_row_costs_little_on_the_link_however_large_the_table() {
    let mut world = world();
    let many = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         INSERT INTO settings SELECT 'machine ' || i || ' of the second hall', 'calibrated by ' || (i * 7919) FROM n"
    );
    // Past capture on every node, so that the test does not also send them.
    for node in [HUB, 1, 2] {
        past_capture(&world, node, &many);
    }
    // Digests that the hub remembers hold until the next version.
    world.program(HUB).execute("INSERT INTO settings VALUES ('next', 'version')", []).expect("writes");
    world.settle();
    past_capture(&world, 1, "DELETE FROM settings WHERE name = 'machine 4711 of the second hall'");
    let before = world.compares.bytes;
    world.unlink(1);
    world.program(1).execute_batch("DROP TRIGGER \"_sync_settings_delete\"").expect("drops");
    for _ in 0..200 {
        world.step_edge(0);
        world.deliver_up(0, false);
        world.step_hub();
    }
    let audits = world.edge_store(0).audits().expect("reads");
    let settings = audits.iter().find(|audit| audit.table == "settings").expect("it is replicated");
    assert_eq!((settings.outcome, settings.rows), (Some(Outcome::Healed), 1), "{settings:?}");
    let bytes = world.compares.bytes - before;
    // Two rounds of buckets (the second proves that they are equal), one of leaves, one of rows. Only the
    // rows of the one leaf grow with the table: here 200,000 / 65,536, with a million five times as many.
    let row = 60;
    let leaf = |rows: usize| row * (rows / 65_536 + 1) * 3;
    let with_a_million = bytes + leaf(MILLION) - leaf(ROWS).min(leaf(MILLION));
    println!("{bytes} bytes with {ROWS} rows, at most {with_a_million} with {MILLION}");
    assert!(with_a_million < BYTES_MAX, "{with_a_million} bytes");
    assert!(bytes > 5_000, "{bytes} bytes are less than the digests of one level: nothing was measured");
}

struct Hub {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
    store: HubStore,
}

fn hub() -> Hub {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("hub.db");
    let conn = Connection::open(&path).expect("a new file");
    conn.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT); INSERT INTO t(v) VALUES ('a'), ('b')",
    )
    .expect("a schema");
    let mut store = HubStore::open(&path, Policy::default()).expect("opens");
    store.cut_local(Millis(1)).expect("cuts");
    Hub { _dir: dir, path, store }
}

/// What an edge with the rows of this file asks.
fn question(path: &Path, replica: &Replica, version: Version) -> Compare {
    let conn = Connection::open(path).expect("opens");
    let tracked = replica.get("t").expect("it is replicated");
    let columns = audit::columns(tracked);
    let digests = audit::digests(&conn, tracked, &columns).expect("reads");
    Compare { table: "t".to_owned(), version, columns, question: Question::Buckets(digests.buckets()) }
}

#[test]
fn two_hundred_edges_that_ask_at_one_version_cost_one_read_of_the_table() {
    let mut hub = hub();
    let mut reader = AuditReader::open(&hub.path).expect("opens");
    let compare = question(&hub.path, hub.store.replica(), hub.store.version());
    for _ in 0..200 {
        let compared = reader.compare(hub.store.replica(), &compare).expect("compares");
        assert_eq!(compared.finding, Finding::Equal);
    }
    assert_eq!(reader.passes(), 1);
    let program = Connection::open(&hub.path).expect("opens");
    program.execute("INSERT INTO t(v) VALUES ('c')", []).expect("writes");
    hub.store.cut_local(Millis(2)).expect("cuts");
    let late = reader.compare(hub.store.replica(), &compare).expect("compares");
    assert_eq!(late.finding, Finding::NotNow, "the edge is behind");
    let compare = question(&hub.path, hub.store.replica(), hub.store.version());
    let compared = reader.compare(hub.store.replica(), &compare).expect("compares");
    assert_eq!((compared.finding, reader.passes()), (Finding::Equal, 2), "another version is read anew");
}

#[test]
fn what_a_program_at_the_hub_has_not_cut_is_no_version_and_is_not_compared() {
    let hub = hub();
    let mut reader = AuditReader::open(&hub.path).expect("opens");
    let compare = question(&hub.path, hub.store.replica(), hub.store.version());
    let program = Connection::open(&hub.path).expect("opens");
    program.execute("UPDATE t SET v = 'x' WHERE id = 1", []).expect("writes");
    let compared = reader.compare(hub.store.replica(), &compare).expect("compares");
    assert_eq!((compared.finding, reader.passes()), (Finding::NotNow, 0));
    program.execute("UPDATE t SET v = 'a' WHERE id = 1", []).expect("writes");
    let compared = reader.compare(hub.store.replica(), &compare).expect("compares");
    assert_eq!(compared.finding, Finding::Equal, "touched and as it was: that is what the version says");
}

#[test]
fn a_table_of_another_shape_is_not_compared_and_not_asked_about_again() {
    let hub = hub();
    let mut reader = AuditReader::open(&hub.path).expect("opens");
    let mut compare = question(&hub.path, hub.store.replica(), hub.store.version());
    compare.columns.push("z".to_owned());
    let compared = reader.compare(hub.store.replica(), &compare).expect("compares");
    assert_eq!(compared.finding, Finding::OtherColumns);
    let mut world = world();
    let before = world.compares.asked;
    quiet(&mut world, 1);
    assert_eq!(world.compares.asked, before);
}
