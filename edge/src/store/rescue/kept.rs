//! What an outbox still holds, looked at before it is handed in under another identity.
//!
//! A changeset is handed in whole or not at all, and only if its pieces are those that were cut: their hash is
//! its name. What is not, and was never acknowledged, is lost with this file, and is named.

use super::super::StoreError;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use tt_migrations::state;
use tt_protocol::change::decode_piece;
use tt_protocol::pieces::hash;

/// A changeset as it was kept, with the pieces that were cut.
pub(super) struct Kept {
    pub(super) seq: i64,
    pub(super) hash: [u8; 32],
    pub(super) rows: i64,
    pub(super) at: i64,
    pub(super) pieces: Vec<Vec<u8>>,
}

/// A changeset that cannot be handed in any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Its number.
    pub seq: u64,
    /// What is wrong with it.
    pub found: String,
    /// How many rows it had; None when that is not known either.
    pub rows: Option<u64>,
    /// Rows of each table that can still be read in it. They are not handed in.
    pub readable: BTreeMap<String, u64>,
}

impl fmt::Display for Lost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "changeset {}", self.seq)?;
        match self.rows {
            Some(rows) => write!(out, ", {rows} rows")?,
            None => out.write_str(", nobody knows how many rows")?,
        }
        write!(out, ": {}", self.found)?;
        let mut lead = "; still legible in it: ";
        for (table, rows) in &self.readable {
            write!(out, "{lead}{rows} rows of \"{table}\"")?;
            lead = ", ";
        }
        Ok(())
    }
}

/// The changesets that are whole, and those that are lost. What was safe is not kept and not missed; with
/// `same_hub`, what was acknowledged need not be handed in.
pub(super) fn read(conn: &Connection, same_hub: bool) -> Result<(Vec<Kept>, Vec<Lost>), StoreError> {
    let (mut kept, mut lost) = (Vec::new(), Vec::new());
    let mut next = None;
    let mut statement = conn.prepare(
        "SELECT seq, hash, rows, cut_at, pieces, version IS NOT NULL FROM _sync_outbox ORDER BY seq",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        (next.unwrap_or(seq)..seq).try_for_each(|gap| missing(conn, gap, &mut lost))?;
        next = Some(seq.saturating_add(1));
        let pieces = pieces(conn, seq)?;
        let is_acknowledged: bool = row.get(5)?;
        match whole(row, &pieces)? {
            Ok(hash) => kept.push(Kept { seq, hash, rows: row.get(2)?, at: row.get(3)?, pieces }),
            Err(_) if is_acknowledged && (same_hub || pieces.is_empty()) => {}
            Err(found) => {
                let rows = row.get::<_, Option<i64>>(2)?.map(i64::unsigned_abs);
                lost.push(Lost { seq: seq.unsigned_abs(), found, rows, readable: legible(&pieces) });
            }
        }
    }
    let last = state::get(conn, state::SEQ)?.unwrap_or(0);
    // Of the last changeset the number is always kept.
    (next.unwrap_or(last.max(1))..=last).try_for_each(|gap| missing(conn, gap, &mut lost))?;
    Ok((kept, lost))
}

/// The hash that the pieces have; or what is wrong with them, in words.
fn whole(row: &Row<'_>, pieces: &[Vec<u8>]) -> rusqlite::Result<Result<[u8; 32], String>> {
    let count: i64 = row.get(4)?;
    let here = i64::try_from(pieces.len()).unwrap_or(i64::MAX);
    if here != count {
        return Ok(Err(format!("{here} of its {count} pieces are here")));
    }
    let found = hash(pieces);
    let is_cut = matches!(row.get(1)?, SqlValue::Blob(noted) if noted == found);
    Ok(if is_cut { Ok(found) } else { Err("its pieces are not the bytes that were cut".to_owned()) })
}

fn missing(conn: &Connection, seq: i64, lost: &mut Vec<Lost>) -> Result<(), StoreError> {
    let found = "the outbox does not know it any more".to_owned();
    let readable = legible(&pieces(conn, seq)?);
    lost.push(Lost { seq: seq.unsigned_abs(), found, rows: None, readable });
    Ok(())
}

fn pieces(conn: &Connection, seq: i64) -> rusqlite::Result<Vec<Vec<u8>>> {
    conn.prepare_cached("SELECT bytes FROM _sync_piece WHERE seq = ?1 ORDER BY place")?
        .query_map([seq], |row| row.get(0))?
        .collect()
}

fn legible(pieces: &[Vec<u8>]) -> BTreeMap<String, u64> {
    let mut rows = BTreeMap::new();
    for change in pieces.iter().filter_map(|piece| decode_piece(piece).ok()).flatten() {
        *rows.entry(change.table.clone()).or_default() += change.rows.rows() as u64;
    }
    rows
}
