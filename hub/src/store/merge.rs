//! The merge: one changeset into the canonical tables, in the caller's transaction.
//!
//! * Deletes, updates and inserts are tried in the order in which the changeset holds them. A row that a
//!   constraint refuses waits; when all others are in, it is tried again (values swapped inside one
//!   changeset need that), and only then it is held.
//! * Foreign keys are not enforced by SQLite here: its cascades would remove what others made. Missing
//!   parents are repaired at the end instead: brought back, or the child is held whole.
//! * Nothing is dropped: what does not go in is on the conflict list, whole.

mod delete;
mod hold;
mod insert;
mod repair;
mod retry;
mod revive;
mod update;

use super::conflict::{self, Entry, Kind as ConflictKind};
use super::log::KeyLog;
use super::trash;
use delete::Overruled;
use repair::{Moved, Wanted};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::sync::Arc;
use tt_migrations::capture::ids;
use tt_migrations::quote::ident;
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::row::{Key, Row, key_bytes};
use tt_protocol::change::{Kind, PieceError, TableChange, decode_piece};
use tt_protocol::merge::{Clash, Stamp};
use tt_protocol::number::{EdgeId, Version};
use tt_protocol::policy::Policy;
use tt_protocol::value::Value;

/// What a changeset is merged into and as what.
pub(crate) struct Context<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) replica: &'a Replica,
    pub(crate) policy: &'a Policy,
    pub(crate) edge: EdgeId,
    pub(crate) version: Version,
    /// What the edge had seen, as far as the hub knows.
    pub(crate) cursor: Version,
}

/// Why a changeset cannot be merged. The caller rolls back to before it.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// SQLite failed: disk full, damaged file. Try again later.
    #[error("the hub's database refused: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Capture could not be put right after following a device's schema.
    #[error(transparent)]
    Install(#[from] tt_migrations::capture::install::InstallError),
    /// The bytes are not a changeset.
    #[error("the changeset is damaged: {0}")]
    Damaged(#[from] PieceError),
}

/// A row that a constraint refused at first.
enum Waiting {
    Insert {
        tracked: Arc<Tracked>,
        row: Vec<(String, Value)>,
        at: i64,
    },
    Update {
        tracked: Arc<Tracked>,
        key: Key,
        before: Row,
        set: Vec<(String, Value)>,
        /// Columns in which another writer is overruled, if it goes in, and that writer.
        won: (Vec<Clash>, Stamp),
        at: i64,
    },
}

/// One merge under way.
pub(crate) struct Merge<'a> {
    context: Context<'a>,
    pieces: &'a [Vec<u8>],
    log: KeyLog,
    waiting: Vec<Waiting>,
    /// Rows whose delete was overruled.
    overruled: Vec<Overruled>,
    /// Parents that rows of this changeset point at.
    parents: Wanted,
    /// Values that a parent had before this changeset, so that their children must be looked at.
    vacated: Wanted,
    /// Parents whose values changed, with the row before and after.
    moved: Vec<Moved>,
    /// Rows that came back because something needs them.
    brought_back: Vec<(String, Key)>,
    /// Rows that were given another parent, as they were at the hub before.
    reparented: Vec<(Arc<Tracked>, Key, Row)>,
    /// When the device made the changes that were read last: the time of what follows from them.
    at: i64,
    /// Tables with new foreign ids.
    grown: BTreeSet<String>,
    conflicts: u64,
}

impl<'a> Merge<'a> {
    /// Merges the pieces of one changeset. Returns the number of conflict entries made.
    ///
    /// # Errors
    /// When the bytes are damaged or SQLite fails for another reason than a constraint.
    pub(crate) fn run(context: Context<'a>, pieces: &'a [Vec<u8>]) -> Result<u64, MergeError> {
        let mut merge = Self {
            context,
            pieces,
            log: KeyLog::default(),
            waiting: Vec::new(),
            overruled: Vec::new(),
            parents: Wanted::new(),
            vacated: Wanted::new(),
            moved: Vec::new(),
            brought_back: Vec::new(),
            at: 0,
            reparented: Vec::new(),
            grown: BTreeSet::new(),
            conflicts: 0,
        };
        for piece in pieces {
            for change in decode_piece(piece)? {
                merge.change(&change)?;
            }
        }
        merge.retry_waiting()?;
        merge.put_back_under_overruled()?;
        merge.repair()?;
        merge.finish()
    }

    fn change(&mut self, change: &TableChange) -> Result<(), MergeError> {
        let Some(tracked) = self.mergeable(change) else {
            return self.hold_for_schema(change);
        };
        if change.rows.rows() > 0 {
            self.at = change.time(0);
        }
        match change.kind {
            Kind::Delete => self.deletes(&tracked, change),
            Kind::Update => self.updates(&tracked, change),
            Kind::Insert => self.inserts(&tracked, change),
            Kind::Put | Kind::Gone => Err(PieceError::Shape.into()),
        }
    }

    /// The hub's table, if it has all the columns of the change under the same key.
    fn mergeable(&self, change: &TableChange) -> Option<Arc<Tracked>> {
        let tracked = self.context.replica.get(&change.table)?;
        let same_key = tracked.keys() == change.keys
            && tracked
                .names
                .iter()
                .zip(&change.columns)
                .take(change.keys)
                .all(|(a, b)| a.eq_ignore_ascii_case(b));
        let known = change.columns.iter().all(|column| tracked.place(column).is_some());
        (same_key && known).then(|| Arc::clone(tracked))
    }

    fn hold_for_schema(&mut self, change: &TableChange) -> Result<(), MergeError> {
        for index in 0..change.rows.rows() {
            let key: Vec<(String, Value)> = zip_owned(&change.columns, change.key(index));
            let values: Vec<(String, Value)> = match change.kind {
                Kind::Update => {
                    let new = (0..change.others()).map(|place| change.pair(index, place).1);
                    zip_owned(&change.columns, change.key(index).chain(new))
                }
                _ => zip_owned(&change.columns, change.values(index)),
            };
            self.list(Entry {
                kind: ConflictKind::Schema,
                table: &change.table,
                key,
                clashes: Vec::new(),
                row: Some(values),
                kept: None,
                lost: self.stamp(change.time(index)),
                action: "held whole: the hub does not have this table or column",
            })?;
        }
        Ok(())
    }

    fn finish(self) -> Result<u64, MergeError> {
        let Context { conn, replica, version, edge, .. } = self.context;
        for tracked in self.log.minus_ones().iter().filter_map(|name| replica.get(name)) {
            ids::follow_minus_one(conn, tracked)?;
        }
        self.log.write(conn, version, edge)?;
        for tracked in self.grown.iter().filter_map(|name| replica.get(name)) {
            own_no_stranger(conn, tracked)?;
            ids::settle(conn, tracked, EdgeId::HUB)?;
        }
        Ok(self.conflicts)
    }

    /// Remembers which parents a row needs. Checked once, at the end, when all rows are in.
    fn need_parents(&mut self, tracked: &Tracked, names: &[String], value: impl Fn(usize) -> Value) {
        for (place, foreign) in tracked.table.foreign_keys.iter().enumerate() {
            let found: Option<Key> = foreign
                .columns
                .iter()
                .map(|column| names.iter().position(|name| name.eq_ignore_ascii_case(column)).map(&value))
                .collect();
            let Some(values) = found.filter(|values| !values.iter().any(Value::is_null)) else {
                continue;
            };
            let slot = (tracked.table.name.clone(), place);
            self.parents.entry(slot).or_default().entry(key_bytes(&values)).or_insert(values);
        }
    }

    fn list(&mut self, entry: Entry<'_>) -> Result<(), MergeError> {
        self.conflicts += 1;
        let tracked = self.context.replica.get(entry.table).map(Arc::as_ref);
        conflict::add(self.context.conn, self.context.version, tracked, &entry)?;
        Ok(())
    }

    /// Holds a whole row of the edge: the hub's table does not get it, and the edge's copy will follow.
    fn hold_row(
        &mut self,
        kind: ConflictKind,
        tracked: &Tracked,
        row: Vec<(String, Value)>,
        lost: Stamp,
        action: &str,
    ) -> Result<(), MergeError> {
        let key: Vec<(String, Value)> = row.iter().take(tracked.keys()).cloned().collect();
        self.log.changed(tracked, &key.iter().map(|(_, value)| value.clone()).collect());
        let row = Some(row);
        self.list(Entry {
            kind,
            table: &tracked.table.name,
            key,
            clashes: Vec::new(),
            row,
            kept: None,
            lost,
            action,
        })
    }

    /// Lists columns of a row in which one side lost.
    fn list_clashes(
        &mut self,
        kind: ConflictKind,
        tracked: &Tracked,
        key: &Key,
        clashes: Vec<Clash>,
        (kept, lost): (Option<Stamp>, Stamp),
        action: &str,
    ) -> Result<(), MergeError> {
        let key = conflict::named_key(tracked, key);
        self.list(Entry { kind, table: &tracked.table.name, key, clashes, row: None, kept, lost, action })
    }

    const fn stamp(&self, at: i64) -> Stamp {
        Stamp { at, edge: self.context.edge }
    }

    /// Keeps the image of a row and deletes it.
    fn remove(&mut self, tracked: &Arc<Tracked>, row: &Row, at: i64) -> Result<(), MergeError> {
        let key: Key = row.iter().take(tracked.keys()).cloned().collect();
        let Context { conn, version, .. } = self.context;
        trash::keep(conn, tracked, row, version, self.stamp(at))?;
        if trash::is_respelled(tracked) {
            trash::set_stamp(conn, tracked, &key, self.stamp(at))?;
        }
        tt_migrations::row::delete(conn, tracked, &key)?;
        self.vacate(tracked, row, None);
        Ok(())
    }
}

/// A row whose id is fresh here (a program on a device chose it by itself) is not one of the hub's: what
/// the hub's programs made is cut before any merge.
fn own_no_stranger(conn: &Connection, tracked: &Tracked) -> rusqlite::Result<()> {
    if !tracked.table.rowid_key {
        return Ok(());
    }
    let place = ids::place(conn, tracked)?;
    let (table, key) = (ident(&tracked.table.name), ident(&tracked.names[0]));
    let sql = format!("SELECT MAX({key}) FROM {table} WHERE {key} BETWEEN ?1 AND ?2");
    let largest: Option<i64> =
        conn.prepare_cached(&sql)?.query_row((place.lo, place.hi), |row| row.get(0))?;
    largest.map_or(Ok(()), |largest| ids::mark_cut(conn, tracked, largest))
}

fn zip_owned<'v>(
    names: &[String],
    values: impl Iterator<Item = tt_protocol::value::ValueRef<'v>>,
) -> Vec<(String, Value)> {
    names.iter().cloned().zip(values.map(tt_protocol::value::ValueRef::to_owned)).collect()
}
