//! What each trigger of the program writes, itself and through the triggers that it fires in turn.
//!
//! SQLite's authorizer tells: an empty copy of the schema is made in memory, and in it each trigger alone is
//! compiled by preparing statements that fire it. Nothing is ever run.

use crate::replica::Replica;
use crate::shape::Table;
use crate::tokens::tokenize;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::{Connection, Result};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// A trigger of the program, and what becomes of it when we write its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Its name.
    pub name: String,
    /// Its table.
    pub table: String,
    /// Its whole text.
    pub sql: String,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// See [`Judged`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It writes only tables that are not replicated: it fires.
    Fires,
    /// It writes only replicated tables: it does not fire, its rows come by themselves.
    ComesByItself,
    /// It only looks, or refuses what a program may not do: it does not fire.
    WritesNothing,
    /// It does not fire although a table which is not replicated depends on it, and why.
    LeftOut(String),
}

/// One way to change a table; for an update, one column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Insert,
    Update(String),
    Delete,
}

/// A trigger by itself. Names of tables and columns are in lower case.
struct Facts {
    name: String,
    table: String,
    sql: String,
    fired_by: BTreeSet<Event>,
    writes: BTreeSet<(String, Event)>,
    problem: Option<String>,
}

type Heard = Arc<Mutex<Vec<(Option<String>, Option<(String, Event)>)>>>;

/// Judges all triggers that programs have put on tables. Those on views are left alone: nothing of ours
/// writes a view.
///
/// # Errors
/// When SQLite fails.
pub fn judge(conn: &Connection, replica: &Replica) -> Result<Vec<Judged>> {
    let sql = "SELECT name, tbl_name, sql FROM main.sqlite_schema WHERE type = 'trigger'
               AND name NOT LIKE '\\_sync\\_%' ESCAPE '\\' ORDER BY name";
    let found: Vec<(String, String, String)> = conn
        .prepare(sql)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_>>()?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let texts = table_texts(conn)?;
    let (scratch, heard) = scratch(conn)?;
    let facts: Vec<Facts> = found
        .into_iter()
        .filter_map(|(name, table, sql)| {
            let shape = replica.schema.table(&table)?;
            Some(alone(&scratch, &heard, shape, name, sql))
        })
        .collect();
    let judged = |one: &Facts| Judged {
        name: one.name.clone(),
        table: one.table.clone(),
        sql: one.sql.clone(),
        verdict: verdict(one, &reach(one, &facts), replica, &texts),
    };
    Ok(facts.iter().map(judged).collect())
}

/// Statements that fire any trigger of a table, each with what it does.
pub(super) fn events(table: &Table) -> Vec<(Event, String)> {
    let name = crate::quote::ident(&table.name);
    let mut events = vec![
        (Event::Insert, format!("INSERT INTO {name} DEFAULT VALUES")),
        (Event::Delete, format!("DELETE FROM {name}")),
    ];
    events.extend(table.columns.iter().map(|column| {
        let quoted = crate::quote::ident(&column.name);
        let event = Event::Update(column.name.to_ascii_lowercase());
        (event, format!("UPDATE {name} SET {quoted} = {quoted}"))
    }));
    events
}

/// The text of each table that is stored, virtual ones among them.
fn table_texts(conn: &Connection) -> Result<HashMap<String, String>> {
    let sql = "SELECT lower(name), sql FROM main.sqlite_schema WHERE type = 'table' AND sql IS NOT NULL
               AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_sync\\_%' ESCAPE '\\'";
    conn.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The program's schema without rows and without triggers. What cannot be made there (a module or a
/// function of the program's own) is missing, and the triggers that need it are left out.
fn scratch(conn: &Connection) -> Result<(Connection, Heard)> {
    let mut scratch = Connection::open_in_memory()?;
    // A virtual table makes its own shadow tables, so it must come before them.
    let sql =
        "SELECT sql FROM main.sqlite_schema WHERE type IN ('table', 'index', 'view') AND sql IS NOT NULL
               AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_sync\\_%' ESCAPE '\\'
               ORDER BY CASE type WHEN 'table' THEN rootpage <> 0 WHEN 'index' THEN 2 ELSE 3 END, rowid";
    let texts: Vec<String> =
        conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<Vec<_>>>()?;
    for text in texts {
        // A shadow table is there already; whatever else fails is what the comment above says.
        let _ = scratch.execute_batch(&text);
    }
    let heard = Heard::default();
    let hears = Arc::clone(&heard);
    scratch.authorizer(Some(move |context: AuthContext<'_>| {
        let write = match context.action {
            AuthAction::Insert { table_name } => Some((table_name, Event::Insert)),
            AuthAction::Delete { table_name } => Some((table_name, Event::Delete)),
            AuthAction::Update { table_name, column_name } => {
                Some((table_name, Event::Update(column_name.to_ascii_lowercase())))
            }
            _ => None,
        };
        let write = write.map(|(table, event)| (table.to_ascii_lowercase(), event));
        let by = context.accessor.map(str::to_owned);
        hears.lock().unwrap_or_else(PoisonError::into_inner).push((by, write));
        Authorization::Allow
    }))?;
    Ok((scratch, heard))
}

/// Compiles one trigger with no other beside it.
fn alone(scratch: &Connection, heard: &Heard, table: &Table, name: String, sql: String) -> Facts {
    let (mut fired_by, mut writes) = (BTreeSet::new(), BTreeSet::new());
    let problem = scratch.execute_batch(&sql).and_then(|()| {
        for (event, statement) in events(table) {
            heard.lock().unwrap_or_else(PoisonError::into_inner).clear();
            let prepared = scratch.prepare(&statement).map(drop);
            for (by, write) in heard.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                if by.is_some_and(|by| by.eq_ignore_ascii_case(&name)) {
                    fired_by.insert(event.clone());
                    writes.extend(write);
                }
            }
            prepared?;
        }
        scratch.execute_batch(&format!("DROP TRIGGER {}", crate::quote::ident(&name)))
    });
    if problem.is_err() {
        // It would be in the way of the next one.
        let _ = scratch.execute_batch(&format!("DROP TRIGGER IF EXISTS {}", crate::quote::ident(&name)));
    }
    let problem = problem.err().map(|error| error.to_string());
    Facts { name, table: table.name.to_ascii_lowercase(), sql, fired_by, writes, problem }
}

/// All tables that a trigger writes, also through those that it fires.
fn reach(from: &Facts, all: &[Facts]) -> BTreeSet<String> {
    let mut tables = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(one) = open.pop() {
        for (table, event) in &one.writes {
            tables.insert(table.clone());
            let fired = all.iter().filter(|other| other.table == *table && other.fired_by.contains(event));
            open.extend(fired.filter(|other| seen.insert(other.name.as_str())));
        }
    }
    tables
}

fn verdict(
    one: &Facts,
    reach: &BTreeSet<String>,
    replica: &Replica,
    texts: &HashMap<String, String>,
) -> Verdict {
    if let Some(problem) = &one.problem {
        return Verdict::LeftOut(format!("it cannot be understood here ({problem})"));
    }
    let (replicated, local): (Vec<&String>, Vec<&String>) =
        reach.iter().partition(|table| replica.get(table).is_some());
    match (replicated.first(), local.is_empty()) {
        (None, true) => return Verdict::WritesNothing,
        (Some(_), true) => return Verdict::ComesByItself,
        (Some(table), false) => {
            return Verdict::LeftOut(format!(
                "it also writes \"{table}\", which is replicated and whose rows come by themselves; make it two triggers"
            ));
        }
        (None, false) => {}
    }
    if let Some(other) = local.iter().find(|table| !texts.contains_key(**table)) {
        return Verdict::LeftOut(format!("it writes \"{other}\", which is not a table of the program"));
    }
    let written = local.iter().filter_map(|table| texts.get(*table));
    if std::iter::once(&one.sql).chain(written).any(|sql| takes_away(sql)) {
        return Verdict::LeftOut(
            "with RAISE or ON CONFLICT it can take away the row that arrives, or all rows: use ABORT instead"
                .to_owned(),
        );
    }
    Verdict::Fires
}

/// True for a text that can do more harm to the statement that fires it than an error: skip its row, end
/// it half way, or roll back the transaction.
fn takes_away(sql: &str) -> bool {
    let Ok(tokens) = tokenize(sql) else { return true };
    let raises_ignore = tokens
        .windows(3)
        .any(|three| three[0].is_word("raise") && three[1].is_mark("(") && three[2].is_word("ignore"));
    raises_ignore || tokens.iter().any(|token| token.is_word("rollback") || token.is_word("fail"))
}
