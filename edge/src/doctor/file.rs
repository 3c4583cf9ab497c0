//! The database file as SQLite sees it, on a connection that only reads.

use super::Check;
use rusqlite::{Connection, OpenFlags, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tt_migrations::replica::Replica;
use tt_protocol::counted::counted;

/// What to do with a file that SQLite cannot read in full.
pub(crate) const DAMAGED: &str = "stop the programs and tt-edge run on this device, make a token at the hub (tt-hub invite NAME) \
     and type tt-edge join TOKEN --rescue here: it keeps the damaged file, hands in what can be read of it and fetches the rows again";
/// A program's long transaction may hold the file for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Lines of a check's output that a person reads.
const LINES_MAX: usize = 5;

/// Opens the file for reading only.
pub(crate) fn open(db: &Path) -> Result<Connection> {
    let conn = Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    // Reads a page: opening alone does not.
    conn.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(conn)
}

/// The file's own soundness: `full` also compares every index with its table.
pub(crate) fn integrity(conn: &Connection, full: bool) -> Check {
    let name = if full { "integrity_check" } else { "quick_check" };
    let lines = || -> Result<Vec<String>> {
        conn.prepare(&format!("PRAGMA {name}({LINES_MAX})"))?.query_map([], |row| row.get(0))?.collect()
    };
    match lines() {
        Ok(lines) if lines == ["ok"] && full => Check::ok("integrity", "every page and index is sound"),
        Ok(lines) if lines == ["ok"] => {
            Check::ok("integrity", "every page is sound (--full also compares indexes with their tables)")
        }
        Ok(lines) => Check::fail("integrity", lines.join("; "), DAMAGED),
        Err(error) => Check::impossible("integrity", &error),
    }
}

/// Rows whose parent is not there.
pub(crate) fn foreign_keys(conn: &Connection, replica: &Replica) -> Check {
    let mut found: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut read = || -> Result<()> {
        let mut statement = conn.prepare("PRAGMA foreign_key_check")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            *found.entry((row.get(0)?, row.get(2)?)).or_default() += 1;
        }
        Ok(())
    };
    if let Err(error) = read() {
        return Check::impossible("foreign keys", &error);
    }
    if found.is_empty() {
        return Check::ok("foreign keys", "every row has its parent");
    }
    let is_replicated = found.keys().any(|(child, _)| replica.get(child).is_some());
    let lines: Vec<String> = found
        .into_iter()
        .map(|((child, parent), rows)| {
            format!("{} of \"{child}\" without a parent in \"{parent}\"", counted(rows, "row"))
        })
        .collect();
    let lines = lines.join("; ");
    if is_replicated {
        let advice = "a program wrote them with foreign_keys off: add the parents or delete the rows; \
                      PRAGMA foreign_key_check names them";
        return Check::fail("foreign keys", lines, advice);
    }
    Check::warn("foreign keys", lines, "these tables are not replicated; ask whoever writes them")
}

/// The journal mode that the file is in.
pub(crate) fn journal(conn: &Connection) -> Check {
    match conn.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0)) {
        Ok(mode) if mode == "wal" => Check::ok("journal mode", "WAL"),
        Ok(mode) => Check::warn(
            "journal mode",
            format!("a program has set {mode}: readers and writers wait for each other"),
            "the daemon sets WAL again when no program holds the file; find the program that sets it back",
        ),
        Err(error) => Check::impossible("journal mode", &error),
    }
}

/// What is not kept in the file.
pub(crate) fn synchronous() -> Check {
    Check::ok(
        "synchronous",
        "tt-edge commits what it cuts with FULL; a program's own setting is not kept in the file and cannot be seen",
    )
}
