//! A restore while a Python program has the hub's file open, with a statement half read: it sees the old rows or the
//! new ones or one error after which it goes on, and what it writes afterwards is in the file that everybody has.

use crate::warehouse::{Done, Warehouse, sound};
use anyhow::{Context as _, ensure};
use serde_json::Value as Json;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tt_tests::inspect;

/// A command a line; answers with what came of it.
const PYTHON: &str = "
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
cursor = db.cursor()
for line in sys.stdin:
    try:
        command = line.strip()
        if command == 'open':
            cursor.execute('SELECT id FROM product_details ORDER BY id')
            print('first', cursor.fetchone() is not None)
        elif command == 'rest':
            print('rest', len(cursor.fetchall()))
        elif command == 'close':
            cursor.close(); cursor = db.cursor(); print('closed')
        elif command == 'state':
            print('state', db.execute(\"SELECT (SELECT count(*) FROM employees WHERE username LIKE 'ours-%'), (SELECT value FROM _sync_state WHERE name = 'epoch')\").fetchone())
        elif command == 'write':
            db.execute(\"INSERT INTO employees(username, full_name, password_hash) VALUES ('ours-late', 'x', '')\")
            print('written')
    except sqlite3.Error as error:
        print('error', error)
    sys.stdout.flush()
";

struct Python {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Python {
    fn start(db: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new("python3")
            .args(["-c", PYTHON])
            .arg(db)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let to = child.stdin.take().context("its input")?;
        let from = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, to, from })
    }

    fn ask(&mut self, command: &str) -> anyhow::Result<String> {
        writeln!(self.to, "{command}")?;
        let mut answer = String::new();
        self.from.read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn add(db: &Path, name: &str) -> Done {
    crate::warehouse::sql(
        db,
        &format!("INSERT INTO employees(username, full_name, password_hash) VALUES ('ours-{name}', 'x', '')"),
    )
}

/// A backup with one row of ours, and two in the live file. Gives the backup.
fn prepared(warehouse: &Warehouse) -> anyhow::Result<String> {
    add(&warehouse.hub.db(), "one")?;
    let said = warehouse.hub.say(&["backup", "--tier", "hourly", "--json"])?;
    let made: Json = serde_json::from_str(&said.out)?;
    add(&warehouse.hub.db(), "two")?;
    Ok(made["id"].as_str().with_context(|| format!("an id: {said:?}"))?.to_owned())
}

/// An answer that is no rows is an error that asking again resolves.
fn again(python: &mut Python, command: &str) -> anyhow::Result<String> {
    let answer = python.ask(command)?;
    ensure!(!answer.contains("malformed") && !answer.contains("not a database"), "{answer}");
    if answer.starts_with("error") { python.ask(command) } else { Ok(answer) }
}

fn restore_under(warehouse: &Warehouse, python: &mut Python, id: &str) -> Done {
    ensure!(python.ask("state")? == "state (2, 1)");
    ensure!(python.ask("open")? == "first True");
    let restored = warehouse.hub.say(&["restore", id, "--force"])?;
    let is_new = match restored.code {
        0 => true,
        _ => {
            ensure!(restored.err.contains("nothing was changed"), "{restored:?}");
            false
        }
    };
    let rest = again(python, "rest")?;
    ensure!(rest.starts_with("rest ") || rest.starts_with("error"), "{rest}");
    ensure!(python.ask("close")? == "closed");
    let state = again(python, "state")?;
    ensure!(state == if is_new { "state (1, 2)" } else { "state (2, 1)" }, "{state}");
    if !is_new {
        let said = warehouse.hub.say(&["restore", id, "--force"])?;
        ensure!(said.code == 0, "{said:?}");
        ensure!(again(python, "state")? == "state (1, 2)");
    }
    ensure!(again(python, "write")? == "written");
    let late = "SELECT count(*) FROM employees WHERE username = 'ours-late'";
    ensure!(inspect::number(&warehouse.hub.db(), late)? == 1, "it wrote into a file that is gone");
    sound(&warehouse.hub.db())
}

#[test]
fn a_program_with_a_half_read_statement_goes_on_after_a_restore() -> Done {
    let warehouse = Warehouse::open()?;
    let id = prepared(&warehouse)?;
    let mut python = Python::start(&warehouse.hub.db())?;
    restore_under(&warehouse, &mut python, &id)
}

#[test]
fn so_does_one_whose_file_has_a_rollback_journal() -> Done {
    let mut warehouse = Warehouse::open()?;
    let id = prepared(&warehouse)?;
    warehouse.stop_hub()?;
    let conn = rusqlite::Connection::open(warehouse.hub.db())?;
    let mode: String = conn.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    ensure!(mode == "delete");
    drop(conn);
    let mut python = Python::start(&warehouse.hub.db())?;
    restore_under(&warehouse, &mut python, &id)
}
