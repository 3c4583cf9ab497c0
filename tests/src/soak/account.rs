//! What must be in every file, from the books of all programs; what is in one; and how the two differ.
//!
//! A thing that the ledger has and a file has not is lost. One that a file has twice is doubled. One with another value
//! than the ledger's, a sum above all, was changed. What no committed transaction has made is named, too.

use super::book::Entry;
use super::deed::{Deed, Thing};
use crate::inspect;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// Everything that is looked at: what the ledger calls it, and a statement that gives name and value of each.
const KINDS: [(&str, &str); 8] = [
    (
        "row",
        "SELECT receipt_number, inventory_item_id || ' ' || loose_tablets FROM warehouse_submissions
         WHERE receipt_number LIKE '%#%'",
    ),
    (
        "good",
        "SELECT inventory_item_id, good_count FROM po_lines
         WHERE inventory_item_id LIKE '%#%' OR inventory_item_id LIKE 'common-%'",
    ),
    (
        "damaged",
        "SELECT inventory_item_id, damaged_count FROM po_lines
         WHERE inventory_item_id LIKE '%#%' OR inventory_item_id LIKE 'common-%'",
    ),
    (
        "line",
        "SELECT l.inventory_item_id, o.po_number FROM po_lines l LEFT JOIN purchase_orders o ON o.id = l.po_id
         WHERE l.inventory_item_id LIKE '%#%'",
    ),
    (
        "order",
        "SELECT po_number, current_good_count FROM purchase_orders
         WHERE po_number LIKE '%#%' OR po_number LIKE 'shared-%'",
    ),
    ("type", "SELECT tablet_type_name, 1 FROM tablet_types WHERE tablet_type_name LIKE 'type-%'"),
    (
        "product",
        "SELECT p.product_name, t.tablet_type_name FROM product_details p
         LEFT JOIN tablet_types t ON t.id = p.tablet_type_id WHERE p.product_name LIKE '%#%'",
    ),
    ("setting", "SELECT setting_key, setting_value FROM app_settings WHERE setting_key LIKE 'soak-%'"),
];
const NAMES: &str = "SELECT inventory_item_id, line_item_name FROM po_lines WHERE line_item_name LIKE '%#%'";
/// Lines whose count is not that of their submissions: half of a transaction is there.
const TORN: &str = "WITH s AS (SELECT inventory_item_id AS item, sum(loose_tablets) AS counted
      FROM warehouse_submissions WHERE receipt_number LIKE '%#%' GROUP BY 1)
    SELECT count(*) FROM po_lines l LEFT JOIN s ON s.item = l.inventory_item_id
    WHERE (inventory_item_id LIKE '%#%' OR inventory_item_id LIKE 'common-%') AND good_count <> coalesce(counted, 0)";

/// What is wrong with one thing in one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Finding {
    Lost(Thing, String),
    Doubled(Thing, Vec<String>),
    Changed { thing: Thing, is: String, should_be: String },
    Stray(Thing, String),
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost((kind, name), value) => write!(out, "lost: {kind} {name}, which is {value}"),
            Self::Doubled((kind, name), values) => {
                write!(out, "doubled: {kind} {name} is there {} times: {}", values.len(), values.join("; "))
            }
            Self::Changed { thing: (kind, name), is, should_be } => {
                write!(out, "changed: {kind} {name} is {is} and should be {should_be}")
            }
            Self::Stray((kind, name), value) => {
                write!(out, "stray: {kind} {name}, which is {value}, was committed by nobody")
            }
        }
    }
}

/// What must be in every file.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    things: BTreeMap<Thing, String>,
    sums: BTreeMap<Thing, i64>,
    /// Values that programs gave to what they contest.
    any: BTreeMap<Thing, BTreeSet<String>>,
}

/// Name and value of all that is in a file, by kind.
pub(super) struct Found {
    things: Vec<(Thing, String)>,
    names: Vec<(Thing, String)>,
}

impl Account {
    /// Lines that were there before the first program, without a count.
    pub(super) fn begin(lines: u32) -> Self {
        let mut account = Self::default();
        for number in 1..=lines {
            for kind in ["good", "damaged"] {
                account.sums.insert((kind.into(), format!("common-{number}")), 0);
            }
        }
        account
    }

    /// Books what was committed. Of a program, in the order of its transactions.
    pub(super) fn book(&mut self, entry: &Entry) {
        for deed in &entry.deeds {
            match deed {
                // A count that begins is a sum from then on.
                Deed::Set(thing, value) if is_sum(thing) => {
                    *self.sums.entry(thing.clone()).or_default() += value.parse::<i64>().unwrap_or(0);
                }
                Deed::Set(thing, value) => drop(self.things.insert(thing.clone(), value.clone())),
                Deed::Add(thing, amount) => *self.sums.entry(thing.clone()).or_default() += amount,
                Deed::Gone(thing) => drop(self.things.remove(thing)),
                Deed::Any(..) => {}
            }
        }
        self.allow(entry);
    }

    /// A name that was given may be the one that stands, even if the rest was taken back.
    pub(super) fn allow(&mut self, entry: &Entry) {
        for deed in &entry.deeds {
            if let Deed::Any(thing, value) = deed {
                self.any.entry(thing.clone()).or_default().insert(value.clone());
            }
        }
    }

    /// How a file differs from what must be there.
    pub(super) fn compare(&self, found: &Found) -> Vec<Finding> {
        let mut left: BTreeMap<&Thing, Vec<&String>> = BTreeMap::new();
        for (thing, value) in &found.things {
            left.entry(thing).or_default().push(value);
        }
        let sums = self.sums.iter().map(|(thing, sum)| (thing, sum.to_string()));
        let all = self.things.iter().map(|(thing, value)| (thing, value.clone())).chain(sums);
        let mut findings = Vec::new();
        for (thing, should_be) in all {
            match left.remove(thing).unwrap_or_default().as_slice() {
                [] => findings.push(Finding::Lost(thing.clone(), should_be)),
                [is] if **is == should_be => {}
                [is] => {
                    findings.push(Finding::Changed { thing: thing.clone(), is: (*is).clone(), should_be })
                }
                more => {
                    let values = more.iter().map(|value| (*value).clone()).collect();
                    findings.push(Finding::Doubled(thing.clone(), values));
                }
            }
        }
        for (thing, values) in left {
            findings.extend(values.into_iter().map(|value| Finding::Stray(thing.clone(), value.clone())));
        }
        let is_known =
            |thing: &Thing, value: &String| self.any.get(thing).is_some_and(|all| all.contains(value));
        let unknown = found.names.iter().filter(|(thing, value)| !is_known(thing, value));
        findings.extend(unknown.map(|(thing, value)| Finding::Stray(thing.clone(), value.clone())));
        findings
    }
}

fn is_sum((kind, _): &Thing) -> bool {
    matches!(kind.as_str(), "good" | "damaged" | "order")
}

/// Reads all that is looked at.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn found(db: &Path) -> rusqlite::Result<Found> {
    let mut conn = inspect::open(db)?;
    let moment = conn.transaction()?;
    let read = |kind: &str, sql: &str| -> rusqlite::Result<Vec<(Thing, String)>> {
        let mut statement = moment.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            let value = match row.get_ref(1)? {
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                rusqlite::types::ValueRef::Null => "NULL".to_owned(),
                other => String::from_utf8_lossy(other.as_bytes()?).into_owned(),
            };
            Ok(((kind.to_owned(), row.get(0)?), value))
        })?;
        rows.collect()
    };
    let mut things = Vec::new();
    for (kind, sql) in KINDS {
        things.extend(read(kind, sql)?);
    }
    let names = read("name", NAMES)?;
    Ok(Found { things, names })
}

/// Lines of which half of a transaction is there.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn torn(db: &Path) -> rusqlite::Result<i64> {
    inspect::number(db, TORN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::station;
    use rusqlite::Connection;

    /// A file in which a program has worked, and what its ledger says.
    fn worked() -> (tempfile::TempDir, std::path::PathBuf, Account) {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("a.db");
        std::fs::write(&db, include_bytes!("../../fixtures/tablettracker_2026.db")).unwrap();
        station::prepare(&db, 3).unwrap();
        let mut account = Account::begin(3);
        let mut committed = 0;
        for entry in station::transactions(&db, &folder.path().join("a.book"), "a", 100).unwrap() {
            if entry.done == Some(true) {
                committed += 1;
                account.book(&entry);
            }
        }
        assert!(committed > 70 && committed < 100, "some are given up: {committed}");
        (folder, db, account)
    }

    fn after(statement: &str) -> Vec<Finding> {
        let (_folder, db, account) = worked();
        assert_eq!(account.compare(&found(&db).unwrap()), []);
        assert_eq!(torn(&db).unwrap(), 0);
        let conn = Connection::open(&db).unwrap();
        assert_eq!(conn.execute(statement, []).unwrap(), 1, "{statement}");
        account.compare(&found(&db).unwrap())
    }

    #[test]
    fn a_lost_row_is_found() {
        let findings = after("DELETE FROM warehouse_submissions WHERE receipt_number = 'a#2'");
        assert!(matches!(&findings[..], [Finding::Lost((kind, name), _)] if kind == "row" && name == "a#2"));
    }

    #[test]
    fn a_doubled_row_is_found() {
        let double = "INSERT INTO warehouse_submissions(employee_name, product_name, receipt_number,
                        inventory_item_id, loose_tablets)
                      SELECT employee_name, product_name, receipt_number, inventory_item_id, loose_tablets
                      FROM warehouse_submissions WHERE receipt_number = 'a#2'";
        let findings = after(double);
        assert!(
            matches!(&findings[..], [Finding::Doubled((_, name), values)] if name == "a#2" && values.len() == 2)
        );
        assert!(findings[0].to_string().contains("doubled: row a#2 is there 2 times"));
    }

    #[test]
    fn a_changed_sum_is_found_and_so_is_half_a_transaction() {
        let change = "UPDATE po_lines SET good_count = good_count + 1 WHERE inventory_item_id = 'common-1'";
        let findings = after(change);
        assert!(matches!(&findings[..], [Finding::Changed { thing: (kind, _), .. }] if kind == "good"));
        let (_folder, db, _) = worked();
        Connection::open(&db).unwrap().execute(change, []).unwrap();
        assert_eq!(torn(&db).unwrap(), 1);
    }

    #[test]
    fn a_child_under_another_parent_and_what_nobody_wrote_are_found() {
        let findings = after(
            "UPDATE po_lines SET po_id = (SELECT id FROM purchase_orders WHERE po_number = 'common')
             WHERE id = (SELECT max(id) FROM po_lines)",
        );
        assert!(matches!(&findings[..], [Finding::Changed { is, .. }] if is == "common"), "{findings:?}");
        let findings = after("INSERT INTO purchase_orders(po_number) VALUES ('b#1')");
        assert!(matches!(&findings[..], [Finding::Stray(..)]), "{findings:?}");
        let findings =
            after("UPDATE po_lines SET line_item_name = 'b#1' WHERE inventory_item_id = 'common-2'");
        assert!(matches!(&findings[..], [Finding::Stray(..)]), "{findings:?}");
    }
}
