//! A device leaves its hub: its program's file is as if nobody had ever joined it, with every row, and the program
//! notices nothing.

use crate::warehouse::{Done, Warehouse, copy, refused, sound, sql, until_number};
use anyhow::{Context as _, ensure};
use rusqlite::Connection;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tt_tests::node::{Edge, until};
use tt_tests::sim::random::Random;
use tt_tests::{inspect, writer};

/// A table with a key that is no AUTOINCREMENT, a trigger and a view of the program's own. Each label is logged.
const OWN: &str = "CREATE TABLE labels (id INTEGER PRIMARY KEY /* plain */, text TEXT NOT NULL);
    CREATE INDEX labels_text ON labels(text);
    CREATE VIEW busy AS SELECT * FROM bags WHERE status <> 'Closed';
    CREATE TABLE last_sync_log(note TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TRIGGER labels_log AFTER INSERT ON labels BEGIN
      INSERT INTO last_sync_log(note) VALUES (new.text) ON CONFLICT(note) DO NOTHING; END;
    INSERT INTO labels(text) VALUES ('one'), ('two');";

/// The program's file and a hub that has adopted a copy of it.
fn begin() -> anyhow::Result<(Warehouse, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let original = folder.path().join("program.db");
    copy("tablettracker_2026.db", &original)?;
    Connection::open(&original)?.execute_batch(OWN)?;
    let warehouse = Warehouse::adopting(&original)?;
    let file = warehouse.path("program.db");
    fs::copy(&original, &file)?;
    Ok((warehouse, file))
}

/// Type, name, table and text.
type Object = (String, String, String, Option<String>);

fn schema(db: &Path) -> anyhow::Result<Vec<Object>> {
    let conn = inspect::open(db)?;
    let mut statement = conn.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Every row of every table of the program, as SQL would write it. SQLite's own counters are looked at apart.
fn rows(db: &Path) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let conn = inspect::open(db)?;
    let mut all = BTreeMap::new();
    for (kind, name, ..) in schema(db)? {
        if kind != "table" || name.starts_with("_sync_") || name.starts_with("sqlite_") {
            continue;
        }
        let columns: Vec<String> = conn
            .prepare("SELECT 'quote(\"' || name || '\")' FROM pragma_table_info(?1)")?
            .query_map([&name], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let sql = format!("SELECT {} FROM \"{name}\" ORDER BY 1", columns.join(" || '|' || "));
        let found = conn.prepare(&sql)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        all.insert(name, found);
    }
    Ok(all)
}

fn leave(edge: &Edge, more: &[&str]) -> anyhow::Result<(i32, Json)> {
    let said = edge.say(&[&["leave", "--json"], more].concat())?;
    let json = serde_json::from_str(&said.out).with_context(|| format!("{said:?}"))?;
    Ok((said.code, json))
}

fn state_at_hub(warehouse: &Warehouse) -> anyhow::Result<String> {
    let hub = &warehouse.hub;
    let list: Json = serde_json::from_str(&hub.program.must("hub", &hub.dir, &["edges", "--json"])?)?;
    Ok(list[0]["state"].as_str().context("the device is listed")?.to_owned())
}

#[test]
fn the_file_is_the_programs_alone_again_and_the_program_notices_nothing() -> Done {
    let (warehouse, file) = begin()?;
    let before = schema(&file)?;
    let program = writer::open(&file)?;
    let mut counting = program.prepare("INSERT INTO labels(text) VALUES (?1)")?;
    let mut edge = warehouse.device_with("packing-1", &file)?;
    ensure!(schema(&file)?.len() > before.len() + 50, "it has joined");
    counting.execute(["while joined"])?;
    edge.run()?;
    refused(&edge.say(&["leave"])?, 1, &["already replicates"])?;
    sql(&warehouse.hub.db(), "INSERT INTO labels(text) VALUES ('from the hub')")?;
    until_number(&file, "SELECT COUNT(*) FROM labels WHERE text = 'from the hub'", 1)?;
    edge.daemon.take().context("it runs")?.stop()?;
    counting.execute(["not handed in yet"])?;
    let (held, dir) = (rows(&file)?, edge.dir.clone());
    let (code, plan) = leave(&edge, &["--dry-run"])?;
    ensure!(code == 0 && plan["left"] == false && plan["given_back"][0] == "labels", "{plan}");
    ensure!(plan["unsent"]["tables"]["labels"] == 1 && plan["unsent"]["rows"][0]["what"] == "new", "{plan}");
    ensure!(rows(&file)? == held && edge.status()?["unsent"] == 2, "a dry run does nothing");
    keep_folder(&dir, &warehouse.path("kept"))?;
    let (code, left) = leave(&edge, &[])?;
    ensure!(code == 0 && left["left"] == true && left["hub_told"] == true, "{left}");
    ensure!(left["left_behind"]["tables"] == serde_json::json!({}), "{left}");
    ensure!(schema(&file)? == before, "the schema is that of before");
    ensure!(rows(&file)? == held, "every row is as it was");
    sound(&file)?;
    let names: Vec<_> =
        fs::read_dir(&dir)?.map(|entry| Ok(entry?.file_name())).collect::<anyhow::Result<_>>()?;
    ensure!(names == ["edge.log"], "what is left in DIR: {names:?}");
    ensure!(!warehouse.path("program.db.tt-edge.lock").exists());
    let handed_in = "SELECT COUNT(*) FROM labels WHERE text IN ('while joined', 'not handed in yet')";
    ensure!(inspect::number(&warehouse.hub.db(), handed_in)? == 2, "work was handed in first");
    ensure!(state_at_hub(&warehouse)? == "revoked", "the hub knows");
    counting.execute(["on its own"])?;
    ensure!(
        inspect::number(
            &file,
            "SELECT MAX(id) = (SELECT id FROM labels WHERE text = 'on its own') FROM labels"
        )? == 1
    );
    refused(&edge.say(&["leave"])?, 1, &["belongs to no hub"])?;
    ids_do_not_collide(&warehouse, &file)?;
    // Another folder's device has the file by now.
    refused(&warehouse.edge_says("kept", &["leave", "--force"])?, 1, &["name the other folder with --data"])?;
    ensure!(inspect::number(&file, "SELECT COUNT(*) > 0 FROM _sync_state")? == 1, "it stays joined");
    Ok(())
}

/// As an interrupted leave would have left it.
fn keep_folder(dir: &Path, to: &Path) -> Done {
    fs::create_dir_all(to.join("identity"))?;
    fs::copy(dir.join("edge.json"), to.join("edge.json"))?;
    for entry in fs::read_dir(dir.join("identity"))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join("identity").join(entry.file_name()))?;
    }
    Ok(())
}

/// Ids that the file hands out on its own are nobody else's: it can join again.
fn ids_do_not_collide(warehouse: &Warehouse, file: &Path) -> Done {
    let insert = "INSERT INTO warehouse_submissions(employee_name, product_name) VALUES ('own', 'own')";
    let other = warehouse.device("packing-2")?;
    for _ in 0..50 {
        sql(file, insert)?;
        sql(&other.db(), insert)?;
        sql(&warehouse.hub.db(), insert)?;
    }
    let again = warehouse.device_with("packing-3", file)?;
    warehouse.agree(&[&other, &again])?;
    ensure!(warehouse.conflicts()?.is_empty(), "no id was given twice: {:?}", warehouse.conflicts()?);
    let own = "SELECT COUNT(*) FROM warehouse_submissions WHERE employee_name = 'own'";
    ensure!(inspect::number(&warehouse.hub.db(), own)? == 150);
    Ok(())
}

#[test]
fn without_the_hub_unsent_work_keeps_it_unless_that_is_left_behind_by_name() -> Done {
    let (mut warehouse, file) = begin()?;
    let before = schema(&file)?;
    let edge = warehouse.device_with("packing-1", &file)?;
    warehouse.stop_hub()?;
    sql(
        &file,
        "INSERT INTO labels(id, text) VALUES (700, 'alone'); UPDATE bags SET status = 'Closed' WHERE id = 15",
    )?;
    sql(&file, "DELETE FROM machine_counts WHERE id = 5")?;
    let said = edge.say(&["leave", "--timeout", "1"])?;
    refused(
        &said,
        1,
        &["packing-1 stays: 4 rows not at the hub", "--force", "labels 700 new", "bags 15 changed"],
    )?;
    ensure!(edge.status()?["unsent"] == 4, "it still belongs to its hub");
    let held = rows(&file)?;
    let (code, left) = leave(&edge, &["--force", "--timeout", "1"])?;
    ensure!(code == 0 && left["hub_told"] == false, "{left}");
    let tables = serde_json::json!({ "bags": 1, "labels": 1, "last_sync_log": 1, "machine_counts": 1 });
    ensure!(left["left_behind"]["tables"] == tables, "{left}");
    ensure!(schema(&file)? == before && rows(&file)? == held, "the program's file is the program's");
    warehouse.serve()?;
    ensure!(state_at_hub(&warehouse)? != "revoked", "nobody could tell the hub");
    Ok(())
}

/// Dies at any moment and is typed again. `TT_LEAVE_SEEDS` plays more than a few.
#[test]
fn a_leave_that_was_killed_at_any_moment_goes_on() -> Done {
    let rounds: u64 = std::env::var("TT_LEAVE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let (warehouse, original) = begin()?;
    let before = schema(&original)?;
    for seed in 1..=rounds {
        println!("SEED={seed}");
        let file = warehouse.path(&format!("program-{seed}.db"));
        fs::copy(&original, &file)?;
        let edge = warehouse.device_with(&format!("packing-{seed}"), &file)?;
        sql(&file, &format!("INSERT INTO labels(text) VALUES ('seed {seed}')"))?;
        let held = rows(&file)?["labels"].len();
        let mut random = Random::new(seed);
        for _ in 0..4 {
            let mut command = edge.program.command("edge", &edge.dir, &["leave"]);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            std::thread::sleep(Duration::from_millis(random.below(120)));
            child.kill()?;
            child.wait()?;
        }
        let said = edge.say(&["leave"])?;
        ensure!(said.code == 0 || said.err.contains("belongs to no hub"), "{said:?}");
        ensure!(schema(&file)? == before, "the schema of round {seed}");
        ensure!(rows(&file)?["labels"].len() >= held && !edge.dir.join("identity").exists());
        let handed_in = format!("SELECT COUNT(*) FROM labels WHERE text = 'seed {seed}'");
        until("the hub has the row", || {
            Ok((inspect::number(&warehouse.hub.db(), &handed_in)? == 1).then_some(()))
        })?;
    }
    Ok(())
}
