//! The program's own triggers, when we write its rows: those that only keep tables which are not replicated
//! fire (a local search index must hold what came from elsewhere), the others do not (their rows come by
//! themselves).
//!
//! * Our connections fire no trigger of the file. TEMP triggers of a connection fire nevertheless, so each
//!   trigger that may fire is copied into one, under the name `_sync_copy_…`. The program's file is not
//!   touched, and where a program has no such trigger nothing is there to cost anything.
//! * All that is known about the copies lies in the TEMP schema beside them. It is rolled back with them.
//! * A copy never stops a row. One that could take the row or the transaction away is not made; one that
//!   fails is dropped for the rest of the session, and the row goes in.

mod failing;
mod judge;

pub(crate) use failing::past_failing;
pub use judge::{Judged, Verdict, judge};

use crate::quote::ident;
use crate::replica::Replica;
use crate::tokens::tokenize;
use rusqlite::{Connection, Result};

const TABLES: &str = "
CREATE TEMP TABLE IF NOT EXISTS _sync_copied(schema_version INTEGER NOT NULL);
CREATE TEMP TABLE IF NOT EXISTS _sync_left_out(name TEXT PRIMARY KEY, reason TEXT NOT NULL);
DELETE FROM temp._sync_copied; DELETE FROM temp._sync_left_out;";

/// A trigger of the program that does not fire when rows arrive, although a table which is not replicated
/// depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Why, as the end of a sentence.
    pub reason: String,
}

/// Copies the triggers that may fire, if the shape of the file is another than at the last call. To be called
/// in the transaction that goes on to write rows, on a connection that fires no triggers.
///
/// # Errors
/// When SQLite fails.
pub fn renew(conn: &Connection, replica: &Replica) -> Result<()> {
    if copied_for(conn) == Some(replica.schema_version) {
        return Ok(());
    }
    put_away(conn)?;
    conn.execute_batch(TABLES)?;
    for judged in judge(conn, replica)? {
        match &judged.verdict {
            Verdict::Fires => {
                if let Err(error) = copy(conn, replica, &judged) {
                    leave_out(conn, &judged.name, &format!("it cannot be fired here ({error})"))?;
                }
            }
            Verdict::LeftOut(reason) => leave_out(conn, &judged.name, reason)?,
            Verdict::ComesByItself | Verdict::WritesNothing => {}
        }
    }
    conn.execute("INSERT INTO temp._sync_copied VALUES (?1)", [replica.schema_version])?;
    Ok(())
}

/// Drops all copies: the tables that they name are about to change. [`renew`] makes them again.
///
/// # Errors
/// When SQLite fails.
pub fn put_away(conn: &Connection) -> Result<()> {
    for (name, _) in failing::copies(conn)? {
        conn.execute_batch(&format!("DROP TRIGGER temp.{}", ident(&name)))?;
    }
    if copied_for(conn).is_some() {
        conn.execute("DELETE FROM temp._sync_copied", [])?;
    }
    Ok(())
}

/// The triggers that do not fire although something depends on them, for a person to know.
///
/// # Errors
/// When SQLite fails.
pub fn left_out(conn: &Connection) -> Result<Vec<LeftOut>> {
    if copied_for(conn).is_none() {
        return Ok(Vec::new());
    }
    conn.prepare_cached("SELECT name, reason FROM temp._sync_left_out ORDER BY name")?
        .query_map([], |row| Ok(LeftOut { name: row.get(0)?, reason: row.get(1)? }))?
        .collect()
}

/// The triggers that would not fire on a connection that writes rows, as [`judge`] finds them: for whoever only
/// looks at the file. One that fails when it fires is known only to the daemon that fired it.
///
/// # Errors
/// When SQLite fails.
pub fn would_be_left_out(conn: &Connection, replica: &Replica) -> Result<Vec<LeftOut>> {
    let judged = judge(conn, replica)?.into_iter();
    Ok(judged
        .filter_map(|judged| match judged.verdict {
            Verdict::LeftOut(reason) => Some(LeftOut { name: judged.name, reason }),
            _ => None,
        })
        .collect())
}

/// What a person has been told already, so that each trigger is named once.
#[derive(Clone, Debug, Default)]
pub struct Told(Vec<LeftOut>);

impl Told {
    /// The triggers that were left out since the last call.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn news(&mut self, conn: &Connection) -> Result<Vec<LeftOut>> {
        let now = left_out(conn)?;
        let news = now.iter().filter(|one| !self.0.contains(one)).cloned().collect();
        self.0 = now;
        Ok(news)
    }
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "trigger \"{}\" does not fire for rows that come from elsewhere: {}",
            self.name, self.reason
        )
    }
}

/// The shape for which the copies were made. Without the table there are none.
fn copied_for(conn: &Connection) -> Option<i64> {
    let mut statement = conn.prepare_cached("SELECT schema_version FROM temp._sync_copied").ok()?;
    statement.query_row([], |row| row.get(0)).ok()
}

fn leave_out(conn: &Connection, name: &str, reason: &str) -> Result<()> {
    conn.execute("INSERT OR REPLACE INTO temp._sync_left_out VALUES (?1, ?2)", (name, reason))?;
    Ok(())
}

/// Makes the copy, and tries whether the table can still be written with it.
fn copy(conn: &Connection, replica: &Replica, judged: &Judged) -> Result<()> {
    let name = ident(&copy_name(&judged.name));
    let Some(rest) = after_name(&judged.sql) else {
        return Err(rusqlite::Error::InvalidQuery);
    };
    conn.execute_batch(&format!("CREATE TEMP TRIGGER {name} {rest}"))?;
    let table = replica.schema.table(&judged.table);
    let tried = table.map_or(Ok(()), |table| {
        judge::events(table).iter().try_for_each(|(_, sql)| conn.prepare(sql).map(drop))
    });
    if tried.is_err() {
        conn.execute_batch(&format!("DROP TRIGGER temp.{name}"))?;
    }
    tried
}

fn copy_name(trigger: &str) -> String {
    format!("_sync_copy_{trigger}")
}

/// The trigger's text after its name: `sqlite_schema` keeps it as `CREATE TRIGGER name …`.
fn after_name(sql: &str) -> Option<&str> {
    let tokens = tokenize(sql).ok()?;
    let mut words = tokens.iter().filter(|token| token.kind != crate::tokens::Kind::Comment);
    let (create, trigger, name) = (words.next()?, words.next()?, words.next()?);
    (create.is_word("create") && trigger.is_word("trigger")).then(|| &sql[name.range.end..])
}
