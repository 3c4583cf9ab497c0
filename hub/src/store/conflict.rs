//! The conflict list: what could not be merged or was overruled, kept whole.
//!
//! No false alarms: equal rows, sums of counters and greatest values never come here.

pub mod page;
mod told;

use super::same;
use rusqlite::{Connection, OptionalExtension as _, Result};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use told::to_json;
pub(crate) use told::value;
use tt_migrations::replica::Tracked;
use tt_migrations::row::Key;
use tt_protocol::frame::{from_kept_bytes, to_bytes};
use tt_protocol::merge::{Clash, Stamp};
use tt_protocol::number::{EdgeId, Version};
use tt_protocol::value::Value;

/// Columns by name with their values.
pub(crate) type Named = Vec<(String, Value)>;

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
    /// The device's role may not write the table.
    Role,
    /// The changeset deletes more of a table than the policy lets through.
    Deletes,
    /// Work of a rescued file that may be in already.
    Copy,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Column,
        Self::Counter,
        Self::Delete,
        Self::Key,
        Self::Unique,
        Self::Rule,
        Self::Parent,
        Self::Missing,
        Self::Schema,
        Self::Role,
        Self::Deletes,
        Self::Copy,
    ];

    /// The kind that has this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

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
            Self::Role => "role",
            Self::Deletes => "deletes",
            Self::Copy => "copy",
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
    /// Pieces of a changeset that release the entry when they are merged as the device that lost.
    pub(crate) work: Option<Vec<Vec<u8>>>,
    /// How many rows it stands for.
    pub(crate) rows: u64,
    pub(crate) kept: Option<Stamp>,
    pub(crate) lost: Stamp,
    pub(crate) action: &'e str,
}

impl<'e> Entry<'e> {
    /// An entry about one row, of which neither columns nor the row itself are told yet.
    pub(crate) const fn new(
        kind: Kind,
        table: &'e str,
        key: Vec<(String, Value)>,
        lost: Stamp,
        action: &'e str,
    ) -> Self {
        Self {
            kind,
            table,
            key,
            clashes: Vec::new(),
            row: None,
            work: None,
            rows: 1,
            kept: None,
            lost,
            action,
        }
    }
}

/// The key of a row by name.
pub(crate) fn named_key(tracked: &Tracked, key: &Key) -> Vec<(String, Value)> {
    tracked.names.iter().cloned().zip(key.iter().cloned()).collect()
}

/// Adds an entry and gives its number. `tracked` is its table, if the hub has it.
pub(crate) fn add(
    conn: &Connection,
    version: Version,
    tracked: Option<&Tracked>,
    entry: &Entry<'_>,
) -> Result<i64> {
    let key: Key = entry.key.iter().map(|(_, value)| value.clone()).collect();
    let key =
        tracked.map_or_else(|| tt_migrations::row::key_bytes(&key), |tracked| same::key_bytes(tracked, &key));
    let sql =
        "INSERT INTO _sync_conflict(version, kind, tab, key, named_key, clashes, row, work, rows, kept_from,
               kept_at, lost_from, lost_at, action)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    conn.prepare_cached(sql)?.execute(rusqlite::params![
        version.0 as i64,
        entry.kind.word(),
        entry.table,
        key,
        to_bytes(&entry.key),
        to_bytes(&entry.clashes),
        entry.row.as_ref().map(to_bytes),
        entry.work.as_ref().map(to_bytes),
        i64::try_from(entry.rows).unwrap_or(i64::MAX),
        entry.kept.map(|stamp| stamp.edge.0),
        entry.kept.map(|stamp| stamp.at),
        entry.lost.edge.0,
        entry.lost.at,
        entry.action,
    ])?;
    Ok(conn.last_insert_rowid())
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
    let old = "SELECT clashes FROM _sync_conflict WHERE id = ?1";
    let mut clashes: Vec<Clash> =
        decode(&conn.prepare_cached(old)?.query_row([id], |row| row.get::<_, Vec<u8>>(0))?)?;
    for clash in &mut clashes {
        if let Some((_, value)) = row.iter().find(|(name, _)| name.eq_ignore_ascii_case(&clash.name)) {
            clash.lost.clone_from(value);
        }
    }
    conn.prepare_cached("UPDATE _sync_conflict SET row = ?2, clashes = ?3 WHERE id = ?1")?.execute((
        id,
        to_bytes(&row),
        to_bytes(&clashes),
    ))?;
    Ok(())
}

/// A row of this device that was refused for its role: more of it belongs to the same entry.
pub(crate) fn refused(conn: &Connection, tracked: &Tracked, key: &Key, edge: EdgeId) -> Result<Option<i64>> {
    let sql = "SELECT id FROM _sync_conflict WHERE tab = ?1 AND key = ?2 AND lost_from = ?3
               AND kind = 'role' AND state = 'open' ORDER BY id DESC LIMIT 1";
    conn.prepare_cached(sql)?
        .query_row((&tracked.table.name, same::key_bytes(tracked, key), edge.0), |row| row.get(0))
        .optional()
}

/// The entry of a changeset of this device that is held whole, if the device, whose cursor is at `cursor`,
/// cannot know of it yet.
pub(crate) fn held_after(conn: &Connection, edge: EdgeId, cursor: Version) -> Result<Option<i64>> {
    let sql = "SELECT id FROM _sync_conflict WHERE lost_from = ?1 AND version > ?2 AND kind = 'deletes'
               AND state = 'open' ORDER BY id DESC LIMIT 1";
    conn.prepare_cached(sql)?.query_row((edge.0, cursor.0 as i64), |row| row.get(0)).optional()
}

/// The numbers of all entries about a row.
pub(crate) fn same_key(conn: &Connection, tracked: &Tracked, key: &[Value]) -> Result<Vec<i64>> {
    let sql = "SELECT id FROM _sync_conflict WHERE tab = ?1 AND key = ?2 ORDER BY id";
    conn.prepare_cached(sql)?
        .query_map((&tracked.table.name, same::key_bytes(tracked, key)), |row| row.get(0))?
        .collect()
}

/// Adds to what an entry holds: pieces, a number of rows, newer values of its row.
pub(crate) fn append(
    conn: &Connection,
    id: i64,
    pieces: &[Vec<u8>],
    rows: u64,
    newer: Option<&Named>,
) -> Result<()> {
    let sql = "SELECT work, row FROM _sync_conflict WHERE id = ?1";
    let (work, row): (Option<Vec<u8>>, Option<Vec<u8>>) =
        conn.prepare_cached(sql)?.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut work: Vec<Vec<u8>> = work.map_or_else(|| Ok(Vec::new()), |bytes| decode(&bytes))?;
    work.extend_from_slice(pieces);
    let mut row: Named = row.map_or_else(|| Ok(Named::new()), |bytes| decode(&bytes))?;
    for (name, value) in newer.into_iter().flatten() {
        match row.iter_mut().find(|(have, _)| have.eq_ignore_ascii_case(name)) {
            Some((_, old)) => old.clone_from(value),
            None => row.push((name.clone(), value.clone())),
        }
    }
    let row = newer.map(|_| to_bytes(&row));
    let sql = "UPDATE _sync_conflict SET work = ?2, rows = rows + ?3, row = COALESCE(?4, row) WHERE id = ?1";
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    conn.prepare_cached(sql)?.execute((id, to_bytes(&work), rows, row))?;
    Ok(())
}

/// Adds to what the entry of a missing row holds, if it holds changes and not only their outcome.
pub(crate) fn append_when_missing(conn: &Connection, id: i64, piece: &[u8]) -> Result<()> {
    let sql = "SELECT kind = 'missing' AND work IS NOT NULL FROM _sync_conflict WHERE id = ?1";
    if conn.prepare_cached(sql)?.query_row([id], |row| row.get(0))? {
        append(conn, id, &[piece.to_vec()], 0, None)?;
    }
    Ok(())
}

/// Closes an entry that nothing is left to decide about.
pub(crate) fn close(conn: &Connection, id: i64, decision: &str, at: i64) -> Result<()> {
    let sql = "UPDATE _sync_conflict SET state = 'closed', decision = ?2, decided_at = ?3
               WHERE id = ?1 AND state = 'open'";
    conn.prepare_cached(sql)?.execute((id, decision, at))?;
    Ok(())
}

/// Closes an entry, also one that was closed for the time being.
pub(crate) fn close_again(conn: &Connection, id: i64, decision: &str, at: i64) -> Result<()> {
    let sql = "UPDATE _sync_conflict SET state = 'closed', decision = ?2, decided_at = ?3 WHERE id = ?1";
    conn.prepare_cached(sql)?.execute((id, decision, at))?;
    Ok(())
}

/// An entry that was closed for the time being is the operator's to decide about after all.
pub(crate) fn reopen(conn: &Connection, id: i64, action: &str) -> Result<()> {
    let sql = "UPDATE _sync_conflict SET state = 'open', decision = NULL, decided_at = NULL, action = ?2 WHERE id = ?1";
    conn.prepare_cached(sql)?.execute((id, action))?;
    Ok(())
}

/// Columns in which an entry's two sides differ; none when it is closed.
pub(crate) fn open_columns(conn: &Connection, id: i64) -> Result<Vec<String>> {
    let sql = "SELECT clashes FROM _sync_conflict WHERE id = ?1 AND state = 'open'";
    let bytes: Option<Vec<u8>> = conn.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
    let clashes: Vec<Clash> = bytes.map_or_else(|| Ok(Vec::new()), |bytes| decode(&bytes))?;
    Ok(clashes.into_iter().map(|clash| clash.name).collect())
}

/// Rows that wait for the hub's schema, by the edge that sent them.
///
/// # Errors
/// When SQLite fails.
pub fn waiting_for_schema(conn: &Connection) -> Result<BTreeMap<u16, u64>> {
    let sql = "SELECT lost_from, SUM(rows) FROM _sync_conflict
               WHERE kind = 'schema' AND state = 'open' AND work IS NOT NULL GROUP BY lost_from";
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
    rows.collect()
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
    page::read(conn, &page::Filter { closed: all, ..page::Filter::default() }, page::Page::WHOLE, name_of)
}

/// Anything as the list keeps it.
pub(crate) fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    to_bytes(value)
}

/// What the list keeps.
pub(crate) fn decode<T: for<'a> serde::Deserialize<'a>>(bytes: &[u8]) -> Result<T> {
    from_kept_bytes(bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
    })
}
