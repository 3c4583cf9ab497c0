//! Entries that wait for rows which are not there. Nothing about them can change before one of these rows is touched or
//! the entry itself is another, so they are not looked at again until then: of ten thousand that wait, a changeset
//! looks at those alone that it may help.
//!
//! What is remembered here is in no file: it is found again by one look at all of them.

use super::{Late, Result, StoreError};
use crate::store::same;
use rusqlite::Connection;
use std::collections::{BTreeMap, HashMap, HashSet};
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::row::Key;
use tt_protocol::change::decode_piece;
use tt_protocol::number::Version;
use tt_protocol::value::{Value, ValueRef};

/// What waits, by two partial indexes. A held child may be amended, so its row is compared as well. The decision is
/// [`super::WAITS`] as text: a bound value, by which an index is chosen, would have the statement compiled again at
/// each use.
pub(super) const READ: &str = "SELECT id, CASE WHEN kind = 'parent' THEN row END FROM _sync_conflict
    WHERE state = 'open' AND row IS NOT NULL
      AND (kind = 'missing' AND work IS NOT NULL OR kind = 'parent' AND work IS NULL)
    UNION ALL
    SELECT id, NULL FROM _sync_conflict WHERE decision = 'waits for its row'";

/// A row by its table, in lower case, and its key.
type Slot = (String, Vec<u8>);

/// The entries that need not be looked at.
#[derive(Default)]
pub(crate) struct Asleep {
    /// The shape of the file by which rows are named here.
    schema: i64,
    /// Rows that were touched up to this version have woken who waits for them.
    until: Version,
    /// With the row, where that can be amended.
    entries: HashMap<i64, Option<Vec<u8>>>,
    by_row: HashMap<Slot, Vec<i64>>,
    /// How often an entry was looked at.
    #[cfg(test)]
    pub(super) looks: u64,
}

impl Asleep {
    /// All that must be looked at now, by number.
    pub(super) fn awake(
        &mut self,
        conn: &Connection,
        replica: &Replica,
        version: Version,
    ) -> std::result::Result<BTreeMap<i64, Late>, StoreError> {
        if self.schema != replica.schema_version {
            (self.entries, self.by_row, self.schema) = Default::default();
            self.schema = replica.schema_version;
        }
        let mut wanted = self.touched(conn, replica, version)?;
        let mut there = HashSet::new();
        let mut statement = conn.prepare_cached(READ)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (id, held): (i64, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?);
            there.insert(id);
            if self.entries.get(&id) != Some(&held) {
                wanted.insert(id);
            }
        }
        self.entries.retain(|id, _| there.contains(id) && !wanted.contains(id));
        if self.entries.is_empty() {
            self.by_row.clear();
        }
        wanted.retain(|id| there.contains(id));
        self.load(conn, wanted)
    }

    /// Those that may be helped by what was touched since the last look.
    pub(super) fn woken(
        &mut self,
        conn: &Connection,
        replica: &Replica,
        version: Version,
    ) -> std::result::Result<BTreeMap<i64, Late>, StoreError> {
        let touched = self.touched(conn, replica, version)?;
        self.load(conn, touched)
    }

    fn touched(
        &mut self,
        conn: &Connection,
        replica: &Replica,
        version: Version,
    ) -> std::result::Result<HashSet<i64>, StoreError> {
        let mut woken = HashSet::new();
        let from = std::mem::replace(&mut self.until, version);
        if self.entries.is_empty() {
            return Ok(woken);
        }
        let sql = "SELECT keys FROM _sync_log WHERE version > ?1 AND version <= ?2";
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query((from.0 as i64, version.0 as i64))?;
        while let Some(row) = rows.next()? {
            for change in decode_piece(&row.get::<_, Vec<u8>>(0)?)? {
                let Some(tracked) = replica.get(&change.table) else { continue };
                for index in 0..change.rows.rows() {
                    let key: Key = change.key(index).map(ValueRef::to_owned).collect();
                    let waiting = self.by_row.remove(&slot(tracked, &key)).unwrap_or_default();
                    woken.extend(waiting.into_iter().filter(|id| self.entries.remove(id).is_some()));
                }
            }
        }
        Ok(woken)
    }

    fn load(
        &mut self,
        conn: &Connection,
        ids: HashSet<i64>,
    ) -> std::result::Result<BTreeMap<i64, Late>, StoreError> {
        #[cfg(test)]
        {
            self.looks += ids.len() as u64;
        }
        let all: Result<BTreeMap<i64, Late>> =
            ids.into_iter().map(|id| Ok((id, Late::read(conn, id)?))).collect();
        Ok(all?)
    }

    /// Not looked at before one of the rows that it waits for is touched. One that waits for a row by other values than
    /// its key stays awake: who touches rows names them by their keys.
    pub(super) fn put(&mut self, replica: &Replica, tracked: &Tracked, late: &Late) {
        let Some(rows) = late.key(tracked).and_then(|key| waits_for(replica, tracked, (late, key))) else {
            return;
        };
        for row in rows {
            self.by_row.entry(row).or_default().push(late.id);
        }
        self.entries.insert(late.id, late.held.clone());
    }
}

fn slot(tracked: &Tracked, key: &[Value]) -> Slot {
    (tracked.table.name.to_ascii_lowercase(), same::key_bytes(tracked, key))
}

fn waits_for(replica: &Replica, tracked: &Tracked, (late, key): (&Late, Key)) -> Option<Vec<Slot>> {
    let mut rows = vec![slot(tracked, &key)];
    if late.work.is_some() {
        return Some(rows);
    }
    for foreign in &tracked.table.foreign_keys {
        let values: Key = foreign.columns.iter().filter_map(|name| late.value(name)).cloned().collect();
        if values.len() < foreign.columns.len() || values.contains(&Value::Null) {
            continue;
        }
        let parent = replica.get(&foreign.parent).filter(|parent| parent.key_is(&foreign.parent_columns))?;
        rows.push(slot(parent, &values));
    }
    Some(rows)
}
