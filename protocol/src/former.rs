//! Former names: what tables and columns were called before the hub's schema moved on, and which are gone.
//!
//! A changeset of an edge that has not made the move yet says the old names. Here they become the
//! present ones before it is merged, and values of what is gone are taken out and counted, never
//! silently dropped: the caller lists them.

use crate::change::{Kind, TableChange};
use crate::definition::TableDefinition;
use crate::value::{Value, ValueRef};
use serde::{Deserialize, Serialize};

/// One name that is not used any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// The table, as it was called at that time.
    pub table: String,
    /// The column; None when it is the table itself.
    pub column: Option<String>,
    /// The name that took its place; None when it was dropped.
    pub becomes: Option<String>,
}

/// Values that have no place any more.
#[derive(Clone, Debug, PartialEq)]
pub struct Ignored {
    /// Which former name they were sent for.
    pub former: usize,
    /// In how many rows.
    pub rows: u64,
    /// The first of the values; NULL when a whole row was ignored.
    pub first: Value,
    /// When its row was touched.
    pub at: i64,
}

/// The change by present names, in the order in which the names went. None when nothing of it is left.
#[must_use]
pub fn translate(mut change: TableChange, formers: &[Former]) -> (Option<TableChange>, Vec<Ignored>) {
    let mut ignored = Vec::new();
    for (place, former) in formers.iter().enumerate() {
        if !former.table.eq_ignore_ascii_case(&change.table) {
            continue;
        }
        match (&former.column, &former.becomes) {
            (None, Some(new)) => change.table.clone_from(new),
            (None, None) => {
                let rows = change.rows.rows() as u64;
                let at = if rows > 0 { change.time(0) } else { 0 };
                ignored.push(Ignored { former: place, rows, first: Value::Null, at });
                return (None, ignored);
            }
            (Some(column), Some(new)) => rename(&mut change.columns, column, new),
            (Some(column), None) => {
                let at = change.columns.iter().position(|name| name.eq_ignore_ascii_case(column));
                // A key without one of its columns names no row: such a change waits for the schema.
                if let Some(at) = at.filter(|at| *at >= change.keys) {
                    let (rest, lost) = without(&change, at, place);
                    ignored.extend(lost);
                    change = rest;
                }
            }
        }
    }
    let nothing_left = change.kind == Kind::Update && change.others() == 0;
    ((!nothing_left).then_some(change), ignored)
}

/// A table's definition by present names. None when the table is gone.
#[must_use]
pub fn translate_definition(mut table: TableDefinition, formers: &[Former]) -> Option<TableDefinition> {
    for former in formers {
        match (&former.column, &former.becomes) {
            (None, Some(new)) => {
                let points = |parent: &String| parent.eq_ignore_ascii_case(&former.table);
                for reference in table.references.iter_mut().filter(|reference| points(&reference.parent)) {
                    reference.parent.clone_from(new);
                }
                if former.table.eq_ignore_ascii_case(&table.name) {
                    table.name.clone_from(new);
                }
            }
            (None, None) if former.table.eq_ignore_ascii_case(&table.name) => return None,
            (Some(column), becomes) if former.table.eq_ignore_ascii_case(&table.name) => match becomes {
                Some(new) => rename_in(&mut table, column, new),
                None => drop_from(&mut table, column),
            },
            _ => {}
        }
    }
    Some(table)
}

fn rename(names: &mut [String], old: &str, new: &str) {
    for name in names.iter_mut().filter(|name| name.eq_ignore_ascii_case(old)) {
        new.clone_into(name);
    }
}

fn rename_in(table: &mut TableDefinition, old: &str, new: &str) {
    for column in table.columns.iter_mut().filter(|column| column.name.eq_ignore_ascii_case(old)) {
        new.clone_into(&mut column.name);
    }
    rename(&mut table.key, old, new);
    table.uniques.iter_mut().for_each(|unique| rename(unique, old, new));
    table.references.iter_mut().for_each(|reference| rename(&mut reference.columns, old, new));
}

fn drop_from(table: &mut TableDefinition, column: &str) {
    let holds = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case(column));
    table.columns.retain(|found| !found.name.eq_ignore_ascii_case(column));
    table.uniques.retain(|unique| !holds(unique));
    table.references.retain(|reference| !holds(&reference.columns));
}

/// The change without the column at `at`, and what was taken out. A delete loses nothing by it.
fn without(change: &TableChange, at: usize, former: usize) -> (TableChange, Option<Ignored>) {
    let columns: Vec<String> = change
        .columns
        .iter()
        .enumerate()
        .filter(|(place, _)| *place != at)
        .map(|(_, name)| name.clone())
        .collect();
    let mut rest = TableChange::new(&change.table, change.kind, change.keys, columns);
    let (width, new) = match change.kind {
        Kind::Update => (change.rows.width(), Some(at + change.others())),
        _ => (change.rows.width(), None),
    };
    let mut lost: Option<Ignored> = None;
    for row in 0..change.rows.rows() {
        let kept = (0..width).filter(|place| *place != at && Some(*place) != new);
        rest.rows.push(kept.map(|place| change.rows.get(row, place)));
        let value = change.rows.get(row, new.unwrap_or(at));
        if change.kind != Kind::Delete && value != ValueRef::Null {
            let first = || Ignored { former, rows: 0, first: value.to_owned(), at: change.time(row) };
            lost.get_or_insert_with(first).rows += 1;
        }
    }
    (rest, lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::ColumnDefinition;

    fn former(table: &str, column: Option<&str>, becomes: Option<&str>) -> Former {
        let owned = |name: Option<&str>| name.map(str::to_owned);
        Former { table: table.to_owned(), column: owned(column), becomes: owned(becomes) }
    }

    fn change(kind: Kind, columns: &[&str], row: &[i64]) -> TableChange {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        let mut change = TableChange::new("t", kind, 1, columns);
        change.rows.push(row.iter().map(|number| ValueRef::Integer(*number)));
        change
    }

    fn row(change: &TableChange) -> Vec<i64> {
        let number = |value| if let ValueRef::Integer(number) = value { number } else { -1 };
        (0..change.rows.width()).map(|place| number(change.rows.get(0, place))).collect()
    }

    #[test]
    fn names_follow_each_other_in_their_order() {
        let formers = [
            former("t", Some("a"), Some("b")),
            former("T", None, Some("u")),
            former("u", Some("b"), Some("c")),
            former("x", Some("c"), None),
        ];
        let (found, ignored) = translate(change(Kind::Update, &["id", "A"], &[1, 2, 3, 9]), &formers);
        let found = found.expect("left");
        assert_eq!((found.table.as_str(), found.columns.join(",").as_str()), ("u", "id,c"));
        assert!(ignored.is_empty());
        assert_eq!(row(&found), [1, 2, 3, 9]);
    }

    #[test]
    fn a_dropped_column_is_taken_out_of_every_kind_of_change_and_counted() {
        let formers = [former("t", Some("b"), None)];
        let (found, ignored) =
            translate(change(Kind::Update, &["id", "a", "b"], &[1, 2, 3, 4, 5, 9]), &formers);
        assert_eq!(row(&found.expect("left")), [1, 2, 4, 9]);
        assert_eq!(ignored, [Ignored { former: 0, rows: 1, first: Value::Integer(5), at: 9 }]);
        let (found, ignored) = translate(change(Kind::Update, &["id", "b"], &[1, 3, 5, 9]), &formers);
        assert!(found.is_none() && ignored[0].rows == 1);
        let (found, ignored) = translate(change(Kind::Insert, &["id", "a", "b"], &[1, 2, 3, 9]), &formers);
        assert_eq!((row(&found.expect("left")), ignored.len()), (vec![1, 2, 9], 1));
        let (found, ignored) = translate(change(Kind::Delete, &["id", "a", "b"], &[1, 2, 3, 9]), &formers);
        assert_eq!((row(&found.expect("left")), ignored.len()), (vec![1, 2, 9], 0));
    }

    #[test]
    fn rows_of_a_dropped_table_are_counted() {
        let (found, ignored) = translate(change(Kind::Insert, &["id"], &[1, 9]), &[former("t", None, None)]);
        assert!(found.is_none());
        assert_eq!(ignored, [Ignored { former: 0, rows: 1, first: Value::Null, at: 9 }]);
    }

    #[test]
    fn a_definition_does_not_bring_back_what_is_gone() {
        let column = |name: &str| ColumnDefinition {
            name: name.to_owned(),
            declared: String::new(),
            not_null: false,
            default: None,
        };
        let table = TableDefinition {
            name: "t".into(),
            columns: ["id", "a", "b"].map(column).to_vec(),
            key: vec!["id".into()],
            rowid_key: true,
            uniques: vec![vec!["a".into()], vec!["b".into()]],
            references: Vec::new(),
        };
        let formers =
            [former("t", Some("a"), None), former("t", Some("b"), Some("c")), former("t", None, Some("u"))];
        let found = translate_definition(table.clone(), &formers).expect("there");
        let names: Vec<_> = found.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!((found.name.as_str(), names), ("u", vec!["id", "c"]));
        assert_eq!(found.uniques, [["c"]]);
        assert_eq!(translate_definition(table, &[former("t", None, None)]), None);
    }
}
