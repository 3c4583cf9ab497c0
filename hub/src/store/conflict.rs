//! The conflict list: what could not be merged or was overruled, kept whole.
//!
//! No false alarms: equal rows, sums of counters and greatest values never come here.

use super::same;
use rusqlite::{Connection, OptionalExtension as _, Result};
use serde_json::{Map, Value as Json, json};
use tt_migrations::replica::Tracked;
use tt_migrations::row::Key;
use tt_protocol::frame::{from_bytes, to_bytes};
use tt_protocol::merge::{Clash, Stamp};
use tt_protocol::number::{EdgeId, Version};
use tt_protocol::value::Value;

/// Columns by name with their values.
type Named = Vec<(String, Value)>;

/// Why an entry was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Two writers set the same column to different values.
    Column,
    /// A counter's sum has no place in 64 bits or breaks a CHECK.
    Counter,
    /// A delete was overruled by a change or a new child.
    Delete,
    /// Another row has the same primary key.
    Key,
    /// Another row has the same unique value.
    Unique,
    /// A NOT NULL, CHECK or type rule of the table refuses the row.
    Rule,
    /// The row's parent is neither there nor kept.
    Parent,
    /// The row that was changed is neither there nor kept.
    Missing,
    /// The hub does not have this table or column.
    Schema,
}

impl Kind {
    /// The word in `conflicts --json`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Column => "column",
            Self::Counter => "counter",
            Self::Delete => "delete",
            Self::Key => "key",
            Self::Unique => "unique",
            Self::Rule => "rule",
            Self::Parent => "parent",
            Self::Missing => "missing",
            Self::Schema => "schema",
        }
    }
}

/// A new entry.
pub(crate) struct Entry<'e> {
    pub(crate) kind: Kind,
    pub(crate) table: &'e str,
    pub(crate) key: Vec<(String, Value)>,
    pub(crate) clashes: Vec<Clash>,
    /// The whole losing row, where a row and not a column lost.
    pub(crate) row: Option<Vec<(String, Value)>>,
    pub(crate) kept: Option<Stamp>,
    pub(crate) lost: Stamp,
    pub(crate) action: &'e str,
}

/// The key of a row by name.
pub(crate) fn named_key(tracked: &Tracked, key: &Key) -> Vec<(String, Value)> {
    tracked.names.iter().cloned().zip(key.iter().cloned()).collect()
}

/// Adds an entry. `tracked` is its table, if the hub has it.
pub(crate) fn add(
    conn: &Connection,
    version: Version,
    tracked: Option<&Tracked>,
    entry: &Entry<'_>,
) -> Result<()> {
    let key: Key = entry.key.iter().map(|(_, value)| value.clone()).collect();
    let key =
        tracked.map_or_else(|| tt_migrations::row::key_bytes(&key), |tracked| same::key_bytes(tracked, &key));
    let sql =
        "INSERT INTO _sync_conflict(version, kind, tab, key, named_key, clashes, row, kept_from, kept_at,
               lost_from, lost_at, action) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    conn.prepare_cached(sql)?.execute(rusqlite::params![
        version.0 as i64,
        entry.kind.word(),
        entry.table,
        key,
        to_bytes(&entry.key),
        to_bytes(&entry.clashes),
        entry.row.as_ref().map(to_bytes),
        entry.kept.map(|stamp| stamp.edge.0),
        entry.kept.map(|stamp| stamp.at),
        entry.lost.edge.0,
        entry.lost.at,
        entry.action,
    ])?;
    Ok(())
}

/// A row of this edge that is held whole under this key: its entry and its columns. What another edge
/// made under the same key is another row, but for one that all knew and that lost its parent.
pub(crate) fn held(
    conn: &Connection,
    tracked: &Tracked,
    key: &Key,
    edge: EdgeId,
) -> Result<Option<(i64, Named)>> {
    let sql =
        "SELECT id, row FROM _sync_conflict WHERE tab = ?1 AND key = ?2 AND (lost_from = ?3 OR kind = 'parent') AND state = 'open'
               AND row IS NOT NULL AND kind <> 'delete' ORDER BY id DESC LIMIT 1";
    let found: Option<(i64, Vec<u8>)> = conn
        .prepare_cached(sql)?
        .query_row((&tracked.table.name, same::key_bytes(tracked, key), edge.0), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    found.map(|(id, bytes)| Ok((id, decode(&bytes)?))).transpose()
}

/// A row of this edge that is held whole under this key since after `cursor`: the edge has not seen yet that
/// another row has its key, and means its own.
pub(crate) fn held_unseen(
    conn: &Connection,
    tracked: &Tracked,
    key: &Key,
    edge: EdgeId,
    cursor: Version,
) -> Result<Option<(i64, Named)>> {
    let newest = "SELECT version FROM _sync_conflict ORDER BY id DESC LIMIT 1";
    let newest: Option<i64> = conn.prepare_cached(newest)?.query_row([], |row| row.get(0)).optional()?;
    if newest.is_none_or(|newest| newest <= cursor.0 as i64) {
        return Ok(None);
    }
    let sql =
        "SELECT id, row FROM _sync_conflict WHERE tab = ?1 AND key = ?2 AND lost_from = ?3 AND version > ?4
               AND kind = 'key' AND state = 'open' AND row IS NOT NULL ORDER BY id DESC LIMIT 1";
    let at = (&tracked.table.name, same::key_bytes(tracked, key), edge.0, cursor.0 as i64);
    let found: Option<(i64, Vec<u8>)> =
        conn.prepare_cached(sql)?.query_row(at, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    found.map(|(id, bytes)| Ok((id, decode(&bytes)?))).transpose()
}

/// Replaces the row of an entry that is held.
pub(crate) fn amend(conn: &Connection, id: i64, row: &[(String, Value)]) -> Result<()> {
    conn.prepare_cached("UPDATE _sync_conflict SET row = ?2 WHERE id = ?1")?.execute((id, to_bytes(&row)))?;
    Ok(())
}

/// Number of open entries.
///
/// # Errors
/// When SQLite fails.
pub fn open_count(conn: &Connection) -> Result<u64> {
    let count: i64 =
        conn.query_row("SELECT COUNT(*) FROM _sync_conflict WHERE state = 'open'", [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// All entries, or the open ones, as the JSON that scripts read. Device names come from `name_of`.
///
/// # Errors
/// When SQLite fails.
pub fn list(conn: &Connection, all: bool, name_of: impl Fn(u16) -> String) -> Result<Vec<Json>> {
    let sql =
        "SELECT id, kind, tab, named_key, clashes, row, kept_from, kept_at, lost_from, lost_at, action, state
               FROM _sync_conflict WHERE ?1 OR state = 'open' ORDER BY id";
    conn.prepare(sql)?.query_map([all], |row| to_json(row, &name_of))?.collect()
}

fn to_json(row: &rusqlite::Row<'_>, name_of: &impl Fn(u16) -> String) -> Result<Json> {
    let key: Vec<(String, Value)> = decode(&row.get::<_, Vec<u8>>(3)?)?;
    let clashes: Vec<Clash> = decode(&row.get::<_, Vec<u8>>(4)?)?;
    let held: Option<Vec<(String, Value)>> =
        row.get::<_, Option<Vec<u8>>>(5)?.map(|bytes| decode(&bytes)).transpose()?;
    let kept_from: Option<u16> = row.get(6)?;
    Ok(json!({
        "id": row.get::<_, i64>(0)?,
        "kind": row.get::<_, String>(1)?,
        "table": row.get::<_, String>(2)?,
        "key": object(&key),
        "columns": clashes.iter().map(|clash| json!({
            "name": clash.name,
            "base": value(&clash.base),
            "kept": value(&clash.kept),
            "lost": value(&clash.lost),
        })).collect::<Vec<_>>(),
        "row": held.as_ref().map(|row| object(row)),
        "rows": 1,
        "kept_from": kept_from.map(name_of),
        "kept_at": row.get::<_, Option<i64>>(7)?,
        "lost_from": name_of(row.get(8)?),
        "lost_at": row.get::<_, i64>(9)?,
        "action": row.get::<_, String>(10)?,
        "state": row.get::<_, String>(11)?,
    }))
}

fn decode<T: for<'a> serde::Deserialize<'a>>(bytes: &[u8]) -> Result<T> {
    from_bytes(bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
    })
}

fn object(row: &[(String, Value)]) -> Json {
    Json::Object(row.iter().map(|(name, held)| (name.clone(), value(held))).collect::<Map<_, _>>())
}

/// A value as JSON. What JSON cannot say exactly is an object that names its class.
fn value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Integer(number) => json!(number),
        Value::Real(number) if number.is_finite() => json!(number),
        Value::Real(number) => json!({ "real": number.to_string() }),
        Value::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({ "text": data_encoding::HEXLOWER.encode(bytes) }),
        },
        Value::Blob(bytes) => json!({ "blob": data_encoding::HEXLOWER.encode(bytes) }),
    }
}
