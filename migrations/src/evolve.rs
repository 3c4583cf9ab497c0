//! Makes one migration on a node, in the caller's transaction and with capture kept.
//!
//! * Statement by statement: one whose effect is already there (a program made the same change by itself)
//!   is passed over.
//! * At the hub everything runs, and what it does to rows is captured like a program's writing. On an
//!   edge only the schema is changed: the rows come with the feed, or they would be counted twice.
//! * Our triggers are taken away before the schema changes (SQLite drops no column that a trigger names)
//!   and are back before the transaction ends, so nothing passes unseen.

mod done;
mod plan;

use crate::capture::gone;
use crate::capture::install::{InstallError, install};
use crate::capture::rename;
use crate::programs_triggers;
use crate::quote::ident;
use crate::replica::Replica;
use crate::row::refusal;
use crate::script::{self, Action, ScriptError, Statement};
use crate::shape::Schema;
use plan::{Plan, Planned, Purpose};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tt_protocol::former::Former;
use tt_protocol::number::EdgeId;
use tt_protocol::policy::Policy;

/// Where a migration runs. The device tells: the hub's own number means the hub.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// A connection inside of a transaction, with triggers off.
    pub conn: &'a Connection,
    /// The merge policy.
    pub policy: &'a Policy,
    /// The node.
    pub device: EdgeId,
}

/// What came of it.
#[derive(Debug)]
pub struct Evolved {
    /// The replicated tables afterwards.
    pub replica: Replica,
    /// Names that are gone.
    pub formers: Vec<Former>,
    /// Unique indexes that the present rows do not allow yet (an edge's only): the feed's rows may.
    pub later: Vec<String>,
}

/// Why a migration was not made. The caller's transaction must be rolled back.
#[derive(Debug, thiserror::Error)]
pub enum EvolveError {
    /// It is no migration.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// SQLite refused a statement.
    #[error("{source}, in the statement: {sql}")]
    Statement {
        /// The statement's beginning.
        sql: String,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
    /// Capture could not be put right afterwards.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// SQLite failed besides.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Makes a migration.
///
/// # Errors
/// [`EvolveError`].
pub fn evolve(site: Site<'_>, sql: &str) -> Result<Evolved, EvolveError> {
    let before = Schema::read(site.conn)?;
    let compared = to_be_compared(site.conn)?;
    let mut plan = plan::plan(script::parse(sql)?, all_tables(site.conn)?.into_iter());
    let later = Run { site, bare: false, later: Vec::new() }.all(&plan)?;
    let replica = install(site.conn, site.policy, site.device)?.replica;
    gone::forget_passing(site.conn, &replica.schema, &plan.passing)?;
    gone::sweep(site.conn, &replica.schema, replica.tables.values())?;
    plan.formers.extend(left_out(&plan, &before, &replica.schema));
    mark_compared(site, &compared, &plan.rebuilt)?;
    let schema_version = site.conn.pragma_query_value(None, "schema_version", |row| row.get(0))?;
    Ok(Evolved { replica: Replica { schema_version, ..replica }, formers: plan.formers, later })
}

/// Drops what a program at the hub dropped, with the indexes that would hold it back.
///
/// # Errors
/// [`EvolveError`].
pub fn drop_column(site: Site<'_>, table: &str, column: &str) -> Result<Evolved, EvolveError> {
    let sql = "SELECT l.name FROM pragma_index_list(?1) l JOIN pragma_index_info(l.name) i
               WHERE l.origin = 'c' AND i.name = ?2 COLLATE NOCASE";
    let indexes: Vec<String> = site
        .conn
        .prepare(sql)?
        .query_map([table, column], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut script: String = indexes.iter().map(|index| format!("DROP INDEX {}; ", ident(index))).collect();
    script.push_str(&format!("ALTER TABLE {} DROP COLUMN {}", ident(table), ident(column)));
    evolve(site, &script)
}

struct Run<'a> {
    site: Site<'a>,
    /// Our triggers are away.
    bare: bool,
    later: Vec<String>,
}

impl Run<'_> {
    fn all(mut self, plan: &Plan<'_>) -> Result<Vec<String>, EvolveError> {
        for planned in &plan.statements {
            let hub = self.site.device == EdgeId::HUB;
            let due = match planned.purpose {
                Purpose::Define | Purpose::Copy => true,
                Purpose::Rows => hub,
                Purpose::Look => false,
            };
            if due && !done::is_done(self.site.conn, &planned.statement.action, hub)? {
                self.one(planned, hub)?;
            }
        }
        Ok(self.later)
    }

    fn one(&mut self, planned: &Planned<'_>, hub: bool) -> Result<(), EvolveError> {
        let conn = self.site.conn;
        let Statement { sql, action } = &planned.statement;
        match planned.purpose {
            Purpose::Rows => return self.rows(sql),
            Purpose::Copy if !hub => {
                return conn.execute_batch(&forgiving(sql)).map_err(|source| refused(sql, source));
            }
            Purpose::Define if !self.bare => {
                drop_triggers(conn)?;
                self.bare = true;
            }
            _ => {}
        }
        if planned.lives_on {
            match action {
                Action::RenameTable { from, to } => rename::table(conn, from, to)?,
                Action::RenameColumn { table, from, to } => rename::column(conn, table, from, to)?,
                _ => {}
            }
        }
        match conn.execute_batch(sql) {
            Err(error) if !hub && is_index(action) && refusal(&error).is_some() => {
                self.later.push((*sql).to_owned());
                Ok(())
            }
            outcome => outcome.map_err(|source| refused(sql, source)),
        }
    }

    /// Rows are changed as a program changes them: captured, and with its own triggers.
    fn rows(&mut self, sql: &str) -> Result<(), EvolveError> {
        let Site { conn, policy, device } = self.site;
        if self.bare {
            install(conn, policy, device)?;
            self.bare = false;
        }
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true)?;
        let outcome = conn.execute_batch(sql);
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        outcome.map_err(|source| refused(sql, source))
    }
}

fn refused(sql: &str, source: rusqlite::Error) -> EvolveError {
    let short: String = sql.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect();
    EvolveError::Statement { sql: short, source }
}

fn is_index(action: &Action) -> bool {
    matches!(action, Action::Create { what: "index", .. })
}

/// Rows that the hub has changed meanwhile may not fit into the new body yet; they come with the feed.
fn forgiving(sql: &str) -> String {
    let head = sql.get(..6).filter(|head| head.eq_ignore_ascii_case("INSERT"));
    match (head, sql.get(6..)) {
        (Some(_), Some(rest)) if !rest.trim_start().to_ascii_uppercase().starts_with("OR ") => {
            format!("INSERT OR IGNORE{rest}")
        }
        _ => sql.to_owned(),
    }
}

/// Takes away what of ours names the tables: triggers, copies of the program's, indexes.
fn drop_triggers(conn: &Connection) -> rusqlite::Result<()> {
    programs_triggers::put_away(conn)?;
    let sql = "SELECT type, name FROM sqlite_schema WHERE type IN ('trigger', 'index')
               AND name LIKE '\\_sync\\_%' ESCAPE '\\' AND tbl_name NOT LIKE '\\_sync\\_%' ESCAPE '\\'";
    let ours: Vec<(String, String)> = conn
        .prepare(sql)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    ours.iter().try_for_each(|(kind, name)| conn.execute_batch(&format!("DROP {kind} {}", ident(name))))
}

fn all_tables(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_sync\\_%' ESCAPE '\\'";
    conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// Columns that rebuilt tables had before and have not any more.
fn left_out(plan: &Plan<'_>, before: &Schema, after: &Schema) -> Vec<Former> {
    let mut found = Vec::new();
    for name in &plan.rebuilt {
        let (Some(old), Some(new)) = (before.table(name), after.table(name)) else { continue };
        for column in &old.columns {
            let renamed = plan.formers.iter().any(|former| {
                former.table.eq_ignore_ascii_case(name)
                    && former.column.as_ref().is_some_and(|from| from.eq_ignore_ascii_case(&column.name))
            });
            if new.column(&column.name).is_none() && !renamed {
                let (table, column) = (new.name.clone(), Some(column.name.clone()));
                found.push(Former { table, column, becomes: None });
            }
        }
    }
    found
}

/// Tables that were to be compared already, and why. Ours were unwatched only inside of this transaction.
fn to_be_compared(conn: &Connection) -> rusqlite::Result<Vec<(i64, i64)>> {
    let sql = "SELECT tid, audit FROM _sync_table WHERE audit <> 0";
    conn.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The hub tells every edge all rows of a table that it rebuilt: the copies may differ.
fn mark_compared(site: Site<'_>, compared: &[(i64, i64)], rebuilt: &[String]) -> rusqlite::Result<()> {
    site.conn.execute("UPDATE _sync_table SET audit = 0", [])?;
    for (tid, why) in compared {
        site.conn.execute("UPDATE _sync_table SET audit = ?2 WHERE tid = ?1", (tid, why))?;
    }
    if site.device == EdgeId::HUB {
        for name in rebuilt {
            site.conn.execute("UPDATE _sync_table SET audit = 1 WHERE name = ?1 COLLATE NOCASE", [name])?;
        }
    }
    Ok(())
}
