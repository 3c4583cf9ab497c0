//! Why this file refuses a row of the hub: a constraint that the hub does not have, in words that say what to
//! do.
//!
//! * A program may put a unique index or a CHECK on its own file. The hub's rows keep the hub's constraints,
//!   not these, and a row that breaks one cannot go in: the feed waits, visibly, until somebody decides which
//!   of the two is right.
//! * A clash in a unique value may be with a row that is not cut yet. That one is for the hub to decide.

use super::StoreError;
use rusqlite::{Connection, params_from_iter};
use tt_migrations::capture::{base, ids};
use tt_migrations::quote::ident;
use tt_migrations::replica::{Tracked, list};
use tt_migrations::row::{Key, Refusal, refusal};
use tt_migrations::shape::Unique;
use tt_migrations::value::{bound, copy};
use tt_protocol::value::{Value, ValueRef};

/// Longest text of a key that a sentence shows.
const SHOWN_CHARS_MAX: usize = 40;

/// A row of the hub that did not go in.
pub(super) struct Refused<'a> {
    pub(super) tracked: &'a Tracked,
    /// Its columns, beginning with the key.
    pub(super) columns: &'a [String],
    pub(super) row: &'a [Value],
    pub(super) error: &'a rusqlite::Error,
}

/// What stands against it.
pub(super) enum Against {
    /// A row that is not cut yet.
    Uncut,
    /// This, in a sentence.
    File(String),
}

impl Refused<'_> {
    /// Finds what stands against the row, in the transaction that could not take it.
    pub(super) fn against(&self, conn: &Connection) -> Result<Against, StoreError> {
        if refusal(self.error) == Some(Refusal::Rule) {
            return Ok(Against::File(self.by_rule()));
        }
        for unique in self.tracked.table.uniques.iter().filter(|unique| !unique.terms.is_empty()) {
            if let Some(holder) = self.holder(conn, unique)? {
                return Ok(if is_uncut(conn, self.tracked, &holder)? {
                    Against::Uncut
                } else {
                    Against::File(self.by_unique(unique, &holder))
                });
            }
        }
        Ok(Against::File(self.by_rule()))
    }

    /// The key of the row that has the same values in this index.
    fn holder(&self, conn: &Connection, unique: &Unique) -> Result<Option<Key>, StoreError> {
        let tracked = self.tracked;
        let value = |name: &String| {
            let mut columns = self.columns.iter();
            let at = columns.position(|have| have.eq_ignore_ascii_case(name));
            at.and_then(|at| self.row.get(at)).map_or(ValueRef::Null, Value::as_ref)
        };
        let new: Vec<_> = tracked.names.iter().map(|name| format!("? AS {}", ident(name))).collect();
        let predicate = unique.predicate.as_deref().unwrap_or("1");
        let terms: Vec<_> = unique.terms.iter().map(|(term, _)| term.as_str()).collect();
        let sql = format!("SELECT {} FROM (SELECT {}) WHERE {predicate}", terms.join(", "), new.join(", "));
        let found = first(conn, &sql, tracked.names.iter().map(value), terms.len())?;
        let Some(values) = found.filter(|values| !values.iter().any(Value::is_null)) else {
            return Ok(None);
        };
        let same = |(term, collation): &(String, String)| format!("{term} = ? COLLATE {}", ident(collation));
        let sql = format!(
            "SELECT {} FROM {} WHERE {} AND ({predicate}) LIMIT 1",
            list(&tracked.names),
            ident(&tracked.table.name),
            unique.terms.iter().map(same).collect::<Vec<_>>().join(" AND "),
        );
        first(conn, &sql, values.iter().map(Value::as_ref), tracked.keys())
    }

    fn by_unique(&self, unique: &Unique, holder: &[Value]) -> String {
        let table = &self.tracked.table.name;
        let index = &unique.index;
        // SQLite's own name for a UNIQUE in the text of a table; it cannot be dropped by itself.
        let (by, remove) = if index.starts_with("sqlite_autoindex_") {
            let terms: Vec<_> = unique.terms.iter().map(|(term, _)| term.as_str()).collect();
            (format!("UNIQUE ({})", terms.join(", ")), "rebuild the table here without it".to_owned())
        } else {
            (
                format!("the unique index \"{index}\""),
                format!("drop that index here (DROP INDEX {})", ident(index)),
            )
        };
        format!(
            "the row {} of {table} from the hub is refused by {by} of this device: the row {} has the same values, and \
             the hub has both. {}, or make the values differ and add it at the hub by a migration",
            self.key(),
            named(self.tracked, holder),
            capital(&remove),
        )
    }

    fn by_rule(&self) -> String {
        format!(
            "the row {} of {} from the hub is refused by a constraint of this device that the hub does not have ({}). \
             Rebuild the table here without it, or change the row at the hub and add the constraint there by a migration",
            self.key(),
            self.tracked.table.name,
            words(self.error),
        )
    }

    fn key(&self) -> String {
        named(self.tracked, self.row)
    }
}

/// A feed that stands against something other than a row, in words.
pub(super) fn by_file(error: &rusqlite::Error) -> String {
    format!(
        "rows from the hub are refused by a constraint of this device ({}). Look for constraints that the hub does not \
         have, or fetch the file anew with tt-edge reseed",
        words(error)
    )
}

/// True when the row was made or touched since the last cut.
fn is_uncut(conn: &Connection, tracked: &Tracked, key: &[Value]) -> Result<bool, StoreError> {
    if let (true, [Value::Integer(id)]) = (tracked.table.rowid_key, key) {
        let place = ids::place(conn, tracked)?;
        if (place.lo..=place.hi).contains(id) {
            return Ok(true);
        }
    }
    Ok(base::note(conn, &tracked.table, key)?.is_some())
}

fn first<'v>(
    conn: &Connection,
    sql: &str,
    values: impl Iterator<Item = ValueRef<'v>>,
    width: usize,
) -> Result<Option<Key>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(bound(values)))?;
    Ok(rows.next()?.map(|row| copy(row, 0, width)).transpose()?)
}

/// SQLite's own words, without what our library puts around them.
fn words(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(words)) => words.clone(),
        other => other.to_string(),
    }
}

/// A row by its key, as a person writes it: `id=7`.
fn named(tracked: &Tracked, row: &[Value]) -> String {
    let parts = tracked.table.key_names().zip(row).map(|(name, value)| format!("{name}={}", shown(value)));
    parts.collect::<Vec<_>>().join(", ")
}

fn shown(value: &Value) -> String {
    match value.as_ref() {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            let short: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            format!("'{short}'{}", if short.len() < text.len() { "…" } else { "" })
        }
        ValueRef::Blob(bytes) => format!("a blob of {} bytes", bytes.len()),
    }
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
