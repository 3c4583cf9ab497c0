//! The edge's side of the program's database file.
//!
//! * One connection, owned by one thread: cut, outbox, apply, cursor. Each of them is one transaction,
//!   so a crash at any point leaves the state before or the state after.
//! * Device number, seq, outbox and cursor live in the file itself: they must commit with the rows.

mod apply;
mod audit;
pub mod difference;
mod error;
mod heal;
mod leave;
mod outbox;
mod reading;
mod rebase;
mod refused;
mod rescue;
mod reseed;
mod scale;
mod standing;
mod steps;

pub(crate) use audit::audits;
pub use audit::{Audit, Outcome};
pub use error::StoreError;
pub use heal::Healed;
pub(crate) use heal::Moment;
pub use leave::{Left, Unsent, UnsentRow};
pub use outbox::Waiting;
pub(crate) use reading::{Found, What};
pub use reading::{ReadDone, Reading};
pub use rescue::Rescued;
pub use reseed::Seed;
pub(crate) use scale::look_before_writing;

use data_encoding::HEXLOWER;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::Arc;
use tt_migrations::capture::ids;
use tt_migrations::capture::install::install;
use tt_migrations::connection;
use tt_migrations::follow;
use tt_migrations::outbox::cut::{self, Cut};
use tt_migrations::programs_triggers::{self, LeftOut, Told};
use tt_migrations::replica::Replica;
use tt_migrations::state;
use tt_protocol::change::decode_definitions;
use tt_protocol::number::{EdgeId, Millis, Seq, Version};
use tt_protocol::policy::Policy;

/// The table of the station page's entries.
pub(crate) const STATION_TABLE: &str = include_str!("store/station.sql");

/// A whole feed, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The cursor that it starts from.
    pub from: Version,
    /// The version that it leads to.
    pub to: Version,
    /// Last changeset of this edge that its rows contain.
    pub merged: Seq,
    /// The rows, encoded.
    pub pieces: Vec<Vec<u8>>,
}

/// What became of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Applied; the cursor is at its end.
    Applied,
    /// Made for another cursor, or before the hub had merged the last cut: ask again.
    Stale,
    /// It clashes with changes that are not cut: cut, push, and ask again.
    CutFirst,
    /// The file cannot take it, and why, in a sentence: no cut will change that.
    Refused(String),
}

/// The edge's database.
pub struct EdgeStore {
    conn: Connection,
    replica: Arc<Replica>,
    policy: Arc<Policy>,
    device: EdgeId,
    data_version: i64,
    told: Told,
    clock: Option<scale::Kept>,
    /// A cut that was made before a step of the schema, and that nobody was told of.
    cut_ahead: Option<Cut>,
    /// Feeds applied since the file was opened.
    applied: u64,
}

/// Writes into a file of which hub it is, if it does not say so yet: who finds the file must be able to tell.
///
/// # Errors
/// When SQLite fails.
pub(crate) fn know_hub(db: &Path, authority: &[u8]) -> rusqlite::Result<()> {
    let conn = Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    if state::get_text(&conn, state::HUB)?.is_none() {
        state::set_text(&conn, state::HUB, &HEXLOWER.encode(&Sha256::digest(authority)))?;
    }
    Ok(())
}

impl EdgeStore {
    /// Opens the file of an enrolled device and puts capture right.
    ///
    /// # Errors
    /// When the file cannot be opened, is no database, or belongs to no hub.
    pub fn open(path: &Path, policy: Policy) -> Result<Self, StoreError> {
        let conn = connection::open(path)?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        let device = device_of(&conn)?.ok_or(StoreError::NotJoined)?;
        let (replica, policy) = (Arc::default(), Arc::new(policy));
        let (clock, told, cut_ahead) = (None, Told::default(), None);
        let data_version = -1;
        let mut store =
            Self { conn, replica, policy, device, data_version, clock, told, cut_ahead, applied: 0 };
        let tx = store.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(tt_migrations::outbox::TABLES)?;
        tx.execute_batch(STATION_TABLE)?;
        tx.execute_batch(crate::inbox::TABLES)?;
        tx.execute_batch(state::TABLES)?;
        for former in &state::formers(&tx)? {
            Arc::make_mut(&mut store.policy).follow(former);
        }
        store.replica = installed(&tx, &store.policy, device)?;
        tx.commit()?;
        store.tell_left_out()?;
        Ok(store)
    }

    /// Makes a snapshot of the hub, which carries epoch and version, the file of this device.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn adopt(path: &Path, policy: Policy, device: EdgeId) -> Result<Self, StoreError> {
        let conn = connection::open(path)?;
        conn.execute_batch(state::TABLES)?;
        conn.execute_batch(state::NO_SNAPSHOT_TABLES)?;
        state::set(&conn, state::DEVICE, i64::from(device.0))?;
        state::set(&conn, state::SEQ, 0)?;
        drop(conn);
        let store = Self::open(path, policy)?;
        // The snapshot's tables are the hub's own.
        follow::undeclared(&store.conn, store.replica.tables.values().map(AsRef::as_ref))?;
        Ok(store)
    }

    /// The connection, for reading.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.conn
    }

    /// The replicated tables.
    #[must_use]
    pub const fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// This device's number.
    #[must_use]
    pub const fn device(&self) -> EdgeId {
        self.device
    }

    /// A short name for the shape of the replicated tables: equal on nodes with equal tables and columns.
    #[must_use]
    pub fn schema_name(&self) -> String {
        self.replica.name()
    }

    /// Without a link nothing is cut. A device that makes so many rows offline that an id block is nearly
    /// used up gets its next block nevertheless.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn keep_ids_free(&mut self) -> Result<(), StoreError> {
        for tracked in self.replica.tables.values().filter(|tracked| tracked.table.rowid_key) {
            if ids::nearly_used(&self.conn, tracked)? {
                let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
                ids::renew_when_used(&tx, tracked, self.device)?;
                tx.commit()?;
            }
        }
        Ok(())
    }

    /// True when programs have committed something since the last look.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn written_by_others(&mut self) -> Result<bool, StoreError> {
        let seen: i64 = self.conn.pragma_query_value(None, "data_version", |row| row.get(0))?;
        let changed = seen != self.data_version;
        self.data_version = seen;
        Ok(changed)
    }

    /// Cuts what programs changed. None when that is nothing. When this returns, the cut is on disk.
    ///
    /// # Errors
    /// When SQLite fails; nothing is cut then, and nothing is lost.
    pub fn cut(&mut self, now: Millis) -> Result<Option<Cut>, StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        refresh(&tx, &self.policy, self.device, &mut self.replica)?;
        let cut = cut::cut(&tx, &self.replica, &self.policy, self.device, now.0)?;
        tx.commit()?;
        let ahead = self.cut_ahead.take();
        Ok(cut.or(ahead))
    }

    /// Applies a feed, whole or not at all. A feed that the file cannot take is refused, and the reason kept.
    ///
    /// # Errors
    /// When the feed is damaged, or SQLite fails.
    pub fn apply(&mut self, feed: &Feed) -> Result<Verdict, StoreError> {
        let outcome = self.make_steps_and_apply(feed);
        self.keep_verdict(outcome)
    }

    /// What the file cannot take is refused, and the reason kept.
    fn keep_verdict(&mut self, outcome: Result<Verdict, StoreError>) -> Result<Verdict, StoreError> {
        let verdict = match outcome {
            // A step before the one that failed has cut: the hub must have that before it can send any feed.
            Err(error) if error.waits_for_schema() && self.cut_ahead.is_some() => Verdict::CutFirst,
            Err(error) if error.waits_for_schema() => Verdict::Refused(error.to_string()),
            outcome => outcome?,
        };
        if let Verdict::Refused(reason) = &verdict {
            standing::keep_reason(&self.conn, state::FEED_REFUSED, Some(reason))?;
        }
        Ok(verdict)
    }

    fn make_steps_and_apply(&mut self, feed: &Feed) -> Result<Verdict, StoreError> {
        if let Some(verdict) = self.make_steps(feed)? {
            return Ok(verdict);
        }
        self.write_or_not(|store, nothing_uncut| store.apply_in_one(feed, nothing_uncut))
    }

    /// Writes what comes from the hub in one transaction, told whether nothing may be uncut.
    fn write_or_not(
        &mut self,
        mut write: impl FnMut(&mut Self, bool) -> Result<Verdict, StoreError>,
    ) -> Result<Verdict, StoreError> {
        // What a power cut takes away is taken away with its cursor, and comes again.
        let verdict = self.without_sync(|store| store.without_trace(|store| write(store, false)))?;
        // With nothing to cut, to cut and to ask again would bring the same for ever.
        if verdict == Verdict::CutFirst {
            return self.without_sync(|store| store.without_trace(|store| write(store, true)));
        }
        Ok(verdict)
    }

    /// What is not applied leaves no trace, also not in what is known of the file's shape.
    fn without_trace(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<Verdict, StoreError>,
    ) -> Result<Verdict, StoreError> {
        let before = (Arc::clone(&self.replica), Arc::clone(&self.policy));
        let outcome = write(self);
        if !matches!(outcome, Ok(Verdict::Applied)) {
            (self.replica, self.policy) = before;
        }
        outcome
    }

    fn apply_in_one(&mut self, feed: &Feed, nothing_uncut: bool) -> Result<Verdict, StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        refresh(&tx, &self.policy, self.device, &mut self.replica)?;
        let cursor = state::get(&tx, state::VERSION)?.unwrap_or(0).unsigned_abs();
        let last_seq = state::get(&tx, state::SEQ)?.unwrap_or(0).unsigned_abs();
        if cursor != feed.from.0 || last_seq != feed.merged.0 {
            return Ok(Verdict::Stale);
        }
        if nothing_uncut && apply::is_anything_uncut(&tx, &self.replica)? {
            return Ok(Verdict::CutFirst);
        }
        if follow_hub(&tx, feed)? {
            self.replica = installed(&tx, &self.policy, self.device)?;
        }
        let apply = apply::Apply::new(&tx, &self.replica, &self.policy, self.device, nothing_uncut)?;
        let verdict = apply.run(feed)?;
        if verdict == Verdict::Applied {
            if steps::try_later(&tx)? {
                self.replica = Arc::new(install(&tx, &self.policy, self.device)?.replica);
            }
            standing::keep_reason(&tx, state::FEED_REFUSED, None)?;
            tx.commit()?;
            self.applied += 1;
            self.tell_left_out()?;
        }
        Ok(verdict)
    }

    /// Triggers of the program that do not fire when a feed is applied, although something depends on them.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn left_out(&self) -> Result<Vec<LeftOut>, StoreError> {
        Ok(programs_triggers::left_out(&self.conn)?)
    }

    fn tell_left_out(&mut self) -> Result<(), StoreError> {
        for one in self.told.news(&self.conn)? {
            tracing::warn!("{one}");
        }
        Ok(())
    }

    /// Does what may be lost to a power cut without waiting for the disk. The file stays sound.
    fn without_sync<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.conn.pragma_update(None, "synchronous", "NORMAL")?;
        let outcome = work(self);
        self.conn.pragma_update(None, "synchronous", "FULL")?;
        outcome
    }

    /// Rows that programs changed and that are not cut, with the time of the oldest touch.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn uncut(&self, now: Millis) -> Result<(u64, Option<i64>), StoreError> {
        let snapshot = self.conn.unchecked_transaction()?;
        Ok(cut::count(&snapshot, &self.replica, now.0)?)
    }

    /// Moves the log into the file before a program's own automatic checkpoint comes due.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        Ok(())
    }
}

fn device_of(conn: &Connection) -> Result<Option<EdgeId>, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sync_state')";
    if !conn.query_row(sql, [], |row| row.get::<_, bool>(0))? {
        return Ok(None);
    }
    let device = state::get(conn, state::DEVICE)?;
    Ok(device
        .and_then(|device| u16::try_from(device).ok())
        .map(EdgeId)
        .filter(|device| *device != EdgeId::HUB))
}

/// Adds what the hub's tables have gained, before the rows that need it. True when something was added.
fn follow_hub(conn: &Connection, feed: &Feed) -> Result<bool, StoreError> {
    let mut changed = false;
    for piece in &feed.pieces {
        for definition in decode_definitions(piece)?.unwrap_or_default() {
            changed |= follow::follow(conn, &definition)?;
            follow::compare_defaults(conn, &definition)?;
            follow::declared(conn, &definition)?;
        }
    }
    Ok(changed)
}

/// Puts capture right; tables that changed are to be compared with the hub's.
fn installed(conn: &Connection, policy: &Policy, device: EdgeId) -> Result<Arc<Replica>, StoreError> {
    let replica = install(conn, policy, device)?.replica;
    audit::mark_changed(conn, &replica)?;
    programs_triggers::renew(conn, &replica)?;
    Ok(Arc::new(replica))
}

/// Reads the shape again when a program changed it, and puts capture right.
fn refresh(
    conn: &Connection,
    policy: &Policy,
    device: EdgeId,
    replica: &mut Arc<Replica>,
) -> Result<(), StoreError> {
    let seen: i64 = conn.pragma_query_value(None, "schema_version", |row| row.get(0))?;
    if seen != replica.schema_version {
        *replica = installed(conn, policy, device)?;
    }
    Ok(programs_triggers::renew(conn, replica)?)
}
