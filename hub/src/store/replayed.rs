//! Does again what an entry of the journal tells of, in a copy of a snapshot: through the same merge, with the
//! recorded time, and nothing else from outside.
//!
//! * Rows of programs at the hub are put where they were, as the cut had found them.
//! * What a snapshot holds of programs' rows that were not cut yet is undone first: the journal has them, too,
//!   as far as they came to stay.
//! * Nothing here is written into the copy's own journal.

mod uncut;

use super::local::LocalSink;
use super::log::KeyLog;
use super::migrate::MigrateError;
use super::{Changeset, HubStore, Outcome, StoreError};
use super::{
    ddl, decide, handed, history, journaled, late, migrate, once, programs_triggers, read_shape, refresh,
    schema,
};
use crate::devices;
use crate::journal::record::{Entry, IdPlace, Local, Lsn, What};
use rusqlite::{Connection, TransactionBehavior};
use std::sync::Arc;
use tt_migrations::capture::{base, collect, ids};
use tt_migrations::quote::ident;
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::row::{self, Key, Row};
use tt_migrations::runner::{self, Migration};
use tt_migrations::state;
use tt_protocol::change::{Kind, PieceError, TableChange, decode_piece};
use tt_protocol::number::{EdgeId, Epoch, Millis, Version};
use tt_protocol::pieces;
use tt_protocol::policy::Policy;
use tt_protocol::value::{Value, ValueRef};
use uncut::{Uncut, Undo};

/// Why an entry cannot be done again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayedError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It came out another way than it did then.
    #[error("entry {lsn} of the journal (version {version}) does not come out as it did then: {problem}")]
    Differs {
        /// The entry.
        lsn: Lsn,
        /// Its version.
        version: Version,
        /// What differs.
        problem: String,
    },
}

impl From<rusqlite::Error> for ReplayedError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl HubStore {
    /// Number of the last entry that the database contains. `None` when it was never journaled.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn last_entry(&self) -> Result<Option<Lsn>, StoreError> {
        Ok(journaled::last(&self.conn)?)
    }

    /// Makes a copy of a snapshot ready: programs' rows that no cut has seen are undone, and nothing is written
    /// down until [`HubStore::end_replay`]. Gives the last entry that the copy contains.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn begin_replay(&mut self) -> Result<Lsn, StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let last = journaled::last(&tx)?.unwrap_or_default();
        undo_uncut(&tx, &self.replica)?;
        tx.execute("DELETE FROM _sync_state WHERE name = ?1", [journaled::JOURNAL])?;
        tx.commit()?;
        Ok(last)
    }

    /// Does these entries again, in one commit.
    ///
    /// # Errors
    /// [`ReplayedError`]. None of them is done then.
    pub fn replay(&mut self, entries: &[Entry]) -> Result<(), ReplayedError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut again = Again {
            conn: &tx,
            replica: Arc::clone(&self.replica),
            policy: Arc::clone(&self.policy),
            version: self.version,
            asleep: late::Asleep::default(),
        };
        for entry in entries {
            self.clock.set(entry.at);
            again.entry(entry)?;
        }
        let Again { replica, policy, version, .. } = again;
        state::set(&tx, state::VERSION, version.0 as i64)?;
        tx.commit()?;
        (self.replica, self.policy, self.version) = (replica, policy, version);
        Ok(())
    }

    /// The copy has all entries up to this one, and is a journaled database like any other.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn end_replay(&mut self, last: Lsn) -> Result<(), StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        journaled::begin(&tx)?;
        tx.execute("DELETE FROM _sync_journal", [])?;
        ddl::note(&tx)?;
        state::set(&tx, journaled::JOURNAL, last.0 as i64)?;
        tx.commit()?;
        self.committed()
    }
}

impl HubStore {
    /// A new epoch begins, at `version`, which lies above every version that ever was, and after the entry
    /// `floor`, the last of all that ever were. `from` says from what the hub was restored.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn begin_epoch(
        &mut self,
        (epoch, version): (Epoch, Version),
        floor: Lsn,
        from: &str,
        now: Millis,
    ) -> Result<(), StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        journaled::begin(&tx)?;
        let restored = journaled::last(&tx)?.unwrap_or_default();
        tx.execute("DELETE FROM _sync_journal", [])?;
        state::set(&tx, journaled::JOURNAL, floor.max(restored).0 as i64)?;
        state::set(&tx, state::EPOCH, epoch.0 as i64)?;
        state::set(&tx, state::VERSION, version.0 as i64)?;
        journaled::put(&tx, version, now, || What::Epoch { epoch, restored, from: from.to_owned() })?;
        tx.commit()?;
        (self.epoch, self.version) = (epoch, version);
        self.flush()
    }
}

struct Again<'a> {
    conn: &'a Connection,
    replica: Arc<Replica>,
    policy: Arc<Policy>,
    version: Version,
    asleep: late::Asleep,
}

impl Again<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<(), ReplayedError> {
        refresh(self.conn, &self.policy, &mut self.replica)?;
        let differs =
            |problem: String| ReplayedError::Differs { lsn: entry.lsn, version: entry.version, problem };
        let now = entry.at;
        match &entry.what {
            What::Epoch { epoch, .. } => {
                state::set(self.conn, state::EPOCH, epoch.0 as i64)?;
                self.version = entry.version;
            }
            What::Local(local) => self.local(local, entry)?,
            What::Changeset { edge, seq, cursor, pieces } => {
                let hash = pieces::hash(pieces);
                let pieces = pieces.clone();
                let changeset = Changeset { edge: *edge, seq: *seq, hash, pieces, cursor: *cursor };
                self.changeset(&changeset, now).map_err(differs)?;
            }
            What::Released => {
                schema::release(self.conn, &self.replica, &self.policy, &mut self.version, now)?;
            }
            What::Decided { id, decision, .. } => {
                let tables = (self.replica.as_ref(), self.policy.as_ref());
                decide::decide_one(self.conn, tables, (*id, decision), &mut self.version, now)
                    .map_err(|error| differs(error.to_string()))?;
            }
            What::Migrated { number, name, sql, pieces } => {
                let (name, sql) = (name.clone().into(), sql.clone().into());
                let migration = Migration { number: *number, name, sql };
                self.migrated(&migration, pieces, now).map_err(|error| differs(error.to_string()))?;
            }
            What::Devices(rows) => devices::replace(self.conn, rows)?,
            What::Late => {
                let epoch = Epoch(state::get(self.conn, state::EPOCH)?.unwrap_or(1).unsigned_abs());
                let context = (self.conn, &self.replica, &*self.policy);
                late::release(context, &mut self.asleep, &mut self.version, now, epoch)?;
            }
            What::Forgotten(bounds) => {
                self.asleep = late::Asleep::default();
                history::cut(self.conn, *bounds)?;
            }
            What::PassedOver { edge, seq } => {
                // In older journals this made no version.
                self.version = entry.version;
                handed::passed_over(self.conn, *edge, *seq, self.version, now)?;
            }
        }
        if self.version == entry.version {
            Ok(())
        } else {
            Err(differs(format!("it makes version {}", self.version)))
        }
    }

    fn changeset(&mut self, changeset: &Changeset, now: Millis) -> Result<(), String> {
        let Self { conn, replica, policy, version, .. } = self;
        match once::merge_one(conn, replica, policy, changeset, version, now) {
            Ok(Outcome::Merged { .. }) => Ok(()),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn local(&mut self, local: &Local, entry: &Entry) -> Result<(), ReplayedError> {
        let conn = self.conn;
        if let Some(change) = &local.schema {
            ddl::again(conn, change)?;
            self.replica = read_shape(conn, &self.policy).map_err(StoreError::from)?;
            programs_triggers::renew(conn, &self.replica)?;
            ddl::set_audits(conn, &change.audits)?;
            forget_notes(conn, &self.replica)?;
        }
        let version = if local.moved { self.version.next() } else { self.version };
        self.rows(&local.pieces, version)?;
        set_places(conn, &local.places)?;
        if local.observed {
            schema::observe(conn, &self.replica, version)?;
        }
        schema::declare(conn, &self.replica, version)?;
        self.version = entry.version.max(self.version);
        let seen = conn.pragma_query_value(None, "schema_version", |row| row.get(0))?;
        Arc::make_mut(&mut self.replica).schema_version = seen;
        Ok(())
    }

    /// Rows of programs, as the hub's cut found them.
    fn rows(&self, pieces: &[Vec<u8>], version: Version) -> Result<(), StoreError> {
        put_rows(self.conn, &self.replica, &self.policy, pieces, version)
    }

    fn migrated(
        &mut self,
        migration: &Migration,
        pieces: &[Vec<u8>],
        now: Millis,
    ) -> Result<(), MigrateError> {
        let version = self.version.next();
        let rows = |conn: &Connection, replica: &Replica, policy: &Policy, _| {
            // Ids move on as they did in the hub's own cut; the rows are then put as that cut found them. What the
            // migration changed stays until then: an index that it made may forbid the rows as they were.
            let mut undo = Undo { replica, uncut: Uncut::default() };
            collect::cut(conn, replica, EdgeId::HUB, 0, &mut undo)?;
            undo.uncut.undo_made(conn)?;
            put_rows(conn, replica, policy, pieces, version)?;
            Ok(Vec::new())
        };
        let Self { conn, replica, policy, .. } = self;
        // Also makes the record of migrations, as it did then. One that is there already fails when it is recorded.
        runner::is_applied(conn, migration)?;
        migrate::apply(conn, replica, policy, migration, (version, now), rows)?;
        self.version = version;
        Ok(())
    }
}

/// A row with its table.
type Placed = (Arc<Tracked>, Row);

fn put_rows(
    conn: &Connection,
    replica: &Replica,
    policy: &Policy,
    pieces: &[Vec<u8>],
    version: Version,
) -> Result<(), StoreError> {
    let mut sink = LocalSink { conn, policy, version, log: KeyLog::default(), told: None };
    let mut rows: Vec<Placed> = Vec::new();
    for piece in pieces {
        for change in decode_piece(piece)? {
            let tracked = replica.get(&change.table).ok_or(PieceError::Shape)?;
            for index in 0..change.rows.rows() {
                rows.extend(take_out(conn, tracked, &change, index, &mut sink)?);
            }
        }
    }
    for (tracked, row) in rows {
        row::insert(conn, &tracked, &row)?;
    }
    for tracked in sink.log.minus_ones().iter().filter_map(|name| replica.get(name)) {
        ids::follow_minus_one(conn, tracked)?;
    }
    sink.log.write(conn, version, EdgeId::HUB)?;
    Ok(())
}

/// Takes the row out as it was, and gives it as it is to go in: two rows may have changed places.
fn take_out(
    conn: &Connection,
    tracked: &Arc<Tracked>,
    change: &TableChange,
    index: usize,
    sink: &mut LocalSink<'_>,
) -> Result<Option<Placed>, StoreError> {
    use tt_migrations::capture::collect::Sink as _;
    let key: Key = change.key(index).map(ValueRef::to_owned).collect();
    let places: Option<Vec<usize>> = change.columns.iter().map(|name| tracked.place(name)).collect();
    let (places, time) = (places.ok_or(PieceError::Shape)?, change.time(index));
    let named = || {
        let mut row: Row = vec![Value::Null; tracked.names.len()];
        for (place, value) in places.iter().zip(change.values(index)) {
            row[*place] = value.to_owned();
        }
        row
    };
    let after = match change.kind {
        Kind::Insert => Some(named()),
        Kind::Delete => None,
        Kind::Update => {
            let mut row = row::read(conn, tracked, &key)?.ok_or(PieceError::Shape)?;
            let before = row.clone();
            for (other, place) in places.iter().skip(change.keys).enumerate() {
                row[*place] = change.pair(index, other).1.to_owned();
            }
            let changed = &places[change.keys..];
            let (before, live) = (as_refs(&before), as_refs(&row));
            sink.update(tracked, changed, &before, &live, time)?;
            Some(row.clone())
        }
        Kind::Put | Kind::Gone => return Err(PieceError::Shape.into()),
    };
    match (&after, change.kind) {
        (Some(row), Kind::Insert) => sink.insert(tracked, &as_refs(row), time)?,
        (None, _) => sink.delete(tracked, &as_refs(&named()), time)?,
        _ => {}
    }
    row::delete(conn, tracked, &key)?;
    Ok(after.map(|row| (Arc::clone(tracked), row)))
}

fn as_refs(row: &Row) -> Vec<ValueRef<'_>> {
    row.iter().map(Value::as_ref).collect()
}

fn set_places(conn: &Connection, places: &[IdPlace]) -> rusqlite::Result<()> {
    for IdPlace { table, first, lo, hi, counter } in places {
        let sql = "UPDATE _sync_table SET block_first = ?2, lo = ?3, hi = ?4 WHERE name = ?1";
        conn.prepare_cached(sql)?.execute((table, first, lo, hi))?;
        conn.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [table])?;
        if let Some(counter) = counter {
            conn.execute("INSERT INTO sqlite_sequence(name, seq) VALUES (?1, ?2)", (table, counter))?;
        }
    }
    Ok(())
}

/// Undoes what programs wrote since the last cut.
fn undo_uncut(conn: &Connection, replica: &Replica) -> rusqlite::Result<()> {
    let mut undo = Undo { replica, uncut: Uncut::default() };
    for tracked in replica.tables.values() {
        collect::collect(conn, tracked, 0, &mut undo)?;
    }
    undo.uncut.undo(conn)?;
    forget_notes(conn, replica)
}

/// What capture noted is no change of a program's.
fn forget_notes(conn: &Connection, replica: &Replica) -> rusqlite::Result<()> {
    for tracked in replica.tables.values() {
        conn.execute(&format!("DELETE FROM {}", ident(&base::name(&tracked.table.name))), [])?;
        if tracked.table.rowid_key {
            ids::follow_minus_one(conn, tracked)?;
        }
    }
    Ok(())
}
