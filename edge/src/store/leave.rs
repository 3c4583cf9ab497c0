//! A device leaves its hub: every trace of ours goes out of the program's file, in one transaction, and the rows
//! stay as they are.
//!
//! * What was not handed in is found by a last cut in the same transaction. Unless it is to be left behind, that
//!   cut is kept for the hub and nothing else happens.
//! * `sqlite_sequence` stays where it is: ids go on in the device's own block, which nobody else is ever given, so
//!   that the file can join again. Of a key that we gave AUTOINCREMENT, the word is taken back.

use super::{EdgeStore, StoreError, cut, refresh};
use rusqlite::{Connection, TransactionBehavior};
use serde::Serialize;
use std::collections::BTreeMap;
use tt_migrations::autoincrement;
use tt_migrations::capture::install::{uninstall, upgraded};
use tt_protocol::change::{Kind, decode_piece};
use tt_protocol::number::Millis;
use tt_protocol::value::ValueRef;

/// Rows that are named one by one. Of the others only the number is.
const NAMED_MAX: usize = 1_000;

/// Work that the hub does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unsent {
    /// Changed rows by table.
    pub tables: BTreeMap<String, u64>,
    /// The first of them.
    pub rows: Vec<UnsentRow>,
}

/// One changed row that the hub does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnsentRow {
    /// Its table.
    pub table: String,
    /// Its key, as SQL would write it.
    pub key: String,
    /// What happened to it: "new", "changed" or "deleted".
    pub what: &'static str,
}

/// What leaving came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// What the hub does not get.
    pub behind: Unsent,
    /// Tables, indexes and triggers of ours that are gone.
    pub removed: Vec<String>,
    /// Objects of the program that named ours, and are gone with them.
    pub intruders: Vec<String>,
    /// Tables whose key has no AUTOINCREMENT any more, as before it joined.
    pub given_back: Vec<String>,
}

impl Unsent {
    /// True when the hub has everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    fn add(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        for change in decode_piece(piece)? {
            let what = match change.kind {
                Kind::Insert | Kind::Put => "new",
                Kind::Update => "changed",
                Kind::Delete | Kind::Gone => "deleted",
            };
            *self.tables.entry(change.table.clone()).or_default() += change.rows.rows() as u64;
            let room = NAMED_MAX.saturating_sub(self.rows.len());
            let named = (0..change.rows.rows()).take(room).map(|row| UnsentRow {
                table: change.table.clone(),
                key: change.key(row).map(written).collect::<Vec<_>>().join(", "),
                what,
            });
            self.rows.extend(named);
        }
        Ok(())
    }
}

impl EdgeStore {
    /// Leaves, unless something is unsent: then nothing but a cut was made, and what it is comes back. With
    /// `work_stays`, it is left behind. With `only_look`, nothing is written at all.
    ///
    /// # Errors
    /// When SQLite fails. The file is as it was then.
    pub fn leave(
        &mut self,
        now: Millis,
        work_stays: bool,
        only_look: bool,
    ) -> Result<Result<Left, Unsent>, StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        refresh(&tx, &self.policy, self.device, &mut self.replica)?;
        cut::cut(&tx, &self.replica, &self.policy, self.device, now.0)?;
        let behind = unsent(&tx)?;
        if !behind.is_empty() && !work_stays {
            if !only_look {
                tx.commit()?;
            }
            return Ok(Err(behind));
        }
        let removed = ours(&tx)?;
        let upgraded = upgraded(&tx)?;
        let intruders = uninstall(&tx)?;
        let mut given_back = Vec::new();
        for table in upgraded {
            if autoincrement::take_back(&tx, &table).map_err(StoreError::from)? {
                given_back.push(table);
            }
        }
        if !only_look {
            tx.commit()?;
        }
        Ok(Ok(Left { behind, removed, intruders, given_back }))
    }
}

fn unsent(conn: &Connection) -> Result<Unsent, StoreError> {
    let sql = "SELECT bytes FROM _sync_piece JOIN _sync_outbox USING (seq) WHERE version IS NULL ORDER BY seq, place";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut found = Unsent::default();
    while let Some(row) = rows.next()? {
        found.add(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?;
    }
    Ok(found)
}

fn ours(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT type || ' ' || name FROM sqlite_schema
               WHERE name LIKE '\\_sync\\_%' ESCAPE '\\' ORDER BY type, name";
    conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

fn written(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) => tt_migrations::quote::text(&String::from_utf8_lossy(bytes)),
        ValueRef::Blob(bytes) => format!("X'{}'", data_encoding::HEXUPPER.encode(bytes)),
    }
}
