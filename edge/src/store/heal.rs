//! The edge's side of a compare: what capture missed becomes a note, as if the trigger had been there.
//!
//! * A row that the hub does not have is handed in. A row that differs is handed in as a change of the
//!   hub's row. A row that is missing here is fetched: nobody is known to have deleted it.
//! * Only a table without uncut changes is compared, at the hub's version; otherwise it waits.

use super::{EdgeStore, StoreError};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use std::collections::HashMap;
use std::sync::Arc;
use tt_migrations::audit;
use tt_migrations::capture::{base, ids};
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Row, key_bytes, refusal};
use tt_migrations::state;
use tt_protocol::audit::{Compare, Compared, Finding};
use tt_protocol::change::{TableChange, decode_piece};
use tt_protocol::number::Version;
use tt_protocol::value::ValueRef;

impl EdgeStore {
    /// A table that must be compared with the hub's, if there is one that is ready for it.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn compare_due(&self) -> Result<Option<Compare>, StoreError> {
        let sql = "SELECT name FROM _sync_table WHERE audit = 1 ORDER BY tid LIMIT 1";
        let name: Option<String> =
            self.conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
        let Some(tracked) = name.and_then(|name| self.replica.get(&name)) else {
            return Ok(None);
        };
        let snapshot = self.conn.unchecked_transaction()?;
        if is_touched(&snapshot, tracked)? {
            return Ok(None);
        }
        let columns = audit::columns(tracked);
        let buckets = audit::digests(&snapshot, tracked, &columns)?;
        let version = Version(state::get(&snapshot, state::VERSION)?.unwrap_or(0).unsigned_abs());
        Ok(Some(Compare { table: tracked.table.name.clone(), version, columns, buckets }))
    }

    /// Puts right what the hub found. Gives the number of rows that were noted or fetched.
    ///
    /// # Errors
    /// When SQLite fails or the answer is damaged.
    pub fn heal(&mut self, compared: &Compared) -> Result<u64, StoreError> {
        let Some(tracked) = self.replica.get(&compared.table).cloned() else {
            return Ok(0);
        };
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let cursor = state::get(&tx, state::VERSION)?.unwrap_or(0).unsigned_abs();
        if cursor != compared.version.0 || is_touched(&tx, &tracked)? {
            return Ok(0);
        }
        let healed = match &compared.finding {
            Finding::NotNow => return Ok(0),
            Finding::Equal => 0,
            Finding::Differs { buckets, pieces } => heal_buckets(&tx, &tracked, buckets, pieces)?,
        };
        if healed == 0 {
            tx.execute("UPDATE _sync_table SET audit = 0 WHERE tid = ?1", [tracked.tid])?;
        }
        ids::settle(&tx, &tracked, self.device)?;
        tx.commit()?;
        Ok(healed)
    }
}

/// True when the table has changes that are not cut.
fn is_touched(conn: &Connection, tracked: &Tracked) -> rusqlite::Result<bool> {
    if base::any(conn, &tracked.table)? {
        return Ok(true);
    }
    if !tracked.table.rowid_key {
        return Ok(false);
    }
    let place = ids::place(conn, tracked)?;
    let (name, key) = (&tracked.table.name, &tracked.table.key[0].0);
    let (name, key) = (tt_migrations::quote::ident(name), tt_migrations::quote::ident(key));
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {name} WHERE {key} BETWEEN ?1 AND ?2)");
    conn.prepare_cached(&sql)?.query_row((place.lo, place.hi), |row| row.get(0))
}

fn heal_buckets(
    conn: &Connection,
    tracked: &Arc<Tracked>,
    buckets: &[u8],
    pieces: &[Vec<u8>],
) -> Result<u64, StoreError> {
    let mut hub: HashMap<Vec<u8>, Row> = HashMap::new();
    for piece in pieces {
        for change in decode_piece(piece)? {
            for index in 0..change.rows.rows() {
                let row = in_own_order(tracked, &change, index);
                hub.insert(key_bytes(row.get(..tracked.keys()).unwrap_or_default()), row);
            }
        }
    }
    let mut missed: Vec<(Row, Option<Row>)> = Vec::new();
    audit::rows_in(conn, tracked, buckets, |local| {
        let theirs = hub.remove(&key_bytes(local.get(..tracked.keys()).unwrap_or_default()));
        if theirs.as_deref() != Some(local) {
            missed.push((local.to_vec(), theirs));
        }
        Ok(())
    })?;
    let mut healed = missed.len() as u64;
    for (local, theirs) in &missed {
        base::add(conn, &tracked.table, local, theirs.as_ref())?;
    }
    for row in hub.values() {
        match row::insert(conn, tracked, row) {
            Ok(()) => healed += 1,
            // Its place is taken by a row that is being handed in: the hub decides between them.
            Err(error) if refusal(&error).is_some() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(healed)
}

fn in_own_order(tracked: &Tracked, change: &TableChange, index: usize) -> Row {
    let value = |name: &String| {
        let place = change.columns.iter().position(|column| column.eq_ignore_ascii_case(name));
        place.map_or(ValueRef::Null, |place| change.rows.get(index, place)).to_owned()
    };
    tracked.names.iter().map(value).collect()
}
