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

/// Records `counts` counts: each a submission and an increment of one of the first `lines` lines, in
/// one transaction. Every fourth program writes the new total literally, as many do.
///
/// # Errors
/// When SQLite refuses.
pub fn record(db: &Path, who: &str, counts: u64, lines: i64, seed: u64) -> rusqlite::Result<Written> {
    let mut conn = open(db)?;
    let mut random = Random::new(seed);
    let mut written = Written::default();
    for number in 0..counts {
        let amount = i64::try_from(random.below(500)).unwrap_or_default() + 1;
        let line = i64::try_from(random.below(u64::try_from(lines).unwrap_or(1))).unwrap_or_default() + 1;
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let po: i64 = tx.query_row("SELECT po_id FROM po_lines WHERE id = ?1", [line], |row| row.get(0))?;
        tx.execute(
            "INSERT INTO warehouse_submissions(employee_name, product_name, box_number, bag_number, loose_tablets,
             assigned_po_id, submission_date) VALUES (?1, 'Demo product', ?2, ?3, ?4, ?5, date('now'))",
            (who, i64::try_from(number / 20).unwrap_or_default(), i64::try_from(number % 20).unwrap_or_default(), amount, po),
        )?;
        if random.once_in(4) {
            let total: i64 = tx.query_row("SELECT good_count FROM po_lines WHERE id = ?1", [line], |row| row.get(0))?;
            tx.execute("UPDATE po_lines SET good_count = ?1 WHERE id = ?2", (total + amount, line))?;
        } else {
            tx.execute("UPDATE po_lines SET good_count = good_count + ?1 WHERE id = ?2", (amount, line))?;
        }
        tx.commit()?;
        written.submissions += 1;
        written.tablets += amount;
    }
    Ok(written)
}
