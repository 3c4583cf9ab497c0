//! The promises, each as a function that says what is broken.

use super::ledger::{Ledger, Place, rows};
use super::schemas::{KeyKind, Shape};
use super::world::World;
use rusqlite::Connection;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use tt_edge::store::Outcome;
use tt_hub::store::conflict;
use tt_protocol::change::{Kind, decode_piece};
use tt_protocol::frame::{from_bytes, from_kept_bytes};
use tt_protocol::value::{Value, ValueRef};

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
    let vanished = Vanished::read(conn, shape);
    let listed = Listed::read(conn, shape);
    let mut sums: BTreeMap<Place, (Vec<i64>, Vec<i64>)> = BTreeMap::new();
    let removed: BTreeSet<Place> = ledger.removed.iter().map(|place| vanished.now(place)).collect();
    for (place, expected) in &ledger.counts {
        let nothing = || vec![0; expected.len()];
        let (wanted, found) = sums.entry(vanished.now(place)).or_insert_with(|| (nothing(), nothing()));
        add(wanted, expected);
        add(found, &hub.get(place).map_or_else(nothing, |(_, counts)| counts.clone()));
        add(found, &listed.counts.get(place).cloned().unwrap_or_else(nothing));
    }
    // Keys that only the hub gave: a child's, of which the parent's id is a part.
    for (place, (_, counts)) in hub.iter().filter(|(place, _)| !ledger.counts.contains_key(*place)) {
        if let Some((_, found)) = sums.get_mut(&vanished.now(place)) {
            add(found, counts);
        }
    }
    for (place, (wanted, found)) in sums.into_iter().filter(|(place, _)| !removed.contains(place)) {
        let table = shape.tables[place.0].name;
        let what = "the hub's count plus what is listed is not what was counted";
        assert_eq!(
            found,
            wanted,
            "{table} {}: {what}; at the hub {:?}; vanished: {:?}; listed: {}",
            place.1,
            hub.get(&place),
            vanished.links,
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

fn add(sums: &mut [i64], values: &[i64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// Rows that turned out to be others: their counts are the survivor's. Places that have to do with each
/// other are told together.
struct Vanished {
    links: BTreeMap<Place, BTreeSet<Place>>,
}

impl Vanished {
    fn read(conn: &Connection, shape: &Shape) -> Self {
        let mut found = Self { links: BTreeMap::new() };
        let mut statement = conn.prepare("SELECT tab, row, survivor FROM _sync_alias").expect("a table");
        let mut rows = statement.query([]).expect("reads");
        while let Some(row) = rows.next().expect("reads") {
            let name: String = row.get(0).expect("a name");
            let old: Vec<(String, Value)> =
                from_bytes(&row.get::<_, Vec<u8>>(1).expect("a row")).expect("a row");
            let new: Vec<Value> = from_bytes(&row.get::<_, Vec<u8>>(2).expect("a key")).expect("a key");
            let Some(at) = shape.tables.iter().position(|table| table.name == name) else {
                continue;
            };
            let key = shape.tables[at].key;
            let place = |values: &mut dyn Iterator<Item = &Value>| {
                let literals = key.iter().zip(values).map(|((_, kind), value)| of_value(value, *kind));
                (at, literals.collect::<Vec<_>>().join(","))
            };
            let old = place(&mut old.iter().map(|(_, value)| value).take(key.len()));
            let new = place(&mut new.iter());
            found.links.entry(old.clone()).or_default().insert(new.clone());
            found.links.entry(new).or_default().insert(old);
        }
        found
    }

    /// One place for all that have to do with this one.
    fn now(&self, place: &Place) -> Place {
        let mut seen = BTreeSet::from([place.clone()]);
        let mut waiting = vec![place];
        while let Some(next) = waiting.pop() {
            for other in self.links.get(next).into_iter().flatten() {
                if seen.insert(other.clone()) {
                    waiting.push(other);
                }
            }
        }
        seen.pop_first().expect("it holds the place itself")
    }
}

fn of_value(value: &Value, kind: KeyKind) -> String {
    match value {
        Value::Text(text) => literal(&Json::from(String::from_utf8_lossy(text)), kind),
        Value::Integer(number) => number.to_string(),
        other => panic!("no key of these worlds is {other:?}"),
    }
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
            // What has gone in by itself since is in the table.
            if entry["decision"] == "applied when what it needs had come" {
                continue;
            }
            listed.add(shape, &entry);
            if entry["kind"] == "missing" {
                listed.only_the_difference(conn, shape, &entry);
            }
        }
        listed
    }

    /// A change of a row that was not there is held with its new total: what it adds is the difference, when
    /// the row comes after it from a device that a hub that was put back heard later.
    fn only_the_difference(&mut self, conn: &Connection, shape: &Shape, entry: &Json) {
        let sql = "SELECT work FROM _sync_conflict WHERE id = ?1 AND work IS NOT NULL";
        let found = conn.query_row(sql, [entry["id"].as_i64()], |row| row.get::<_, Vec<u8>>(0));
        let Ok(work) = found else { return };
        let pieces: Vec<Vec<u8>> = from_kept_bytes(&work).expect("pieces");
        for change in pieces.iter().flat_map(|piece| decode_piece(piece).expect("a piece")) {
            let Some(at) = shape.tables.iter().position(|table| change.table == table.name) else { continue };
            let table = &shape.tables[at];
            if change.kind != Kind::Update {
                continue;
            }
            let key: Vec<String> =
                table.key.iter().map(|(name, kind)| literal(&entry["key"][*name], *kind)).collect();
            let sums = self.counts.get_mut(&(at, key.join(","))).expect("it was listed");
            for (index, name) in change.columns[change.keys..].iter().enumerate() {
                let place = table.counters.iter().position(|counter| counter == name);
                if let (Some(place), (ValueRef::Integer(base), _)) = (place, change.pair(0, index)) {
                    sums[place] -= base;
                }
            }
        }
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
        // The counts of a row that was made twice are in the survivor's.
        let joined = entry["action"].as_str().is_some_and(|action| action.contains("were added"));
        for (sum, counter) in sums.iter_mut().zip(table.counters).filter(|_| !joined) {
            *sum += number(&entry["row"][*counter]);
        }
        self.tags.extend(entry["row"]["tag"].as_str().map(str::to_owned));
        for column in entry["columns"].as_array().into_iter().flatten() {
            let counter = table.counters.iter().position(|name| column["name"] == *name);
            let told = entry["kind"] == "delete" || (entry["row"].is_object() && !joined);
            if let (Some(place), false) = (counter, told) {
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
