//! The promises, each as a function that says what is broken.

use super::ledger::{Ledger, Place, rows};
use super::schemas::{KeyKind, Shape};
use super::world::World;
use rusqlite::Connection;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use tt_edge::store::Outcome;
use tt_hub::store::conflict;

/// Constraints hold at every commit, and nobody sees half of a batch.
///
/// # Panics
/// When they do not.
pub fn consistent_cut(world: &World, node: usize) {
    consistent_cut_of_keys(world, node);
    let Some(conn) = world.reader(node) else { return };
    let halves: i64 = conn
        .prepare_cached("SELECT COUNT(*) FROM batch_head h WHERE size <> (SELECT COUNT(*) FROM batch_row r WHERE r.head = h.id)")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .expect("reads");
    assert_eq!(halves, 0, "node {node}: batches seen in part");
}

/// Every child has its parent.
///
/// # Panics
/// When one has not.
pub fn consistent_cut_of_keys(world: &World, node: usize) {
    let Some(conn) = world.reader(node) else { return };
    let broken: Option<String> = conn
        .prepare_cached("SELECT group_concat(\"table\" || ' ' || ifnull(rowid, '?') || ' -> ' || parent, '; ') FROM pragma_foreign_key_check")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .expect("reads");
    assert_eq!(broken, None, "node {node}: foreign keys");
}

/// The file itself is sound, and every batch is whole.
///
/// # Panics
/// When it is not.
pub fn sound(world: &World, node: usize) {
    let conn = world.program(node);
    let answer: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("reads");
    assert_eq!(answer, "ok", "node {node}: integrity");
    let sql = "SELECT COUNT(*) FROM batch_head h LEFT JOIN (SELECT head, COUNT(*) AS n FROM batch_row GROUP BY head) r ON r.head = h.id
               WHERE size IS NOT r.n";
    let halves: i64 = conn.query_row(sql, [], |row| row.get(0)).expect("reads");
    assert_eq!(halves, 0, "node {node}: batches seen in part");
}

/// All nodes are equal.
///
/// # Panics
/// When they are not.
pub fn converged(world: &World) {
    let digests = world.digests();
    for (edge, digest) in digests.iter().enumerate().skip(1) {
        let differing: Vec<String> = digest
            .iter()
            .filter(|(name, value)| digests[0].get(*name) != Some(value))
            .map(|(name, _)| difference(world, name, edge))
            .collect();
        assert!(differing.is_empty(), "node {edge} differs from the hub: {}", differing.join("; "));
    }
}

/// Rows of a table that only the hub or only a node has.
fn difference(world: &World, table: &str, node: usize) -> String {
    let all = |node: usize| -> BTreeSet<String> {
        let sql = format!("SELECT * FROM {}", tt_migrations::quote::ident(table));
        let mut statement = world.program(node).prepare(&sql).expect("reads");
        let width = statement.column_count();
        let rows = statement.query_map([], |row| {
            let values: Vec<String> = (0..width)
                .map(|at| Ok(format!("{:?}", row.get::<_, rusqlite::types::Value>(at)?)))
                .collect::<rusqlite::Result<_>>()?;
            Ok(values.join(" "))
        });
        let rows = rows.expect("reads");
        rows.collect::<rusqlite::Result<_>>().expect("reads")
    };
    let (hub, own) = (all(0), all(node));
    let hub_only: Vec<_> = hub.difference(&own).collect();
    let own_only: Vec<_> = own.difference(&hub).collect();
    format!("{table}: only the hub has {hub_only:?}, only the node has {own_only:?}")
}

/// Nothing waits on any edge.
///
/// # Panics
/// When something does.
pub fn nothing_unsent(world: &World) {
    for edge in 0..world.edges.len() {
        let store = world.edge_store(edge);
        let uncut = store.uncut(tt_protocol::number::Millis(0)).expect("reads");
        assert_eq!(uncut.0, 0, "edge {edge}: rows not cut");
        assert_eq!(store.unacknowledged().expect("reads").0, 0, "edge {edge}: rows not acknowledged");
    }
}

/// Another round with nothing new makes no new version.
///
/// # Panics
/// When it does.
pub fn no_echo(world: &mut World) {
    let version = world.hub_store().version();
    for edge in 0..world.edges.len() {
        world.crash_edge(edge);
    }
    world.settle();
    assert_eq!(world.hub_store().version(), version, "an echo: a round with nothing new made a version");
}

/// No compare found anything to put right: capture and feeds alone made the nodes equal.
///
/// # Panics
/// When one did, or a node has no compares at all.
pub fn nothing_healed(world: &World) {
    for edge in 0..world.edges.len() {
        let audits = world.edge_store(edge).audits().expect("reads");
        assert!(!audits.is_empty(), "edge {edge} replicates nothing");
        let healed = audits.iter().find(|audit| !matches!(audit.outcome, None | Some(Outcome::Equal)));
        assert_eq!(healed, None, "edge {edge} had to be healed");
    }
}

/// Every counter is the sum of what programs added, and every row is at the hub, deleted, or listed.
///
/// # Panics
/// When something is lost or counted twice.
pub fn exactly_once(world: &World, ledger: &Ledger) {
    let conn = world.program(0);
    let shape = world.shape();
    let hub = rows(conn, shape);
    let listed = Listed::read(conn, shape);
    for (place, expected) in ledger.counts.iter().filter(|(place, _)| !ledger.removed.contains(*place)) {
        let mut found = hub.get(place).map_or_else(|| vec![0; expected.len()], |(_, counts)| counts.clone());
        if let Some(held) = listed.counts.get(place) {
            for (sum, value) in found.iter_mut().zip(held) {
                *sum += value;
            }
        }
        let table = shape.tables[place.0].name;
        let what = "the hub's count plus what is listed is not what was counted";
        assert_eq!(
            &found,
            expected,
            "{table} {}: {what}; at the hub {:?}; listed: {}",
            place.1,
            hub.get(place),
            list(conn)
        );
    }
    let present: BTreeSet<&String> = hub.values().map(|(tag, _)| tag).collect();
    for tag in &ledger.tags {
        let known = present.contains(tag) || ledger.tags_removed.contains(tag) || listed.tags.contains(tag);
        assert!(known, "row {tag} is lost; listed: {}", list(conn));
    }
    let strangers: Vec<_> = present.iter().filter(|tag| !ledger.tags.contains(**tag)).collect();
    assert!(strangers.is_empty(), "rows that nobody committed: {strangers:?}");
    let batches: i64 =
        conn.query_row("SELECT COUNT(*) FROM batch_head", [], |row| row.get(0)).expect("reads");
    assert_eq!(batches.unsigned_abs(), ledger.batches, "batches");
}

/// Ids that SQLite chose are distinct and below 2^53. (That they are distinct is asserted when booked.)
///
/// # Panics
/// When they are not.
pub fn ids_fit(ledger: &Ledger) {
    assert!(ledger.automatic.keys().all(|(_, id)| (1..1 << 53).contains(id)), "an id outside of 1..2^53");
}

/// Nothing is listed.
///
/// # Panics
/// When something is.
pub fn no_false_alarm(world: &World) {
    let listed = conflict::list(world.program(0), true, |device| device.to_string()).expect("reads");
    assert!(listed.is_empty(), "nothing could clash, but: {listed:#?}");
}

/// The whole conflict list, for a person.
fn list(conn: &Connection) -> String {
    let entries = conflict::list(conn, true, |device| device.to_string()).expect("reads");
    entries.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What the conflict list holds.
#[derive(Default)]
struct Listed {
    counts: BTreeMap<Place, Vec<i64>>,
    tags: BTreeSet<String>,
}

impl Listed {
    fn read(conn: &Connection, shape: &Shape) -> Self {
        let mut listed = Self::default();
        for entry in conflict::list(conn, true, |device| device.to_string()).expect("reads") {
            listed.add(shape, &entry);
        }
        listed
    }

    fn add(&mut self, shape: &Shape, entry: &Json) {
        let Some(at) = shape.tables.iter().position(|table| entry["table"] == table.name) else {
            return;
        };
        let table = &shape.tables[at];
        let key: Vec<String> =
            table.key.iter().map(|(name, kind)| literal(&entry["key"][*name], *kind)).collect();
        let sums = self.counts.entry((at, key.join(","))).or_insert_with(|| vec![0; table.counters.len()]);
        let number = |value: &Json| value.as_i64().unwrap_or(0);
        for (sum, counter) in sums.iter_mut().zip(table.counters) {
            *sum += number(&entry["row"][*counter]);
        }
        self.tags.extend(entry["row"]["tag"].as_str().map(str::to_owned));
        for column in entry["columns"].as_array().into_iter().flatten() {
            let counter = table.counters.iter().position(|name| column["name"] == *name);
            if let (Some(place), false) = (counter, entry["kind"] == "delete") {
                sums[place] += number(&column["lost"]) - number(&column["base"]);
            }
            if column["name"] == "tag" {
                self.tags.extend(column["lost"].as_str().map(str::to_owned));
            }
        }
    }
}

fn literal(value: &Json, kind: KeyKind) -> String {
    let quoted = value.as_str().map_or_else(|| value.to_string(), tt_migrations::quote::text);
    if kind == KeyKind::Nocase { quoted.to_ascii_lowercase() } else { quoted }
}
