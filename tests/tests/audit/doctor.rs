//! `tt-edge doctor`, as a person or a script reads it: real processes, and a hub where one is needed.

use anyhow::{Context as _, ensure};
use serde_json::Value as Json;
use std::path::Path;
use tempfile::TempDir;
use tt_tests::node::{Edge, Hub, Program, Said, until};
use tt_tests::{inspect, writer};

type Done = anyhow::Result<()>;

/// A hub that serves, and a device that has joined.
struct Pair {
    hub: Hub,
    edge: Edge,
    folder: TempDir,
}

fn pair() -> anyhow::Result<Pair> {
    let folder = tempfile::tempdir()?;
    let program = Program(env!("CARGO_BIN_EXE_tt-demo").into());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tablettracker_2026.db");
    let mut hub = Hub::init(&program, &folder.path().join("hub"), Some(&file))?;
    hub.serve("127.0.0.1:0", &[])?;
    let edge = Edge::join(&program, &folder.path().join("packing-1"), &hub.invite("packing-1")?)?;
    Ok(Pair { hub, edge, folder })
}

fn sql(db: &Path, statements: &str) -> Done {
    writer::open(db)?.execute_batch(statements).context(statements.to_owned())
}

fn doctor(edge: &Edge, args: &[&str]) -> anyhow::Result<(Said, Json)> {
    let line: Vec<&str> = ["doctor", "--json"].iter().chain(args).copied().collect();
    let said = edge.say(&line)?;
    let json = serde_json::from_str(&said.out).with_context(|| format!("{said:?}"))?;
    Ok((said, json))
}

/// The state of a check, and what was found.
fn check(json: &Json, name: &str) -> (String, String) {
    let checks = json["checks"].as_array().into_iter().flatten();
    let mut found = checks.filter(|check| check["check"] == name).map(|check| {
        let word = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        (word("state"), word("found"))
    });
    found.next_back().unwrap_or_default()
}

#[test]
fn a_healthy_file_has_no_failing_line_with_and_without_the_daemon() -> Done {
    let Pair { mut edge, hub: _hub, folder: _folder } = pair()?;
    edge.sync("30")?;
    let (said, json) = doctor(&edge, &["--full"])?;
    ensure!(said.code == 0 && json["healthy"] == true, "{said:?}");
    for name in ["file", "integrity", "foreign keys", "journal mode", "capture", "ids", "clock", "unsent"] {
        ensure!(check(&json, name).0 == "ok", "{name}: {:?}", check(&json, name));
    }
    ensure!(check(&json, "daemon").0 == "warn", "it does not run, and that is no failure: {json}");
    let tables = json["tables"].as_array().context("tables")?;
    ensure!(tables.iter().any(|table| table["table"] == "po_lines" && table["due"] == true), "{json}");
    edge.run()?;
    until("every table was compared by itself", || {
        let json = doctor(&edge, &[])?.1;
        let tables = json["tables"].as_array().context("tables")?;
        Ok(tables.iter().all(|table| table["outcome"] == "equal" && table["due"] == false).then_some(()))
    })?;
    let said = edge.say(&["doctor"])?;
    ensure!(said.code == 0 && said.out.contains("ok    daemon: it runs"), "{said:?}");
    ensure!(said.out.contains("ok    compare po_lines: equal, "), "{said:?}");
    ensure!(!said.out.contains("FAIL"), "{said:?}");
    Ok(())
}

#[test]
fn a_missing_trigger_fails_and_the_next_sync_puts_it_back() -> Done {
    let Pair { edge, hub: _hub, folder: _folder } = pair()?;
    sql(&edge.db(), "DROP TRIGGER \"_sync_po_lines_update\"")?;
    let (said, json) = doctor(&edge, &[])?;
    ensure!(said.code == 1 && json["healthy"] == false, "{said:?}");
    let (state, found) = check(&json, "capture");
    ensure!(state == "fail" && found.contains("\"_sync_po_lines_update\" is missing"), "{found}");
    ensure!(
        inspect::number(
            &edge.db(),
            "SELECT COUNT(*) FROM sqlite_schema WHERE name = '_sync_po_lines_update'"
        )? == 0
    );
    edge.sync("30")?;
    let (said, json) = doctor(&edge, &[])?;
    ensure!(said.code == 0 && check(&json, "capture").0 == "ok", "{said:?}");
    let (state, found) = check(&json, "compare po_lines");
    ensure!(state == "warn" && found.contains("triggers had gone"), "sync does not compare: {state} {found}");
    Ok(())
}

#[test]
fn rows_without_a_parent_and_a_file_that_is_none_fail_with_a_reason() -> Done {
    let Pair { edge, hub: _hub, folder: _folder } = pair()?;
    sql(&edge.db(), "PRAGMA foreign_keys = OFF; UPDATE po_lines SET po_id = 424242 WHERE id = 1")?;
    let (said, json) = doctor(&edge, &[])?;
    let (state, found) = check(&json, "foreign keys");
    ensure!(said.code == 1 && state == "fail", "{said:?}");
    ensure!(found.contains("1 row of \"po_lines\" without a parent in \"purchase_orders\""), "{found}");
    for rest in ["", "-wal", "-shm"] {
        let path = format!("{}{rest}", edge.db().display());
        if Path::new(&path).exists() {
            std::fs::write(path, "this was a database")?;
        }
    }
    let (said, json) = doctor(&edge, &[])?;
    ensure!(said.code == 1 && check(&json, "file").0 == "fail", "{said:?}");
    ensure!(edge.say(&["doctor", "--nonsense"])?.code == 2, "bad usage");
    Ok(())
}

#[test]
fn compare_heals_what_capture_missed_over_its_own_link_and_through_the_daemon() -> Done {
    let Pair { hub, mut edge, folder: _folder } = pair()?;
    edge.sync("30")?;
    let trigger = "SELECT sql FROM sqlite_schema WHERE name = '_sync_po_lines_update'";
    let text: String = inspect::open(&edge.db())?.query_row(trigger, [], |row| row.get(0))?;
    sql(
        &edge.db(),
        "DROP TRIGGER \"_sync_po_lines_update\"; UPDATE po_lines SET good_count = good_count + 5 WHERE id = 1",
    )?;
    let (said, json) = doctor(&edge, &["--compare"])?;
    ensure!(said.code == 0 && check(&json, "compare").0 == "ok", "{said:?}");
    ensure!(check(&json, "compare po_lines").1.starts_with("equal; healed 1 row"), "{json}");
    let good = "SELECT good_count FROM po_lines WHERE id = 1";
    ensure!(inspect::number(&hub.db(), good)? == 5, "it was handed in");

    edge.run()?;
    // Dropped and put back as it was in one moment: nothing tells that something was missed.
    sql(
        &edge.db(),
        &format!(
            "BEGIN; DROP TRIGGER \"_sync_po_lines_update\"; UPDATE po_lines SET good_count = 99 WHERE id = 2; {text}; COMMIT"
        ),
    )?;
    let (said, json) = doctor(&edge, &["--compare"])?;
    ensure!(
        said.code == 0 && check(&json, "compare po_lines").1.starts_with("equal; healed 1 row"),
        "{said:?}"
    );
    ensure!(
        inspect::number(&hub.db(), "SELECT good_count FROM po_lines WHERE id = 2")? == 140,
        "the hub's row stays"
    );
    ensure!(
        inspect::number(&edge.db(), "SELECT good_count FROM po_lines WHERE id = 2")? == 140,
        "and comes back"
    );
    let listed = hub.say(&["conflicts", "--json"])?;
    ensure!(listed.out.contains("99"), "and the device's is listed whole: {listed:?}");
    Ok(())
}

#[test]
fn a_migration_that_comes_with_a_compare_leaves_no_table_out() -> Done {
    let Pair { hub, edge, folder } = pair()?;
    edge.sync("30")?;
    let migrations = folder.path().join("hub/migrations");
    std::fs::create_dir_all(&migrations)?;
    std::fs::write(migrations.join("9001_shade.sql"), "ALTER TABLE bags ADD COLUMN shade TEXT")?;
    let said = hub.say(&["migrate", "up"])?;
    ensure!(said.code == 0, "{said:?}");
    let (said, json) = doctor(&edge, &["--compare"])?;
    ensure!(said.code == 0, "{said:?}");
    let tables = json["tables"].as_array().context("the tables")?;
    ensure!(!tables.is_empty(), "{json}");
    for table in tables {
        ensure!(table["outcome"] == "equal", "{table}");
    }
    Ok(())
}

#[test]
fn digests_are_equal_on_nodes_in_step() -> Done {
    let Pair { hub, edge, folder: _folder } = pair()?;
    sql(&edge.db(), "UPDATE po_lines SET good_count = good_count + 1 WHERE id = 1")?;
    let (_, before) = doctor(&edge, &["--digests"])?;
    ensure!(before["unsent"] == true, "{before}");
    edge.sync("30")?;
    let (said, ours) = doctor(&edge, &["--digests"])?;
    let theirs: Json = serde_json::from_str(&hub.say(&["status", "--digests", "--json"])?.out)?;
    ensure!(said.code == 0 && ours == theirs, "{ours} and {theirs}");
    ensure!(ours["unsent"] == false && ours["version"].as_u64() >= Some(1), "{ours}");
    ensure!(ours["tables"].as_array().is_some_and(|tables| tables.len() > 5), "{ours}");
    let text = edge.say(&["doctor", "--digests"])?.out;
    ensure!(text == hub.say(&["status", "--digests"])?.out && text.contains("po_lines: 2 rows"), "{text}");
    Ok(())
}

#[test]
fn compare_says_why_when_the_hub_is_out_of_reach() -> Done {
    let Pair { mut hub, edge, folder: _folder } = pair()?;
    hub.daemon.take().context("it serves")?.stop()?;
    let (said, json) = doctor(&edge, &["--compare", "--timeout", "3"])?;
    let (state, found) = check(&json, "compare");
    ensure!(said.code == 1 && state == "fail" && found.contains("not every table"), "{said:?}");
    Ok(())
}
