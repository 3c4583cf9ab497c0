//! A copy that fails must not keep the row out: it is found, dropped for the rest of the session and named,
//! and the row goes in without it.

use super::{copy_name, leave_out};
use crate::quote::ident;
use rusqlite::{Connection, Result};

/// A statement on `table` failed with `error`, and left nothing behind. Runs it again without the copy that is
/// to blame. When it is none of them, the error is about the row itself.
pub(crate) fn past_failing(
    conn: &Connection,
    table: &str,
    error: rusqlite::Error,
    run: impl Fn() -> Result<()>,
) -> Result<()> {
    // Copies never write a replicated table: what one of its constraints says is about our row.
    let own = format!("constraint failed: {table}.");
    if conn.is_autocommit() || error.to_string().contains(&own) {
        return Err(error);
    }
    let copies = copies(conn)?;
    if copies.is_empty() {
        return Err(error);
    }
    for copy in &copies {
        drop_copy(conn, copy)?;
        if run().is_ok() {
            return blame(conn, copy, &error);
        }
        conn.execute_batch(&copy.1)?;
    }
    copies.iter().try_for_each(|copy| drop_copy(conn, copy))?;
    match run() {
        Ok(()) => copies.iter().try_for_each(|copy| blame(conn, copy, &error)),
        Err(error) => {
            copies.iter().try_for_each(|(_, sql)| conn.execute_batch(sql))?;
            Err(error)
        }
    }
}

/// Name and text of each copy that this connection has.
pub(super) fn copies(conn: &Connection) -> Result<Vec<(String, String)>> {
    let sql = "SELECT name, sql FROM sqlite_temp_schema WHERE type = 'trigger'
               AND name LIKE '\\_sync\\_copy\\_%' ESCAPE '\\' ORDER BY name";
    let texts: Vec<(String, String)> =
        conn.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_>>()?;
    // The text is kept without the word TEMP.
    let whole = |(name, sql): (String, String)| {
        let rest = super::after_name(&sql).unwrap_or_default();
        let sql = format!("CREATE TEMP TRIGGER {} {rest}", ident(&name));
        (name, sql)
    };
    Ok(texts.into_iter().map(whole).collect())
}

fn drop_copy(conn: &Connection, (name, _): &(String, String)) -> Result<()> {
    conn.execute_batch(&format!("DROP TRIGGER temp.{}", ident(name)))
}

fn blame(conn: &Connection, (name, _): &(String, String), error: &rusqlite::Error) -> Result<()> {
    let trigger = name.strip_prefix(&copy_name("")).unwrap_or(name);
    leave_out(conn, trigger, &format!("it failed on a row that arrived ({error}) and is off until a restart"))
}
