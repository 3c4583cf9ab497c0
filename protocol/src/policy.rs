//! The merge policy: what each table's columns mean when two devices changed the same row.
//!
//! Pure data, read by the merge rules and by the capture triggers. Reading it from a file belongs to
//! the crate that knows files; here are only the words, their defaults and how names are looked up.
//! Table, column and role names are compared as SQLite compares them: ASCII letters without case.

use crate::former::Former;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What to do with a table or column that a program added on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Additive {
    /// The hub makes the same change and feeds it to every device.
    #[default]
    Adopt,
    /// The rows that need it wait at the hub until a migration brings it.
    Hold,
}

/// Rules about the schema as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchemaRule {
    /// What happens to columns and tables that a program adds.
    pub additive: Additive,
}

/// When a changeset's deletes wait for the operator: when they pass both bounds in one table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HoldDeletes {
    /// Deletes of one table in one changeset that are still let through, whatever their share.
    pub rows: u64,
    /// Share of the table's rows, 0.0 to 1.0, that may go at once, however many they are.
    pub share: f64,
}

impl Default for HoldDeletes {
    fn default() -> Self {
        Self::STANDARD
    }
}

impl HoldDeletes {
    /// The bounds of a table that names none.
    pub const STANDARD: Self = Self { rows: 1_000, share: 0.5 };

    /// Whether `deletes` out of the `rows` that the table holds at the hub must wait.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits of a row count")]
    pub fn holds(&self, deletes: u64, rows: u64) -> bool {
        deletes > self.rows && deletes as f64 > rows as f64 * self.share
    }
}

/// The rules of one table. A column that no list names follows the ordinary rule: the later change
/// wins and the other goes on the conflict list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableRule {
    /// Columns whose differences are added.
    pub counters: Vec<String>,
    /// Columns of which the larger value wins, silently.
    pub greatest: Vec<String>,
    /// Groups of columns that make sense only as one value.
    pub together: Vec<Vec<String>>,
    /// Natural key: rows made on two devices with equal values here are the same row. Empty: none
    /// beyond the table's own UNIQUE constraints.
    pub key: Vec<String>,
    /// Roles that may write the table. Empty: everybody.
    pub writers: Vec<String>,
    /// Whether the table is replicated at all.
    pub replicate: bool,
    /// When deletes wait for the operator.
    pub hold_deletes: HoldDeletes,
}

/// What a table gets that the policy does not name.
static UNNAMED: TableRule = TableRule::ORDINARY;

impl Default for TableRule {
    fn default() -> Self {
        Self::ORDINARY
    }
}

impl TableRule {
    /// Replicated column by column, written by everybody.
    pub const ORDINARY: Self = Self {
        counters: Vec::new(),
        greatest: Vec::new(),
        together: Vec::new(),
        key: Vec::new(),
        writers: Vec::new(),
        replicate: true,
        hold_deletes: HoldDeletes::STANDARD,
    };

    /// Whether differences of this column are added.
    #[must_use]
    pub fn is_counter(&self, column: &str) -> bool {
        names(&self.counters, column)
    }

    /// Whether the larger value of this column wins.
    #[must_use]
    pub fn is_greatest(&self, column: &str) -> bool {
        names(&self.greatest, column)
    }

    /// The group that this column belongs to, if it belongs to one.
    #[must_use]
    pub fn group(&self, column: &str) -> Option<&[String]> {
        self.together.iter().find(|group| names(group, column)).map(Vec::as_slice)
    }

    /// Whether a device of this role may write the table. The hub itself is the role `hub`.
    #[must_use]
    pub fn may_write(&self, role: &str) -> bool {
        self.writers.is_empty() || names(&self.writers, role)
    }

    fn rename(&mut self, from: &str, to: &str) {
        let lists = [&mut self.counters, &mut self.greatest, &mut self.key];
        for name in lists.into_iter().chain(&mut self.together).flatten() {
            if name.eq_ignore_ascii_case(from) {
                to.clone_into(name);
            }
        }
    }

    /// Every column that the rule names, once, in the order of the lists.
    #[must_use]
    pub fn columns(&self) -> Vec<&str> {
        let lists = [&self.counters, &self.greatest, &self.key];
        let mut found: Vec<&str> = Vec::new();
        for column in lists.into_iter().chain(&self.together).flatten() {
            if !found.iter().any(|known| known.eq_ignore_ascii_case(column)) {
                found.push(column);
            }
        }
        found
    }
}

fn names(list: &[String], name: &str) -> bool {
    list.iter().any(|entry| entry.eq_ignore_ascii_case(name))
}

/// Days for which images of deleted rows are kept unless the policy says otherwise.
pub const TRASH_KEEP_DAYS: u32 = 90;

/// The merge policy of one hub and all its devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Days for which the image of a deleted row is kept, so that a late change can bring it back.
    pub trash_keep_days: u32,
    /// Rules about the schema as a whole.
    pub schema: SchemaRule,
    /// Rules by table. Look them up with [`Policy::table`], which ignores case.
    #[serde(rename = "table")]
    pub tables: BTreeMap<String, TableRule>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { trash_keep_days: TRASH_KEEP_DAYS, schema: SchemaRule::default(), tables: BTreeMap::new() }
    }
}

impl Policy {
    /// The rule of a table; the ordinary rule when the policy does not name it.
    #[must_use]
    pub fn table(&self, name: &str) -> &TableRule {
        if let Some(rule) = self.tables.get(name) {
            return rule;
        }
        let named = self.tables.iter().find(|(table, _)| table.eq_ignore_ascii_case(name));
        named.map_or(&UNNAMED, |(_, rule)| rule)
    }

    /// Rules follow a table or column to its new name: a count that is called otherwise still adds.
    pub fn follow(&mut self, former: &Former) {
        let key = self.tables.keys().find(|table| table.eq_ignore_ascii_case(&former.table)).cloned();
        let (Some(key), Some(new)) = (key, &former.becomes) else { return };
        match (&former.column, self.tables.get_mut(&key)) {
            (Some(column), Some(rule)) => rule.rename(column, new),
            (None, Some(_)) => {
                if let Some(rule) = self.tables.remove(&key) {
                    self.tables.insert(new.clone(), rule);
                }
            }
            (_, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn tables_are_found_whatever_their_case() {
        let rule = TableRule { counters: list(&["Good_Count"]), ..TableRule::default() };
        let policy = Policy { tables: BTreeMap::from([("Po_Lines".to_owned(), rule)]), ..Policy::default() };
        assert!(policy.table("PO_LINES").is_counter("good_count"));
        assert!(policy.table("Po_Lines").is_counter("GOOD_COUNT"));
        assert_eq!(policy.table("shipments"), &TableRule::ORDINARY);
    }

    #[test]
    fn rules_follow_tables_and_columns_to_new_names() {
        let rule = TableRule {
            counters: list(&["good", "bad"]),
            together: vec![list(&["Good", "c"])],
            ..TableRule::default()
        };
        let mut policy = Policy { tables: BTreeMap::from([("t".to_owned(), rule)]), ..Policy::default() };
        let former = |table: &str, column: Option<&str>, becomes: Option<&str>| Former {
            table: table.to_owned(),
            column: column.map(str::to_owned),
            becomes: becomes.map(str::to_owned),
        };
        policy.follow(&former("T", Some("GOOD"), Some("fine")));
        policy.follow(&former("t", None, Some("u")));
        policy.follow(&former("u", Some("bad"), None));
        policy.follow(&former("v", None, Some("w")));
        assert_eq!(policy.table("u").columns(), ["fine", "bad", "c"]);
        assert_eq!(policy.table("t"), &TableRule::ORDINARY);
    }

    #[test]
    fn writers_and_groups() {
        let rule = TableRule {
            writers: list(&["hub", "station"]),
            together: vec![list(&["carrier", "carrier_code"])],
            ..TableRule::default()
        };
        assert!(rule.may_write("station") && rule.may_write("HUB") && !rule.may_write("guest"));
        assert!(TableRule::ORDINARY.may_write("guest"));
        assert_eq!(rule.group("Carrier_Code"), Some(list(&["carrier", "carrier_code"]).as_slice()));
        assert_eq!(rule.group("notes"), None);
    }

    #[test]
    fn deletes_are_held_only_past_both_bounds() {
        let bounds = HoldDeletes::STANDARD;
        assert!(!bounds.holds(1_000, 1_000), "not more than the bound in rows");
        assert!(!bounds.holds(1_001, 2_002), "not more than the bound in share");
        assert!(bounds.holds(1_002, 2_002));
        assert!(bounds.holds(1_001, 0), "a table that the hub has emptied meanwhile");
    }

    #[test]
    fn named_columns_are_listed_once() {
        let rule = TableRule {
            counters: list(&["a"]),
            greatest: list(&["b"]),
            key: list(&["A", "c"]),
            together: vec![list(&["d", "e"])],
            ..TableRule::default()
        };
        assert_eq!(rule.columns(), ["a", "b", "c", "d", "e"]);
    }
}
