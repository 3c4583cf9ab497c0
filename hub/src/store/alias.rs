//! Rows that turned out to be other rows: the same natural key or unique value, made on two devices.
//!
//! The survivor keeps its id. Whoever still names the vanished one (a change that was under way, a child
//! made offline) means the survivor. What it brought is remembered, so that a release can take it back.

use super::conflict::{Named, decode};
use super::same;
use rusqlite::{Connection, OptionalExtension as _, Result, Row as SqlRow};
use tt_migrations::replica::Tracked;
use tt_migrations::row::Key;
use tt_protocol::frame::to_bytes;
use tt_protocol::number::Version;
use tt_protocol::value::Value;

/// A vanished row.
#[derive(Clone, Debug)]
pub(crate) struct Alias {
    pub(crate) id: i64,
    /// Its table.
    pub(crate) table: String,
    /// The row by name, as its device has it.
    pub(crate) row: Named,
    /// Key of the row that it is now.
    pub(crate) survivor: Key,
    /// Counts that it added to the survivor.
    pub(crate) brought: Named,
    /// The entry on the list, where the two rows differed.
    pub(crate) conflict: Option<i64>,
    /// The same row under a new key, known to more than one device, and no second one that was joined with it.
    pub(crate) moved: bool,
}

/// A child that follows the survivor.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    /// Its table.
    pub(crate) table: String,
    /// Which of the table's foreign keys.
    pub(crate) place: usize,
    /// Its key.
    pub(crate) key: Key,
}

/// What becomes an alias.
pub(crate) struct NewAlias<'a> {
    pub(crate) row: &'a [(String, Value)],
    pub(crate) survivor: &'a Key,
    pub(crate) brought: &'a Named,
    pub(crate) via: Option<i64>,
    pub(crate) conflict: Option<i64>,
    pub(crate) moved: bool,
}

const COLUMNS: &str = "id, tab, row, survivor, brought, conflict, moved";

/// Remembers that a row is another one now, and gives the alias's number. One that is known under the
/// same key is replaced.
pub(crate) fn add(conn: &Connection, version: Version, tracked: &Tracked, new: &NewAlias<'_>) -> Result<i64> {
    let key: Key = new.row.iter().take(tracked.keys()).map(|(_, value)| value.clone()).collect();
    let sql = "INSERT INTO _sync_alias(tab, key, row, survivor, brought, via, conflict, moved, version)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
               ON CONFLICT(tab, key) DO UPDATE SET row = excluded.row, survivor = excluded.survivor,
               brought = excluded.brought, via = excluded.via, conflict = excluded.conflict,
               moved = excluded.moved, version = excluded.version RETURNING id";
    conn.prepare_cached(sql)?.query_row(
        (
            &tracked.table.name,
            same::key_bytes(tracked, &key),
            to_bytes(&new.row),
            to_bytes(new.survivor),
            to_bytes(new.brought),
            new.via,
            new.conflict,
            new.moved,
            version.0 as i64,
        ),
        |row| row.get(0),
    )
}

/// Writes down what an alias's device changed since.
pub(crate) fn amend(conn: &Connection, alias: &Alias) -> Result<()> {
    let sql = "UPDATE _sync_alias SET row = ?2, brought = ?3 WHERE id = ?1";
    conn.prepare_cached(sql)?.execute((alias.id, to_bytes(&alias.row), to_bytes(&alias.brought)))?;
    Ok(())
}

/// True when rows of the table vanished at all.
pub(crate) fn any(conn: &Connection, tracked: &Tracked) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM _sync_alias WHERE tab = ?1 AND key IS NOT NULL)";
    conn.prepare_cached(sql)?.query_row([&tracked.table.name], |row| row.get(0))
}

/// What the row with this key is now.
pub(crate) fn find(conn: &Connection, tracked: &Tracked, key: &[Value]) -> Result<Option<Alias>> {
    let sql = format!("SELECT {COLUMNS} FROM _sync_alias WHERE tab = ?1 AND key = ?2");
    conn.prepare_cached(&sql)?
        .query_row((&tracked.table.name, same::key_bytes(tracked, key)), read)
        .optional()
}

/// The vanished row that had these values, to which a child points.
pub(crate) fn of_values(
    conn: &Connection,
    tracked: &Tracked,
    columns: &[String],
    values: &[Value],
) -> Result<Option<Alias>> {
    if tracked.key_is(columns) {
        return find(conn, tracked, values);
    }
    let bytes = |values: &[Value]| same::bytes(tracked, columns.iter().map(String::as_str), values);
    let wanted = bytes(values);
    let sql = format!("SELECT {COLUMNS} FROM _sync_alias WHERE tab = ?1 AND key IS NOT NULL");
    let mut statement = conn.prepare_cached(&sql)?;
    for alias in statement.query_map([&tracked.table.name], read)? {
        let alias = alias?;
        let value = |column: &String| {
            let found = alias.row.iter().find(|(name, _)| name.eq_ignore_ascii_case(column));
            found.map_or(Value::Null, |(_, value)| value.clone())
        };
        if bytes(&columns.iter().map(value).collect::<Key>()) == wanted {
            return Ok(Some(alias));
        }
    }
    Ok(None)
}

/// The vanished row of a conflict entry.
pub(crate) fn of_conflict(conn: &Connection, conflict: i64) -> Result<Option<Alias>> {
    let sql = format!("SELECT {COLUMNS} FROM _sync_alias WHERE conflict = ?1 AND key IS NOT NULL");
    conn.prepare_cached(&sql)?.query_row([conflict], read).optional()
}

/// Rows that vanished because they followed the parent of this alias.
pub(crate) fn under(conn: &Connection, id: i64) -> Result<Vec<Alias>> {
    let sql = format!("SELECT {COLUMNS} FROM _sync_alias WHERE via = ?1 AND key IS NOT NULL ORDER BY id");
    conn.prepare_cached(&sql)?.query_map([id], read)?.collect()
}

/// Ends an alias: its row is its own again, or its key means something else.
pub(crate) fn end(conn: &Connection, id: i64) -> Result<()> {
    conn.prepare_cached("DELETE FROM _sync_follower WHERE alias = ?1")?.execute([id])?;
    conn.prepare_cached("UPDATE _sync_alias SET key = NULL WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Remembers a child that follows.
pub(crate) fn follow(conn: &Connection, id: i64, child: &Tracked, place: usize, key: &Key) -> Result<()> {
    let sql = "INSERT INTO _sync_follower(alias, tab, place, key, named_key) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT(alias, tab, place, key) DO NOTHING";
    conn.prepare_cached(sql)?.execute((
        id,
        &child.table.name,
        place as i64,
        same::key_bytes(child, key),
        to_bytes(key),
    ))?;
    Ok(())
}

/// The children that follow.
pub(crate) fn followers(conn: &Connection, id: i64) -> Result<Vec<Follower>> {
    let sql = "SELECT tab, place, named_key FROM _sync_follower WHERE alias = ?1 ORDER BY tab, place, key";
    let follower = |row: &SqlRow<'_>| {
        let place: i64 = row.get(1)?;
        Ok(Follower { table: row.get(0)?, place: place as usize, key: decode(&row.get::<_, Vec<u8>>(2)?)? })
    };
    conn.prepare_cached(sql)?.query_map([id], follower)?.collect()
}

fn read(row: &SqlRow<'_>) -> Result<Alias> {
    Ok(Alias {
        id: row.get(0)?,
        table: row.get(1)?,
        row: decode(&row.get::<_, Vec<u8>>(2)?)?,
        survivor: decode(&row.get::<_, Vec<u8>>(3)?)?,
        brought: decode(&row.get::<_, Vec<u8>>(4)?)?,
        conflict: row.get(5)?,
        moved: row.get(6)?,
    })
}
