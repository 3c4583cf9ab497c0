//! The feed: what an edge has not seen, as the rows are now.
//!
//! Read in one snapshot on a connection of its own, so that a merge never waits for it. Each touched
//! row appears once, however often it changed since the cursor.

use super::{history, schema};
use crate::store::{StoreError, same};
use rusqlite::Connection;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use tt_migrations::capture::{base, ids};
use tt_migrations::connection;
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::row::{Key, Row, key_bytes, read};
use tt_migrations::shape::Schema;
use tt_migrations::state;
use tt_protocol::change::{Kind, decode_piece, encode_definitions};
use tt_protocol::number::{EdgeId, Seq, Version};
use tt_protocol::pieces::PieceBuilder;
use tt_protocol::value::{Value, ValueRef};

/// A feed that is ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The cursor that it starts from.
    pub from: Version,
    /// The version that it leads to.
    pub to: Version,
    /// Last changeset of this edge that its rows contain.
    pub merged: Seq,
    /// The rows, encoded. Empty when the edge already has all of them.
    pub pieces: Vec<Vec<u8>>,
    /// Number of rows.
    pub rows: u64,
}

/// The reading side: makes feeds.
pub struct FeedReader {
    pub(super) conn: Connection,
}

impl FeedReader {
    /// Opens a reading connection.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let conn = connection::open(path)?;
        conn.pragma_update(None, "query_only", true)?;
        Ok(Self { conn })
    }

    /// Makes the feed of one edge.
    ///
    /// # Errors
    /// When SQLite fails or the log is damaged.
    pub fn feed(&self, replica: &Replica, edge: EdgeId, from: Version) -> Result<Feed, StoreError> {
        make(&self.conn, replica, edge, from)
    }
}

/// Makes the feed of one edge. The connection must not be inside of a transaction.
pub(crate) fn make(
    conn: &Connection,
    replica: &Replica,
    edge: EdgeId,
    from: Version,
) -> Result<Feed, StoreError> {
    let snapshot = conn.unchecked_transaction()?;
    let to = Version(state::get(&snapshot, state::VERSION)?.unwrap_or(0).unsigned_abs());
    let merged = merged_seq(&snapshot, edge)?;
    if from < history::forgotten(&snapshot)? {
        return Err(StoreError::Forgotten(from));
    }
    let replica = in_this_shape(&snapshot, replica)?;
    let mut builder = PieceBuilder::default();
    for (table, keys) in touched(&snapshot, edge, from, to)? {
        if let Some(tracked) = replica.get(&table) {
            put_rows(&snapshot, tracked, keys, &mut builder)?;
        }
    }
    let rows = builder.rows();
    let definitions = schema::since(&snapshot, from)?;
    let mut pieces = schema::steps::since(&snapshot, from)?;
    if !definitions.is_empty() {
        pieces.push(encode_definitions(&definitions));
    }
    pieces.extend(builder.finish());
    Ok(Feed { from, to, merged, pieces, rows })
}

/// The tables as they are in this snapshot: a program may have added a column since the writer looked.
pub(super) fn in_this_shape<'r>(
    conn: &Connection,
    replica: &'r Replica,
) -> rusqlite::Result<Cow<'r, Replica>> {
    let seen: i64 = conn.pragma_query_value(None, "schema_version", |row| row.get(0))?;
    if seen == replica.schema_version {
        return Ok(Cow::Borrowed(replica));
    }
    let schema = Schema::read(conn)?;
    // A program may have taken our triggers away, and a merge may have brought a table that they watch.
    let sql = "SELECT t.name, t.tid FROM _sync_table t WHERE EXISTS
               (SELECT 1 FROM sqlite_schema s WHERE s.type = 'trigger' AND s.tbl_name = t.name COLLATE NOCASE
                AND s.name LIKE '\\_sync\\_%' ESCAPE '\\')";
    let watched: Vec<(String, i64)> = conn
        .prepare(sql)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let known = replica.tables.values().map(|tracked| (tracked.table.name.clone(), tracked.tid));
    let tables = known.chain(watched).filter_map(|(name, tid)| {
        let table = schema.table(&name).filter(|table| !table.key.is_empty())?;
        Some((table.name.clone(), Arc::new(Tracked::new(table.clone(), tid))))
    });
    let tables = tables.collect();
    Ok(Cow::Owned(Replica { schema_version: seen, tables, schema, ..Replica::default() }))
}

/// True when the log holds something for this edge above its cursor.
pub(crate) fn waits(conn: &Connection, edge: EdgeId, from: Version, to: Version) -> rusqlite::Result<bool> {
    if from < history::forgotten(conn)? {
        return Ok(true);
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM _sync_log WHERE version > ?1 AND version <= ?2 AND origin <> ?3)
               OR EXISTS (SELECT 1 FROM _sync_schema WHERE version > ?1 AND version <= ?2)
               OR EXISTS (SELECT 1 FROM _sync_step WHERE version > ?1 AND version <= ?2)";
    conn.prepare_cached(sql)?.query_row((from.0 as i64, to.0 as i64, i64::from(edge.0)), |row| row.get(0))
}

/// Last changeset of an edge that is merged.
pub(crate) fn merged_seq(conn: &Connection, edge: EdgeId) -> rusqlite::Result<Seq> {
    let sql = "SELECT COALESCE(MAX(seq), 0) FROM _sync_merged WHERE edge = ?1";
    let seq: i64 = conn.prepare_cached(sql)?.query_row([edge.0], |row| row.get(0))?;
    Ok(Seq(seq.unsigned_abs()))
}

type Touched = BTreeMap<String, Vec<Key>>;

fn touched(conn: &Connection, edge: EdgeId, from: Version, to: Version) -> Result<Touched, StoreError> {
    let sql = "SELECT keys, version FROM _sync_log WHERE version > ?1 AND version <= ?2 AND origin <> ?3";
    let renamed = schema::steps::renamed_tables(conn, from)?;
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query((from.0 as i64, to.0 as i64, i64::from(edge.0)))?;
    let mut seen: HashSet<(String, Vec<u8>)> = HashSet::new();
    let mut touched = Touched::new();
    while let Some(row) = rows.next()? {
        let (bytes, version): (Vec<u8>, i64) = (row.get(0)?, row.get(1)?);
        for mut change in decode_piece(&bytes)? {
            for (at, from, to) in &renamed {
                if *at > version && change.table.eq_ignore_ascii_case(from) {
                    to.clone_into(&mut change.table);
                }
            }
            for index in 0..change.rows.rows() {
                let key: Key = change.key(index).map(ValueRef::to_owned).collect();
                if seen.insert((change.table.clone(), key_bytes(&key))) {
                    touched.entry(change.table.clone()).or_default().push(key);
                }
            }
        }
    }
    Ok(touched)
}

fn put_rows(
    conn: &Connection,
    tracked: &Tracked,
    mut keys: Vec<Key>,
    builder: &mut PieceBuilder,
) -> rusqlite::Result<()> {
    keys.sort_by_key(order);
    let names: Vec<&str> = tracked.names.iter().map(String::as_str).collect();
    let table = &tracked.table.name;
    let noted = base::any(conn, &tracked.table)?;
    let fresh = if tracked.table.rowid_key {
        let place = ids::place(conn, tracked)?;
        place.lo..=place.hi
    } else {
        RangeInclusive::new(1, 0)
    };
    // Two spellings of a key that SQLite takes for one are one row.
    let mut seen = HashSet::new();
    for key in keys {
        if !seen.insert(same::key_bytes(tracked, &key)) {
            continue;
        }
        match as_cut(conn, tracked, &key, noted, &fresh)? {
            Some(row) => {
                builder.push(Kind::Put, table, tracked.keys(), &names, row.iter().map(Value::as_ref))
            }
            None => {
                let names = &names[..tracked.keys()];
                builder.push(Kind::Gone, table, tracked.keys(), names, key.iter().map(Value::as_ref));
            }
        }
    }
    Ok(())
}

/// The row as it was at the last cut. What programs at the hub wrote since is no version yet: a feed that
/// held some of it would show half of a transaction.
fn as_cut(
    conn: &Connection,
    tracked: &Tracked,
    key: &Key,
    noted: bool,
    fresh: &RangeInclusive<i64>,
) -> rusqlite::Result<Option<Row>> {
    if matches!(key.first(), Some(Value::Integer(id)) if fresh.contains(id)) {
        return Ok(None);
    }
    match if noted { base::note(conn, &tracked.table, key)? } else { None } {
        Some(note) => Ok(note.existed.then_some(note.row)),
        None => read(conn, tracked, key),
    }
}

/// Integer keys in their order, so that neighbours are read and sent together.
fn order(key: &Key) -> i64 {
    match key.first() {
        Some(Value::Integer(id)) => *id,
        _ => 0,
    }
}
