//! A file becomes another device: because it was copied, because an older copy of it was put back, or because
//! it belonged to a hub that is no more. What it has not handed in, it hands in as the new one.
//!
//! Everything that the outbox still holds begins with the name by which it was cut: the hub, and not this file,
//! knows which of it has arrived. Then the file is reseeded.

use super::{EdgeStore, StoreError, cut, installed, standing};
use rusqlite::{Connection, TransactionBehavior};
use std::sync::Arc;
use tt_migrations::capture::ids;
use tt_migrations::state;
use tt_protocol::number::{EdgeId, Millis, Seq};
use tt_protocol::rescue::{Origin, decode_origin, encode_origin};
use tt_protocol::step::{decode_made, encode_made};

/// Who took the file over, so that the same command goes on where it was cut off.
const RESCUED_BY: &str = "rescued_by";

/// What a file takes along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Changesets that are handed in again.
    pub changesets: u64,
    /// Rows in them.
    pub rows: u64,
}

/// A changeset as it was kept.
struct Kept {
    seq: i64,
    hash: [u8; 32],
    rows: i64,
    at: i64,
    pieces: Vec<Vec<u8>>,
}

impl EdgeStore {
    /// Gives the file the identity of `device` and prepares all that it holds to be handed in, whole or not at
    /// all. `by` names the token that allows it; with `same_hub`, what the file knows of the hub still counts.
    ///
    /// # Errors
    /// When SQLite fails; the file is then as it was.
    pub fn rescue(
        &mut self,
        device: EdgeId,
        by: &str,
        same_hub: bool,
        now: Millis,
    ) -> Result<Rescued, StoreError> {
        self.cut(now)?;
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let kept = kept(&tx)?;
        tx.execute_batch("DELETE FROM _sync_outbox; DELETE FROM _sync_piece")?;
        state::set(&tx, state::SEQ, 0)?;
        let mut rescued = Rescued::default();
        let step = state::get(&tx, state::STEP)?.unwrap_or(0).unsigned_abs();
        for (seq, changeset) in (1..).map(Seq).zip(&kept) {
            let pieces = changeset.named(self.device, step, seq == Seq(1))?;
            cut::keep(&tx, seq, &pieces, changeset.rows.unsigned_abs(), changeset.at)?;
            rescued.changesets += 1;
            rescued.rows += changeset.rows.unsigned_abs();
        }
        become_device(&tx, device, same_hub)?;
        state::set_text(&tx, RESCUED_BY, by)?;
        let replica = installed(&tx, &self.policy, device)?;
        for tracked in replica.tables.values() {
            ids::settle(&tx, tracked, device)?;
        }
        tx.commit()?;
        (self.device, self.replica) = (device, Arc::clone(&replica));
        Ok(rescued)
    }

    /// True when this token's holder has taken the file over already.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn is_rescued_by(&self, by: &str) -> Result<bool, StoreError> {
        Ok(state::get_text(&self.conn, RESCUED_BY)?.as_deref() == Some(by))
    }
}

/// Changesets whose pieces are all here. Those that were safe are not kept, and need not be handed in.
fn kept(conn: &Connection) -> Result<Vec<Kept>, StoreError> {
    let sql = "SELECT seq, hash, rows, cut_at, pieces FROM _sync_outbox ORDER BY seq";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut kept = Vec::new();
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let count: i64 = row.get(4)?;
        let pieces: Vec<Vec<u8>> = conn
            .prepare_cached("SELECT bytes FROM _sync_piece WHERE seq = ?1 ORDER BY place")?
            .query_map([seq], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        if pieces.len() as i64 == count {
            kept.push(Kept { seq, hash: row.get(1)?, rows: row.get(2)?, at: row.get(3)?, pieces });
        }
    }
    Ok(kept)
}

impl Kept {
    /// The pieces under the name by which they were cut. A file that is rescued for the second time has given
    /// its changesets a name before, which counts.
    fn named(&self, device: EdgeId, step: u64, first: bool) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut pieces = self.pieces.clone();
        let named = pieces.first().map(|piece| decode_origin(piece)).transpose()?.flatten().is_some();
        if !named {
            let origin = Origin { edge: device, seq: Seq(self.seq.unsigned_abs()), hash: self.hash };
            pieces.insert(0, encode_origin(&origin));
        }
        let mut told = false;
        for piece in &pieces {
            told |= decode_made(piece)?.is_some();
        }
        // The hub has never heard by which names of tables and columns the new device writes.
        if first && !told {
            pieces.insert(1, encode_made(step));
        }
        Ok(pieces)
    }
}

fn become_device(conn: &Connection, device: EdgeId, same_hub: bool) -> Result<(), StoreError> {
    state::set(conn, state::DEVICE, i64::from(device.0))?;
    state::set(conn, state::SEED_WANTED, 1)?;
    state::set(conn, state::STEP_TOLD, -1)?;
    for name in [state::ORDER_DONE, state::FETCH_SINCE] {
        state::set(conn, name, 0)?;
    }
    if !same_hub {
        // Versions of another hub say nothing to this one.
        state::set(conn, state::EPOCH, 0)?;
        state::set(conn, state::VERSION, 0)?;
    }
    // The former device's blocks may be in use elsewhere.
    conn.execute("UPDATE _sync_table SET block_first = 0, lo = 1, hi = 0", [])?;
    standing::keep_reason(conn, state::BLOCKED, None)
}
