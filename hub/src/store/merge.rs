//! The merge: one changeset into the canonical tables, in the caller's transaction.
//!
//! * Deletes, updates and inserts are tried in the order in which the changeset holds them. A row that a
//!   constraint refuses waits; when all others are in, it is tried again (values swapped inside one
//!   changeset need that), and only then it is held.
//! * Foreign keys are not enforced by SQLite here: its cascades would remove what others made. Missing
//!   parents are repaired at the end instead: brought back, or the child is held whole.
//! * Nothing is dropped: what does not go in is on the conflict list, whole.

mod delete;
mod gate;
mod heirs;
mod hold;
mod insert;
mod overruled;
mod pointing;
mod release;
mod repair;
mod replace;
mod retry;
mod revive;
pub(crate) mod twin;
mod update;
mod waiting;

use super::conflict::{self, Entry, Kind as ConflictKind};
use super::log::KeyLog;
use super::{same, trash};
use overruled::OverruledRows;
pub(super) use repair::select_children;
use repair::{Moved, Wanted};
use replace::Freed;
use rusqlite::Connection;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tt_migrations::capture::ids;
use tt_migrations::quote::ident;
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::row::{Key, Row, key_bytes};
use tt_protocol::change::{Kind, PieceError, TableChange, decode_piece};
use tt_protocol::merge::{Clash, Stamp};
use tt_protocol::number::{EdgeId, Millis, Version};
use tt_protocol::policy::Policy;
use tt_protocol::value::Value;

/// What a changeset is merged into and as what.
pub(crate) struct Context<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) replica: &'a Replica,
    pub(crate) policy: &'a Policy,
    pub(crate) edge: EdgeId,
    /// What the device may write; None at the hub itself.
    pub(crate) role: Option<&'a str>,
    /// The version up to which the device knew the hub when it made the changes.
    pub(crate) cursor: Version,
    pub(crate) version: Version,
    /// The operator decided that these rows go in: what the device may do is not asked, and since its copy
    /// has followed the hub by now, it gets them like every other device.
    pub(crate) released: bool,
    /// The hub's time: nothing in a changeset happened later.
    pub(crate) now: Millis,
}

/// Why a changeset cannot be merged. The caller rolls back to before it.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A rescued row cannot be given an id.
    #[error("the ids below 2^53 are used up: no rescued row can be given one")]
    NoIds,
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

impl Waiting {
    fn table(&self) -> &str {
        match self {
            Self::Insert { tracked, .. } | Self::Update { tracked, .. } => &tracked.table.name,
        }
    }
}

/// One merge under way.
pub(crate) struct Merge<'a> {
    context: Context<'a>,
    pieces: &'a [Vec<u8>],
    log: KeyLog,
    waiting: Vec<Waiting>,
    /// Rows whose delete was overruled.
    overruled: OverruledRows,
    /// Rows that have another key since somebody else replaced them, and that this changeset deletes.
    replaced: OverruledRows,
    /// Parents that rows of this changeset point at.
    parents: Wanted,
    /// Values that a parent had before this changeset, so that their children must be looked at.
    vacated: Wanted,
    /// Parents whose values changed, with the row before and after.
    moved: Vec<Moved>,
    /// Rows that came back because something needs them.
    brought_back: Vec<(String, Key)>,
    reparented: hold::Reparented,
    /// Rows of this changeset by their parents, as a round of repairs found them.
    pointing: pointing::Pointing,
    /// Rows that this changeset deleted, by what they left free.
    freed: HashMap<Freed, Row>,
    /// Keys of rows that this changeset deleted, where a key has several spellings.
    respelled: HashSet<(String, Vec<u8>)>,
    /// Rows whose update a unique constraint refused.
    refused: HashSet<(String, Vec<u8>)>,
    /// Whether rows of a table vanished into their twins, as far as it was asked.
    aliased: HashMap<String, bool>,
    /// When the device made the changes that were read last: the time of what follows from them.
    at: i64,
    /// Rows of this edge that wait for the schema, with their entries.
    unplaced: waiting::Unplaced,
    /// Tables with new foreign ids.
    grown: BTreeSet<String>,
    done: Done,
}

/// What a merge came to.
#[derive(Clone, Copy, Default)]
struct Done {
    /// Entries made on the conflict list.
    conflicts: u64,
    /// Rows that were looked at one by one, whatever became of them.
    rows: u64,
}

impl<'a> Merge<'a> {
    fn new(context: Context<'a>, pieces: &'a [Vec<u8>]) -> Self {
        Self {
            context,
            pieces,
            log: KeyLog::default(),
            waiting: Vec::new(),
            overruled: OverruledRows::default(),
            replaced: OverruledRows::default(),
            parents: Wanted::new(),
            vacated: Wanted::new(),
            moved: Vec::new(),
            brought_back: Vec::new(),
            freed: HashMap::new(),
            respelled: HashSet::new(),
            refused: HashSet::new(),
            aliased: HashMap::new(),
            at: 0,
            unplaced: waiting::Unplaced::new(),
            reparented: hold::Reparented::new(),
            pointing: pointing::Pointing::default(),
            grown: BTreeSet::new(),
            done: Done::default(),
        }
    }

    /// Merges the pieces of one changeset. Returns the number of conflict entries made.
    ///
    /// # Errors
    /// When the bytes are damaged or SQLite fails for another reason than a constraint.
    pub(crate) fn run(context: Context<'a>, pieces: &'a [Vec<u8>]) -> Result<u64, MergeError> {
        Ok(Self::new(context, pieces).until_the_end()?.conflicts)
    }

    /// As [`Merge::run`], and holds rows of which nobody knows whether they are in already. Returns the number of
    /// rows that were merged, each for itself.
    ///
    /// # Errors
    /// As [`Merge::run`].
    pub(crate) fn run_and_hold(
        context: Context<'a>,
        pieces: &'a [Vec<u8>],
        unclear: &[Vec<u8>],
    ) -> Result<u64, MergeError> {
        let mut merge = Self::new(context, pieces);
        merge.hold_unclear(unclear)?;
        Ok(merge.until_the_end()?.rows)
    }

    fn until_the_end(mut self) -> Result<Done, MergeError> {
        if self.hold_whole()? {
            return self.finish();
        }
        self.take_in()?;
        self.end()
    }

    /// Tries all rows; what is refused waits.
    fn take_in(&mut self) -> Result<(), MergeError> {
        self.read_unplaced()?;
        for piece in self.pieces {
            for change in decode_piece(piece)? {
                self.change(change)?;
            }
        }
        Ok(())
    }

    /// Decides about what waits and puts foreign keys right.
    fn end(mut self) -> Result<Done, MergeError> {
        self.retry_waiting()?;
        self.put_back_under_overruled()?;
        self.repair()?;
        self.finish()
    }

    fn change(&mut self, change: TableChange) -> Result<(), MergeError> {
        self.done.rows += change.rows.rows() as u64;
        let Some(tracked) = fits(self.context.replica, &change).map(Arc::clone) else {
            return self.wait_for_schema(&change);
        };
        let change = self.without_unplaced(&tracked, change)?;
        if change.rows.rows() > 0 {
            self.at = change.time(0);
        }
        if self.refuse_role(&tracked, &change)? {
            return Ok(());
        }
        let told = self.in_words_of_the_hub(&tracked, &change)?;
        let change = told.as_ref().unwrap_or(&change);
        match change.kind {
            Kind::Delete => self.deletes(&tracked, change),
            Kind::Update => self.updates(&tracked, change),
            Kind::Insert => self.inserts(&tracked, change),
            Kind::Put | Kind::Gone => Err(PieceError::Shape.into()),
        }
    }

    fn finish(self) -> Result<Done, MergeError> {
        let Context { conn, replica, version, edge, released, .. } = self.context;
        for tracked in self.log.minus_ones().iter().filter_map(|name| replica.get(name)) {
            ids::follow_minus_one(conn, tracked)?;
        }
        self.log.write(conn, version, if released { EdgeId::HUB } else { edge })?;
        for tracked in self.grown.iter().filter_map(|name| replica.get(name)) {
            own_no_stranger(conn, tracked)?;
            ids::settle(conn, tracked, EdgeId::HUB)?;
        }
        Ok(self.done)
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

    /// Puts an entry on the list and gives its number.
    fn list(&mut self, entry: Entry<'_>) -> Result<i64, MergeError> {
        self.done.conflicts += 1;
        let tracked = self.context.replica.get(entry.table).map(Arc::as_ref);
        Ok(conflict::add(self.context.conn, self.context.version, tracked, &entry)?)
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
        self.list(Entry { row: Some(row), ..Entry::new(kind, &tracked.table.name, key, lost, action) })?;
        Ok(())
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
        self.list(Entry { clashes, kept, ..Entry::new(kind, &tracked.table.name, key, lost, action) })?;
        Ok(())
    }

    /// A device whose clock is ahead and was never measured, or that lies, must not win for ever.
    fn stamp(&self, at: i64) -> Stamp {
        Stamp { at: at.min(self.context.now.0), edge: self.context.edge }
    }

    /// Keeps the image of a row and deletes it.
    fn remove(&mut self, tracked: &Arc<Tracked>, row: &Row, at: i64) -> Result<(), MergeError> {
        let key: Key = row.iter().take(tracked.keys()).cloned().collect();
        let Context { conn, version, .. } = self.context;
        trash::keep(conn, tracked, row, version, self.stamp(at))?;
        if trash::is_respelled(tracked) {
            trash::set_stamp(conn, tracked, &key, self.stamp(at))?;
            self.respelled.insert((tracked.table.name.clone(), same::key_bytes(tracked, &key)));
        }
        tt_migrations::row::delete(conn, tracked, &key)?;
        self.vacate(tracked, row, None);
        self.free(tracked, row);
        Ok(())
    }
}

/// The hub's table, if it has all the columns of the change under the same key.
pub(super) fn fits<'r>(replica: &'r Replica, change: &TableChange) -> Option<&'r Arc<Tracked>> {
    let tracked = replica.get(&change.table)?;
    let same_key = tracked.keys() == change.keys
        && tracked
            .names
            .iter()
            .zip(&change.columns)
            .take(change.keys)
            .all(|(a, b)| a.eq_ignore_ascii_case(b));
    let known = change.columns.iter().all(|column| tracked.place(column).is_some());
    (same_key && known).then_some(tracked)
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
