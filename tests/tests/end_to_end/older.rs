//! Programs with an older SQLite than ours (Python's), writing on a live device; and what programs do to
//! the file under a running daemon: VACUUM, another journal mode, a checkpoint.

use crate::warehouse::{Done, Warehouse, sql, until_number};
use anyhow::{Context as _, ensure};
use std::path::Path;
use std::process::Command;
use tt_tests::{inspect, writer};

const COUNT: &str = "SELECT good_count FROM po_lines WHERE id = 1";
const OWN: &str = "SELECT COUNT(*) FROM warehouse_submissions WHERE employee_name = 'python'";

/// A program as they are: autocommit, then one transaction, then REPLACE.
const PROGRAM: &str = "
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
conn.execute('PRAGMA foreign_keys = ON')
for number in range(100):
    conn.execute('INSERT INTO warehouse_submissions(employee_name, product_name, box_number) VALUES (?, ?, ?)', ('python', 'x', number))
    conn.execute('UPDATE po_lines SET good_count = good_count + 1 WHERE id = 1')
conn.execute('BEGIN IMMEDIATE')
conn.execute('DELETE FROM warehouse_submissions WHERE employee_name = ? AND box_number >= 90', ('python',))
conn.execute('REPLACE INTO app_settings(setting_key, setting_value) VALUES (?, ?)', ('cards_per_turn', 'python'))
conn.execute('REPLACE INTO po_lines(id, po_id, inventory_item_id, good_count) SELECT id, po_id, inventory_item_id, good_count + 5 FROM po_lines WHERE id = 1')
conn.execute('COMMIT')
print(sqlite3.sqlite_version)
";

/// Runs a Python program on a file. None, with a line that says so, where there is no Python.
fn python(program: &str, db: &Path) -> anyhow::Result<Option<String>> {
    if !Command::new("python3")
        .args(["-c", "import sqlite3"])
        .output()
        .is_ok_and(|probe| probe.status.success())
    {
        println!("skipped: no python3 with sqlite3 here");
        return Ok(None);
    }
    let output = Command::new("python3").args(["-c", program]).arg(db).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(Some(String::from_utf8(output.stdout)?.trim().to_owned()))
}

#[test]
fn a_program_with_an_older_sqlite_writes_on_a_live_device() -> Done {
    let warehouse = Warehouse::open()?;
    let (edge, other) = (warehouse.linked("packing-1")?, warehouse.linked("packing-2")?);
    let Some(version) = python(PROGRAM, &edge.db())? else {
        return Ok(());
    };
    println!("Python writes through SQLite {version}");
    for db in [warehouse.hub.db(), other.db()] {
        until_number(&db, OWN, 90)?;
        until_number(&db, COUNT, 105)?;
        until_number(
            &db,
            "SELECT setting_value = 'python' FROM app_settings WHERE setting_key = 'cards_per_turn'",
            1,
        )?;
    }
    python(&PROGRAM.replace("'python'", "'office'"), &warehouse.hub.db())?;
    until_number(&edge.db(), &OWN.replace("python", "office"), 90)?;
    until_number(&edge.db(), COUNT, 210)?;
    warehouse.agree(&[&edge, &other])
}

#[test]
fn what_programs_do_to_the_file_loses_nothing() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let db = edge.db();
    let deeds = [
        "VACUUM",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA journal_mode = DELETE",
        "VACUUM",
        "PRAGMA journal_mode = WAL",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "REINDEX; ANALYZE",
    ];
    for (deed, expected) in deeds.iter().zip((2..).step_by(2)) {
        sql(&db, "UPDATE po_lines SET good_count = good_count + 1 WHERE id = 1")?;
        // A pragma that another connection holds back changes nothing and gives a row or a refusal.
        let conn = writer::open(&db)?;
        if let Err(error) = conn.execute_batch(deed) {
            println!("{deed}: {error}");
        }
        drop(conn);
        sql(&db, "UPDATE po_lines SET good_count = good_count + 1 WHERE id = 1")?;
        until_number(&warehouse.hub.db(), COUNT, expected).with_context(|| (*deed).to_owned())?;
    }
    warehouse.agree(&[&edge])
}

#[test]
fn another_journal_mode_while_the_daemon_is_down_loses_nothing() -> Done {
    let warehouse = Warehouse::open()?;
    let mut edge = warehouse.linked("packing-1")?;
    edge.daemon.take().context("it runs")?.stop()?;
    sql(
        &edge.db(),
        "UPDATE po_lines SET good_count = good_count + 1 WHERE id = 1; PRAGMA journal_mode = DELETE; VACUUM",
    )?;
    sql(&edge.db(), "UPDATE po_lines SET good_count = good_count + 1 WHERE id = 1")?;
    edge.run()?;
    warehouse.agree(&[&edge])?;
    until_number(&warehouse.hub.db(), COUNT, 2)?;
    let mode: String = inspect::open(&edge.db())?.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    ensure!(mode == "wal", "the daemon has set the mode back: {mode}");
    Ok(())
}
