//! The canonical database and the daemon that writes it.

use super::{Check, State};
use crate::backup::contents;
use crate::database;
use crate::folder::Folder;
use rusqlite::Connection;
use tt_protocol::counted::counted;

const DATABASE: &str = "database";
/// Tables without which TabletTracker cannot work, as its guide names them.
const CRITICAL: [&str; 6] =
    ["warehouse_submissions", "purchase_orders", "employees", "shipments", "receiving", "tablet_types"];

/// The file, SQLite's own checks, and the tables without which the program cannot work.
pub(super) fn file(folder: &Folder) -> Check {
    let path = folder.database();
    let read = || {
        let conn = database::open(&path)?;
        looked_at(&conn).map_err(|error| database::DatabaseError::new(&path, &error))
    };
    match read() {
        Ok(found) => Check::of(DATABASE, found, format!("{} passes integrity_check", path.display())),
        Err(error) => {
            let what = format!("{error}; `tt-hub backups` lists what can be restored");
            Check::new(DATABASE, State::Critical, what)
        }
    }
}

fn looked_at(conn: &Connection) -> rusqlite::Result<Vec<(State, String)>> {
    let mut found = Vec::new();
    if let Some(problem) = contents::integrity_problems(conn)?.first() {
        let what =
            format!("integrity_check says: {problem}; restore a backup (`tt-hub restore --interactive`)");
        found.push((State::Critical, what));
    }
    let children: i64 =
        conn.query_row("SELECT COUNT(*) FROM pragma_foreign_key_check", [], |row| row.get(0))?;
    if children > 0 {
        let what = format!(
            "without the row at which they point: {}; a program writes with foreign keys off",
            counted(children, "row")
        );
        found.push((State::Warning, what));
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE)";
    let mut is_there = conn.prepare(sql)?;
    let mut missing = Vec::new();
    for table in CRITICAL {
        if !is_there.query_row([table], |row| row.get::<_, bool>(0))? {
            missing.push((State::Warning, format!("the table {table} is not there")));
        }
    }
    // A database of another program has none of them.
    if missing.len() < CRITICAL.len() {
        found.extend(missing);
    }
    Ok(found)
}
