//! Reads a whole migration before it runs: which table each statement means, and what becomes of it.
//!
//! A rebuild (create, copy, drop, rename, in any order) gives an old table another body: its copying
//! statements belong to the schema and run on every node. All other statements about rows run at the
//! hub alone.

use crate::script::{Action, Statement};
use std::collections::BTreeMap;
use tt_protocol::former::Former;

/// Why a statement is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It changes the schema.
    Define,
    /// It fills the new body of a table.
    Copy,
    /// It changes rows: they come to other nodes by themselves.
    Rows,
    /// It changes nothing.
    Look,
}

/// A statement of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned<'s> {
    pub(super) statement: Statement<'s>,
    pub(super) purpose: Purpose,
    /// It renames what lives on under the new name, with all that is known of it.
    pub(super) lives_on: bool,
}

/// A whole migration.
#[derive(Debug, Default)]
pub(super) struct Plan<'s> {
    pub(super) statements: Vec<Planned<'s>>,
    /// Names that are gone afterwards. Columns that a rebuild leaves out are not among them.
    pub(super) formers: Vec<Former>,
    /// Old tables with another body.
    pub(super) rebuilt: Vec<String>,
    /// Names that tables have only in between.
    pub(super) passing: Vec<String>,
}

/// A table, whatever it is called at the moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    /// It was there before, under this name in lower case.
    Old(String),
    /// Statement number so and so made it.
    New(usize),
}

/// Follows the tables through the statements. `existing` are the names before.
pub(super) fn plan<'s>(statements: Vec<Statement<'s>>, existing: impl Iterator<Item = String>) -> Plan<'s> {
    let mut names: BTreeMap<String, Identity> =
        existing.map(|name| (name.to_ascii_lowercase(), Identity::Old(name.to_ascii_lowercase()))).collect();
    let before: Vec<String> = names.keys().cloned().collect();
    let mut passing = Vec::new();
    let mut meant = Vec::with_capacity(statements.len());
    for (place, statement) in statements.iter().enumerate() {
        meant.push(follow(&mut names, &mut passing, place, &statement.action));
    }
    let last: BTreeMap<Identity, String> =
        names.iter().map(|(name, identity)| (identity.clone(), name.clone())).collect();
    let rebuilt: Vec<String> = before
        .iter()
        .filter(|name| !last.contains_key(&Identity::Old((*name).clone())) && names.contains_key(*name))
        .cloned()
        .collect();
    passing.retain(|name| !before.contains(&name.to_ascii_lowercase()));
    let mut plan = Plan { statements: Vec::new(), formers: Vec::new(), rebuilt, passing };
    for (statement, identity) in statements.into_iter().zip(meant) {
        let end = identity.as_ref().and_then(|identity| last.get(identity));
        plan.formers.extend(former(&statement.action, identity.as_ref(), end, &plan.rebuilt));
        let fills =
            matches!(identity, Some(Identity::New(_))) && end.is_some_and(|name| plan.rebuilt.contains(name));
        let purpose = match &statement.action {
            Action::Rows { .. } if fills => Purpose::Copy,
            Action::Rows { .. } => Purpose::Rows,
            Action::Look => Purpose::Look,
            _ => Purpose::Define,
        };
        let lives_on = match (&statement.action, &identity, end) {
            (Action::RenameTable { .. }, Some(Identity::Old(first)), Some(end)) => first != end,
            (Action::RenameColumn { .. }, Some(Identity::Old(_)), Some(_)) => true,
            _ => false,
        };
        plan.statements.push(Planned { statement, purpose, lives_on });
    }
    plan
}

/// Gives the table that the statement means.
fn follow(
    names: &mut BTreeMap<String, Identity>,
    passing: &mut Vec<String>,
    place: usize,
    action: &Action,
) -> Option<Identity> {
    match action {
        Action::CreateTable(name) => {
            passing.push(name.clone());
            let identity = Identity::New(place);
            names.entry(name.to_ascii_lowercase()).or_insert_with(|| identity.clone());
            Some(identity)
        }
        Action::DropTable(name) => names.remove(&name.to_ascii_lowercase()),
        Action::RenameTable { from, to } => {
            passing.push(to.clone());
            let identity = names.remove(&from.to_ascii_lowercase())?;
            names.insert(to.to_ascii_lowercase(), identity.clone());
            Some(identity)
        }
        Action::AddColumn { table, .. }
        | Action::DropColumn { table, .. }
        | Action::RenameColumn { table, .. }
        | Action::Rows { table } => names.get(&table.to_ascii_lowercase()).cloned(),
        _ => None,
    }
}

/// The name that goes with this statement, if one does for good.
fn former(
    action: &Action,
    identity: Option<&Identity>,
    end: Option<&String>,
    rebuilt: &[String],
) -> Option<Former> {
    let Some(Identity::Old(first)) = identity else {
        return None;
    };
    let is_rebuilt = rebuilt.contains(first);
    // A table that is rebuilt keeps its name, whatever the old body is called meanwhile.
    let column = |table: &String, column: &String, becomes: Option<&String>| Former {
        table: if is_rebuilt { first.clone() } else { table.clone() },
        column: Some(column.clone()),
        becomes: becomes.cloned(),
    };
    match action {
        Action::RenameTable { from, to } if end.is_some() => {
            Some(Former { table: from.clone(), column: None, becomes: Some(to.clone()) })
        }
        Action::DropTable(name) if !is_rebuilt => {
            Some(Former { table: name.clone(), column: None, becomes: None })
        }
        Action::RenameColumn { table, from, to } if end.is_some() || is_rebuilt => {
            Some(column(table, from, Some(to)))
        }
        Action::DropColumn { table, column: name } if end.is_some() || is_rebuilt => {
            Some(column(table, name, None))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::parse;

    fn planned<'s>(sql: &'s str, existing: &[&str]) -> Plan<'s> {
        plan(parse(sql).expect(sql), existing.iter().map(|name| (*name).to_owned()))
    }

    fn purposes(plan: &Plan<'_>) -> Vec<Purpose> {
        plan.statements.iter().map(|planned| planned.purpose).collect()
    }

    #[test]
    fn both_ways_of_rebuilding_a_table_are_recognised() {
        use Purpose::{Copy, Define, Rows};
        let new_first = "CREATE TABLE T_new(a); INSERT INTO t_new SELECT a FROM t; DROP TABLE t; ALTER TABLE t_new RENAME TO t; UPDATE t SET a = 1";
        let plan = planned(new_first, &["T", "u"]);
        assert_eq!(purposes(&plan), [Define, Copy, Define, Define, Copy]);
        assert_eq!(
            (plan.rebuilt, plan.formers, plan.passing),
            (vec!["t".to_owned()], vec![], vec!["T_new".to_owned()])
        );
        let old_aside = "ALTER TABLE t RENAME TO t_old; CREATE TABLE t(a); INSERT INTO t SELECT a FROM t_old; DROP TABLE t_old; DELETE FROM u";
        let plan = planned(old_aside, &["t", "u"]);
        assert_eq!(purposes(&plan), [Define, Define, Copy, Define, Rows]);
        assert_eq!(plan.rebuilt, ["t"]);
        assert!(plan.formers.is_empty() && plan.statements.iter().all(|planned| !planned.lives_on));
    }

    #[test]
    fn rows_of_a_table_that_is_new_or_stays_come_from_the_hub() {
        let plan =
            planned("CREATE TABLE n(a); INSERT INTO n VALUES (1); UPDATE t SET a = 2; SELECT 1", &["t"]);
        assert_eq!(purposes(&plan), [Purpose::Define, Purpose::Rows, Purpose::Rows, Purpose::Look]);
        assert!(plan.rebuilt.is_empty());
    }

    #[test]
    fn names_that_go_for_good_are_told_in_order() {
        let sql = "ALTER TABLE t RENAME COLUMN a TO b; ALTER TABLE t RENAME TO u; ALTER TABLE u DROP COLUMN c; DROP TABLE v;
                   ALTER TABLE w RENAME TO x; ALTER TABLE x RENAME TO w";
        let plan = planned(sql, &["t", "v", "w"]);
        let told: Vec<_> = plan
            .formers
            .iter()
            .map(|former| {
                let or = |name: &Option<String>| name.clone().unwrap_or_default();
                format!("{}.{}>{}", former.table, or(&former.column), or(&former.becomes))
            })
            .collect();
        assert_eq!(told, ["t.a>b", "t.>u", "u.c>", "v.>", "w.>x", "x.>w"]);
        let lives: Vec<_> = plan.statements.iter().map(|planned| planned.lives_on).collect();
        assert_eq!(lives, [true, true, false, false, false, false]);
    }
}
