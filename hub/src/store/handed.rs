//! What the hub has of a device's changesets when the device comes, above all after the hub's file was put back.
//!
//! What this file lacks comes again from the device. What the device was told to be safe, and keeps no more, is
//! taken from the journal instead, as if the device had sent it again. Only what neither has is passed over, and
//! that is said loudly. For devices that will never come, because they were revoked, all is taken from the journal,
//! and at once.

use super::once::find_merged;
use super::{Changeset, HubStore, Outcome, StoreError, feed, history, journaled};
use crate::devices;
use crate::journal::reader::{Reader, ReaderError};
use crate::journal::record::{Lsn, What};
use rusqlite::{Connection, TransactionBehavior};
use std::collections::BTreeMap;
use tt_migrations::state;
use tt_protocol::frame::Hello;
use tt_protocol::number::{EdgeId, Millis, Seq, Version};
use tt_protocol::pieces;
use tt_protocol::session::hub::Standing;

/// So many changesets are merged in one commit.
const BATCH: usize = 256;
/// The epoch in which the journal was asked for the work of devices that never come, and how many they were.
const GONE_IN: &str = "stand_ins_done";
const GONE_COUNT: &str = "stand_ins_count";

/// Of each device, the first and the last changeset that are looked for.
type Wanted = BTreeMap<EdgeId, (Seq, Seq)>;

impl HubStore {
    /// What the hub knows of an edge that says hello.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn standing(&self, hello: &Hello, now: Millis) -> Result<Standing, StoreError> {
        let merged = feed::merged_seq(&self.conn, hello.edge)?;
        let merged_as =
            find_merged(&self.conn, hello.edge, merged)?.map_or(Version(0), |(_, version)| version);
        let last = find_merged(&self.conn, hello.edge, hello.last_seq)?;
        Ok(Standing {
            epoch: self.epoch,
            version: self.version,
            merged,
            merged_as,
            hash_of_last: last.map(|(hash, _)| hash),
            watermark: self.watermark(),
            forgotten: history::forgotten(&self.conn)?,
            order: devices::order(&self.conn, hello.edge, hello.order_done)?,
            now,
        })
    }

    /// Merges what a device had handed in and neither this file nor the device has any more, as far as the journal
    /// has it. Gives the last changeset that is merged then: `to`, unless something is missing in the journal too.
    ///
    /// # Errors
    /// When the store fails as a whole.
    pub fn hand_in_again(
        &mut self,
        edge: EdgeId,
        (from, to): (Seq, Seq),
        now: Millis,
    ) -> Result<Seq, StoreError> {
        self.merge_kept(BTreeMap::from([(edge, (from, to))]), now)?;
        self.merged(edge)
    }

    /// After a restore, merges what devices had handed in that will never come, and work that came out of files, as
    /// far as this file lacks it and the journal has it. Once an epoch, and again when a device was revoked since.
    ///
    /// # Errors
    /// When the store fails as a whole.
    pub(crate) fn gone_again(&mut self, now: Millis) -> Result<(), StoreError> {
        let epoch = i64::try_from(self.epoch.0).unwrap_or(i64::MAX);
        let gone = devices::gone(&self.conn)?;
        let count = i64::try_from(gone.len()).unwrap_or(i64::MAX);
        let (asked_in, asked_for) = (state::get(&self.conn, GONE_IN)?, state::get(&self.conn, GONE_COUNT)?);
        if asked_in.unwrap_or(1) == epoch && (epoch <= 1 || asked_for == Some(count)) {
            return Ok(());
        }
        let mut wanted = BTreeMap::new();
        for edge in gone {
            wanted.insert(edge, (self.merged(edge)?.next(), Seq(u64::MAX)));
        }
        let changesets = self.merge_kept(wanted, now)?;
        if changesets > 0 {
            tracing::info!(changesets, "what devices had handed in that will never come was merged again");
        }
        state::set(&self.conn, GONE_COUNT, count)?;
        Ok(state::set(&self.conn, GONE_IN, epoch)?)
    }

    /// Merges these changesets as far as the journal has them. Gives how many that were.
    fn merge_kept(&mut self, wanted: Wanted, now: Millis) -> Result<usize, StoreError> {
        let found = match self.journal.as_ref().map(|journal| kept(&journal.reader(), wanted)) {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                tracing::error!(%error, "the journal was asked for what devices had handed in");
                Vec::new()
            }
            None => Vec::new(),
        };
        for changesets in found.chunks(BATCH) {
            for (outcome, changeset) in self.merge(changesets, now)?.into_iter().zip(changesets) {
                match outcome {
                    Ok(Outcome::Merged { .. }) => {}
                    other => {
                        tracing::error!(device = %changeset.edge, seq = %changeset.seq, ?other, "not merged again")
                    }
                }
            }
        }
        Ok(found.len())
    }

    /// What follows this changeset of an edge is merged, although it and those before it are nowhere any more. That
    /// is a version of its own: a snapshot that was made before does not say it, and its device would ask again.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn pass_over(&mut self, edge: EdgeId, to: Seq, now: Millis) -> Result<(), StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version = self.version.next();
        passed_over(&tx, edge, to, version, now)?;
        state::set(&tx, state::VERSION, version.0 as i64)?;
        journaled::put(&tx, version, now, || What::PassedOver { edge, seq: to })?;
        tx.commit()?;
        self.version = version;
        self.committed()
    }
}

/// Writes down that changesets up to this one will not come.
pub(super) fn passed_over(
    conn: &Connection,
    edge: EdgeId,
    to: Seq,
    version: Version,
    now: Millis,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO _sync_merged(edge, seq, hash, version, at) VALUES (?1, ?2, zeroblob(32), ?3, ?4)
               ON CONFLICT DO NOTHING";
    conn.execute(sql, (edge.0, to.0 as i64, version.0 as i64, now.0)).map(drop)
}

/// These changesets from the journal: of each device in order and without a gap, of all in the journal's order.
///
/// A changeset that was merged again after a restore is there more than once, with the same bytes, and so are all that
/// follow it: whoever takes each as soon as it is the next one finds all.
fn kept(reader: &Reader, mut wanted: Wanted) -> Result<Vec<Changeset>, ReaderError> {
    let Some(reach) = reader.reach()?.filter(|_| !wanted.is_empty()) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in reader.after(Lsn(reach.first.0.saturating_sub(1)))? {
        if let What::Changeset { edge, seq, cursor, pieces } = entry?.what
            && let Some((next, to)) = wanted.get_mut(&edge)
            && seq == *next
            && seq <= *to
        {
            *next = next.next();
            let hash = pieces::hash(&pieces);
            found.push(Changeset { edge, seq, hash, pieces, cursor });
        }
    }
    Ok(found)
}
