//! The canonical database: merged into by one writer, read by many.
//!
//! * [`HubStore`] owns the writing connection: merges, local cuts, devices.
//! * [`FeedReader`] makes feeds on a connection of its own; [`audit::AuditReader`] compares on another.
//! * An acknowledgement may leave only when [`HubStore::merge`] has returned: by then it is on disk.

pub(crate) mod alias;
pub mod audit;
mod begin;
mod clock;
pub mod conflict;
mod ddl;
pub mod decide;
pub mod difference;
pub mod epoch;
pub mod feed;
mod handed;
pub mod history;
pub(crate) mod journaled;
mod late;
mod local;
mod log;
pub(crate) mod lost_work;
mod merge;
pub mod migrate;
mod once;
pub mod replayed;
pub(crate) mod rescue;
mod same;
mod schema;
pub mod snapshot;
mod trash;
mod uncut;

pub use merge::MergeError;

use crate::devices;
use crate::journal::watermark::Watermark;
use crate::journal::writer::{JournalError, Tail, Writer};
use begin::{begin, read_shape, refresh};
use clock::MergeClock;
pub use feed::FeedReader;
use journaled::Places;
use once::{is_about_the_file, merge_one};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::sync::Arc;
use tt_migrations::capture::install::InstallError;
use tt_migrations::connection;
use tt_migrations::follow;
use tt_migrations::programs_triggers;
use tt_migrations::replica::Replica;
use tt_migrations::state;
use tt_protocol::change::PieceError;
use tt_protocol::number::{EdgeId, Epoch, Millis, Seq, Version};
use tt_protocol::policy::Policy;

pub(crate) const TABLES: &str = include_str!("store/tables.sql");

/// Why the canonical database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("the hub's database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Capture could not be put right after a change of the schema.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Bytes in the log are not what was written.
    #[error("the hub's log of touched rows is damaged: {0}")]
    Log(#[from] PieceError),
    /// A changeset could not be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// What is in the database did not go into the journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The history does not go back so far.
    #[error("the history does not go back to version {0} any more: the device takes a snapshot")]
    Forgotten(Version),
}

/// A changeset that waits to be merged.
#[derive(Clone, Debug)]
pub struct Changeset {
    /// Who cut it.
    pub edge: EdgeId,
    /// Its number.
    pub seq: Seq,
    /// SHA-256 over the pieces.
    pub hash: [u8; 32],
    /// All pieces in order.
    pub pieces: Vec<Vec<u8>>,
    /// The version that it builds on.
    pub cursor: Version,
}

/// What became of a changeset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is merged, now or earlier, as this version.
    Merged {
        /// The version that it became.
        version: Version,
        /// Nothing else happened for this edge since its cursor.
        caught_up: bool,
        /// Rows that were merged now.
        rows: u64,
    },
    /// Another changeset was merged under this number: the device was copied or rolled back.
    Fork,
    /// The one before it was never merged here.
    Gap {
        /// The last one that was.
        merged: Seq,
    },
}

impl Outcome {
    const fn rows(&self) -> u64 {
        if let Self::Merged { rows, .. } = self { *rows } else { 0 }
    }
}

/// The writing side of the canonical database.
pub struct HubStore {
    conn: Connection,
    replica: Arc<Replica>,
    policy: Arc<Policy>,
    epoch: Epoch,
    version: Version,
    data_version: i64,
    told: programs_triggers::Told,
    /// The shape of the file at which it was last looked what went, and what need not wait any more.
    looked_at: i64,
    clock: MergeClock,
    /// Where ids stood after the last commit, as far as the journal was told.
    places: Places,
    journal: Option<Writer>,
    watermark: Option<Watermark>,
    /// What waits for rows that have not come.
    late: late::Asleep,
    /// Rows of devices that were merged since the file was opened.
    merged_rows: u64,
}

impl HubStore {
    /// Opens the canonical database and puts capture right.
    ///
    /// # Errors
    /// When the file cannot be opened or is not usable.
    pub fn open(path: &Path, policy: Policy) -> Result<Self, StoreError> {
        let conn = connection::open(path)?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        let mut store = Self {
            conn,
            replica: Arc::default(),
            policy: Arc::new(policy),
            epoch: Epoch(1),
            version: Version(0),
            data_version: -1,
            told: programs_triggers::Told::default(),
            looked_at: -1,
            clock: MergeClock::default(),
            places: Places::new(),
            journal: None,
            watermark: None,
            late: late::Asleep::default(),
            merged_rows: 0,
        };
        store.clock.rule(&store.conn)?;
        store.prepare()?;
        Ok(store)
    }

    /// Opens the canonical database and its journal, which is begun when it is not there.
    ///
    /// # Errors
    /// When a file cannot be opened or is not usable.
    pub fn open_journaled(path: &Path, policy: Policy, journal: &Path) -> Result<Self, StoreError> {
        let mut store = Self::open(path, policy)?;
        let tx = store.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        journaled::begin(&tx)?;
        tx.commit()?;
        store.journal = Some(Writer::open(journal, &store.conn)?);
        Ok(store)
    }

    fn prepare(&mut self) -> Result<(), StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(state::TABLES)?;
        for former in &state::formers(&tx)? {
            Arc::make_mut(&mut self.policy).follow(former);
        }
        tx.execute_batch(TABLES)?;
        tx.execute_batch(devices::TABLES)?;
        state::set(&tx, state::DEVICE, i64::from(EdgeId::HUB.0))?;
        let new = state::get(&tx, state::EPOCH)?.is_none();
        if new {
            state::set(&tx, state::EPOCH, 1)?;
            state::set(&tx, state::VERSION, 0)?;
        }
        self.epoch = Epoch(state::get(&tx, state::EPOCH)?.unwrap_or(1).unsigned_abs());
        self.version = Version(state::get(&tx, state::VERSION)?.unwrap_or(0).unsigned_abs());
        let replica = read_shape(&tx, &self.policy)?;
        if new {
            // What is there from the beginning is in every snapshot; only what comes later must be told.
            follow::undeclared(&tx, replica.tables.values().map(AsRef::as_ref))?;
        }
        programs_triggers::renew(&tx, &replica)?;
        tx.commit()?;
        self.tell_left_out()?;
        self.replica = replica;
        Ok(())
    }

    /// The connection, for what is not a merge: devices, settings.
    pub const fn connection(&mut self) -> &mut Connection {
        &mut self.conn
    }

    /// The replicated tables.
    #[must_use]
    pub const fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// The merge policy.
    #[must_use]
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The hub's incarnation.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The version of the last commit.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Last changeset of an edge that is merged.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn merged(&self, edge: EdgeId) -> Result<Seq, StoreError> {
        Ok(feed::merged_seq(&self.conn, edge)?)
    }

    /// The version that is safe: in the vaults, if somebody looks after that, else what the hub has on disk.
    #[must_use]
    pub fn watermark(&self) -> Version {
        self.watermark.as_ref().map_or(self.version, Watermark::version)
    }

    /// From now on this says what is safe.
    pub fn follow_watermark(&mut self, watermark: Watermark) {
        self.watermark = Some(watermark);
    }

    /// How far the journal on disk goes; `None` when there is none.
    #[must_use]
    pub fn tail(&self) -> Option<Tail> {
        self.journal.as_ref().map(Writer::tail)
    }

    /// Sees to it that the journal on disk has all that the database has.
    ///
    /// # Errors
    /// When SQLite or the system fails. Nobody may be told of what was done then.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        match &mut self.journal {
            Some(journal) if journaled::last(&self.conn)? != Some(journal.tail().last) => {
                Ok(journal.flush(&self.conn)?)
            }
            _ => Ok(()),
        }
    }

    /// Rows of devices that were merged since the file was opened, whatever became of each.
    #[must_use]
    pub const fn merged_rows(&self) -> u64 {
        self.merged_rows
    }

    /// True when programs have written to the file since the last look.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn written_by_others(&mut self) -> Result<bool, StoreError> {
        let seen: i64 = self.conn.pragma_query_value(None, "data_version", |row| row.get(0))?;
        let changed = seen != self.data_version;
        self.data_version = seen;
        Ok(changed)
    }

    /// Cuts what programs at the hub wrote, without merging anything. True when there is a new version.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn cut_local(&mut self, now: Millis) -> Result<bool, StoreError> {
        let before = self.version;
        self.merge(&[], now)?;
        Ok(self.version != before)
    }

    /// Merges waiting changesets in one commit, each exactly once and each whole or not at all. When
    /// this returns, all of it is on disk. The outcomes come in the order of the changesets.
    ///
    /// # Errors
    /// When SQLite fails as a whole (nothing is merged then). A changeset that cannot be merged by
    /// itself has its own error in the list.
    pub fn merge(
        &mut self,
        changesets: &[Changeset],
        now: Millis,
    ) -> Result<Vec<Result<Outcome, MergeError>>, StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.clock.set(now);
        let looked_at = (self.looked_at, &self.places);
        let mut version = begin(&tx, &self.policy, &mut self.replica, looked_at, now)?;
        let mut outcomes = Vec::with_capacity(changesets.len());
        // What it remembers of a transaction that fails never was.
        let mut asleep = std::mem::take(&mut self.late);
        let mut merged_rows = self.merged_rows;
        for changeset in changesets {
            let outcome = merge_one(&tx, &mut self.replica, &self.policy, changeset, &mut version, now);
            match outcome {
                Err(MergeError::Sqlite(error)) if is_about_the_file(&error) => return Err(error.into()),
                // What it added to the schema is gone again with the rest of it.
                Err(_) => refresh(&tx, &self.policy, &mut self.replica)?,
                // After each by itself: how many share a commit must not matter to what becomes of them.
                Ok(_) => {
                    let context = (&*tx, &self.replica, &*self.policy);
                    late::release(context, &mut asleep, &mut version, now, self.epoch)?;
                }
            }
            merged_rows += outcome.as_ref().map_or(0, Outcome::rows);
            outcomes.push(outcome);
        }
        if self.replica.schema_version != self.looked_at {
            schema::release(&tx, &self.replica, &self.policy, &mut version, now)?;
            journaled::know_schema(&tx)?;
        }
        if version != self.version {
            state::set(&tx, state::VERSION, version.0 as i64)?;
            if let Some(journal) = &self.journal {
                journaled::forget(&tx, journal.tail().last)?;
            }
        }
        tx.commit()?;
        (self.version, self.late, self.merged_rows) = (version, asleep, merged_rows);
        self.tell_left_out()?;
        self.looked_at = self.replica.schema_version;
        self.committed()?;
        Ok(outcomes)
    }

    /// To be called after every commit: the journal gets what it says, before anybody is told of it.
    fn committed(&mut self) -> Result<(), StoreError> {
        if journaled::last(&self.conn)?.is_some() {
            self.places = journaled::places(&self.conn)?;
        }
        self.flush()
    }

    /// Names the triggers of programs that do not fire in a merge although something depends on them, once.
    fn tell_left_out(&mut self) -> Result<(), StoreError> {
        for one in self.told.news(&self.conn)? {
            tracing::warn!("{one}");
        }
        Ok(())
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
