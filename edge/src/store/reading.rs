//! What a compare reads from the edge's file: a whole table, in one snapshot, without a lock that a
//! program could notice. It may run on any connection of any thread; the engine takes the outcome.

use rusqlite::{Connection, Result};
use std::sync::Arc;
use tt_migrations::audit;
use tt_migrations::replica::Tracked;
use tt_migrations::row::Key;
use tt_migrations::state;
use tt_protocol::audit::Digests;
use tt_protocol::number::Version;

/// A table to read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Which compare it belongs to, so that one that comes too late is known as such.
    pub(crate) round: u64,
    pub(crate) tracked: Arc<Tracked>,
    /// The shape of the file for which `tracked` holds.
    pub(crate) schema_version: i64,
    pub(crate) what: What,
}

/// What is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Digests of all leaves.
    Digests,
    /// Keys of the rows in these leaves, which are in order.
    Keys(Vec<u16>),
}

/// What a reading came to.
#[derive(Debug)]
pub struct ReadDone {
    pub(crate) round: u64,
    /// None: the table has changes that the hub does not have yet, or another shape by now.
    pub(crate) found: Result<Option<Found>>,
}

/// What was read.
#[derive(Debug)]
pub(crate) enum Found {
    Digests(Version, Digests),
    Keys(Vec<Key>),
}

impl PartialEq for Reading {
    fn eq(&self, other: &Self) -> bool {
        self.round == other.round && self.what == other.what
    }
}

impl Reading {
    /// Reads. The connection must not be inside of a transaction.
    #[must_use]
    pub fn perform(&self, conn: &Connection) -> ReadDone {
        ReadDone { round: self.round, found: self.read(conn) }
    }

    /// Tells that it could not even begin.
    #[must_use]
    pub const fn failed(&self, error: rusqlite::Error) -> ReadDone {
        ReadDone { round: self.round, found: Err(error) }
    }

    fn read(&self, conn: &Connection) -> Result<Option<Found>> {
        let snapshot = conn.unchecked_transaction()?;
        if !is_settled(&snapshot, &self.tracked, self.schema_version)? {
            return Ok(None);
        }
        Ok(Some(match &self.what {
            What::Digests => {
                let columns = audit::columns(&self.tracked);
                let version = Version(state::get(&snapshot, state::VERSION)?.unwrap_or(0).unsigned_abs());
                Found::Digests(version, audit::digests(&snapshot, &self.tracked, &columns)?)
            }
            What::Keys(leaves) => {
                let mut keys = Vec::new();
                audit::rows_in(&snapshot, &self.tracked, leaves, |_, mut row| {
                    row.truncate(self.tracked.keys());
                    keys.push(row);
                    Ok(())
                })?;
                Found::Keys(keys)
            }
        }))
    }
}

/// True when the table is as the hub's version says, as far as this file knows: of the known shape,
/// without changes that are not cut, and with nothing in the outbox that is not acknowledged.
pub(super) fn is_settled(conn: &Connection, tracked: &Tracked, schema_version: i64) -> Result<bool> {
    let seen: i64 = conn.pragma_query_value(None, "schema_version", |row| row.get(0))?;
    if seen != schema_version {
        return Ok(false);
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM _sync_outbox WHERE version IS NULL)";
    if conn.prepare_cached(sql)?.query_row([], |row| row.get(0))? {
        return Ok(false);
    }
    Ok(!audit::is_touched(conn, tracked)?)
}
