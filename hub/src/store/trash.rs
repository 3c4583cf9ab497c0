//! Images of deleted rows, and the stamps of changed ones.

use super::same::key_bytes;
use rusqlite::{Connection, OptionalExtension as _, Result};
use tt_migrations::replica::Tracked;
use tt_migrations::row::{Key, Row};
use tt_protocol::frame::{from_bytes, to_bytes};
use tt_protocol::merge::Stamp;
use tt_protocol::number::{EdgeId, Version};
use tt_protocol::value::Value;

/// A deleted row.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Its columns by name: the table may have others by the time it comes back.
    pub(crate) named: Vec<(String, Value)>,
    /// The version that deleted it.
    pub(crate) version: Version,
    /// Who deleted it and when.
    pub(crate) stamp: Stamp,
}

impl Image {
    /// The row in the table's present columns. A column gained since is NULL.
    pub(crate) fn row(&self, tracked: &Tracked) -> Row {
        let value = |name: &String| {
            let found = self.named.iter().find(|(have, _)| have.eq_ignore_ascii_case(name));
            found.map_or(Value::Null, |(_, value)| value.clone())
        };
        tracked.names.iter().map(value).collect()
    }
}

/// Names and values of a row, as kept in trash and conflicts.
pub(crate) fn named(tracked: &Tracked, row: &[Value]) -> Vec<(String, Value)> {
    tracked.names.iter().cloned().zip(row.iter().cloned()).collect()
}

/// Keeps the image of a row that is being deleted.
pub(crate) fn keep(
    conn: &Connection,
    tracked: &Tracked,
    row: &Row,
    version: Version,
    stamp: Stamp,
) -> Result<()> {
    let key: Key = row.iter().take(tracked.keys()).cloned().collect();
    let sql = "INSERT INTO _sync_trash(tab, key, row, version, edge, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT(tab, key) DO UPDATE SET row = excluded.row, version = excluded.version,
               edge = excluded.edge, at = excluded.at";
    let row = to_bytes(&named(tracked, row));
    conn.prepare_cached(sql)?.execute((
        &tracked.table.name,
        key_bytes(tracked, &key),
        row,
        version.0 as i64,
        stamp.edge.0,
        stamp.at,
    ))?;
    Ok(())
}

/// The image at `key`, if it is still kept.
pub(crate) fn find(conn: &Connection, tracked: &Tracked, key: &Key) -> Result<Option<Image>> {
    let sql = "SELECT row, version, edge, at FROM _sync_trash WHERE tab = ?1 AND key = ?2";
    conn.prepare_cached(sql)?.query_row((&tracked.table.name, key_bytes(tracked, key)), image).optional()
}

/// All images of a table that one version deleted.
pub(crate) fn of_version(conn: &Connection, tracked: &Tracked, version: Version) -> Result<Vec<Image>> {
    let sql = "SELECT row, version, edge, at FROM _sync_trash WHERE tab = ?1 AND version = ?2";
    conn.prepare_cached(sql)?.query_map((&tracked.table.name, version.0 as i64), image)?.collect()
}

/// All images of a table, for a foreign key that does not point at the primary key.
pub(crate) fn of_table(conn: &Connection, tracked: &Tracked) -> Result<Vec<Image>> {
    let sql = "SELECT row, version, edge, at FROM _sync_trash WHERE tab = ?1";
    conn.prepare_cached(sql)?.query_map([&tracked.table.name], image)?.collect()
}

/// Forgets an image: the row is back.
pub(crate) fn forget(conn: &Connection, tracked: &Tracked, key: &Key) -> Result<()> {
    let sql = "DELETE FROM _sync_trash WHERE tab = ?1 AND key = ?2";
    conn.prepare_cached(sql)?.execute((&tracked.table.name, key_bytes(tracked, key)))?;
    Ok(())
}

fn image(row: &rusqlite::Row<'_>) -> Result<Image> {
    let bytes: Vec<u8> = row.get(0)?;
    let version: i64 = row.get(1)?;
    let named = from_bytes(&bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
    })?;
    let stamp = Stamp { edge: EdgeId(row.get(2)?), at: row.get(3)? };
    Ok(Image { named, version: Version(version as u64), stamp })
}

/// Who changed a row last; None when nobody did since it was made.
pub(crate) fn stamp(conn: &Connection, tracked: &Tracked, key: &Key) -> Result<Option<Stamp>> {
    let sql = "SELECT edge, at FROM _sync_stamp WHERE tab = ?1 AND key = ?2";
    conn.prepare_cached(sql)?
        .query_row((&tracked.table.name, key_bytes(tracked, key)), |row| {
            Ok(Stamp { edge: EdgeId(row.get(0)?), at: row.get(1)? })
        })
        .optional()
}

/// Whether a key has several spellings. Another spelling is a delete and an insert, and the row keeps its
/// time all the same.
pub(crate) fn is_respelled(tracked: &Tracked) -> bool {
    tracked.table.key.iter().any(|(_, collation)| !collation.eq_ignore_ascii_case("BINARY"))
}

/// Writes who changed a row, unless somebody is known to have changed it later.
pub(crate) fn set_stamp(conn: &Connection, tracked: &Tracked, key: &Key, stamp: Stamp) -> Result<()> {
    let sql = "INSERT INTO _sync_stamp(tab, key, edge, at) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT(tab, key) DO UPDATE SET edge = excluded.edge, at = excluded.at
               WHERE (excluded.at, excluded.edge) > (at, edge)";
    conn.prepare_cached(sql)?.execute((
        &tracked.table.name,
        key_bytes(tracked, key),
        stamp.edge.0,
        stamp.at,
    ))?;
    Ok(())
}
