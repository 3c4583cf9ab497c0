//! Reseed in place: the file's tables become equal to those of a snapshot of the hub, while programs keep
//! the file open.
//!
//! * Either the whole snapshot is here and is compared with the file, leaf by leaf, without a lock that a program
//!   could notice; or its head is here, and the rows that differ were fetched ([`super::difference`]). What
//!   differs is a feed like any, applied in one transaction. So what programs wrote since the last cut stays
//!   on top, nothing of it fires a program's trigger, and a crash leaves the old state or the new one.
//! * What the snapshot must hold of this device, its last changeset, is checked: an older one is stale.
//! * Steps of the schema that the file has not made are made before, as in a feed.

use super::apply::{self, Apply};
use super::difference::Ground;
use super::difference::kept::{self, Moment};
use super::{EdgeStore, Feed, StoreError, Verdict, audit, follow_hub, installed, refresh, standing, steps};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tt_migrations::capture::ids;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Row};
use tt_migrations::shape::Schema;
use tt_migrations::{audit as compare, follow, policy, state};
use tt_protocol::change::{Kind, encode_definitions};
use tt_protocol::former::Former;
use tt_protocol::number::{EdgeId, Epoch, Seq, Version};
use tt_protocol::pieces::PieceBuilder;
use tt_protocol::policy::Policy;
use tt_protocol::value::Value;

/// How long the fetching of a snapshot may go on over cut links before what was written meanwhile is handed
/// in first: as long as the hub keeps the snapshot for it.
const RESUME_MS: i64 = 30 * 60_000;

/// A snapshot that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The unpacked file: the snapshot, or its head.
    pub path: PathBuf,
    /// With a head: the rows that differ.
    pub rows: Option<PathBuf>,
    /// The epoch that was asked for.
    pub epoch: Epoch,
    /// The operator's order that is carried out with it.
    pub order: u64,
}

/// What a snapshot says of itself.
struct Snapshot {
    conn: Connection,
    schema: Schema,
    epoch: Epoch,
    version: Version,
    merged: Seq,
    step: i64,
    policy: Option<String>,
    formers: Vec<Former>,
    /// Only a head has one.
    identity: Option<String>,
}

impl EdgeStore {
    /// Writes a snapshot into the file, in one transaction. `Stale`: it is not the one that is needed.
    /// `CutFirst`: something uncut stands against it and must be handed in first.
    ///
    /// # Errors
    /// When the snapshot cannot be read, or SQLite fails.
    pub fn reseed(&mut self, seed: &Seed) -> Result<Verdict, StoreError> {
        let snapshot = Snapshot::open(&seed.path, self.device)?;
        let outcome = self.reseed_from(&snapshot, seed);
        self.keep_verdict(outcome)
    }

    /// A person wants the file made anew from the hub's rows: done with the next link.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn want_seed(&self) -> Result<(), StoreError> {
        Ok(state::set(&self.conn, state::SEED_WANTED, 1)?)
    }

    /// True when a person wants the file made anew.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn is_seed_wanted(&self) -> Result<bool, StoreError> {
        Ok(state::get(&self.conn, state::SEED_WANTED)?.unwrap_or(0) != 0)
    }

    /// The operator's last order to take a snapshot that was carried out.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn order_done(&self) -> Result<u64, StoreError> {
        Ok(state::get(&self.conn, state::ORDER_DONE)?.unwrap_or(0).unsigned_abs())
    }

    /// A snapshot is being fetched from now on, or still.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn fetching(&mut self, epoch: Epoch, at_least: Version, now: i64) -> Result<(), StoreError> {
        if self.fetch_under_way(now)? == Some((epoch, at_least)) {
            return Ok(());
        }
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        state::set(&tx, state::FETCH_EPOCH, epoch.0 as i64)?;
        state::set(&tx, state::FETCH_AT_LEAST, at_least.0 as i64)?;
        state::set(&tx, state::FETCH_SINCE, now)?;
        Ok(tx.commit()?)
    }

    /// The snapshot that an earlier link did not bring to its end, while it is worth going on with.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn fetch_under_way(&self, now: i64) -> Result<Option<(Epoch, Version)>, StoreError> {
        let get = |name| Ok::<_, StoreError>(state::get(&self.conn, name)?.unwrap_or(0));
        let (since, epoch, at_least) =
            (get(state::FETCH_SINCE)?, get(state::FETCH_EPOCH)?, get(state::FETCH_AT_LEAST)?);
        let goes_on = since != 0 && (0..RESUME_MS).contains(&now.saturating_sub(since));
        Ok(goes_on.then_some((Epoch(epoch.unsigned_abs()), Version(at_least.unsigned_abs()))))
    }

    /// Brings the file to where it can be compared with the snapshot whose head has arrived. The verdict, when it
    /// cannot: as in [`EdgeStore::reseed`].
    ///
    /// # Errors
    /// As [`EdgeStore::reseed`].
    pub fn make_ready(&mut self, seed: &Seed) -> Result<Result<Ground, Verdict>, StoreError> {
        let head = Snapshot::open(&seed.path, self.device)?;
        match self.follow(&head, seed) {
            Ok(Ok(_)) => self.ground(&head).map(Ok),
            Ok(Err(verdict)) => self.keep_verdict(Ok(verdict)).map(Err),
            Err(error) => self.keep_verdict(Err(error)).map(Err),
        }
    }

    fn ground(&self, head: &Snapshot) -> Result<Ground, StoreError> {
        let (policy, moment) = (head.policy(&self.policy)?, self.moment(head)?);
        let db = PathBuf::from(self.conn.path().unwrap_or_default());
        Ok(Ground { db, replica: Arc::clone(&self.replica), policy, moment })
    }

    fn moment(&self, head: &Snapshot) -> Result<Moment, StoreError> {
        let (last, _) = self.last_cut()?;
        let identity = head.identity.clone().unwrap_or_default();
        Ok(Moment { identity, cursor: self.cursor()?, last, schema: self.replica.schema_version })
    }

    fn reseed_from(&mut self, snapshot: &Snapshot, seed: &Seed) -> Result<Verdict, StoreError> {
        let mut feed = match self.follow(snapshot, seed)? {
            Ok(feed) => feed,
            Err(verdict) => return Ok(verdict),
        };
        feed.pieces = match &seed.rows {
            None => self.differences(snapshot, &snapshot.policy(&self.policy)?)?,
            Some(path) => match kept::pieces(path, &self.moment(snapshot)?)? {
                Some(pieces) => pieces,
                None => return Ok(Verdict::Stale),
            },
        };
        if !feed.pieces.is_empty() {
            self.keep_unseen_aside(snapshot)?;
        }
        self.write_or_not(|store, nothing_uncut| store.write_seed(&feed, snapshot, seed, nothing_uncut))
    }

    /// Makes the steps of the schema that are not made yet, and adds what the hub's tables have gained. A feed
    /// without rows, or the verdict when the snapshot cannot be written.
    fn follow(&mut self, snapshot: &Snapshot, seed: &Seed) -> Result<Result<Feed, Verdict>, StoreError> {
        let (last, _) = self.last_cut()?;
        if snapshot.epoch != seed.epoch || snapshot.merged != last {
            return Ok(Err(Verdict::Stale));
        }
        let step = state::get(&self.conn, state::STEP)?.unwrap_or(0);
        let pieces = snapshot.steps_after(step)?;
        let mut feed = Feed { from: self.cursor()?, to: snapshot.version, merged: last, pieces };
        if let Some(verdict) = self.make_steps(&feed)? {
            return Ok(Err(verdict));
        }
        self.follow_snapshot(snapshot, &mut feed)?;
        Ok(Ok(feed))
    }

    /// What the hub's tables have gained is added before anything is compared: that changes no row.
    fn follow_snapshot(&mut self, snapshot: &Snapshot, feed: &mut Feed) -> Result<(), StoreError> {
        let replicated = snapshot.schema.tables.values().filter(|table| !table.key.is_empty());
        let replicated = replicated.filter(|table| self.policy.table(&table.name).replicate);
        feed.pieces = vec![encode_definitions(&replicated.map(follow::definition).collect::<Vec<_>>())];
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        refresh(&tx, &self.policy, self.device, &mut self.replica)?;
        if follow_hub(&tx, feed)? {
            self.replica = installed(&tx, &self.policy, self.device)?;
        }
        tx.commit()?;
        Ok(())
    }

    /// What differs, as the pieces of a feed.
    fn differences(&self, snapshot: &Snapshot, policy: &Policy) -> Result<Vec<Vec<u8>>, StoreError> {
        let own = self.conn.unchecked_transaction()?;
        let mut builder = PieceBuilder::default();
        for table in snapshot.schema.tables.values().filter(|table| policy.table(&table.name).replicate) {
            let Some(tracked) = self.replica.get(&table.name).filter(|_| !table.key.is_empty()) else {
                continue;
            };
            let hub = Tracked::new(table.clone(), 0);
            if !hub.key_is(&tracked.names[..tracked.keys()]) {
                return Err(StoreError::Key(table.name.clone()));
            }
            let between = Between { own: &own, hub: &snapshot.conn, tracked, theirs: &hub };
            between.collect(&mut builder)?;
        }
        Ok(builder.finish())
    }

    /// What programs wrote while capture was out of order, and was not compared since, would be undone unseen: a
    /// copy of the file as it is stays beside it for a person.
    fn keep_unseen_aside(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let mut unseen = Vec::new();
        for tracked in self.replica.tables.values() {
            if audit::is_blind(&self.conn, tracked)? {
                unseen.push(tracked.table.name.as_str());
            }
        }
        let Some(path) = self.conn.path().filter(|_| !unseen.is_empty()) else { return Ok(()) };
        let aside = PathBuf::from(format!("{path}.before-e{}-v{}", snapshot.epoch, snapshot.version));
        if !aside.exists() {
            self.conn.execute("VACUUM INTO ?1", [aside.to_string_lossy()])?;
        }
        let (tables, file) = (unseen.join(", "), aside.display());
        tracing::warn!(%tables, %file, "capture was out of order here: the rows as they were are kept in this file");
        Ok(())
    }

    fn write_seed(
        &mut self,
        feed: &Feed,
        snapshot: &Snapshot,
        seed: &Seed,
        nothing_uncut: bool,
    ) -> Result<Verdict, StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let seen: i64 = tx.pragma_query_value(None, "schema_version", |row| row.get(0))?;
        let last_seq = state::get(&tx, state::SEQ)?.unwrap_or(0).unsigned_abs();
        // A program has changed the schema since the rows were compared.
        if seen != self.replica.schema_version || last_seq != feed.merged.0 {
            return Ok(Verdict::Stale);
        }
        if nothing_uncut && apply::is_anything_uncut(&tx, &self.replica)? {
            return Ok(Verdict::CutFirst);
        }
        let verdict = Apply::new(&tx, &self.replica, &self.policy, self.device, nothing_uncut)?.run(feed)?;
        if verdict != Verdict::Applied {
            return Ok(verdict);
        }
        snapshot.settle(&tx, seed)?;
        self.policy = Arc::new(snapshot.policy(&self.policy)?);
        steps::try_later(&tx)?;
        self.replica = installed(&tx, &self.policy, self.device)?;
        for tracked in self.replica.tables.values() {
            ids::settle(&tx, tracked, self.device)?;
        }
        // Every table is compared with the hub's anew.
        tx.execute_batch("DELETE FROM _sync_audit; DELETE FROM _sync_audit_tried")?;
        audit::mark_changed(&tx, &self.replica)?;
        tx.commit()?;
        self.tell_left_out()?;
        Ok(Verdict::Applied)
    }
}

impl Snapshot {
    fn open(path: &Path, device: EdgeId) -> Result<Self, StoreError> {
        let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let number = |name| Ok::<_, StoreError>(state::get(&conn, name)?.unwrap_or(0));
        let (epoch, version, step) = (number(state::EPOCH)?, number(state::VERSION)?, number(state::STEP)?);
        let sql = "SELECT seq FROM _sync_seed_merged WHERE edge = ?1";
        let merged: Option<i64> = conn.query_row(sql, [device.0], |row| row.get(0)).optional()?;
        Ok(Self {
            schema: Schema::read(&conn)?,
            epoch: Epoch(epoch.unsigned_abs()),
            version: Version(version.unsigned_abs()),
            merged: Seq(merged.unwrap_or(0).unsigned_abs()),
            step,
            policy: state::get_text(&conn, state::POLICY)?,
            formers: state::formers(&conn)?,
            identity: state::get_text(&conn, state::IDENTITY)?,
            conn,
        })
    }

    fn steps_after(&self, step: i64) -> rusqlite::Result<Vec<Vec<u8>>> {
        let sql = "SELECT piece FROM _sync_seed_step WHERE step > ?1 ORDER BY step";
        self.conn.prepare(sql)?.query_map([step], |row| row.get(0))?.collect()
    }

    /// The hub's policy, which may be another than the one that the file had; without one in the snapshot,
    /// the file's own.
    fn policy(&self, own: &Policy) -> Result<Policy, StoreError> {
        let Some(text) = &self.policy else { return Ok(own.clone()) };
        let mut policy =
            policy::parse("the hub's policy", text).map_err(|error| StoreError::Policy(error.to_string()))?;
        self.formers.iter().for_each(|former| policy.follow(former));
        Ok(policy)
    }

    /// What the file knows of the hub is the snapshot's from here on.
    fn settle(&self, conn: &Connection, seed: &Seed) -> Result<(), StoreError> {
        state::set(conn, state::EPOCH, self.epoch.0 as i64)?;
        state::set(conn, state::STEP, self.step)?;
        // The hub may know less of this device than it did: it is told with the next cut.
        state::set(conn, state::STEP_TOLD, -1)?;
        state::set(conn, state::SEED_WANTED, 0)?;
        state::set(conn, state::FETCH_SINCE, 0)?;
        let done = state::get(conn, state::ORDER_DONE)?.unwrap_or(0);
        state::set(conn, state::ORDER_DONE, done.max(seed.order as i64))?;
        if let Some(text) = &self.policy {
            state::set_text(conn, state::POLICY, text)?;
        }
        state::set_formers(conn, &self.formers)?;
        standing::keep_reason(conn, state::FEED_REFUSED, None)
    }
}

/// One table here and there.
struct Between<'b> {
    own: &'b Connection,
    hub: &'b Connection,
    tracked: &'b Tracked,
    theirs: &'b Tracked,
}

impl Between<'_> {
    fn collect(&self, builder: &mut PieceBuilder) -> rusqlite::Result<()> {
        let shared: Vec<String> = compare::columns(self.theirs)
            .into_iter()
            .filter(|name| self.tracked.place(name).is_some())
            .collect();
        let here = compare::digests(self.own, self.tracked, &shared)?;
        let there = compare::digests(self.hub, self.theirs, &shared)?;
        let leaves = here.differing(&there);
        if leaves.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.theirs.names.iter().map(String::as_str).collect();
        let (table, keys) = (self.tracked.table.name.as_str(), self.tracked.keys());
        compare::rows_in(self.hub, self.theirs, &leaves, |_, hub| {
            let own = row::read(self.own, self.tracked, &hub[..keys])?;
            if own.is_none_or(|own| self.differ(&own, &hub)) {
                builder.push(Kind::Put, table, keys, &names, hub.iter().map(Value::as_ref));
            }
            Ok(())
        })?;
        // Rows with a fresh id are this device's own and not handed in: no hub has them.
        let fresh = if self.tracked.table.rowid_key {
            let place = ids::place(self.own, self.tracked)?;
            place.lo..=place.hi
        } else {
            RangeInclusive::new(1, 0)
        };
        compare::rows_in(self.own, self.tracked, &leaves, |_, own| {
            let is_fresh = matches!(own.first(), Some(Value::Integer(id)) if fresh.contains(id));
            if !is_fresh && row::read(self.hub, self.theirs, &own[..keys])?.is_none() {
                let key = own[..keys].iter().map(Value::as_ref);
                builder.push(Kind::Gone, table, keys, &names[..keys], key);
            }
            Ok(())
        })
    }

    fn differ(&self, own: &Row, hub: &Row) -> bool {
        let mine = |name: &String| self.tracked.place(name).and_then(|place| own.get(place));
        let of_hub = self.theirs.names.iter().zip(hub);
        of_hub.filter_map(|(name, value)| Some((mine(name)?, value))).any(|(mine, hub)| mine != hub)
    }
}
