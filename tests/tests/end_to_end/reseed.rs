//! Reseeding with real daemons: by a command, by the operator's order, and by a hub that was put back. Programs
//! keep the file open and write all the time, and no count is lost.

use crate::warehouse::{Done, Warehouse, program, sound, sql};
use anyhow::ensure;
use rusqlite::Connection;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tt_hub::store::epoch::{Floor, begin};
use tt_protocol::number::Millis;
use tt_tests::inspect;
use tt_tests::node::{Edge, until};
use tt_tests::sim::random::Random;

const COUNT: &str = "UPDATE po_lines SET good_count = good_count + 1 WHERE id = 1";
const COUNTER: &str = "SELECT good_count FROM po_lines WHERE id = 1";
const EPOCH: &str = "SELECT value FROM _sync_state WHERE name = 'epoch'";
/// Makes a snapshot of some megabytes, which does not pack well.
const LARGE: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
    INSERT INTO shipments(po_id, notes) SELECT 1, hex(randomblob(250)) FROM n";

/// A program that has the file open all the time.
fn count(conn: &Connection, times: i64) -> anyhow::Result<i64> {
    for _ in 0..times {
        conn.execute(COUNT, [])?;
    }
    Ok(times)
}

fn opened(edge: &Edge) -> anyhow::Result<Connection> {
    let conn = Connection::open(edge.db())?;
    conn.busy_timeout(Duration::from_secs(10))?;
    Ok(conn)
}

fn in_step(edge: &Edge) -> Done {
    until("the device is in step", || Ok(edge.sync("20").ok()))
}

/// The hub's file is exchanged for an older copy of it, which becomes the next epoch.
fn put_back(warehouse: &mut Warehouse, copy: &Path) -> Done {
    warehouse.stop_hub()?;
    let live = warehouse.hub.db();
    let former = Connection::open(&live)?;
    let restored = Connection::open(copy)?;
    begin(&restored, Some(&former), Floor::default(), Millis(1))?;
    drop((former, restored));
    for ending in ["", "-wal", "-shm"] {
        let mut name = live.as_os_str().to_owned();
        name.push(ending);
        let _ = std::fs::remove_file(name);
    }
    std::fs::copy(copy, &live)?;
    warehouse.serve()
}

fn backup(warehouse: &Warehouse) -> anyhow::Result<std::path::PathBuf> {
    let copy = warehouse.path("backup.db");
    Connection::open(warehouse.hub.db())?.execute("VACUUM INTO ?1", [copy.to_string_lossy()])?;
    Ok(copy)
}

#[test]
fn a_device_reseeds_on_command_with_and_without_its_daemon_while_programs_write() -> Done {
    let warehouse = Warehouse::open()?;
    let mut edge = warehouse.linked("packing-1")?;
    let before = inspect::number(&warehouse.hub.db(), COUNTER)?;
    let conn = opened(&edge)?;
    let mut added = count(&conn, 5)?;
    let said = edge.say(&["reseed", "--json"])?;
    ensure!(said.code == 0 && said.out.contains("\"reseeded\":true"), "{said:?}");
    added += count(&conn, 5)?;
    if let Some(daemon) = edge.daemon.take() {
        daemon.stop()?;
    }
    added += count(&conn, 5)?;
    let said = edge.say(&["reseed"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(
        inspect::number(&edge.db(), COUNTER)? == before + added,
        "the same connection sees the hub's rows"
    );
    ensure!(inspect::number(&warehouse.hub.db(), COUNTER)? == before + added, "unsent work went in first");
    warehouse.agree(&[&edge])
}

#[test]
fn an_order_of_the_operator_is_kept_until_the_device_has_carried_it_out() -> Done {
    let warehouse = Warehouse::open()?;
    let mut edge = warehouse.linked("packing-1")?;
    in_step(&edge)?;
    let ordered = || -> anyhow::Result<bool> {
        let said = warehouse.hub.say(&["edges", "--json"])?;
        let list: serde_json::Value = serde_json::from_str(&said.out)?;
        Ok(list[0]["reseed_ordered"] == true)
    };
    let said = warehouse.hub.say(&["reseed", "packing-1", "--json"])?;
    ensure!(said.code == 0, "{said:?}");
    until("the device has carried it out", || Ok((!ordered()?).then_some(())))?;
    if let Some(daemon) = edge.daemon.take() {
        daemon.kill()?;
    }
    ensure!(warehouse.hub.say(&["reseed", "packing-1"])?.code == 0, "a device that is away");
    ensure!(ordered()?, "the order waits for it");
    sql(&edge.db(), COUNT)?;
    edge.run()?;
    until("the device has carried it out", || Ok((!ordered()?).then_some(())))?;
    in_step(&edge)?;
    ensure!(warehouse.hub.say(&["reseed", "nobody"])?.code == 1, "a name that is none");
    warehouse.agree(&[&edge])
}

#[test]
fn devices_of_a_hub_that_was_put_back_reseed_while_programs_write() -> Done {
    let mut warehouse = Warehouse::open()?;
    let near = warehouse.linked("packing-1")?;
    let mut away = warehouse.linked("packing-2")?;
    let (one, two) = (opened(&near)?, opened(&away)?);
    let before = inspect::number(&warehouse.hub.db(), COUNTER)?;
    let mut added = count(&one, 3)? + count(&two, 3)?;
    in_step(&near)?;
    in_step(&away)?;
    let copy = backup(&warehouse)?;
    // What is written from here on has never been handed in when the hub's disk dies.
    warehouse.relay.cut();
    if let Some(daemon) = away.daemon.take() {
        daemon.kill()?;
    }
    added += count(&one, 4)? + count(&two, 4)?;
    sql(&warehouse.hub.db(), "UPDATE po_lines SET damaged_count = 77 WHERE id = 1")?;
    put_back(&mut warehouse, &copy)?;
    warehouse.relay.mend();
    added += count(&one, 3)?;
    in_step(&near)?;
    away.run()?;
    in_step(&away)?;
    in_step(&near)?;
    for db in [warehouse.hub.db(), near.db(), away.db()] {
        ensure!(inspect::number(&db, COUNTER)? == before + added, "{}", db.display());
        ensure!(inspect::number(&db, EPOCH)? == 2, "{} is in the new epoch", db.display());
    }
    let lost: i64 = one.query_row("SELECT damaged_count FROM po_lines WHERE id = 1", [], |row| row.get(0))?;
    ensure!(lost != 77, "what the hub's own disk lost is lost on every node");
    warehouse.agree(&[&near, &away])
}

#[test]
fn a_reseed_that_is_killed_at_any_moment_leaves_the_old_rows_or_the_new_ones() -> Done {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("SEED={seed}");
    let mut random = Random::new(seed);
    let warehouse = Warehouse::open()?;
    sql(&warehouse.hub.db(), LARGE)?;
    let edge = warehouse.device("packing-1")?;
    let conn = opened(&edge)?;
    let before = inspect::number(&warehouse.hub.db(), COUNTER)?;
    let mut added = 0;
    // Many rows differ, and nobody has noted why.
    let unseen = tt_migrations::connection::open(&edge.db())?;
    for _ in 0..8 {
        unseen.execute("UPDATE shipments SET notes = 'x' WHERE id % 2 = 0 AND notes IS NOT NULL", [])?;
        added += count(&conn, 2)?;
        let mut command = program().command("edge", &edge.dir, &["reseed"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        std::thread::sleep(Duration::from_millis(random.below(400)));
        child.kill()?;
        child.wait()?;
        let old = inspect::number(&edge.db(), "SELECT count(*) FROM shipments WHERE notes = 'x'")?;
        ensure!(old == 0 || old == 3_000, "{old} old rows: a mixture");
        sound(&edge.db())?;
    }
    let said = edge.say(&["reseed"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(inspect::number(&warehouse.hub.db(), COUNTER)? == before + added, "every count, once");
    ensure!(
        !edge.dir.join("seed.db").exists() && !edge.dir.join("seed.db.gz").exists(),
        "nothing is left behind"
    );
    warehouse.agree(&[&edge])
}

#[test]
fn a_device_that_was_away_longer_than_the_history_is_kept_loses_nothing() -> Done {
    let warehouse = Warehouse::open()?;
    let (near, mut away) = (warehouse.linked("packing-1")?, warehouse.linked("packing-2")?);
    in_step(&away)?;
    if let Some(daemon) = away.daemon.take() {
        daemon.kill()?;
    }
    let before = inspect::number(&warehouse.hub.db(), COUNTER)?;
    let (one, two) = (opened(&near)?, opened(&away)?);
    let added = count(&one, 4)? + count(&two, 3)?;
    one.execute("DELETE FROM po_lines WHERE id = (SELECT max(id) FROM po_lines)", [])?;
    in_step(&near)?;
    let version =
        inspect::number(&warehouse.hub.db(), "SELECT value FROM _sync_state WHERE name = 'version'")?;
    let said = warehouse.hub.say(&["maintain", "--forget-before", &(version + 1).to_string(), "--json"])?;
    ensure!(said.code == 0 && said.out.contains(&format!("\"forgotten\": {version}")), "{said:?}");
    let left = inspect::number(&warehouse.hub.db(), "SELECT count(*) FROM _sync_log")?;
    ensure!(left == 0, "{left} parts of the history are left");
    let said = away.say(&["sync", "--timeout", "30"])?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(inspect::number(&warehouse.hub.db(), COUNTER)? == before + added, "what it had counted is in");
    in_step(&near)?;
    warehouse.agree(&[&near, &away])
}

#[test]
fn what_nobody_saw_is_kept_beside_a_file_that_is_reseeded() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.device("packing-1")?;
    edge.sync("20")?;
    let triggers = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'po_lines' AND name LIKE '\\_sync%' ESCAPE '\\'";
    let conn = opened(&edge)?;
    let names: Vec<String> =
        conn.prepare(triggers)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    ensure!(!names.is_empty(), "capture has triggers");
    for name in names {
        conn.execute_batch(&format!("DROP TRIGGER \"{name}\""))?;
    }
    conn.execute("UPDATE po_lines SET damaged_count = 4711 WHERE id = 1", [])?;
    let said = edge.say(&["reseed"])?;
    ensure!(said.code == 0, "{said:?}");
    let beside = std::fs::read_dir(&edge.dir)?.filter_map(Result::ok).map(|entry| entry.path());
    let kept: Vec<_> =
        beside.filter(|path| path.display().to_string().contains("tablet_counter.db.before-e1-v")).collect();
    ensure!(kept.len() == 1, "{kept:?}");
    ensure!(
        inspect::number(&kept[0], "SELECT damaged_count FROM po_lines WHERE id = 1")? == 4711,
        "as it was"
    );
    warehouse.agree(&[&edge])
}
