//! A lost device's work, read from its file, becomes part of the database.
//!
//! * Each changeset goes by the name under which the device had cut it, so that it is merged once, whoever brings it.
//! * They are handed in by a *stand-in*: a device number that nobody ever connects as, one for each file. Rows that
//!   need fresh ids get them from its blocks.
//! * What the device had not cut has a name, too: that of the changeset that the device itself would cut next. What
//!   the device, or another copy, has handed in under that name is in the journal: only what it did not have goes in.

use super::{Changeset, HubStore, MergeError, Outcome, StoreError, feed, once, rescue, uncut};
use crate::devices::{self, Device};
use crate::journal::reader::{Reader, ReaderError};
use crate::journal::record::{Lsn, What};
use crate::journal::writer::Writer;
use crate::rescue::{RescueError, Rescued, Work};
use data_encoding::HEXLOWER;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tt_migrations::outbox::kept::{Kept, Lost};
use tt_migrations::state;
use tt_protocol::change::{PieceError, decode_piece};
use tt_protocol::number::{EdgeId, Epoch, Millis, Seq, Version};
use tt_protocol::overlap::Rest;
use tt_protocol::pieces;
use tt_protocol::policy::Policy;
use tt_protocol::rescue::{Origin, Uncut, encode_uncut};

/// A changeset that the hub does not have.
struct New {
    seq: i64,
    pieces: Vec<Vec<u8>>,
    cursor: Version,
    /// Rows by table that go in, and how many wait on the list.
    tables: BTreeMap<String, u64>,
    unclear: u64,
    is_uncut: bool,
}

/// What is to be done with a file.
pub(crate) struct Plan {
    device: Device,
    stand_in: String,
    new: Vec<New>,
    merged: u64,
    lost: Vec<Lost>,
}

/// The hub that a file is brought to.
pub(crate) struct Site<'s> {
    pub(crate) conn: &'s Connection,
    pub(crate) policy: &'s Policy,
    pub(crate) journal: Option<&'s Reader>,
    /// SHA-256 of its authority's certificate.
    pub(crate) authority: &'s [u8; 32],
}

/// Decides what of a file's work is new. `of` is the file, for messages.
pub(crate) fn plan(site: &Site<'_>, work: Work, of: &Path) -> Result<Plan, RescueError> {
    let device = site.device(&work).map_err(|error| match error {
        Foreign::Why(why) => RescueError::OfAnotherHub { path: of.to_owned(), device: work.device.0, why },
        Foreign::Failed(error) => error.into(),
    })?;
    let name: String = device.name.chars().take(46).collect();
    let stand_in = format!("{name}-rescued-{}", HEXLOWER.encode(&work.fingerprint()[..4]));
    let mut plan = Plan { device, stand_in, new: Vec::new(), merged: 0, lost: Vec::new() };
    for lost in &work.lost {
        // What cannot be read here may have arrived all the same.
        match once::find_merged(site.conn, work.device, Seq(lost.seq))? {
            Some((hash, _)) if hash != [0; 32] => plan.merged += 1,
            _ => plan.lost.push(lost.clone()),
        }
    }
    for kept in &work.kept {
        let origin = kept.origin(work.device)?;
        if rescue::is_known(site.conn, &origin)? {
            plan.merged += 1;
            continue;
        }
        let step = plan.new.is_empty().then(|| site.step(&work, kept.seq)).transpose()?;
        let is_uncut = work.uncut.is_some_and(|seq| seq.0 as i64 == kept.seq);
        match site.as_new(kept, &origin, (step, is_uncut.then_some(work.seen)))? {
            Some(new) => plan.new.push(new),
            None => plan.merged += 1,
        }
    }
    Ok(plan)
}

/// Why a file cannot be one of this hub's devices.
enum Foreign {
    Why(String),
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Foreign {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

impl Site<'_> {
    /// The device whose file it is.
    fn device(&self, work: &Work) -> Result<Device, Foreign> {
        let foreign = |why: &str| Err(Foreign::Why(why.to_owned()));
        if work.hub.as_ref().is_some_and(|hub| *hub != HEXLOWER.encode(self.authority)) {
            return foreign("it trusts another authority");
        }
        let Some(device) = devices::by_number(self.conn, work.device)? else {
            return foreign("this hub has no such device");
        };
        let number = |name: &str| state::get(self.conn, name).map(Option::unwrap_or_default);
        let epoch = Epoch(number(state::EPOCH)?.unsigned_abs());
        let version = Version(number(state::VERSION)?.unsigned_abs());
        if work.epoch > epoch || work.epoch == epoch && work.version > version {
            return foreign("it has seen rows that this hub never had");
        }
        for kept in work.kept.iter().filter(|kept| kept.is_acknowledged) {
            let merged = once::find_merged(self.conn, work.device, Seq(kept.seq.unsigned_abs()))?;
            if merged.is_some_and(|(hash, _)| hash != kept.hash && hash != [0; 32]) {
                return foreign("its hub has taken in other work of it");
            }
        }
        Ok(device)
    }

    /// A changeset as it is handed in; None when all of it is in already.
    fn as_new(
        &self,
        kept: &Kept,
        origin: &Origin,
        (step, seen): (Option<u64>, Option<Millis>),
    ) -> Result<Option<New>, RescueError> {
        let mut pieces = kept.named(origin.edge, step)?;
        let mut mark = seen.map(|seen| Uncut { seen, is_unclear: false });
        if let Some(mark) = &mut mark {
            for other in self.others(origin)? {
                match other.map(|other| uncut::rest(self.policy, &other, &pieces, false)).transpose()? {
                    Some(Rest { unclear_rows: 0, goes, .. }) => pieces = goes,
                    Some(Rest { unclear, goes, .. }) => {
                        pieces = goes.into_iter().chain(unclear).collect();
                        mark.is_unclear = true;
                    }
                    None => mark.is_unclear = true,
                }
            }
            if !mark.is_unclear && mark_is_all(&pieces)? {
                return Ok(None);
            }
            pieces.insert(1, encode_uncut(mark));
        }
        let sorted = uncut::sort(self.conn, self.policy, (origin.edge, origin.seq), mark, &pieces)
            .map_err(StoreError::from)?;
        let (tables, unclear) = (rows(&sorted.goes)?, rows(&sorted.unclear)?.into_values().sum());
        let cursor = Version(kept.cursor.unsigned_abs());
        Ok(Some(New { seq: kept.seq, pieces, cursor, tables, unclear, is_uncut: seen.is_some() }))
    }

    /// The step by whose names a changeset is written that does not say it: the one that the hub was told last, if
    /// it is the next one.
    fn step(&self, work: &Work, seq: i64) -> rusqlite::Result<u64> {
        if feed::merged_seq(self.conn, work.device)?.next().0 != seq.unsigned_abs() {
            return Ok(work.step);
        }
        let sql = "SELECT step FROM _sync_made WHERE edge = ?1";
        let told: Option<i64> = self.conn.query_row(sql, [work.device.0], |row| row.get(0)).optional()?;
        Ok(told.unwrap_or(0).unsigned_abs())
    }

    /// What was merged under the same name with other content, except what was taken from copies: the pieces, as far
    /// as the journal has them.
    fn others(&self, origin: &Origin) -> Result<Vec<Option<Vec<Vec<u8>>>>, RescueError> {
        let sql = "SELECT version FROM _sync_merged WHERE edge = ?1 AND seq = ?2 AND hash <> zeroblob(32)
                   UNION SELECT version FROM _sync_rescued r WHERE edge = ?1 AND seq = ?2 AND NOT EXISTS
                     (SELECT 1 FROM _sync_uncut u WHERE u.edge = ?1 AND u.seq = ?2 AND u.hash = r.hash)";
        let mut statement = self.conn.prepare(sql)?;
        let versions =
            statement.query_map((origin.edge.0, origin.seq.0 as i64), |row| row.get::<_, i64>(0))?;
        let versions: Vec<i64> = versions.collect::<rusqlite::Result<_>>()?;
        versions.into_iter().map(|version| self.journaled(Version(version.unsigned_abs()))).collect()
    }

    fn journaled(&self, version: Version) -> Result<Option<Vec<Vec<u8>>>, RescueError> {
        let Some(journal) = self.journal else { return Ok(None) };
        let found = || -> Result<_, ReaderError> {
            let Some(reach) = journal.reach()? else { return Ok(None) };
            for entry in journal.after(Lsn(reach.first.0.saturating_sub(1)))? {
                let entry = entry?;
                if let What::Changeset { pieces, .. } = entry.what
                    && entry.version == version
                {
                    return Ok(Some(pieces));
                }
            }
            Ok(None)
        };
        // Without it the rows are held: nobody can tell them from those that are in.
        Ok(found().unwrap_or_else(|error| {
            tracing::warn!(%error, %version, "the journal was asked what a device had handed in");
            None
        }))
    }
}

/// True when nothing but the name is left.
fn mark_is_all(pieces: &[Vec<u8>]) -> Result<bool, PieceError> {
    let mut other = false;
    for piece in pieces.iter().skip(1) {
        other |= tt_protocol::step::decode_made(piece)?.is_none();
    }
    Ok(!other)
}

fn rows(pieces: &[Vec<u8>]) -> Result<BTreeMap<String, u64>, PieceError> {
    let mut tables = BTreeMap::new();
    for piece in pieces {
        for change in decode_piece(piece)? {
            *tables.entry(change.table.clone()).or_default() += change.rows.rows() as u64;
        }
    }
    Ok(tables)
}

impl Plan {
    /// What would come of it.
    pub(crate) fn report(&self) -> Rescued {
        let mut report = Rescued {
            device: self.device.device.0,
            name: self.device.name.clone(),
            is_revoked: self.device.revoked_at.is_some(),
            merged: self.merged,
            lost: self.lost.clone(),
            handed_in_by: (!self.new.is_empty()).then(|| self.stand_in.clone()),
            ..Rescued::default()
        };
        for new in &self.new {
            report.changesets += 1;
            report.unclear += new.unclear;
            let sum: u64 = new.tables.values().sum();
            report.rows += sum;
            report.uncut += if new.is_uncut { sum } else { 0 };
            for (table, rows) in &new.tables {
                *report.tables.entry(table.clone()).or_default() += rows;
            }
        }
        report
    }
}

impl HubStore {
    /// Merges what is new of a lost device's work, each changeset exactly once. When this returns, it is on disk.
    /// With `only_look`, nothing is merged.
    ///
    /// # Errors
    /// When the file is of another hub, or the store fails as a whole: the same file can be brought again.
    pub(crate) fn rescue(
        &mut self,
        work: Work,
        of: &Path,
        (authority, only_look): (&[u8; 32], bool),
        now: Millis,
    ) -> Result<Rescued, RescueError> {
        let journal = self.journal.as_ref().map(Writer::reader);
        let policy = Arc::clone(&self.policy);
        let site = Site { conn: &self.conn, policy: &policy, journal: journal.as_ref(), authority };
        let mut plan = plan(&site, work, of)?;
        let last_entry = self.last_conflict()?;
        if !only_look && !plan.new.is_empty() {
            let stand_in = self.stand_in(&plan, now)?;
            self.hand_in(&mut plan, stand_in, now)?;
        }
        let mut report = plan.report();
        report.conflicts = self.conflicts_since(last_entry)?;
        report.version = self.version.0;
        Ok(report)
    }

    fn stand_in(&mut self, plan: &Plan, now: Millis) -> Result<EdgeId, RescueError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let device = devices::stand_in(&tx, &plan.stand_in, &plan.device.role, now)?;
        tx.commit()?;
        Ok(device)
    }

    /// One commit for all. A changeset that cannot be merged is named, and the others go in without it.
    fn hand_in(&mut self, plan: &mut Plan, edge: EdgeId, now: Millis) -> Result<(), RescueError> {
        let mut from = 0;
        while from < plan.new.len() {
            let first = feed::merged_seq(&self.conn, edge)?;
            let numbers = (first.0 + 1..).map(Seq);
            let changesets: Vec<Changeset> = numbers
                .zip(&plan.new[from..])
                .map(|(seq, new)| {
                    let hash = pieces::hash(&new.pieces);
                    Changeset { edge, seq, hash, pieces: new.pieces.clone(), cursor: new.cursor }
                })
                .collect();
            let outcomes = self.merge(&changesets, now)?;
            let bad = outcomes.iter().position(|outcome| !matches!(outcome, Ok(Outcome::Merged { .. })));
            let Some(bad) = bad else { return Ok(()) };
            let found = match &outcomes[bad] {
                Err(error) => error.to_string(),
                Ok(other) => format!("the hub does not take it: {other:?}"),
            };
            let New { seq, tables, .. } = plan.new.remove(from + bad);
            let rows = Some(tables.values().sum());
            plan.lost.push(Lost { seq: seq.unsigned_abs(), found, rows, readable: tables });
            from += bad;
        }
        Ok(())
    }

    fn last_conflict(&self) -> rusqlite::Result<i64> {
        let sql = "SELECT MAX(id) FROM _sync_conflict";
        Ok(self.conn.query_row(sql, [], |row| row.get(0)).optional()?.flatten().unwrap_or(0))
    }

    fn conflicts_since(&self, last: i64) -> rusqlite::Result<Vec<i64>> {
        let mut statement = self.conn.prepare("SELECT id FROM _sync_conflict WHERE id > ?1 ORDER BY id")?;
        statement.query_map([last], |row| row.get(0))?.collect()
    }
}

impl From<MergeError> for RescueError {
    fn from(error: MergeError) -> Self {
        Self::Store(error.into())
    }
}
