//! Reads the merge policy from TOML and compares it with a database.
//!
//! The file is written by a person, so every error names the file, the line and the key. The policy for
//! TabletTracker is part of the program. A policy must never be half accepted: one wrong key refuses it.

use rusqlite::Connection;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use tt_protocol::policy::{Policy, SchemaRule, TRASH_KEEP_DAYS, TableRule};

/// The shipped policy's text, for TabletTracker of any age. Also what `init` writes out for the operator.
pub const SHIPPED: &str = include_str!("../policy.toml");

/// Why a policy was refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A line of it is wrong.
    #[error("{file}:{line}: {key}: {problem}")]
    Line {
        /// The file's name as the operator gave it.
        file: String,
        /// Line number, from 1.
        line: usize,
        /// The key, with its table where one is known.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file cannot be read at all.
    #[error("the policy {path} cannot be read: {source}; check the path given with --policy")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
}

/// The same shape as [`Policy`], but each table remembers where it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    trash_keep_days: Option<u32>,
    #[serde(default)]
    schema: SchemaRule,
    #[serde(default, rename = "table")]
    tables: BTreeMap<Spanned<String>, TableRule>,
}

/// The shipped policy.
#[must_use]
pub fn shipped() -> Policy {
    parse("policy.toml", SHIPPED).expect("the shipped policy is read by a test")
}

/// Reads a policy file.
///
/// # Errors
/// [`PolicyError`].
pub fn read(path: &Path) -> Result<Policy, PolicyError> {
    let unreadable = |source| PolicyError::Unreadable { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&path.display().to_string(), &text)
}

/// The policy that a database keeps as text, or the shipped one where it keeps none; `file` is only for the errors.
///
/// # Errors
/// As [`parse`].
pub fn kept(file: &str, text: Option<&str>) -> Result<Policy, PolicyError> {
    text.map_or_else(|| Ok(shipped()), |text| parse(file, text))
}

/// Reads a policy from its text; `file` is only for the errors.
///
/// # Errors
/// [`PolicyError::Line`] for bad TOML, an unknown key, a value of the wrong kind or a contradiction.
pub fn parse(file: &str, text: &str) -> Result<Policy, PolicyError> {
    let written: Written = toml::from_str(text).map_err(|error| explain(file, text, &error))?;
    let mut tables: BTreeMap<String, TableRule> = BTreeMap::new();
    let mut in_order: Vec<_> = written.tables.into_iter().collect();
    in_order.sort_by_key(|(name, _)| name.span().start);
    for (name, rule) in in_order {
        let refuse = |key: &str, problem: String| PolicyError::Line {
            file: file.to_owned(),
            line: line_of(text, name.span().start),
            key: format!("table.{}{key}", name.get_ref()),
            problem,
        };
        if tables.keys().any(|known| known.eq_ignore_ascii_case(name.get_ref())) {
            return Err(refuse("", "this table is named twice, apart from case".to_owned()));
        }
        contradictions(&rule).map_err(|(key, problem)| refuse(&format!(".{key}"), problem))?;
        tables.insert(name.into_inner(), rule);
    }
    let trash_keep_days = written.trash_keep_days.unwrap_or(TRASH_KEEP_DAYS);
    Ok(Policy { trash_keep_days, schema: written.schema, tables })
}

/// What the policy names and this database does not have, one sentence per table.
///
/// # Errors
/// SQLite's own.
pub fn warnings(policy: &Policy, conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut found = Vec::new();
    for (table, rule) in &policy.tables {
        let columns = columns(conn, table)?;
        if columns.is_empty() {
            found.push(format!("the policy names table {table:?}, which this database does not have"));
            continue;
        }
        let known = |name: &str| columns.iter().any(|column| column.eq_ignore_ascii_case(name));
        let lacking: Vec<String> =
            rule.columns().into_iter().filter(|name| !known(name)).map(|name| format!("{name:?}")).collect();
        if !lacking.is_empty() {
            let list = lacking.join(", ");
            found.push(format!(
                "the policy names columns of {table:?} that this database does not have: {list}"
            ));
        }
    }
    Ok(found)
}

fn columns(conn: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare_cached("SELECT name FROM pragma_table_xinfo(?1, 'main')")?;
    let rows = statement.query_map([table], |row| row.get(0))?;
    rows.collect()
}

/// What no single key shows: a column with two rules, a group of one, a share that is none.
fn contradictions(rule: &TableRule) -> Result<(), (&'static str, String)> {
    let twice = |column: &String| format!("column {column:?} can follow only one rule");
    if let Some(column) = rule.greatest.iter().find(|column| rule.is_counter(column)) {
        return Err(("greatest", twice(column)));
    }
    let mut grouped: Vec<&str> = Vec::new();
    for group in &rule.together {
        if group.len() < 2 {
            return Err(("together", "a group has two columns or more".to_owned()));
        }
        for column in group {
            let elsewhere = grouped.iter().any(|known| known.eq_ignore_ascii_case(column));
            if elsewhere || rule.is_counter(column) || rule.is_greatest(column) {
                return Err(("together", twice(column)));
            }
            grouped.push(column);
        }
    }
    if let Some(column) = rule.key.iter().find(|column| rule.is_counter(column)) {
        return Err(("key", format!("column {column:?} is a counter: it cannot name a row")));
    }
    if !(0.0..=1.0).contains(&rule.hold_deletes.share) {
        return Err(("hold_deletes", format!("share is {}, not 0.0 to 1.0", rule.hold_deletes.share)));
    }
    Ok(())
}

fn explain(file: &str, text: &str, error: &toml::de::Error) -> PolicyError {
    let span = error.span().unwrap_or(0..0);
    PolicyError::Line {
        file: file.to_owned(),
        line: line_of(text, span.start),
        key: key_at(text, &span),
        problem: error.message().trim().replace('\n', ", "),
    }
}

/// Line number of a byte, from 1.
fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count()
}

/// The key whose value stands at the span: the nearest `key =` or `[table]` at or above it.
fn key_at(text: &str, span: &Range<usize>) -> String {
    let last = line_of(text, span.start);
    let mut lines: Vec<&str> = text.lines().take(last).collect();
    let mut key = None;
    while let Some(line) = lines.pop() {
        let line = line.trim();
        if let Some(table) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            // A line of a list of lists opens with a bracket, too, but holds quotes.
            if !line.starts_with("[[") && !table.contains('"') {
                return key.map_or_else(|| table.to_owned(), |key: String| format!("{table}.{key}"));
            }
        } else if let (None, Some((name, _))) = (&key, line.split_once('=')) {
            key = Some(name.trim().to_owned());
        }
    }
    key.unwrap_or_else(|| "the file".to_owned())
}

#[cfg(test)]
mod tests;
