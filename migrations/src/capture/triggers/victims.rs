//! The rows that a statement could remove because they hold a unique value that it is about to write.
//!
//! They are looked for in the WHEN clause, by the seeks that SQLite's own check makes again a moment
//! later: as long as no value is taken, nothing else is done.

use super::{NOW, Text, Trigger, base};
use crate::quote::ident;
use crate::shape::Unique;

impl Text<'_> {
    /// An insert of a unique value that another row holds.
    pub(super) fn taken(&self) -> Option<Trigger> {
        let when = self.any_holder(None)?;
        Some(self.trigger("taken", "BEFORE INSERT", &when, &self.note_holders()))
    }

    /// An update to a unique value that another row holds. A partial or computed index can be entered by
    /// a change of any column.
    pub(super) fn unique_change(&self) -> Option<Trigger> {
        let itself = format!("NOT ({})", self.same_key("t", "OLD"));
        let when = self.any_holder(Some(&itself))?;
        let plain = |unique: &&Unique| unique.predicate.is_none() && self.stored(unique).is_some();
        let event = if self.uniques().all(|unique| plain(&unique)) {
            let mut columns: Vec<_> =
                self.uniques().filter_map(|unique| self.stored(unique)).flatten().collect();
            columns.sort();
            columns.dedup();
            format!("BEFORE UPDATE OF {}", columns.join(", "))
        } else {
            "BEFORE UPDATE".to_owned()
        };
        Some(self.trigger("unique", &event, &when, &self.note_holders()))
    }

    /// True when any unique value of the new row is held by a row for which `and` is true.
    fn any_holder(&self, and: Option<&str>) -> Option<String> {
        let and = and.map(|sql| format!(" AND {sql}")).unwrap_or_default();
        let table = ident(&self.table.name);
        let held: Vec<_> = self
            .uniques()
            .map(|unique| format!("EXISTS (SELECT 1 FROM {table} AS t WHERE {}{and})", self.holds(unique)))
            .collect();
        (!held.is_empty()).then(|| held.join(" OR "))
    }

    fn note_holders(&self) -> String {
        self.uniques().map(|unique| self.note_rows(&self.holds(unique))).collect::<Vec<_>>().join(" ")
    }

    fn note_rows(&self, condition: &str) -> String {
        let columns: Vec<_> =
            self.table.ordered().iter().map(|column| format!("t.{}", ident(&column.name))).collect();
        let not_null: Vec<_> = self.keys().map(|key| format!("t.{key} IS NOT NULL")).collect();
        format!(
            "INSERT INTO {}({}, _existed, _at) SELECT {}, 1, {NOW} FROM {} AS t WHERE {condition} AND {} {};",
            self.base(),
            base::columns(self.table).join(", "),
            columns.join(", "),
            ident(&self.table.name),
            not_null.join(" AND "),
            self.touch()
        )
    }

    /// The row `t` holds the unique value that NEW is about to have.
    fn holds(&self, unique: &Unique) -> String {
        let equal = unique.terms.iter().enumerate().map(|(place, (term, collation))| {
            let name = unique.columns.as_ref().and_then(|columns| columns.get(place)).map(|(name, _)| name);
            let named = name.is_some_and(|name| self.table.column(name).is_some());
            let (held, new) = if named {
                (format!("t.{term}"), self.new_value(term))
            } else {
                (format!("({term})"), format!("(SELECT {term} FROM (SELECT {}))", self.new_row()))
            };
            format!("{held} = {new} COLLATE {}", ident(collation))
        });
        let partial = unique.predicate.iter().map(|sql| format!("({sql})"));
        equal.chain(partial).collect::<Vec<_>>().join(" AND ")
    }

    /// The new row as columns of their own names, in which an index's expression can be computed. It also
    /// serves a generated column: SQLite computes NEW's from those columns only that a trigger names.
    fn new_row(&self) -> String {
        let stored = self.table.columns.iter().map(|column| ident(&column.name));
        let all = stored.chain(self.table.generated.iter().map(|name| ident(name)));
        all.map(|name| format!("{} AS {name}", self.new_value(&name))).collect::<Vec<_>>().join(", ")
    }

    /// The quoted columns of an index over stored columns only.
    fn stored(&self, unique: &Unique) -> Option<Vec<String>> {
        let columns = unique.columns.as_ref()?;
        columns.iter().map(|(name, _)| self.table.column(name).map(|column| ident(&column.name))).collect()
    }

    fn uniques(&self) -> impl Iterator<Item = &Unique> {
        self.table.uniques.iter().filter(|unique| !unique.terms.is_empty())
    }
}
