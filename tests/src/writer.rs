//! A program at a station, as it has always been: opens the file, writes plain SQL, knows nothing of us.

use crate::sim::random::Random;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// What a program wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Submissions inserted.
    pub submissions: i64,
    /// Tablets added to purchase order lines.
    pub tablets: i64,
}

/// What a program is to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Counts to record, each of them a submission in a transaction of its own.
    pub counts: u64,
    /// Every so many-th count is added to a line of a purchase order.
    pub every: u64,
    /// The lines to add to: the first so many.
    pub lines: i64,
    /// The seed of all chance.
    pub seed: u64,
}

/// Opens a station's file as a program does: foreign keys on, waiting when somebody else writes.
///
/// # Errors
/// When the file is not there.
pub fn open(db: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.busy_timeout(Duration::from_secs(30))?;
    conn.pragma_update(None, "foreign_keys", true)?;
    Ok(conn)
}

/// Records counts: each a submission and perhaps an increment of a line, in one transaction. Every
/// fourth increment writes the new total literally, as many programs do.
///
/// # Errors
/// When SQLite refuses.
pub fn record(db: &Path, who: &str, work: Work) -> rusqlite::Result<Written> {
    let mut conn = open(db)?;
    let mut random = Random::new(work.seed);
    let mut written = Written::default();
    for number in 0..work.counts {
        let amount = signed(random.below(500)) + 1;
        let line = signed(random.below(work.lines.unsigned_abs().max(1))) + 1;
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let po: i64 = tx.query_row("SELECT po_id FROM po_lines WHERE id = ?1", [line], |row| row.get(0))?;
        tx.execute(
            "INSERT INTO warehouse_submissions(employee_name, product_name, box_number, bag_number, loose_tablets,
             assigned_po_id, submission_date) VALUES (?1, 'Demo product', ?2, ?3, ?4, ?5, date('now'))",
            (who, signed(number / 20), signed(number % 20), amount, po),
        )?;
        if number % work.every.max(1) == 0 {
            add(&tx, line, amount, random.once_in(4))?;
            written.tablets += amount;
        }
        tx.commit()?;
        written.submissions += 1;
    }
    Ok(written)
}

fn add(conn: &Connection, line: i64, amount: i64, literally: bool) -> rusqlite::Result<()> {
    if literally {
        let total: i64 =
            conn.query_row("SELECT good_count FROM po_lines WHERE id = ?1", [line], |row| row.get(0))?;
        conn.execute("UPDATE po_lines SET good_count = ?1 WHERE id = ?2", (total + amount, line))?;
    } else {
        conn.execute("UPDATE po_lines SET good_count = good_count + ?1 WHERE id = ?2", (amount, line))?;
    }
    Ok(())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
