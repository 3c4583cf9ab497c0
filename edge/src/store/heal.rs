//! Puts right what a compare found.
//!
//! * A row that the hub does not have is handed in. A row that is missing here is fetched: nobody is
//!   known to have deleted it.
//! * A row that differs is handed in as a change of the hub's row where capture is known to have missed
//!   something, because then the program's write is the reason. Everywhere else nobody knows the reason,
//!   and it may be a damaged or an old copy of the file: the row is handed in as a second row under its
//!   key, so that the hub keeps its own, lists the device's whole for the operator, and sends its own.
//!   So no old value is ever put over the hub's, and none is lost.
//! * Each difference is put right once. One that is found again stays and is shown: no endless loop.
//! * Rows are read in a snapshot before; here, under the write lock, only the few that differ are looked
//!   at again.

use super::apply::alone_sql;
use super::audit::{self, Outcome};
use super::reading::is_settled;
use super::{EdgeStore, StoreError};
use rusqlite::{Connection, TransactionBehavior, params_from_iter};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tt_migrations::capture::{base, ids};
use tt_migrations::quote::ident;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Key, Row, key_bytes, refusal};
use tt_migrations::state;
use tt_migrations::value::bound;
use tt_protocol::change::decode_piece;
use tt_protocol::number::{Millis, Version};
use tt_protocol::value::Value;

/// What putting right came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Healed {
    /// Rows that are handed in with the next cut.
    pub noted: u64,
    /// Rows of the hub that were missing here.
    pub fetched: u64,
    /// Rows that differ and were put right before, or cannot be fetched as things stand.
    pub left: u64,
}

/// One row that is not the same here and there.
struct Difference {
    key: Key,
    local: Option<Row>,
    hub: Option<Row>,
}

/// What was compared and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Millis,
    pub(crate) version: Version,
}

impl EdgeStore {
    /// Writes down that a table is equal to the hub's, or cannot be compared.
    ///
    /// # Errors
    /// When SQLite fails.
    pub(crate) fn compared(
        &mut self,
        tracked: &Arc<Tracked>,
        moment: Moment,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        if !self.is_current(tracked) {
            return Ok(());
        }
        self.without_sync(|store| {
            let tx = store.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            audit::record(&tx, tracked, (moment.now, moment.version), (outcome, 0))?;
            tx.commit()?;
            Ok(())
        })
    }

    /// Puts right what differs in some leaves, of which the hub's rows and the keys of the local ones are
    /// given. None when the table has changed meanwhile: it must be compared again.
    ///
    /// # Errors
    /// When SQLite fails or the answer is damaged.
    pub(crate) fn heal(
        &mut self,
        tracked: &Arc<Tracked>,
        moment: Moment,
        keys: &[Key],
        pieces: &[Vec<u8>],
    ) -> Result<Option<Healed>, StoreError> {
        if !self.is_current(tracked) {
            return Ok(None);
        }
        let hub = hub_rows(tracked, pieces)?;
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let cursor = state::get(&tx, state::VERSION)?.unwrap_or(0).unsigned_abs();
        if cursor != moment.version.0 || !is_settled(&tx, tracked, self.replica.schema_version)? {
            return Ok(None);
        }
        let differences = differences(&tx, tracked, keys, hub)?;
        let healed = put_right(&tx, tracked, &differences)?;
        let outcome = match healed {
            Healed { noted: 0, fetched: 0, left: 0 } => (Outcome::Equal, 0),
            Healed { noted: 0, fetched: 0, left } => (Outcome::Differs, left),
            Healed { noted, fetched, .. } => (Outcome::Healing, noted + fetched),
        };
        audit::record(&tx, tracked, (moment.now, moment.version), outcome)?;
        if healed.fetched > 0 {
            ids::settle(&tx, tracked, self.device)?;
            audit::mark_children(&tx, &self.replica, tracked)?;
        }
        tx.commit()?;
        Ok(Some(healed))
    }

    /// False when the schema was read again since: the table may be due anew, for another reason.
    fn is_current(&self, tracked: &Arc<Tracked>) -> bool {
        self.replica.get(&tracked.table.name).is_some_and(|current| Arc::ptr_eq(current, tracked))
    }
}

/// The hub's rows by the bytes of their keys.
fn hub_rows(tracked: &Tracked, pieces: &[Vec<u8>]) -> Result<BTreeMap<Vec<u8>, Row>, StoreError> {
    let mut rows = BTreeMap::new();
    for piece in pieces {
        for change in decode_piece(piece)? {
            for index in 0..change.rows.rows() {
                let row = tracked.row_of(&change, index);
                rows.insert(key_bytes(row.get(..tracked.keys()).unwrap_or_default()), row);
            }
        }
    }
    Ok(rows)
}

/// Two spellings of a key that SQLite takes for one are one row: it is looked at once.
fn differences(
    conn: &Connection,
    tracked: &Tracked,
    keys: &[Key],
    hub: BTreeMap<Vec<u8>, Row>,
) -> rusqlite::Result<Vec<Difference>> {
    let mut seen: HashSet<Vec<u8>> = hub.keys().cloned().collect();
    let mut found = Vec::new();
    for hub in hub.into_values() {
        let key: Key = hub.iter().take(tracked.keys()).cloned().collect();
        let local = row::read(conn, tracked, &key)?;
        if let Some(local) = &local {
            seen.insert(key_bytes(&local[..tracked.keys()]));
        }
        if local.as_ref() != Some(&hub) {
            found.push(Difference { key, local, hub: Some(hub) });
        }
    }
    for key in keys.iter().filter(|key| !seen.contains(&key_bytes(key))) {
        if let Some(local) = row::read(conn, tracked, key)? {
            found.push(Difference { key: key.clone(), local: Some(local), hub: None });
        }
    }
    Ok(found)
}

fn put_right(
    conn: &Connection,
    tracked: &Arc<Tracked>,
    differences: &[Difference],
) -> Result<Healed, StoreError> {
    let blind = audit::is_blind(conn, tracked)?;
    let mut healed = Healed::default();
    let mut fetched: Vec<&Difference> = Vec::new();
    for difference in differences {
        match &difference.local {
            _ if was_tried(conn, tracked, difference)? => healed.left += 1,
            Some(local) => {
                base::forget(conn, &tracked.table, &difference.key)?;
                let was = difference.hub.as_ref().filter(|_| blind);
                base::add(conn, &tracked.table, local, was)?;
                remember(conn, tracked, difference)?;
                healed.noted += 1;
            }
            None => match row::insert(conn, tracked, difference.hub.as_deref().unwrap_or_default()) {
                Ok(()) => fetched.push(difference),
                // Its place is taken by a row that is being handed in: the hub decides between them.
                Err(error) if refusal(&error).is_some() => healed.left += 1,
                Err(error) => return Err(error.into()),
            },
        }
    }
    healed.left += without_parents(conn, tracked, &mut fetched)?;
    healed.fetched = fetched.len() as u64;
    fetched.iter().try_for_each(|difference| remember(conn, tracked, difference))?;
    Ok(healed)
}

/// Takes fetched rows out again whose parent is not here: when the parents' table is compared, it is their
/// turn. Gives their number.
fn without_parents(
    conn: &Connection,
    tracked: &Tracked,
    fetched: &mut Vec<&Difference>,
) -> rusqlite::Result<u64> {
    let mut removed = 0;
    loop {
        let mut alone = Vec::new();
        for (place, difference) in fetched.iter().enumerate() {
            if is_alone(conn, tracked, &difference.key)? {
                alone.push(place);
            }
        }
        if alone.is_empty() {
            return Ok(removed);
        }
        for place in alone.into_iter().rev() {
            row::delete(conn, tracked, &fetched.swap_remove(place).key)?;
            removed += 1;
        }
    }
}

fn is_alone(conn: &Connection, tracked: &Tracked, key: &[Value]) -> rusqlite::Result<bool> {
    let at: Vec<_> = tracked.table.key_names().map(|key| format!("c.{} = ?", ident(key))).collect();
    for foreign in 0..tracked.table.foreign_keys.len() {
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {} c WHERE {} AND {})",
            ident(&tracked.table.name),
            at.join(" AND "),
            alone_sql(tracked, foreign)
        );
        let key = params_from_iter(bound(key.iter().map(Value::as_ref)));
        if conn.prepare_cached(&sql)?.query_row(key, |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn was_tried(conn: &Connection, tracked: &Tracked, difference: &Difference) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM _sync_audit_tried WHERE tid = ?1 AND difference = ?2)";
    conn.prepare_cached(sql)?.query_row((tracked.tid, difference.name()), |row| row.get(0))
}

fn remember(conn: &Connection, tracked: &Tracked, difference: &Difference) -> rusqlite::Result<()> {
    let sql = "INSERT INTO _sync_audit_tried(tid, difference) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    conn.prepare_cached(sql)?.execute((tracked.tid, difference.name())).map(drop)
}

impl Difference {
    /// Equal for the same two rows.
    fn name(&self) -> Vec<u8> {
        let mut bytes = key_bytes(&self.key);
        for side in [&self.local, &self.hub] {
            bytes.push(u8::from(side.is_some()));
            bytes.extend(key_bytes(side.as_deref().unwrap_or_default()));
        }
        Sha256::digest(&bytes)[..16].to_vec()
    }
}
