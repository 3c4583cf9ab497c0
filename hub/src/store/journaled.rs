//! The store's end of the journal: what a transaction must say of itself is put into `_sync_journal` in that same
//! transaction. The journal's writer takes it from there.
//!
//! * A database is journaled when it has the fact [`JOURNAL`]: the number of the last entry. Without it nothing
//!   is written down (a copy that is replayed into, a database of a test).
//! * Entries that are safe in a segment are removed by a later transaction, never by one of their own.

use crate::journal::record::{Entry, IdPlace, Local, Lsn, SchemaChange, What};
use rusqlite::{Connection, Result};
use std::collections::BTreeMap;
use tt_migrations::state;
use tt_protocol::number::{Millis, Version};

/// Number of the last entry.
pub(crate) const JOURNAL: &str = "journal";

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS _sync_journal(lsn INTEGER PRIMARY KEY, entry BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS _sync_journaled(type TEXT NOT NULL, name TEXT NOT NULL, hash BLOB NOT NULL,
  PRIMARY KEY(type, name)) WITHOUT ROWID;";

/// Where ids stand, by table.
pub(crate) type Places = BTreeMap<String, IdPlace>;

/// Begins to write down what happens, if that has not begun yet.
pub(crate) fn begin(conn: &Connection) -> Result<()> {
    conn.execute_batch(TABLES)?;
    if last(conn)?.is_none() {
        super::ddl::note(conn)?;
        state::set(conn, JOURNAL, 0)?;
    }
    Ok(())
}

/// Number of the last entry; None when nothing is written down.
pub(crate) fn last(conn: &Connection) -> Result<Option<Lsn>> {
    Ok(state::get(conn, JOURNAL)?.map(|last| Lsn(last.unsigned_abs())))
}

/// Writes an entry down, in the caller's transaction.
pub(crate) fn put(
    conn: &Connection,
    version: Version,
    at: Millis,
    what: impl FnOnce() -> What,
) -> Result<()> {
    let Some(last) = last(conn)? else { return Ok(()) };
    let entry = Entry { lsn: last.next(), version, at, what: what() };
    let lsn = entry.lsn.0 as i64;
    let sql = "INSERT INTO _sync_journal(lsn, entry) VALUES (?1, ?2)";
    conn.prepare_cached(sql)?.execute((lsn, entry.to_bytes()))?;
    state::set(conn, JOURNAL, lsn)
}

/// Writes down what programs at the hub did, if there is anything to say.
pub(crate) fn put_local(
    conn: &Connection,
    version: Version,
    at: Millis,
    known: &Places,
    local: Local,
) -> Result<()> {
    if last(conn)?.is_none() {
        return Ok(());
    }
    let now = places(conn)?;
    let places = now.into_values().filter(|place| known.get(&place.table) != Some(place)).collect();
    let local = Local { places, ..local };
    if local == (Local { observed: local.observed, ..Local::default() }) {
        return Ok(());
    }
    put(conn, version, at, || What::Local(local))
}

/// What programs did to the schema since it was last looked, if it is written down at all.
pub(crate) fn schema_change(conn: &Connection) -> Result<Option<SchemaChange>> {
    if last(conn)?.is_some() { super::ddl::changed(conn) } else { Ok(None) }
}

/// What we ourselves did to the schema is no news for the journal.
pub(crate) fn know_schema(conn: &Connection) -> Result<()> {
    if last(conn)?.is_some() { super::ddl::note(conn) } else { Ok(()) }
}

/// Where ids stand now.
pub(crate) fn places(conn: &Connection) -> Result<Places> {
    // A file none of whose tables gives ids has no such table.
    let counts = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence')";
    if !conn.prepare_cached(counts)?.query_row([], |row| row.get(0))? {
        return Ok(Places::new());
    }
    let sql = "SELECT t.name, t.block_first, t.lo, t.hi, CAST(s.seq AS INTEGER)
               FROM _sync_table t LEFT JOIN sqlite_sequence s ON s.name = t.name WHERE t.block_first > 0";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(IdPlace {
            table: row.get(0)?,
            first: row.get(1)?,
            lo: row.get(2)?,
            hi: row.get(3)?,
            counter: row.get(4)?,
        })
    })?;
    rows.map(|place| place.map(|place| (place.table.clone(), place))).collect()
}

/// Entries above `after`, as bytes, at most `bytes_max` of them and at least one.
pub(crate) fn above(conn: &Connection, after: Lsn, bytes_max: usize) -> Result<Vec<(Lsn, Vec<u8>)>> {
    let sql = "SELECT lsn, entry FROM _sync_journal WHERE lsn > ?1 ORDER BY lsn";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([after.0 as i64])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let entry: Vec<u8> = row.get(1)?;
        bytes += entry.len();
        found.push((Lsn(row.get::<_, i64>(0)?.unsigned_abs()), entry));
        if bytes >= bytes_max {
            break;
        }
    }
    Ok(found)
}

/// Removes entries that are safe in a segment.
pub(crate) fn forget(conn: &Connection, upto: Lsn) -> Result<()> {
    conn.prepare_cached("DELETE FROM _sync_journal WHERE lsn <= ?1")?.execute([upto.0 as i64]).map(drop)
}
