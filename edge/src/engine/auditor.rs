//! When a table is compared with the hub's, and one compare from its beginning to its end.
//!
//! * A table that is due (a new file, a changed schema, a person asks) is compared as soon as the device
//!   is in step. The others take turns while nobody works.
//! * Reading a whole table is work: the rim may do it on a thread of its own. Between two reads there is
//!   a rest that is a multiple of what the last one took.
//! * `begin` says what to read; `found` and `answered` take what came of it and say what to do next.

use crate::store::{EdgeStore, Found, Moment, Outcome, ReadDone, Reading, StoreError, What};
use std::sync::Arc;
use tt_migrations::audit::columns;
use tt_migrations::replica::Tracked;
use tt_protocol::audit::{Compare, Compared, Digests, Finding, Question, REFINED_MAX};
use tt_protocol::frame::EdgeFrame;
use tt_protocol::number::{Millis, Version};

/// So long nothing was written and nothing came from the hub: whoever counts has gone for a while.
const QUIET_MS: i64 = 60_000;
/// Rest between two tables that take turns. 26 tables, as the largest schema seen has, come round in
/// four hours, and a hub with two hundred devices is asked once in three seconds.
const TURN_MS: i64 = 600_000;
/// The rest is at least this many times the last read, so that turns cost a hundredth of one core.
const TURN_RESTS: i64 = 100;
/// The same between reads of tables that are due: a twentieth, because somebody waits.
const DUE_RESTS: i64 = 20;
/// A read that took no longer needs no rest after it.
const SHORT_MS: i64 = 250;
/// While somebody waits for an answer, the hub is asked again after this.
const HURRIED_MS: i64 = 1_000;
/// A hub that cannot compare now is asked again after the next feed, or after this.
const NOT_NOW_MS: i64 = 30_000;

/// The compares of one device.
pub(super) struct Auditor {
    enabled: bool,
    /// Somebody waits until no table is due: no rest.
    hurried: bool,
    phase: Phase,
    round: u64,
    /// Number of the table that was compared last, once that is known.
    last: Option<i64>,
    began: Millis,
    cost_ms: i64,
    /// Not before this.
    rest_until: Millis,
    turn_at: Option<Millis>,
    quiet_since: Option<Millis>,
}

enum Phase {
    Rest,
    /// The table is being read for its digests.
    Digesting(Arc<Tracked>),
    /// The hub was asked.
    Asked(Arc<Tracked>, Version, Digests),
    /// The hub's rows are here, the keys of our own are being read.
    Gathering(Arc<Tracked>, Version, Vec<Vec<u8>>),
}

/// What comes next of a compare.
#[derive(Debug, Default)]
pub(super) enum Next {
    /// Nothing.
    #[default]
    Nothing,
    /// A table is to be read.
    Read(Reading),
    /// The hub is to be asked.
    Ask(EdgeFrame),
    /// Rows were noted: a cut is due.
    Cut,
}

impl Auditor {
    pub(super) const fn new() -> Self {
        Self {
            enabled: true,
            hurried: false,
            phase: Phase::Rest,
            round: 0,
            last: None,
            began: Millis(0),
            cost_ms: 0,
            rest_until: Millis(0),
            turn_at: None,
            quiet_since: None,
        }
    }

    /// One round of `sync` is over before a compare would be.
    pub(super) const fn disable(&mut self) {
        self.enabled = false;
    }

    /// A person asks: no rest.
    pub(super) const fn hurry(&mut self) {
        (self.enabled, self.hurried) = (true, true);
        self.rest_until = Millis(0);
    }

    /// The link is gone, and with it the compare.
    pub(super) fn end(&mut self) {
        self.phase = Phase::Rest;
        self.round += 1;
        self.quiet_since = None;
    }

    /// Somebody wrote, here or elsewhere.
    pub(super) const fn stirred(&mut self) {
        self.quiet_since = None;
    }

    /// A feed was applied: the hub may be able to compare now.
    pub(super) fn fed(&mut self) {
        self.stirred();
        self.rest_until = Millis(self.began.0 + self.rest_ms());
    }

    /// When the rest is over, or the next turn comes; None while a compare is under way or nobody knows.
    pub(super) fn next_look(&self, now: Millis) -> Option<Millis> {
        if !self.enabled || !matches!(self.phase, Phase::Rest) {
            return None;
        }
        let turn =
            self.turn_at.zip(self.quiet_since).map(|(turn, quiet)| turn.max(Millis(quiet.0 + QUIET_MS)));
        [Some(self.rest_until), turn].into_iter().flatten().find(|at| *at > now)
    }

    /// The device is in step and has nothing else to do: begins a compare if one is due.
    pub(super) fn begin(&mut self, store: &EdgeStore, now: Millis) -> Result<Next, StoreError> {
        let quiet_since = *self.quiet_since.get_or_insert(now);
        if !self.enabled || !matches!(self.phase, Phase::Rest) {
            return Ok(Next::Nothing);
        }
        // A clock that was put back must not make a rest longer.
        if now < self.began {
            (self.rest_until, self.turn_at, self.quiet_since) = (now, Some(now), Some(now));
        }
        if now < self.rest_until {
            return Ok(Next::Nothing);
        }
        let turn_at = *self.turn_at.get_or_insert(Millis(now.0 + QUIET_MS));
        let last = match self.last {
            Some(last) => last,
            None => *self.last.insert(store.audit_last()?),
        };
        let due = store.audit_due(last)?;
        self.hurried &= due.is_some();
        let due = match due {
            None if now.0 - quiet_since.0 >= QUIET_MS && now >= turn_at => {
                self.turn_at = Some(Millis(now.0 + TURN_MS));
                store.audit_turn(last)?
            }
            due => due,
        };
        Ok(due.map_or(Next::Nothing, |tracked| {
            self.last = Some(tracked.tid);
            self.began = now;
            self.phase = Phase::Digesting(Arc::clone(&tracked));
            Next::Read(self.reading(store, tracked, What::Digests))
        }))
    }

    /// A table was read.
    pub(super) fn found(
        &mut self,
        store: &mut EdgeStore,
        now: Millis,
        done: ReadDone,
    ) -> Result<Next, StoreError> {
        if done.round != self.round {
            return Ok(Next::Nothing);
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Rest);
        let found = match done.found {
            Ok(found) => found,
            // A page that cannot be read must not stop the rows that can, nor the tables that can.
            Err(error) => {
                tracing::error!(%error, "a table cannot be read to compare it with the hub's: run tt-edge doctor --full");
                self.rest_until = Millis(now.0 + TURN_MS);
                return Ok(Next::Nothing);
            }
        };
        match (phase, found) {
            (Phase::Digesting(tracked), Some(Found::Digests(version, digests))) => {
                self.cost(now);
                let question = Question::Buckets(digests.buckets());
                let ask = ask(&tracked, version, question);
                self.phase = Phase::Asked(tracked, version, digests);
                Ok(ask)
            }
            (Phase::Gathering(tracked, version, pieces), Some(Found::Keys(keys))) => {
                let healed = store.heal(&tracked, Moment { now, version }, &keys, &pieces)?;
                self.pause(now);
                let Some(healed) = healed else {
                    return Ok(Next::Nothing);
                };
                let (table, noted, fetched, left) =
                    (&tracked.table.name, healed.noted, healed.fetched, healed.left);
                tracing::warn!(%table, noted, fetched, left, "rows differed from the hub's; capture had missed them");
                Ok(if noted > 0 { Next::Cut } else { Next::Nothing })
            }
            // The table was written meanwhile: it is looked at again when that is handed in.
            _ => {
                self.pause(now);
                Ok(Next::Nothing)
            }
        }
    }

    /// The hub has answered.
    pub(super) fn answered(
        &mut self,
        store: &mut EdgeStore,
        now: Millis,
        compared: Compared,
    ) -> Result<Next, StoreError> {
        let (tracked, version, digests) = match std::mem::replace(&mut self.phase, Phase::Rest) {
            Phase::Asked(tracked, version, digests)
                if tracked.table.name == compared.table && version == compared.version =>
            {
                (tracked, version, digests)
            }
            // An answer to a question of an earlier compare.
            phase => {
                self.phase = phase;
                return Ok(Next::Nothing);
            }
        };
        match compared.finding {
            Finding::NotNow if self.hurried => self.rest_until = Millis(now.0 + HURRIED_MS),
            Finding::NotNow => self.rest_until = Millis(now.0 + NOT_NOW_MS.max(self.rest_ms())),
            Finding::Equal => {
                store.compared(&tracked, Moment { now, version }, Outcome::Equal)?;
                self.pause(now);
            }
            Finding::OtherColumns => {
                store.compared(&tracked, Moment { now, version }, Outcome::OtherColumns)?;
                self.pause(now);
            }
            Finding::Buckets(mut buckets) => {
                buckets.truncate(REFINED_MAX);
                let next = ask(&tracked, version, Question::Leaves(digests.refined(&buckets)));
                self.phase = Phase::Asked(tracked, version, digests);
                return Ok(next);
            }
            Finding::Rows { mut leaves, pieces } => {
                leaves.sort_unstable();
                let reading = self.reading(store, Arc::clone(&tracked), What::Keys(leaves));
                self.phase = Phase::Gathering(tracked, version, pieces);
                return Ok(Next::Read(reading));
            }
        }
        Ok(Next::Nothing)
    }

    fn reading(&mut self, store: &EdgeStore, tracked: Arc<Tracked>, what: What) -> Reading {
        self.round += 1;
        let schema_version = store.replica().schema_version;
        Reading { round: self.round, tracked, schema_version, what }
    }

    const fn cost(&mut self, now: Millis) {
        self.cost_ms = now.0 - self.began.0;
    }

    const fn rest_ms(&self) -> i64 {
        if self.hurried || self.cost_ms <= SHORT_MS { 0 } else { self.cost_ms * DUE_RESTS }
    }

    fn pause(&mut self, now: Millis) {
        self.rest_until = Millis(now.0 + self.rest_ms());
        let turn = TURN_MS.max(self.cost_ms * TURN_RESTS);
        self.turn_at = self.turn_at.map(|_| Millis(now.0 + turn));
    }
}

fn ask(tracked: &Tracked, version: Version, question: Question) -> Next {
    let (table, columns) = (tracked.table.name.clone(), columns(tracked));
    Next::Ask(EdgeFrame::Compare(Compare { table, version, columns, question }))
}
