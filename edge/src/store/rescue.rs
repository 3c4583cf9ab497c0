//! A file becomes another device: because it was copied, because an older copy of it was put back, or because
//! it belonged to a hub that is no more. What it has not handed in, it hands in as the new one.
//!
//! Everything that the outbox still holds begins with the name by which it was cut: the hub, and not this file,
//! knows which of it has arrived. Then the file is reseeded.

use super::{EdgeStore, StoreError, installed, standing};
use rusqlite::{Connection, TransactionBehavior};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use tt_migrations::capture::ids;
use tt_migrations::outbox::cut;
use tt_migrations::outbox::kept::{self, Lost};
use tt_migrations::state;
use tt_protocol::number::{EdgeId, Millis, Seq};

/// Who took the file over, so that the same command goes on where it was cut off.
const RESCUED_BY: &str = "rescued_by";
/// What came of it, as JSON: a loss must be told also when the command was cut off before it could.
const RESCUED: &str = "rescued";

/// What a file takes along.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rescued {
    /// Changesets that are handed in again.
    pub changesets: u64,
    /// Rows in them.
    pub rows: u64,
    /// Changesets that cannot be handed in, because they are damaged in this file.
    pub lost: Vec<Lost>,
    /// A copy of the file as it was, when something is lost.
    pub aside: Option<PathBuf>,
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
        // A new cut would hide that all before it are gone.
        let (mut kept, lost) = kept::read(&self.conn, same_hub)?;
        if self.cut(now)?.is_some() {
            kept = kept::read(&self.conn, same_hub)?.0;
        }
        let aside = self.keep_aside(by, &lost)?;
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch("DELETE FROM _sync_outbox; DELETE FROM _sync_piece")?;
        state::set(&tx, state::SEQ, 0)?;
        let mut rescued = Rescued { lost, aside, ..Rescued::default() };
        let step = state::get(&tx, state::STEP)?.unwrap_or(0).unsigned_abs();
        for (seq, changeset) in (1..).map(Seq).zip(&kept) {
            let pieces = changeset.named(self.device, (seq == Seq(1)).then_some(step))?;
            cut::keep(&tx, seq, &pieces, changeset.rows.unsigned_abs(), changeset.at)?;
            rescued.changesets += 1;
            rescued.rows += changeset.rows.unsigned_abs();
        }
        become_device(&tx, device, same_hub)?;
        state::set_text(&tx, RESCUED_BY, by)?;
        state::set_text(&tx, RESCUED, &serde_json::to_string(&rescued)?)?;
        let replica = installed(&tx, &self.policy, device)?;
        for tracked in replica.tables.values() {
            ids::settle(&tx, tracked, device)?;
        }
        tx.commit()?;
        (self.device, self.replica) = (device, Arc::clone(&replica));
        Ok(rescued)
    }

    /// What came of it, when this token's holder has taken the file over already.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn rescued_by(&self, by: &str) -> Result<Option<Rescued>, StoreError> {
        if state::get_text(&self.conn, RESCUED_BY)?.as_deref() != Some(by) {
            return Ok(None);
        }
        let came = state::get_text(&self.conn, RESCUED)?;
        Ok(Some(came.map(|text| serde_json::from_str(&text)).transpose()?.unwrap_or_default()))
    }

    /// The outbox is made anew: where something in it is lost, the file as it is stays beside it for a person.
    fn keep_aside(&self, by: &str, lost: &[Lost]) -> Result<Option<PathBuf>, StoreError> {
        let Some(path) = self.conn.path().filter(|_| !lost.is_empty()) else { return Ok(None) };
        let aside = PathBuf::from(format!("{path}.before-rescue-{}", by.get(..8).unwrap_or(by)));
        if !aside.exists() {
            self.conn.execute("VACUUM INTO ?1", [aside.to_string_lossy()])?;
        }
        for one in lost {
            tracing::error!(file = %aside.display(), "not handed in: {one}; this copy of the file is kept");
        }
        Ok(Some(aside))
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
        conn.execute("DELETE FROM _sync_text WHERE name = ?1", [state::HUB])?;
        state::set(conn, state::EPOCH, 0)?;
        state::set(conn, state::VERSION, 0)?;
    }
    // The former device's blocks may be in use elsewhere.
    conn.execute("UPDATE _sync_table SET block_first = 0, lo = 1, hi = 0", [])?;
    standing::keep_reason(conn, state::BLOCKED, None)
}
