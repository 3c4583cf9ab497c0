//! A reseed by difference, from the device's side: which rows of this file are not as in the hub's snapshot, and the
//! hub's rows in their place.
//!
//! * Read on a connection of its own, without a lock that a program could notice. What programs write meanwhile is
//!   noted by capture, and stays on top when the rows are written.
//! * Table by table, some blocks at a time: what differs is narrowed down and fetched, and proven by the digests of
//!   the ranges before it is kept (`kept`). A link that is cut loses little more than one answer.
//! * Memory is bounded by what `WINDOW_BLOCKS` blocks hold, whatever the size of the file.

pub(super) mod kept;
mod rows;
mod table;
mod window;

use super::StoreError;
use kept::Kept;
use rusqlite::{Connection, OpenFlags};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use table::Comparing;
use tt_migrations::progress::{Progress, Unit};
use tt_migrations::quote::ident;
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::shape::Schema;
use tt_protocol::difference::narrow::Misfit;
use tt_protocol::difference::{Answer, Question};
use tt_protocol::policy::Policy;

/// What the file is when it is compared.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The file.
    pub(super) db: PathBuf,
    /// Its tables, which have all that the hub's have.
    pub(super) replica: Arc<Replica>,
    /// The hub's policy.
    pub(super) policy: Policy,
    /// Which snapshot is compared with which state of the file.
    pub(super) moment: kept::Moment,
}

impl Ground {
    /// By which name the hub knows the snapshot.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.moment.identity
    }
}

/// What a comparison came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// All rows that differ are kept.
    Rows,
    /// It is better to fetch the whole snapshot, and why.
    Whole(String),
    /// The hub has that snapshot no more.
    Over,
    /// The link is gone, or nobody waits any more.
    Cut,
}

/// Why a comparison came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum DifferenceError {
    /// This file, or the head of the snapshot.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is kept of the comparison.
    #[error("cannot keep the rows that differ: {0}; check the folder's owner and the free space")]
    Io(#[from] io::Error),
}

/// Ends a comparison early: with the answer that it came to.
enum Early {
    Ended(Compared),
    Failed(DifferenceError),
}

impl<E: Into<StoreError>> From<E> for Early {
    fn from(error: E) -> Self {
        Self::Failed(DifferenceError::Store(error.into()))
    }
}

fn whole(why: impl ToString) -> Early {
    Early::Ended(Compared::Whole(why.to_string()))
}

/// How the hub is asked; None when the link is gone.
pub type Asking<'a> = dyn FnMut(&Question) -> Option<Answer> + 'a;

/// Who is asked, and whether anybody still waits.
struct Hub<'a> {
    ask: &'a mut Asking<'a>,
    stop: &'a AtomicBool,
    progress: &'a dyn Progress,
}

impl Hub<'_> {
    fn ask(&mut self, question: &Question) -> Result<Answer, Early> {
        match (self.ask)(question) {
            None => Err(Early::Ended(Compared::Cut)),
            Some(Answer::Over) => Err(Early::Ended(Compared::Over)),
            Some(Answer::Refused(reason)) => Err(whole(reason)),
            Some(answer) => Ok(answer),
        }
    }

    fn go_on(&self) -> Result<(), Early> {
        if self.stop.load(Ordering::Relaxed) { Err(Early::Ended(Compared::Cut)) } else { Ok(()) }
    }
}

/// Compares the file with the snapshot whose head is at `head`, and keeps the rows that differ at `rows`.
/// What is there of an earlier attempt is not fetched again. `stop` ends it soon.
///
/// # Errors
/// When a file cannot be read or written.
pub fn compare<'a>(
    (head, rows): (&Path, &Path),
    ground: &Ground,
    ask: &'a mut Asking<'a>,
    (stop, progress): (&'a AtomicBool, &'a dyn Progress),
) -> Result<Compared, DifferenceError> {
    let mut kept = Kept::open(rows, &ground.moment)?;
    match tables(head, ground, &mut kept, &mut Hub { ask, stop, progress }) {
        Ok(()) => kept.finish().map(|()| Compared::Rows).map_err(DifferenceError::Io),
        Err(Early::Ended(compared)) => Ok(compared),
        Err(Early::Failed(error)) => Err(error),
    }
}

fn tables(head: &Path, ground: &Ground, kept: &mut Kept, hub: &mut Hub<'_>) -> Result<(), Early> {
    let own = Connection::open_with_flags(&ground.db, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    own.busy_timeout(Duration::from_secs(30))?;
    let head = Connection::open_with_flags(head, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let schema = Schema::read(&head)?;
    let mut pairs = Vec::new();
    for table in schema.tables.values().filter(|table| !table.key.is_empty()) {
        let found = ground.replica.get(&table.name);
        if let Some(tracked) = found.filter(|_| ground.policy.table(&table.name).replicate) {
            pairs.push((tracked, Tracked::new(table.clone(), 0)));
        }
    }
    let rows = is_worth_it(&own, &head, &pairs)?;
    hub.progress.phase("comparing rows", Some(rows), Unit::Rows);
    pairs.iter().try_for_each(|(tracked, theirs)| Comparing::new(&own, tracked, theirs)?.run(hub, kept))
}

/// How many rows are here. With less than half of the hub's, the packed snapshot is there sooner than its rows.
fn is_worth_it(
    own: &Connection,
    head: &Connection,
    pairs: &[(&Arc<Tracked>, Tracked)],
) -> Result<u64, Early> {
    let (mut here, mut there) = (0_i64, 0_i64);
    for (tracked, theirs) in pairs {
        let sql = format!("SELECT COUNT(*) FROM {}", ident(&tracked.table.name));
        here = here.saturating_add(own.query_row(&sql, [], |row| row.get(0))?);
        let sql = "SELECT rows FROM _sync_seed_rows WHERE name = ?1";
        there = there.saturating_add(head.query_row(sql, [&theirs.table.name], |row| row.get(0))?);
    }
    if here.saturating_mul(2) < there {
        return Err(whole(format!("of the hub's {there} rows this device has {here}")));
    }
    Ok(here.unsigned_abs())
}

impl From<Misfit> for Early {
    fn from(misfit: Misfit) -> Self {
        whole(misfit)
    }
}
