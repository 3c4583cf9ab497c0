//! The hub's side of a compare: which buckets and leaves of a table differ, and its rows in them.
//!
//! * Read on a connection of its own, in one snapshot and at its version: a merge never waits for it.
//! * The digests of a table at a version are kept, so that two hundred edges that ask about the same
//!   version cost one read of the table.
//! * They are thrown away when the version moves on, or when rows turn out to be others: a program at the
//!   hub that writes past capture makes no version. Until one of both happens, the remembered ones count.
//! * A table in which a program has changes that are no version yet is not compared: "not now".

use super::feed::in_this_shape;
use super::{FeedReader, StoreError};
use rusqlite::Connection;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::{audit, state};
use tt_protocol::audit::{Compare, Compared, Digests, Finding, Question};
use tt_protocol::change::Kind;
use tt_protocol::number::Version;
use tt_protocol::pieces::PieceBuilder;
use tt_protocol::value::Value;

/// Bytes of rows in one answer, so that it stays below the frame limit. What is left out differs again
/// at the next compare.
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Rows that one answer holds in memory while it is made.
const ANSWER_ROWS_MAX: u64 = 16_384;
/// Leaves kept in all remembered digests together: 48 bytes each, so at most 50 MB.
const LEAVES_KEPT_MAX: usize = 1_048_576;

/// Compares tables with edges', and remembers digests.
pub struct AuditReader {
    conn: Connection,
    known: VecDeque<Known>,
    passes: u64,
}

/// What the file was at when a table was read: after a restore, a version is another one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Moment {
    epoch: i64,
    version: Version,
    schema: i64,
}

/// Digests of one table at one moment.
struct Known {
    table: String,
    moment: Moment,
    columns: Vec<String>,
    digests: Arc<Digests>,
}

impl AuditReader {
    /// Opens a reading connection.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { conn: FeedReader::open(path)?.conn, known: VecDeque::new(), passes: 0 })
    }

    /// How often a whole table was read for digests.
    #[must_use]
    pub const fn passes(&self) -> u64 {
        self.passes
    }

    /// Compares a table with an edge's.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn compare(&mut self, replica: &Replica, compare: &Compare) -> Result<Compared, StoreError> {
        let finding = self.finding(replica, compare)?;
        Ok(Compared { table: compare.table.clone(), version: compare.version, finding })
    }

    fn finding(&mut self, replica: &Replica, compare: &Compare) -> Result<Finding, StoreError> {
        let Self { conn, known, passes } = self;
        let snapshot = conn.unchecked_transaction()?;
        let moment = Moment::of(&snapshot)?;
        if compare.version != moment.version || !compare.question.is_whole() {
            return Ok(Finding::NotNow);
        }
        let replica = in_this_shape(&snapshot, replica)?;
        let Some(tracked) = replica.get(&compare.table) else {
            return Ok(Finding::OtherColumns);
        };
        if audit::columns(tracked) != compare.columns {
            return Ok(Finding::OtherColumns);
        }
        let is_touched = audit::is_touched(&snapshot, tracked)?;
        let own = match find(known, compare, moment) {
            Some(digests) => digests,
            None if is_touched => return Ok(Finding::NotNow),
            None => {
                *passes += 1;
                let digests = Arc::new(audit::digests(&snapshot, tracked, &compare.columns)?);
                remember(known, compare, moment, &digests);
                digests
            }
        };
        match &compare.question {
            Question::Buckets(theirs) => {
                let differing = own.differing_buckets(theirs);
                Ok(if differing.is_empty() { Finding::Equal } else { Finding::Buckets(differing) })
            }
            Question::Leaves(_) if is_touched => Ok(Finding::NotNow),
            Question::Leaves(theirs) => match own.differing_leaves(theirs) {
                leaves if leaves.is_empty() => Ok(Finding::Equal),
                leaves => {
                    let finding = rows_of(&snapshot, tracked, &compare.columns, &own, leaves)?;
                    if finding == Finding::NotNow {
                        known.retain(|known| known.table != compare.table);
                    }
                    Ok(finding)
                }
            },
        }
    }
}

impl Moment {
    fn of(conn: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            epoch: state::get(conn, state::EPOCH)?.unwrap_or(0),
            version: Version(state::get(conn, state::VERSION)?.unwrap_or(0).unsigned_abs()),
            schema: conn.pragma_query_value(None, "schema_version", |row| row.get(0))?,
        })
    }
}

fn find(known: &VecDeque<Known>, compare: &Compare, moment: Moment) -> Option<Arc<Digests>> {
    let same = |known: &&Known| {
        known.moment == moment && known.table == compare.table && known.columns == compare.columns
    };
    known.iter().find(same).map(|known| Arc::clone(&known.digests))
}

/// Digests of other moments are of no use any more: no edge is compared at an earlier one.
fn remember(known: &mut VecDeque<Known>, compare: &Compare, moment: Moment, digests: &Arc<Digests>) {
    known.retain(|known| known.moment == moment);
    known.push_back(Known {
        table: compare.table.clone(),
        moment,
        columns: compare.columns.clone(),
        digests: Arc::clone(digests),
    });
    let held = |known: &VecDeque<Known>| known.iter().map(|known| known.digests.held()).sum::<usize>();
    while known.len() > 1 && held(known) > LEAVES_KEPT_MAX {
        known.pop_front();
    }
}

/// The hub's rows in as many of these leaves as fit into one answer, at least one. "Not now" when they are
/// not what the digests say: somebody wrote past capture since the table was read.
fn rows_of(
    conn: &Connection,
    tracked: &Tracked,
    columns: &[String],
    own: &Digests,
    mut leaves: Vec<u16>,
) -> Result<Finding, StoreError> {
    let mut rows = 0;
    let fitting = leaves.iter().take_while(|leaf| {
        rows += own.leaf(**leaf).rows;
        rows <= ANSWER_ROWS_MAX
    });
    leaves.truncate(fitting.count().max(1));
    let mut found: Vec<(u16, Vec<Value>)> = Vec::new();
    audit::rows_in(conn, tracked, &leaves, |leaf, row| {
        found.push((leaf, row));
        Ok(())
    })?;
    let read = audit::digests_of(tracked, columns, found.iter().map(|(_, row)| row.as_slice()));
    if leaves.iter().any(|leaf| read.leaf(*leaf) != own.leaf(*leaf)) {
        return Ok(Finding::NotNow);
    }
    loop {
        let pieces = pieces_of(tracked, found.iter().map(|(_, row)| row));
        let bytes: usize = pieces.iter().map(Vec::len).sum();
        if bytes <= ANSWER_BYTES_MAX || leaves.len() == 1 {
            return Ok(Finding::Rows { leaves, pieces });
        }
        leaves.truncate(leaves.len() / 2);
        found.retain(|(leaf, _)| leaves.binary_search(leaf).is_ok());
    }
}

fn pieces_of<'r>(tracked: &Tracked, rows: impl Iterator<Item = &'r Vec<Value>>) -> Vec<Vec<u8>> {
    let mut builder = PieceBuilder::default();
    let names: Vec<&str> = tracked.names.iter().map(String::as_str).collect();
    for row in rows {
        let values = row.iter().map(Value::as_ref);
        builder.push(Kind::Put, &tracked.table.name, tracked.keys(), &names, values);
    }
    builder.finish()
}
