//! Which tables are to be compared with the hub's, and what the last compares came to.
//!
//! `_sync_table.audit` says whether a compare is due: 0 no, 1 because capture is known to have missed
//! something (its triggers had gone), 2 for another reason (a new file, a changed table, a person asks).

use super::{EdgeStore, StoreError};
use rusqlite::{Connection, OptionalExtension as _, Result};
use std::sync::Arc;
use tt_migrations::follow;
use tt_migrations::replica::{Replica, Tracked};
use tt_protocol::number::{Millis, Version};

/// Capture is known to have missed something.
const DUE_BLIND: i64 = 1;
/// A compare is due for another reason.
const DUE: i64 = 2;

/// What a compare came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Equal to the hub's table.
    Equal,
    /// Rows were put right; whether that was all is asked next.
    Healing,
    /// Rows were put right, and the tables are equal now.
    Healed,
    /// Rows differ still, although they were put right once.
    Differs,
    /// The hub has other columns, or has not this table.
    OtherColumns,
}

impl Outcome {
    /// As it is kept and shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Healing => "healing",
            Self::Healed => "healed",
            Self::Differs => "differs",
            Self::OtherColumns => "other columns",
        }
    }

    fn of(word: &str) -> Option<Self> {
        let all = [Self::Equal, Self::Healing, Self::Healed, Self::Differs, Self::OtherColumns];
        all.into_iter().find(|outcome| outcome.word() == word)
    }
}

/// The last compare of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The table.
    pub table: String,
    /// When, by this device's clock. None: never.
    pub at: Option<Millis>,
    /// The version that was compared.
    pub version: Version,
    /// What it came to.
    pub outcome: Option<Outcome>,
    /// Rows that were put right, or that differ still.
    pub rows: u64,
    /// A compare is due.
    pub due: bool,
    /// It is due because the table's triggers had gone.
    pub blind: bool,
}

impl EdgeStore {
    /// The next table after `after` (a table's number) that must be compared, in a circle.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn audit_due(&self, after: i64) -> Result<Option<Arc<Tracked>>, StoreError> {
        let sql = "SELECT name FROM _sync_table WHERE audit <> 0 ORDER BY tid <= ?1, tid";
        self.first_of(sql, after)
    }

    /// The next table after `after`, in a circle: a table that can never be compared holds up no other.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn audit_turn(&self, after: i64) -> Result<Option<Arc<Tracked>>, StoreError> {
        let sql = "SELECT name FROM _sync_table ORDER BY tid <= ?1, tid";
        self.first_of(sql, after)
    }

    /// Number of the table that was compared last, where the circle goes on after a restart; 0: none was.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn audit_last(&self) -> Result<i64, StoreError> {
        let sql = "SELECT tid FROM _sync_audit WHERE at IS NOT NULL ORDER BY at DESC, tid DESC LIMIT 1";
        Ok(self.conn.query_row(sql, [], |row| row.get(0)).optional()?.unwrap_or(0))
    }

    /// Every replicated table is to be compared soon: a person asks.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn audit_all(&self) -> Result<(), StoreError> {
        let sql = "UPDATE _sync_table SET audit = ?1 WHERE audit = 0";
        self.conn.execute(sql, [DUE])?;
        Ok(())
    }

    /// The last compare of every replicated table.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn audits(&self) -> Result<Vec<Audit>, StoreError> {
        Ok(audits(&self.conn, &self.replica)?)
    }

    /// A table that the program dropped keeps its number, but there is nothing to compare.
    fn first_of(&self, sql: &str, after: i64) -> Result<Option<Arc<Tracked>>, StoreError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([after])?;
        while let Some(row) = rows.next()? {
            if let Some(tracked) = self.replica.get(&row.get::<_, String>(0)?) {
                return Ok(Some(Arc::clone(tracked)));
            }
        }
        Ok(None)
    }
}

/// The last compare of every replicated table of a file.
///
/// # Errors
/// When SQLite fails.
pub(crate) fn audits(conn: &Connection, replica: &Replica) -> Result<Vec<Audit>> {
    let sql = "SELECT a.at, a.version, a.outcome, a.rows, t.audit FROM _sync_table t LEFT JOIN _sync_audit a USING (tid)
               WHERE tid = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    let read = |tracked: &Arc<Tracked>| {
        statement.query_row([tracked.tid], |row| {
            let (outcome, due): (Option<String>, i64) = (row.get(2)?, row.get(4)?);
            Ok(Audit {
                table: tracked.table.name.clone(),
                at: row.get::<_, Option<i64>>(0)?.map(Millis),
                version: Version(row.get::<_, Option<i64>>(1)?.unwrap_or(0).unsigned_abs()),
                outcome: outcome.as_deref().and_then(Outcome::of),
                rows: row.get::<_, Option<i64>>(3)?.unwrap_or(0).unsigned_abs(),
                due: due != 0,
                blind: due == DUE_BLIND,
            })
        })
    };
    replica.tables.values().map(read).collect()
}

/// Tables that are new here, or have another shape than when they were last looked at, become due. That
/// is every table after a join or a reseed, and each that a change of the schema touched.
pub(super) fn mark_changed(conn: &Connection, replica: &Replica) -> Result<()> {
    for tracked in replica.tables.values() {
        let shape = follow::definition(&tracked.table).hash();
        let sql = "INSERT INTO _sync_audit(tid, shape) VALUES (?1, ?2)
                   ON CONFLICT(tid) DO UPDATE SET shape = excluded.shape WHERE shape <> excluded.shape";
        if conn.prepare_cached(sql)?.execute((tracked.tid, shape))? > 0 {
            mark(conn, tracked)?;
        }
    }
    Ok(())
}

fn mark(conn: &Connection, tracked: &Tracked) -> Result<()> {
    let sql = "UPDATE _sync_table SET audit = ?2 WHERE tid = ?1 AND audit = 0";
    conn.prepare_cached(sql)?.execute((tracked.tid, DUE)).map(drop)
}

/// Tables that wait for rows of this one, which has just got some: their differences are looked at again.
pub(super) fn mark_children(conn: &Connection, replica: &Replica, parent: &Tracked) -> Result<()> {
    let sql = "SELECT EXISTS (SELECT 1 FROM _sync_audit WHERE tid = ?1 AND outcome = ?2)";
    let points_here = |child: &&Arc<Tracked>| {
        let mut parents = child.table.foreign_keys.iter();
        parents.any(|foreign| foreign.parent.eq_ignore_ascii_case(&parent.table.name))
    };
    for child in replica.tables.values().filter(points_here) {
        let waits =
            conn.prepare_cached(sql)?.query_row((child.tid, Outcome::Differs.word()), |row| row.get(0))?;
        if waits {
            mark(conn, child)?;
        }
    }
    Ok(())
}

/// True when capture is known to have missed something in this table.
pub(super) fn is_blind(conn: &Connection, tracked: &Tracked) -> Result<bool> {
    let sql = "SELECT audit FROM _sync_table WHERE tid = ?1";
    let due: Option<i64> = conn.prepare_cached(sql)?.query_row([tracked.tid], |row| row.get(0)).optional()?;
    Ok(due == Some(DUE_BLIND))
}

/// Writes down what a compare came to. While rows are being put right the table stays due; what was put
/// right before counts to what follows.
pub(super) fn record(
    conn: &Connection,
    tracked: &Tracked,
    (at, version): (Millis, Version),
    (outcome, rows): (Outcome, u64),
) -> Result<()> {
    let sql = "SELECT rows FROM _sync_audit WHERE tid = ?1 AND outcome = ?2";
    let before: Option<i64> = conn
        .prepare_cached(sql)?
        .query_row((tracked.tid, Outcome::Healing.word()), |row| row.get(0))
        .optional()?;
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let (outcome, rows) = match (outcome, before) {
        (Outcome::Equal, Some(healed)) => (Outcome::Healed, healed),
        (Outcome::Healing, Some(healed)) => (Outcome::Healing, healed.saturating_add(rows)),
        other => (other.0, rows),
    };
    let sql = "UPDATE _sync_audit SET at = ?2, version = ?3, outcome = ?4, rows = ?5 WHERE tid = ?1";
    conn.prepare_cached(sql)?.execute((tracked.tid, at.0, version.0 as i64, outcome.word(), rows))?;
    if outcome == Outcome::Healing {
        return mark(conn, tracked);
    }
    conn.prepare_cached("UPDATE _sync_table SET audit = 0 WHERE tid = ?1")?.execute([tracked.tid])?;
    if matches!(outcome, Outcome::Equal | Outcome::Healed) {
        conn.prepare_cached("DELETE FROM _sync_audit_tried WHERE tid = ?1")?.execute([tracked.tid])?;
    }
    Ok(())
}
