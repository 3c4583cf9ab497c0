//! What an outbox still holds, looked at before it is handed in under another identity.
//!
//! A changeset is handed in whole or not at all, and only if its pieces are those that were cut: their hash is
//! its name. What is not, and was never acknowledged, is lost with this file, and is named.

use crate::state;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, Result, Row};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use tt_protocol::change::{PieceError, decode_piece};
use tt_protocol::counted::counted;
use tt_protocol::number::{EdgeId, Seq};
use tt_protocol::pieces::hash;
use tt_protocol::rescue::{Origin, decode_origin, encode_origin};
use tt_protocol::step::{decode_made, encode_made};

/// A changeset as it was kept, with the pieces that were cut.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its number.
    pub seq: i64,
    /// SHA-256 over its pieces.
    pub hash: [u8; 32],
    /// Rows in it.
    pub rows: i64,
    /// When it was cut, by the device's clock.
    pub at: i64,
    /// The version that the device knew.
    pub cursor: i64,
    /// The hub has said that it has it.
    pub is_acknowledged: bool,
    /// What was cut.
    pub pieces: Vec<Vec<u8>>,
}

impl Kept {
    /// The name by which it was cut. A file that was rescued before has given its changesets a name already,
    /// which counts.
    ///
    /// # Errors
    /// When the piece that holds the name is damaged.
    pub fn origin(&self, device: EdgeId) -> std::result::Result<Origin, PieceError> {
        let named = self.pieces.first().map(|piece| decode_origin(piece)).transpose()?.flatten();
        Ok(named.unwrap_or(Origin { edge: device, seq: Seq(self.seq.unsigned_abs()), hash: self.hash }))
    }

    /// The pieces under the name by which they were cut. `step` says by which names of tables and columns they
    /// are written, where nobody has told the hub yet.
    ///
    /// # Errors
    /// When a piece is damaged.
    pub fn named(&self, device: EdgeId, step: Option<u64>) -> std::result::Result<Vec<Vec<u8>>, PieceError> {
        let mut pieces = vec![encode_origin(&self.origin(device)?)];
        for piece in &self.pieces {
            if decode_origin(piece)?.is_none() {
                pieces.push(piece.clone());
            }
        }
        let mut told = false;
        for piece in &pieces {
            told |= decode_made(piece)?.is_some();
        }
        if let Some(step) = step.filter(|_| !told) {
            pieces.insert(1, encode_made(step));
        }
        Ok(pieces)
    }
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
            Some(rows) => write!(out, ", {}", counted(rows, "row"))?,
            None => out.write_str(", nobody knows how many rows")?,
        }
        write!(out, ": {}", self.found)?;
        let mut lead = "; still legible in it: ";
        for (table, rows) in &self.readable {
            write!(out, "{lead}{} of \"{table}\"", counted(*rows, "row"))?;
            lead = ", ";
        }
        Ok(())
    }
}

/// The changesets that are whole, and those that are lost. What was safe is not kept and not missed; with
/// `same_hub`, what was acknowledged need not be handed in.
///
/// # Errors
/// When SQLite fails.
pub fn read(conn: &Connection, same_hub: bool) -> Result<(Vec<Kept>, Vec<Lost>)> {
    let (mut kept, mut lost) = (Vec::new(), Vec::new());
    let mut next = None;
    let mut statement = conn.prepare(
        "SELECT seq, hash, rows, cut_at, pieces, version IS NOT NULL, cursor FROM _sync_outbox ORDER BY seq",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        (next.unwrap_or(seq)..seq).try_for_each(|gap| missing(conn, gap, &mut lost))?;
        next = Some(seq.saturating_add(1));
        let pieces = pieces(conn, seq)?;
        let is_acknowledged: bool = row.get(5)?;
        match whole(row, &pieces)? {
            Ok(hash) => {
                let (rows, at, cursor) = (row.get(2)?, row.get(3)?, row.get(6)?);
                kept.push(Kept { seq, hash, rows, at, cursor, is_acknowledged, pieces });
            }
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
fn whole(row: &Row<'_>, pieces: &[Vec<u8>]) -> Result<std::result::Result<[u8; 32], String>> {
    let count: i64 = row.get(4)?;
    let here = i64::try_from(pieces.len()).unwrap_or(i64::MAX);
    if here != count {
        return Ok(Err(format!("{here} of its {count} pieces are here")));
    }
    let found = hash(pieces);
    let is_cut = matches!(row.get(1)?, SqlValue::Blob(noted) if noted == found);
    Ok(if is_cut { Ok(found) } else { Err("its pieces are not the bytes that were cut".to_owned()) })
}

fn missing(conn: &Connection, seq: i64, lost: &mut Vec<Lost>) -> Result<()> {
    let found = "the outbox does not know it any more".to_owned();
    let readable = legible(&pieces(conn, seq)?);
    lost.push(Lost { seq: seq.unsigned_abs(), found, rows: None, readable });
    Ok(())
}

fn pieces(conn: &Connection, seq: i64) -> Result<Vec<Vec<u8>>> {
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
