//! What is done for a changeset whose parents are all gone grows with its rows, and not with their square.

use super::super::super::{Changeset, HubStore};
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tt_migrations::policy;
use tt_protocol::change::Kind;
use tt_protocol::ids::IdBlock;
use tt_protocol::number::{EdgeId, Millis, Seq, Version};
use tt_protocol::pieces::{self, PieceBuilder};
use tt_protocol::value::ValueRef;

/// SQLite's instructions between two looks of the counter.
const STRIDE: i32 = 100;

/// A hub with one parent, and as many children of it.
fn hub(path: &Path, children: i64) -> HubStore {
    let sql = "CREATE TABLE p(id INTEGER PRIMARY KEY AUTOINCREMENT, note INTEGER);
               CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, p INTEGER REFERENCES p(id));
               INSERT INTO p VALUES (1, 0)";
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(sql).unwrap();
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
               INSERT INTO t SELECT i, 1 FROM n";
    conn.execute(sql, [children]).unwrap();
    let store = HubStore::open(path, policy::shipped()).unwrap();
    let sql = "INSERT INTO _sync_edge(device, name, role, enrolled_at, cert_sha256)
               VALUES (1, 'd', 'station', 1, randomblob(32))";
    store.conn.execute(sql, []).unwrap();
    store
}

/// Steps of SQLite's for one changeset of so many inserted and so many updated children, each with a parent of its own
/// that nobody has; and what came of it: rows of the first kind, of the second, entries on the list.
fn merged(rows: i64) -> (u64, (i64, i64, i64)) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = hub(&dir.path().join("hub.db"), rows);
    let mut builder = PieceBuilder::default();
    let own = IdBlock::above(0, EdgeId(1)).unwrap().first();
    for at in 1..=rows {
        builder.push(Kind::Insert, "t", 1, &["id", "p"], [own + at, 100 + at, 7].map(ValueRef::Integer));
        let update = [at, 1, 100_000 + at, 7].map(ValueRef::Integer);
        builder.push(Kind::Update, "t", 1, &["id", "p"], update);
    }
    let pieces = builder.finish();
    let hash = pieces::hash(&pieces);
    let changeset = Changeset { edge: EdgeId(1), seq: Seq(1), hash, pieces, cursor: Version(0) };
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let count = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        false
    };
    store.conn.progress_handler(STRIDE, Some(count)).unwrap();
    let outcomes = store.merge(&[changeset], Millis(9)).unwrap();
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    let number = |sql| store.conn.query_row(sql, [own], |row| row.get::<_, i64>(0)).unwrap();
    let found = (
        number("SELECT count(*) FROM t WHERE id > ?1"),
        number("SELECT count(*) FROM t WHERE id < ?1 AND p = 1"),
        number("SELECT count(*) FROM _sync_conflict WHERE state = 'open' AND ?1 > 0"),
    );
    (steps.load(Ordering::Relaxed), found)
}

#[test]
fn four_times_the_children_without_a_parent_are_four_times_the_work() {
    let (few, found) = merged(150);
    assert_eq!(found, (0, 150, 300), "inserts are held, and updates keep the parent that they had");
    let (many, found) = merged(600);
    assert_eq!(found, (0, 600, 1_200));
    assert!(many < few * 6, "{few} times {STRIDE} instructions, and {many}");
}
