//! The outbox: changesets that are cut and not yet safe.

use super::{EdgeStore, StoreError};
use rusqlite::{OptionalExtension as _, TransactionBehavior};
use tt_migrations::state;
use tt_protocol::frame::{Ack, Piece};
use tt_protocol::number::{Seq, Version};

/// A changeset that the hub has not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its number.
    pub seq: Seq,
    /// SHA-256 over its pieces.
    pub hash: [u8; 32],
    /// Number of pieces.
    pub pieces: u32,
    /// The hub's version that it builds on.
    pub cursor: Version,
}

impl EdgeStore {
    /// The last changeset that was cut, and its hash; 0 when there is none or it is forgotten.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn last_cut(&self) -> Result<(Seq, [u8; 32]), StoreError> {
        let seq = Seq(state::get(&self.conn, state::SEQ)?.unwrap_or(0).unsigned_abs());
        let hash = self
            .conn
            .prepare_cached("SELECT hash FROM _sync_outbox WHERE seq = ?1")?
            .query_row([seq.0 as i64], |row| row.get(0))
            .optional()?;
        Ok((seq, hash.unwrap_or_default()))
    }

    /// The first changeset above `after`.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn next_waiting(&self, after: Seq) -> Result<Option<Waiting>, StoreError> {
        let sql = "SELECT seq, hash, pieces, cursor FROM _sync_outbox WHERE seq > ?1 ORDER BY seq LIMIT 1";
        let found = self.conn.prepare_cached(sql)?.query_row([after.0 as i64], |row| {
            Ok(Waiting {
                seq: Seq(row.get::<_, i64>(0)?.unsigned_abs()),
                hash: row.get(1)?,
                pieces: row.get(2)?,
                cursor: Version(row.get::<_, i64>(3)?.unsigned_abs()),
            })
        });
        Ok(found.optional()?)
    }

    /// One piece of a changeset, as it goes on the wire.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn piece(&self, waiting: &Waiting, index: u32) -> Result<Piece, StoreError> {
        let bytes = self
            .conn
            .prepare_cached("SELECT bytes FROM _sync_piece WHERE seq = ?1 AND place = ?2")?
            .query_row((waiting.seq.0 as i64, index), |row| row.get(0))?;
        let Waiting { seq, hash, pieces: count, cursor } = *waiting;
        Ok(Piece { seq, hash, index, count, cursor, bytes })
    }

    /// Takes an acknowledgement: the changeset is the hub's now. The cursor moves along when nothing
    /// else happened for this edge, and what the watermark has passed is forgotten.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn acknowledge(&mut self, ack: &Ack) -> Result<(), StoreError> {
        // Losing this write to a power cut loses nothing: the hub says it again.
        self.without_sync(|store| store.acknowledge_in_one(ack))
    }

    fn acknowledge_in_one(&mut self, ack: &Ack) -> Result<(), StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // An earlier acknowledgement may have been lost to a power cut.
        tx.prepare_cached("UPDATE _sync_outbox SET version = ?2 WHERE seq <= ?1 AND version IS NULL")?
            .execute((ack.seq.0 as i64, ack.version.0 as i64))?;
        let last = state::get(&tx, state::SEQ)?.unwrap_or(0).unsigned_abs();
        let cursor = state::get(&tx, state::VERSION)?.unwrap_or(0).unsigned_abs();
        if ack.caught_up && last == ack.seq.0 && cursor < ack.version.0 {
            state::set(&tx, state::VERSION, ack.version.0 as i64)?;
        }
        forget(&tx, ack.watermark)?;
        tx.commit()?;
        Ok(())
    }

    /// Forgets acknowledged changesets up to the watermark.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn forget_safe(&mut self, watermark: Version) -> Result<(), StoreError> {
        // Losing this write to a power cut loses nothing: what is kept too long does no harm.
        self.without_sync(|store| {
            let tx = store.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            forget(&tx, watermark)?;
            Ok(tx.commit()?)
        })
    }

    /// The hub is in another epoch and has changesets up to `merged`: those above are not acknowledged any
    /// more, whatever a watermark of the new epoch says.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn reopen(&mut self, merged: Seq) -> Result<(), StoreError> {
        let sql = "UPDATE _sync_outbox SET version = NULL WHERE seq > ?1 AND version IS NOT NULL";
        let again = self.conn.execute(sql, [merged.0 as i64])?;
        if again > 0 {
            tracing::warn!(
                changesets = again,
                after = merged.0,
                "the hub was restored: sending again what it lacks"
            );
        }
        Ok(())
    }

    /// The first changeset that is still here whole; the one after the last when there is none.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn first_held(&self) -> Result<Seq, StoreError> {
        let first: Option<i64> =
            self.conn.query_row("SELECT MIN(seq) FROM _sync_piece", [], |row| row.get(0))?;
        let next = state::get(&self.conn, state::SEQ)?.unwrap_or(0).unsigned_abs() + 1;
        Ok(Seq(first.map_or(next, i64::unsigned_abs)))
    }

    /// Rows of changesets that the hub has not acknowledged, and when the oldest was cut.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn unacknowledged(&self) -> Result<(u64, Option<i64>), StoreError> {
        let sql = "SELECT COALESCE(SUM(rows), 0), MIN(cut_at) FROM _sync_outbox WHERE version IS NULL";
        let (rows, oldest): (i64, _) = self.conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok((rows.unsigned_abs(), oldest))
    }
}

/// Pieces that are safe need not be kept. Of the last changeset the number and hash stay, so that the hub
/// can tell a copied device by them.
fn forget(conn: &rusqlite::Connection, watermark: Version) -> rusqlite::Result<()> {
    let pieces = "DELETE FROM _sync_piece WHERE seq IN (SELECT seq FROM _sync_outbox WHERE version <= ?1)";
    conn.prepare_cached(pieces)?.execute([watermark.0 as i64])?;
    let numbers =
        "DELETE FROM _sync_outbox WHERE version <= ?1 AND seq < (SELECT MAX(seq) FROM _sync_outbox)";
    conn.prepare_cached(numbers)?.execute([watermark.0 as i64])?;
    Ok(())
}
