//! The same statements through the SQLite that Python brings along, which is older than ours. Where there
//! is no `python3`, the tests say so and do nothing.

use crate::station::Station;
use std::process::Command;

const SCHEMA: &str = "
CREATE TABLE po(id INTEGER PRIMARY KEY, number TEXT UNIQUE NOT NULL, status TEXT DEFAULT \"Active\", n INTEGER DEFAULT 0);
CREATE TABLE setting(name TEXT PRIMARY KEY COLLATE NOCASE, value);
CREATE TABLE event(id INTEGER PRIMARY KEY, bag INTEGER, kind TEXT);
CREATE UNIQUE INDEX one_final ON event(bag) WHERE kind = 'final';
CREATE UNIQUE INDEX folded ON event(lower(kind), bag);
INSERT INTO po VALUES (1, 'A', 'Active', 1), (2, 'B', 'Active', 2), (3, 'C', 'Active', 3);
INSERT INTO setting VALUES ('theme', 'dark'), ('page', 1);
INSERT INTO event VALUES (1, 1, 'x'), (2, 1, 'final'), (3, 2, 'X');";

/// Runs statements as a Python program would; false where there is no Python.
fn python(station: &Station, statements: &str) -> bool {
    let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.executescript(sys.argv[2])\nc.commit()\nprint(sqlite3.sqlite_version)";
    let Ok(output) =
        Command::new("python3").args(["-c", script]).arg(station.path()).arg(statements).output()
    else {
        println!("skipped: there is no python3 here");
        return false;
    };
    assert!(output.status.success(), "{statements}: {}", String::from_utf8_lossy(&output.stderr));
    println!("SQLite {}", String::from_utf8_lossy(&output.stdout).trim());
    true
}

#[test]
fn an_older_library_runs_the_triggers() {
    let mut station = Station::new(SCHEMA);
    if !python(
        &station,
        "UPDATE po SET n = n + 1 WHERE id = 1; DELETE FROM po WHERE id = 3; UPDATE po SET id = 20 WHERE id = 2",
    ) {
        return;
    }
    assert_eq!(station.cut(), ["+ po 20", "- po 2", "- po 3", "~ po 1: n"]);
    python(&station, "INSERT INTO po(number) VALUES ('D')");
    assert_eq!(station.cut().len(), 1);
}

#[test]
fn an_older_library_replaces() {
    let mut station = Station::new(SCHEMA);
    if !python(
        &station,
        "INSERT OR REPLACE INTO po(id, number) VALUES (9, 'B'); REPLACE INTO setting VALUES ('THEME', 'light')",
    ) {
        return;
    }
    assert_eq!(station.cut(), ["+ po 9", "+ setting THEME", "- po 2", "- setting theme"]);
    python(
        &station,
        "UPDATE OR REPLACE event SET kind = 'final' WHERE id = 1; REPLACE INTO event VALUES (4, 2, 'X')",
    );
    assert_eq!(station.cut(), ["+ event 4", "- event 2", "- event 3", "~ event 1: kind"]);
    python(
        &station,
        "INSERT OR IGNORE INTO po(id, number) VALUES (1, 'Z'); INSERT OR REPLACE INTO po VALUES (1, 'A', 'Active', 1)",
    );
    assert!(station.cut().is_empty());
    python(
        &station,
        "INSERT INTO setting VALUES ('page', 2) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
    );
    assert_eq!(station.cut(), ["~ setting page: value"]);
}
