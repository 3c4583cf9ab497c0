//! Records a count the way the real program does: plain SQL into the program's tables, in one transaction.
//!
//! The station page, the inbox and `tt-edge count` all come here. A count becomes a [`Plan`] (which rows, which
//! differences of purchase order lines), and one function makes the file hold it: for a new count, for a
//! correction (the difference between two plans) and for a void (the empty plan). Columns that a file does
//! not have are left out, because files of different years differ by columns.

mod amend;
mod bag;
mod catalog;
mod columns;
mod direct;
mod error;
mod once;
mod plan;
mod today;
mod write;

pub(crate) use amend::{amend, void};
pub(crate) use catalog::catalog;
pub(crate) use columns::Columns;
pub(crate) use direct::Direct;
pub(crate) use error::RecordError;
pub(crate) use once::{count, enter};
use plan::Plan;
pub(crate) use today::{today, waiting};
pub(crate) use write::{Row, insert};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// Longer than any transaction of a program should take.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// A number on the page with more digits than this is a barcode, not a count.
pub(crate) const NUMBER_MAX: i64 = 9_999_999;
const NAME_CHARS_MAX: usize = 200;
const RECEIPT_CHARS_MAX: usize = 64;
const NOTES_CHARS_MAX: usize = 2_000;
const MACHINES_MAX: usize = 20;

/// What a person has counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Who counted.
    pub(crate) employee: String,
    /// The day that it counts for, `YYYY-MM-DD` where the station stands; today when it is not given.
    #[serde(default)]
    pub(crate) day: Option<String>,
    /// A remark.
    #[serde(default)]
    pub(crate) notes: Option<String>,
    /// The person was asked about what looks wrong, and wants it as it is.
    #[serde(default)]
    pub(crate) confirmed: bool,
    /// What was counted.
    pub(crate) count: Count,
}

/// The three counts of a station.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Count {
    /// Turns or presses of sealing and blister machines.
    Machine {
        /// Name of the product.
        product: String,
        /// Box number.
        #[serde(default)]
        r#box: Option<i64>,
        /// Bag number.
        bag: i64,
        /// Receipt number.
        #[serde(default)]
        receipt: Option<String>,
        /// What each machine's counter says.
        machines: Vec<MachineCounter>,
    },
    /// Finished displays, packs and what is left over.
    Packaged {
        /// Name of the product.
        product: String,
        /// Receipt number, which also tells the bag when its machine count is here.
        #[serde(default)]
        receipt: Option<String>,
        /// Box number.
        #[serde(default)]
        r#box: Option<i64>,
        /// Bag number.
        #[serde(default)]
        bag: Option<i64>,
        /// Full cases.
        #[serde(default)]
        cases: i64,
        /// Full displays outside of cases.
        #[serde(default)]
        displays: i64,
        /// Packs that filled no display.
        #[serde(default)]
        packs: i64,
        /// Loose tablets.
        #[serde(default)]
        loose: i64,
        /// Cards that were opened again.
        #[serde(default)]
        reopened: i64,
        /// Damaged tablets.
        #[serde(default)]
        damaged: i64,
    },
    /// Tablets left in a bag when it is closed out.
    Bag {
        /// Name of the tablet type.
        tablet: String,
        /// Box number.
        #[serde(default)]
        r#box: Option<i64>,
        /// Bag number.
        bag: i64,
        /// Tablets counted.
        tablets: i64,
    },
}

/// One machine's counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MachineCounter {
    /// The machine's id; None where a file knows no machines.
    #[serde(default)]
    pub(crate) machine: Option<i64>,
    /// What its counter says.
    pub(crate) counter: i64,
}

/// Opens the file as a program does: foreign keys on, triggers on, waiting when somebody else writes.
/// Only the checkpoints are left to the daemon.
///
/// # Errors
/// When the file cannot be opened.
pub(crate) fn open(db: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(conn)
}

/// Begins to write, with the device's clock looked at first, as every write of ours does.
///
/// # Errors
/// When SQLite fails.
pub(crate) fn begin(conn: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    crate::store::look_before_writing(&tx, crate::clock::reading())?;
    Ok(tx)
}

impl Entry {
    /// Checks what a person could have mistyped, and what a program could have made up.
    ///
    /// # Errors
    /// The first field that cannot be.
    pub(crate) fn check(&self) -> Result<(), RecordError> {
        text("employee", &self.employee, NAME_CHARS_MAX)?;
        optional_text("notes", self.notes.as_ref(), NOTES_CHARS_MAX)?;
        match &self.count {
            Count::Machine { product, r#box, bag, receipt, machines } => {
                text("product", product, NAME_CHARS_MAX)?;
                optional_text("receipt", receipt.as_ref(), RECEIPT_CHARS_MAX)?;
                numbers(&[("box", *r#box), ("bag", Some(*bag))])?;
                check_machines(machines)
            }
            Count::Packaged {
                product,
                receipt,
                r#box,
                bag,
                cases,
                displays,
                packs,
                loose,
                reopened,
                damaged,
            } => {
                text("product", product, NAME_CHARS_MAX)?;
                optional_text("receipt", receipt.as_ref(), RECEIPT_CHARS_MAX)?;
                numbers(&[
                    ("box", *r#box),
                    ("bag", *bag),
                    ("cases", Some(*cases)),
                    ("displays", Some(*displays)),
                ])?;
                let left =
                    [("packs", *packs), ("loose", *loose), ("reopened", *reopened), ("damaged", *damaged)];
                numbers(&left.map(|(field, number)| (field, Some(number))))
            }
            Count::Bag { tablet, r#box, bag, tablets } => {
                text("tablet", tablet, NAME_CHARS_MAX)?;
                numbers(&[("box", *r#box), ("bag", Some(*bag)), ("tablets", Some(*tablets))])
            }
        }
    }
}

fn check_machines(machines: &[MachineCounter]) -> Result<(), RecordError> {
    let invalid = |why| Err(RecordError::Invalid { field: "machines", why });
    if machines.is_empty() || machines.len() > MACHINES_MAX {
        return invalid("give the counter of at least one machine, and of at most 20");
    }
    for (at, one) in machines.iter().enumerate() {
        numbers(&[("machines", Some(one.counter))])?;
        if machines.iter().take(at).any(|other| other.machine == one.machine) {
            return invalid("each machine only once");
        }
    }
    Ok(())
}

/// A name that is there, and is text.
fn check_text(field: &'static str, value: &str) -> Result<(), RecordError> {
    text(field, value, NAME_CHARS_MAX)
}

fn text(field: &'static str, value: &str, chars_max: usize) -> Result<(), RecordError> {
    let why = match value.trim() {
        "" => "it is empty",
        _ if value.chars().count() > chars_max => "it is too long",
        _ if value.chars().any(|letter| letter.is_control() && letter != '\n') => {
            "it has signs that are no text"
        }
        _ => return Ok(()),
    };
    Err(RecordError::Invalid { field, why })
}

fn optional_text(field: &'static str, value: Option<&String>, chars_max: usize) -> Result<(), RecordError> {
    value.filter(|value| !value.trim().is_empty()).map_or(Ok(()), |value| text(field, value, chars_max))
}

fn numbers(all: &[(&'static str, Option<i64>)]) -> Result<(), RecordError> {
    for (field, number) in all {
        if number.is_some_and(|number| !(0..=NUMBER_MAX).contains(&number)) {
            return Err(RecordError::Invalid {
                field,
                why: "it is not between 0 and 9999999: was a barcode scanned?",
            });
        }
    }
    Ok(())
}
