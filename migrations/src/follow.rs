//! Follows another node's schema: what it has and this file lacks is added, if adding it is harmless.
//!
//! * Harmless are a table with a primary key, and a column with a literal default or none.
//! * Statements are built from the definition's structure. Types and defaults are text from outside, so
//!   they are taken apart into tokens, and anything but names, numbers and literals is refused.
//! * What this file has already, because a program made it by itself, is recognised and no error.

use crate::quote::ident;
use crate::replica::Tracked;
use crate::shape::{Schema, Table};
use crate::tokens::{Kind, tokenize};
use rusqlite::{Connection, OptionalExtension as _};
use tt_protocol::definition::{ColumnDefinition, Reference, TableDefinition};

/// Why a definition cannot be followed. Rows that need it are held.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// SQLite refused the statement, or failed.
    #[error("table \"{table}\": {source}")]
    Sqlite {
        /// The table.
        table: String,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
    /// Adding it would not be harmless.
    #[error("table \"{table}\" cannot be followed: {problem}")]
    NotAdditive {
        /// The table.
        table: String,
        /// What stands against it.
        problem: String,
    },
}

/// The definition of a table of this file.
#[must_use]
pub fn definition(table: &Table) -> TableDefinition {
    let column = |column: &crate::shape::Column| ColumnDefinition {
        name: column.name.clone(),
        declared: column.declared.clone(),
        not_null: column.not_null,
        default: column.default.clone(),
    };
    let whole = table.uniques.iter().filter(|unique| unique.predicate.is_none());
    let plain = whole.filter_map(|unique| unique.columns.as_ref());
    let reference = |key: &crate::shape::ForeignKey| Reference {
        columns: key.columns.clone(),
        parent: key.parent.clone(),
        parent_columns: key.parent_columns.clone(),
    };
    TableDefinition {
        name: table.name.clone(),
        columns: table.columns.iter().map(column).collect(),
        key: table.key_names().map(str::to_owned).collect(),
        rowid_key: table.rowid_key,
        uniques: plain.map(|columns| columns.iter().map(|(name, _)| name.clone()).collect()).collect(),
        references: table.foreign_keys.iter().map(reference).collect(),
    }
}

/// Adds what this file lacks of `wanted`. True when something was added.
///
/// # Errors
/// When something is lacking that cannot be added harmlessly; nothing was added then.
pub fn follow(conn: &Connection, wanted: &TableDefinition) -> Result<bool, FollowError> {
    let failed = |source| FollowError::Sqlite { table: wanted.name.clone(), source };
    let schema = Schema::read(conn).map_err(failed)?;
    let statements = match schema.table(&wanted.name) {
        Some(own) => added_columns(own, wanted)?,
        None => vec![create(wanted)?],
    };
    for sql in &statements {
        conn.execute_batch(sql).map_err(failed)?;
    }
    Ok(!statements.is_empty())
}

/// Where a program gave a column another default than the hub's, rows that neither wrote differ without
/// a note: the table is compared.
///
/// # Errors
/// When SQLite fails.
pub fn compare_defaults(conn: &Connection, hub: &TableDefinition) -> rusqlite::Result<()> {
    let schema = Schema::read(conn)?;
    let Some(own) = schema.table(&hub.name) else { return Ok(()) };
    let differs = |column: &ColumnDefinition| {
        let plain = |default: &Option<String>| {
            default.as_ref().map(|text| literal(text).unwrap_or_else(|| text.clone()))
        };
        own.column(&column.name).is_some_and(|found| plain(&found.default) != plain(&column.default))
    };
    if hub.columns.iter().any(differs) {
        conn.execute("UPDATE _sync_table SET audit = 1 WHERE name = ?1 COLLATE NOCASE", [&hub.name])?;
    }
    Ok(())
}

/// Definitions that other nodes have not been told yet; they are marked as told.
///
/// # Errors
/// When SQLite fails.
pub fn undeclared<'t>(
    conn: &Connection,
    tables: impl Iterator<Item = &'t Tracked>,
) -> rusqlite::Result<Vec<TableDefinition>> {
    let mut found = Vec::new();
    for tracked in tables {
        let definition = definition(&tracked.table);
        let hash = definition.hash();
        let told: Option<String> = conn
            .prepare_cached("SELECT declared FROM _sync_table WHERE tid = ?1")?
            .query_row([tracked.tid], |row| row.get(0))
            .optional()?;
        if told.as_deref() != Some(&hash) {
            conn.execute("UPDATE _sync_table SET declared = ?2 WHERE tid = ?1", (tracked.tid, &hash))?;
            found.push(definition);
        }
    }
    Ok(found)
}

/// Marks a definition as told, because it came from where it would be told to.
///
/// # Errors
/// When SQLite fails.
pub fn declared(conn: &Connection, definition: &TableDefinition) -> rusqlite::Result<()> {
    conn.execute(
        "UPDATE _sync_table SET declared = ?2 WHERE name = ?1",
        (&definition.name, definition.hash()),
    )?;
    Ok(())
}

fn added_columns(own: &Table, wanted: &TableDefinition) -> Result<Vec<String>, FollowError> {
    let missing = wanted.columns.iter().filter(|column| own.column(&column.name).is_none());
    missing
        .map(|column| {
            if column.not_null
                && column.default.as_deref().is_none_or(|default| default.eq_ignore_ascii_case("null"))
            {
                return Err(not_additive(
                    wanted,
                    format!("column \"{}\" is NOT NULL without a default", column.name),
                ));
            }
            if wanted.key.contains(&column.name) {
                return Err(not_additive(
                    wanted,
                    format!("column \"{}\" is part of the primary key", column.name),
                ));
            }
            let single = |reference: &&Reference| reference.columns == [column.name.clone()];
            let references = wanted.references.iter().find(single).map(references).unwrap_or_default();
            Ok(format!(
                "ALTER TABLE {} ADD COLUMN {}{references};",
                ident(&own.name),
                column_sql(wanted, column)?
            ))
        })
        .collect()
}

fn create(wanted: &TableDefinition) -> Result<String, FollowError> {
    if wanted.key.is_empty()
        || wanted.name.to_ascii_lowercase().starts_with("sqlite_")
        || wanted.name.starts_with("_sync_")
    {
        return Err(not_additive(
            wanted,
            "it has no primary key, or a name that is not a program's".to_owned(),
        ));
    }
    let mut parts = Vec::new();
    for column in &wanted.columns {
        let key = wanted.rowid_key && wanted.key.contains(&column.name);
        let sql = column_sql(wanted, column)?;
        parts.push(if key { format!("{sql} PRIMARY KEY AUTOINCREMENT") } else { sql });
    }
    if !wanted.rowid_key {
        parts.push(format!("PRIMARY KEY({})", names(&wanted.key)));
    }
    parts.extend(wanted.uniques.iter().map(|columns| format!("UNIQUE({})", names(columns))));
    for reference in &wanted.references {
        parts.push(format!("FOREIGN KEY({}){}", names(&reference.columns), references(reference)));
    }
    Ok(format!("CREATE TABLE {}({});", ident(&wanted.name), parts.join(", ")))
}

fn column_sql(table: &TableDefinition, column: &ColumnDefinition) -> Result<String, FollowError> {
    let declared = checked(&column.declared, |kind, text| match kind {
        Kind::Word | Kind::Number => true,
        Kind::Mark => matches!(text, "(" | ")" | ","),
        _ => false,
    });
    let declared = declared
        .ok_or_else(|| not_additive(table, format!("the type of \"{}\" is not plain", column.name)))?;
    let mut sql = format!("{} {declared}", ident(&column.name));
    if column.not_null {
        sql.push_str(" NOT NULL");
    }
    if let Some(default) = &column.default {
        let literal = literal(default).ok_or_else(|| {
            not_additive(table, format!("the default of \"{}\" is not a literal", column.name))
        })?;
        sql.push_str(&format!(" DEFAULT {literal}"));
    }
    Ok(sql)
}

/// One literal, with a sign before a number. A double-quoted text is an old spelling of a text.
fn literal(text: &str) -> Option<String> {
    let tokens = tokenize(text).ok()?;
    match tokens.as_slice() {
        [one] if matches!(one.kind, Kind::Text | Kind::Number | Kind::Blob) => Some(one.text.to_owned()),
        [one] if one.kind == Kind::Quoted => Some(crate::quote::text(&one.name()?)),
        [sign, number] if (sign.is_mark("-") || sign.is_mark("+")) && number.kind == Kind::Number => {
            Some(format!("{}{}", sign.text, number.text))
        }
        [one] if one.kind == Kind::Word => {
            let known = ["NULL", "TRUE", "FALSE", "CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME"];
            known.iter().any(|word| one.is_word(word)).then(|| one.text.to_owned())
        }
        _ => None,
    }
}

fn checked(text: &str, allowed: impl Fn(Kind, &str) -> bool) -> Option<&str> {
    let tokens = tokenize(text).ok()?;
    tokens.iter().all(|token| allowed(token.kind, token.text)).then_some(text)
}

fn references(reference: &Reference) -> String {
    format!(" REFERENCES {}({})", ident(&reference.parent), names(&reference.parent_columns))
}

fn names(columns: &[String]) -> String {
    crate::replica::list(columns)
}

fn not_additive(table: &TableDefinition, problem: String) -> FollowError {
    FollowError::NotAdditive { table: table.name.clone(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(sql: &str) -> Connection {
        let conn = Connection::open_in_memory().expect("memory");
        conn.execute_batch(sql).expect("loads");
        conn
    }

    fn definition_of(sql: &str, table: &str) -> TableDefinition {
        definition(Schema::read(&file(sql)).expect("reads").table(table).expect("is there"))
    }

    #[test]
    fn a_column_that_a_program_added_is_added_here_and_recognised_the_second_time() {
        let wanted = definition_of(
            "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT DEFAULT \"packaged\", n INTEGER NOT NULL DEFAULT 0)",
            "t",
        );
        let conn =
            file("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t DEFAULT VALUES;");
        assert!(follow(&conn, &wanted).expect("follows"));
        assert!(!follow(&conn, &wanted).expect("recognises"));
        let row: (String, i64) =
            conn.query_row("SELECT kind, n FROM t", [], |row| Ok((row.get(0)?, row.get(1)?))).expect("row");
        assert_eq!(row, ("packaged".to_owned(), 0));
    }

    #[test]
    fn a_new_table_comes_with_its_keys_and_references() {
        let sql = "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE \"a b\"(\"order\" TEXT, n INT, p INTEGER REFERENCES p(id),
                   PRIMARY KEY(\"order\", n), UNIQUE(p))";
        let wanted = definition_of(sql, "a b");
        let conn = file("CREATE TABLE p(id INTEGER PRIMARY KEY)");
        assert!(follow(&conn, &wanted).expect("follows"));
        let made = definition(Schema::read(&conn).expect("reads").table("a b").expect("made"));
        assert_eq!(made, wanted);
    }

    #[test]
    fn statements_hidden_in_a_type_or_default_are_refused() {
        let mut wanted = definition_of("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT DEFAULT 'x')", "t");
        let conn = file("CREATE TABLE u(id INTEGER PRIMARY KEY)");
        wanted.columns[1].default = Some("'x'); DROP TABLE u; --".to_owned());
        assert!(matches!(follow(&conn, &wanted), Err(FollowError::NotAdditive { .. })));
        wanted.columns[1].default = None;
        wanted.columns[1].declared = "TEXT); DROP TABLE u; --".to_owned();
        assert!(matches!(follow(&conn, &wanted), Err(FollowError::NotAdditive { .. })));
        wanted.columns[1].declared = "TEXT".to_owned();
        wanted.columns[1].not_null = true;
        let conn = file("CREATE TABLE t(id INTEGER PRIMARY KEY)");
        assert!(matches!(follow(&conn, &wanted), Err(FollowError::NotAdditive { .. })));
    }
}
