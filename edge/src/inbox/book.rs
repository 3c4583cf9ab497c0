//! The book of files that have gone in. It lies in the program's file, because a note must commit with its rows.

use super::Reason;
use rusqlite::{Connection, OptionalExtension as _, Result};
use tt_protocol::counted::counted;

/// The tables of the book.
pub(crate) const TABLES: &str = include_str!("import.sql");

/// A file that has gone in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(super) id: i64,
    /// The name that it had.
    pub(crate) name: String,
    /// How long it was.
    pub(super) bytes: u64,
    /// When that was, as SQLite writes a time in UTC.
    pub(crate) at: String,
    /// Lines that went in.
    pub(crate) lines: u64,
    /// Where its header ends; 0 without one.
    pub(super) header: u64,
    /// The name under which its rejected lines are kept, once it is chosen.
    pub(super) kept: Option<String>,
    /// It and its rejected lines lie where they should.
    pub(super) settled: bool,
}

impl Known {
    /// Number of its note.
    pub(crate) const fn id(&self) -> i64 {
        self.id
    }

    /// Whoever took it did not come to the end.
    pub(crate) const fn is_unfinished(&self) -> bool {
        !self.settled
    }

    /// Why a file with its content does not go in.
    pub(crate) fn refusal(&self) -> String {
        format!(
            "its content went in at {} UTC as {} ({}); if these are other counts, tt-edge import --again takes it",
            self.at,
            self.name,
            counted(self.lines, "line")
        )
    }
}

/// A place of a line that did not go in.
pub(super) struct Place {
    pub(super) first: u64,
    pub(super) past: u64,
    pub(super) reason: Reason,
}

const KNOWN: &str =
    "id, name, bytes, strftime('%Y-%m-%d %H:%M:%S', at / 1000, 'unixepoch'), lines, settled, header, kept";

fn known(row: &rusqlite::Row<'_>) -> Result<Known> {
    let (bytes, lines, header): (i64, i64, i64) = (row.get(2)?, row.get(4)?, row.get(6)?);
    Ok(Known {
        id: row.get(0)?,
        name: row.get(1)?,
        bytes: bytes.unsigned_abs(),
        at: row.get(3)?,
        lines: lines.unsigned_abs(),
        settled: row.get(5)?,
        header: header.unsigned_abs(),
        kept: row.get(7)?,
    })
}

/// The last file with this content, of this name if one is given.
pub(super) fn find(conn: &Connection, hash: &[u8; 32], name: Option<&str>) -> Result<Option<Known>> {
    let sql = format!(
        "SELECT {KNOWN} FROM _sync_import WHERE hash = ?1 AND (?2 IS NULL OR name = ?2) ORDER BY settled, id DESC LIMIT 1"
    );
    conn.prepare_cached(&sql)?.query_row((hash, name), known).optional()
}

/// Files of this name that were shorter and had lines, the longest first.
pub(super) fn shorter(conn: &Connection, name: &str, bytes: u64) -> Result<Vec<(Known, [u8; 32])>> {
    let sql = format!(
        "SELECT {KNOWN}, hash FROM _sync_import WHERE name = ?1 AND bytes < ?2 AND lines > 0 ORDER BY bytes DESC LIMIT 16"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    statement.query_map((name, bytes), |row| Ok((known(row)?, row.get(8)?)))?.collect()
}

/// Notes a file. Gives the note's number.
pub(super) fn note(
    conn: &Connection,
    (name, hash, bytes): (&str, &[u8; 32], u64),
    by_hand: bool,
    now: i64,
) -> Result<i64> {
    let sql = "INSERT INTO _sync_import(name, hash, bytes, at, by_hand) VALUES (?1, ?2, ?3, ?4, ?5)";
    conn.execute(sql, (name, hash, i64::try_from(bytes).unwrap_or(i64::MAX), now, by_hand))?;
    Ok(conn.last_insert_rowid())
}

/// Notes how many lines went in.
pub(super) fn count(conn: &Connection, id: i64, lines: u64) -> Result<()> {
    let lines = i64::try_from(lines).unwrap_or(i64::MAX);
    conn.execute("UPDATE _sync_import SET lines = ?2 WHERE id = ?1", (id, lines)).map(drop)
}

/// Notes where the header ends: rejected lines are kept under it.
pub(super) fn note_header(conn: &Connection, id: i64, past: u64) -> Result<()> {
    let past = i64::try_from(past).unwrap_or(i64::MAX);
    conn.execute("UPDATE _sync_import SET header = ?2 WHERE id = ?1", (id, past)).map(drop)
}

/// Notes a line that did not go in.
pub(super) fn reject(conn: &Connection, id: i64, place: &Place) -> Result<()> {
    let sql =
        "INSERT INTO _sync_import_rejected(import, line, first, past, reason) VALUES (?1, ?2, ?3, ?4, ?5)";
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let Place { first, past, reason } = place;
    let values = (id, number(reason.line), number(*first), number(*past), &reason.reason);
    conn.prepare_cached(sql)?.execute(values).map(drop)
}

/// True until the lines of a file that did not go in are kept.
pub(super) fn has_rejected(conn: &Connection, id: i64) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM _sync_import_rejected WHERE import = ?1)";
    conn.query_row(sql, [id], |row| row.get(0))
}

/// Lines that did not go in, in their order.
pub(super) fn rejected(
    conn: &Connection,
    id: i64,
    mut each: impl FnMut(Place) -> std::io::Result<()>,
) -> Result<std::io::Result<u64>> {
    let sql = "SELECT line, first, past, reason FROM _sync_import_rejected WHERE import = ?1 ORDER BY line";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let number = |at| row.get::<_, i64>(at).map(i64::unsigned_abs);
        let reason = Reason { line: number(0)?, reason: row.get(3)? };
        if let Err(error) = each(Place { first: number(1)?, past: number(2)?, reason }) {
            return Ok(Err(error));
        }
        count += 1;
    }
    Ok(Ok(count))
}

/// All of a file lies where it should.
pub(super) fn settle(conn: &Connection, id: i64) -> Result<()> {
    conn.execute("DELETE FROM _sync_import_rejected WHERE import = ?1", [id])?;
    conn.execute("UPDATE _sync_import SET settled = 1 WHERE id = ?1", [id]).map(drop)
}

/// What is noted of a file.
pub(super) fn read(conn: &Connection, id: i64) -> Result<Known> {
    let sql = format!("SELECT {KNOWN} FROM _sync_import WHERE id = ?1");
    conn.prepare_cached(&sql)?.query_row([id], known)
}

/// Notes the name under which the rejected lines of a file are kept.
pub(super) fn keep_as(conn: &Connection, id: i64, name: &str) -> Result<()> {
    conn.execute("UPDATE _sync_import SET kept = ?2 WHERE id = ?1", (id, name)).map(drop)
}

/// Files of the folder that went in and were not seen to lie where they should.
pub(super) fn unsettled(conn: &Connection) -> Result<Vec<Known>> {
    let sql = format!("SELECT {KNOWN} FROM _sync_import WHERE settled = 0 AND by_hand = 0");
    conn.prepare_cached(&sql)?.query_map([], known)?.collect()
}
