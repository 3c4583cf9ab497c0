//! The operator decides about an entry of the conflict list: takes a side, writes something else, or lets it be.
//!
//! * What a decision changes goes through the ordinary merge as the hub's own change, as a version of
//!   its own, so that every device gets it like any other.
//! * The entry closes in the same savepoint and stays as history. What fails leaves nothing behind.
//! * Many decisions share a commit; each stands or falls alone.
//!
//! `subject` reads the entry, `settle` says what each decision means for it, `release` runs the merge,
//! `value` reads what an operator types, `words` writes the history.

mod release;
mod settle;
mod subject;
pub mod value;
mod words;

use super::once::is_about_the_file;
use super::{HubStore, MergeError, StoreError, begin, journaled};
use crate::journal::record::What;
use rusqlite::{Connection, TransactionBehavior};
use serde::{Deserialize, Serialize};
use subject::Subject;
use tt_migrations::replica::Replica;
use tt_migrations::state;
use tt_protocol::number::{Millis, Version};
use tt_protocol::policy::Policy;
use tt_protocol::span::span;
use tt_protocol::value::Value;

/// What the operator wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// What stands at the hub is right.
    TakeWinner,
    /// What lost goes in after all. Of a counter, the difference that was held is added.
    TakeLoser,
    /// These columns get these values; a row that is held goes in with them. `new` for an integer key
    /// that SQLite chooses gives the row an id of the hub's own.
    Edit(Vec<(String, Value)>),
    /// Nothing is to be done.
    Dismiss,
}

/// An entry that was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Its number.
    pub id: i64,
    /// What the history says.
    pub decision: String,
    /// What else the operator should know, a sentence each.
    pub told: Vec<String>,
}

/// Why an entry was not closed.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// There is none with this number.
    #[error("there is no conflict {0}: `tt-hub conflicts --all` lists them")]
    Unknown(i64),
    /// Somebody was faster.
    #[error("conflict {id} was closed {} ago: {decision}", span(*.ago_s))]
    Closed {
        /// Its number.
        id: i64,
        /// How long ago, in seconds.
        ago_s: i64,
        /// What the history says.
        decision: String,
    },
    /// It cannot be done; nothing has changed.
    #[error("conflict {id} stays open: {reason}")]
    Refused {
        /// Its number.
        id: i64,
        /// For a person.
        reason: String,
    },
    /// The store failed as a whole.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What stands in the way inside of one decision.
enum Obstacle {
    /// It cannot be done, and why.
    Reason(String),
    /// The store failed as a whole.
    Store(StoreError),
}

impl From<rusqlite::Error> for Obstacle {
    fn from(error: rusqlite::Error) -> Self {
        Self::from(MergeError::Sqlite(error))
    }
}

impl From<MergeError> for Obstacle {
    fn from(error: MergeError) -> Self {
        match error {
            MergeError::Sqlite(error) if is_about_the_file(&error) => Self::Store(error.into()),
            other => Self::Reason(other.to_string()),
        }
    }
}

type Attempt<T> = Result<T, Obstacle>;

fn refuse<T>(reason: impl Into<String>) -> Attempt<T> {
    Err(Obstacle::Reason(reason.into()))
}

/// One decision under way: where, and as which version and when what it changes is written.
struct Desk<'a> {
    conn: &'a Connection,
    replica: &'a Replica,
    policy: &'a Policy,
    version: Version,
    now: Millis,
}

/// Carries out one decision above `version`, which moves when rows were touched, and writes it down.
pub(super) fn decide_one(
    conn: &Connection,
    (replica, policy): (&Replica, &Policy),
    (id, decision): (i64, &Decision),
    version: &mut Version,
    now: Millis,
) -> Result<Decided, DecideError> {
    let desk = Desk { conn, replica, policy, version: version.next(), now };
    let (decided, wrote) = desk.decide(id, decision)?;
    *version = if wrote { version.next() } else { *version };
    let what = || What::Decided { id, decision: decision.clone(), words: decided.decision.clone() };
    journaled::put(conn, *version, now, what).map_err(|error| DecideError::Store(error.into()))?;
    Ok(decided)
}

impl HubStore {
    /// Carries out a decision about one entry. When this returns, it is on disk.
    ///
    /// # Errors
    /// [`DecideError`]. Nothing has changed then.
    pub fn decide(&mut self, id: i64, decision: &Decision, now: Millis) -> Result<Decided, DecideError> {
        let outcome = self.decide_all(&[id], decision, now)?.pop();
        outcome.unwrap_or(Err(DecideError::Unknown(id)))
    }

    /// Carries out the same decision about several entries in one commit, each by itself, in this order.
    /// The outcomes come in the same order.
    ///
    /// # Errors
    /// When the store fails as a whole (nothing is decided then). An entry that cannot be closed has its
    /// own error in the list.
    pub fn decide_all(
        &mut self,
        ids: &[i64],
        decision: &Decision,
        now: Millis,
    ) -> Result<Vec<Result<Decided, DecideError>>, StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.clock.set(now);
        let mut version = begin(&tx, &self.policy, &mut self.replica, (self.looked_at, &self.places), now)?;
        let mut outcomes = Vec::with_capacity(ids.len());
        for id in ids {
            let tables = (self.replica.as_ref(), self.policy.as_ref());
            outcomes.push(match decide_one(&tx, tables, (*id, decision), &mut version, now) {
                Err(DecideError::Store(error)) => return Err(error),
                outcome => outcome,
            });
        }
        if version != self.version {
            state::set(&tx, state::VERSION, version.0 as i64)?;
        }
        tx.commit()?;
        self.version = version;
        self.looked_at = self.replica.schema_version;
        self.committed()?;
        Ok(outcomes)
    }
}

impl Desk<'_> {
    /// Decides in a savepoint. Also says whether the version was used.
    fn decide(&self, id: i64, decision: &Decision) -> Result<(Decided, bool), DecideError> {
        let failed = |error: rusqlite::Error| DecideError::Store(error.into());
        let subject = Subject::find(self.conn, id).map_err(failed)?.ok_or(DecideError::Unknown(id))?;
        if let Some((decision, at)) = subject.closed {
            return Err(DecideError::Closed { id, ago_s: (self.now.0 - at) / 1000, decision });
        }
        self.conn.execute_batch("SAVEPOINT decision").map_err(failed)?;
        let outcome = self.carry_out(&subject, decision);
        let end = if outcome.is_ok() { "RELEASE decision" } else { "ROLLBACK TO decision; RELEASE decision" };
        self.conn.execute_batch(end).map_err(failed)?;
        match outcome {
            Ok(done) => Ok(done),
            Err(Obstacle::Reason(reason)) => Err(DecideError::Refused { id, reason }),
            Err(Obstacle::Store(error)) => Err(DecideError::Store(error)),
        }
    }

    /// Closes the entry first: while it is open, the merge takes its row for one that is held.
    fn carry_out(&self, subject: &Subject, decision: &Decision) -> Attempt<(Decided, bool)> {
        subject.close(self.conn, self.now)?;
        let done = self.settle(subject, decision)?;
        let words = words::history(decision, &done.values);
        subject.note(self.conn, &words)?;
        Ok((Decided { id: subject.id, decision: words, told: done.told }, done.wrote))
    }
}
