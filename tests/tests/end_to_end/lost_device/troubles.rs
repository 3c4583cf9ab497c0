//! What can go wrong while a file is rescued, and afterwards.

use super::{COUNTER, all_is_in, carried, device_with_work, rescue, times};
use crate::warehouse::{Done, Warehouse, program, refused, sql, until_number};
use anyhow::{Context as _, ensure};
use serde_json::Value as Json;
use std::process::Stdio;
use std::time::Instant;
use tt_tests::inspect;

#[test]
fn files_that_are_no_devices_are_refused_and_say_what_to_do() -> Done {
    let warehouse = Warehouse::open()?;
    let hub = warehouse.hub.db();
    let before = inspect::digests(&hub)?;
    let other = Warehouse::open()?;
    let stranger = device_with_work(&other, "packing-1")?;
    let known = warehouse.device("packing-1")?;
    let text = warehouse.path("notes.txt");
    std::fs::write(&text, "a list of things to buy, long enough to be looked at")?;
    let plain = warehouse.path("plain.db");
    rusqlite::Connection::open(&plain)?.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY)")?;
    let of_hub = warehouse.path("of-hub.db");
    rusqlite::Connection::open(&hub)?.execute("VACUUM INTO ?1", [of_hub.to_string_lossy()])?;
    for (file, words) in [
        (warehouse.path("nowhere.db"), "there is no file"),
        (warehouse.path("packing-1"), "is not a file"),
        (text, "no SQLite database"),
        (plain, "tt-edge join TOKEN --db FILE"),
        (of_hub, "file of a hub"),
        (stranger.db(), "of another hub"),
    ] {
        let said = warehouse.hub.say(&["rescue", &file.display().to_string()])?;
        refused(&said, 1, &[words])?;
    }
    let held = rusqlite::Connection::open(known.db())?;
    held.execute_batch("BEGIN IMMEDIATE")?;
    refused(
        &warehouse.hub.say(&["rescue", &known.db().display().to_string()])?,
        1,
        &["is in use by process"],
    )?;
    ensure!(inspect::digests(&hub)? == before, "nothing went in");
    Ok(())
}

/// Cuts of the command or of the daemon, at moments between its start and its end.
const KILLS: u32 = 10;

#[test]
fn a_rescue_that_is_killed_anywhere_is_finished_by_the_same_command() -> Done {
    let mut warehouse = Warehouse::open()?;
    let hub = warehouse.hub.db();
    for seed in 0..KILLS {
        println!("SEED={seed}");
        let name = format!("packing-{seed}");
        let before = inspect::number(&hub, COUNTER)?;
        let edge = device_with_work(&warehouse, &name)?;
        let file = carried(&warehouse, &edge.db(), &format!("stick-{name}"))?;
        let begun = Instant::now();
        rescue(&warehouse, &file, &["--dry-run"])?;
        let moment = begun.elapsed() * 2 * ((seed * 7) % KILLS) / KILLS;
        let (kills_daemon, is_served) = (seed % 3 == 0, seed % 3 != 1);
        if !is_served {
            warehouse.stop_hub()?;
        }
        let path = file.display().to_string();
        let mut command = program().command("hub", &warehouse.hub.dir, &["rescue", &path]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        std::thread::sleep(moment);
        if kills_daemon {
            warehouse.kill_hub()?;
        } else {
            child.kill()?;
        }
        child.wait()?;
        if kills_daemon || !is_served {
            warehouse.serve()?;
        }
        let said = rescue(&warehouse, &file, &[])?;
        ensure!(
            said["changesets"].as_u64().zip(said["merged"].as_u64()).is_some_and(|(a, b)| a + b == 3),
            "{said}"
        );
        all_is_in(&hub, before, &name)?;
    }
    let stand_ins = inspect::number(&hub, "SELECT count(*) FROM _sync_edge WHERE name LIKE '%-rescued-%'")?;
    ensure!(stand_ins == i64::from(KILLS), "{stand_ins} numbers were used for {KILLS} files");
    let other = warehouse.device("other")?;
    warehouse.agree(&[&other])
}

#[test]
fn of_a_damaged_file_goes_in_what_can_be_read_and_the_rest_is_named() -> Done {
    let warehouse = Warehouse::open()?;
    let hub = warehouse.hub.db();
    let before = inspect::number(&hub, COUNTER)?;
    let edge = device_with_work(&warehouse, "packing-1")?;
    sql(
        &edge.db(),
        "INSERT INTO warehouse_submissions(employee_name, product_name, loose_tablets) VALUES ('a', 'b', 1)",
    )?;
    let file = carried(&warehouse, &edge.db(), "stick")?;
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'warehouse_submissions'";
    let (page, size) = (inspect::number(&file, root)?, inspect::number(&file, "PRAGMA page_size")?);
    let mut bytes = std::fs::read(&file)?;
    let (page, size) = (usize::try_from(page)?, usize::try_from(size)?);
    bytes[(page - 1) * size..page * size].fill(0x5a);
    std::fs::write(&file, bytes)?;
    for changesets in [2, 0] {
        let said = warehouse.hub.say(&["rescue", &file.display().to_string(), "--json"])?;
        let told: Json = serde_json::from_str(&said.out).with_context(|| format!("{said:?}"))?;
        ensure!(said.code == 1 && said.err.contains("is damaged: \"warehouse_submissions\""), "{said:?}");
        ensure!(told["changesets"] == changesets && told["illegible"][0]["table"].is_string(), "{told}");
        all_is_in(&hub, before, "packing-1")?;
    }
    // A changeset whose bytes are not what was cut is named, and those after it go in.
    let edge = device_with_work(&warehouse, "packing-2")?;
    let file = carried(&warehouse, &edge.db(), "second stick")?;
    sql(&file, "UPDATE _sync_piece SET bytes = zeroblob(length(bytes)) WHERE seq = 2")?;
    let said = warehouse.hub.say(&["rescue", &file.display().to_string()])?;
    refused(&said, 1, &["NOT handed in: changeset 2", "not the bytes that were cut"])?;
    ensure!(inspect::number(&hub, COUNTER)? == before + 60 + 40, "10 and 30 of the second device");
    ensure!(
        times(&hub, "packing-2 uncut")? == 1 && times(&hub, "packing-2 cut")? == 0,
        "rows of the whole changeset"
    );
    Ok(())
}

#[test]
fn work_out_of_a_file_is_there_again_after_the_hub_was_restored_to_before() -> Done {
    let warehouse = Warehouse::open()?;
    let hub = warehouse.hub.db();
    let before = inspect::number(&hub, COUNTER)?;
    let edge = device_with_work(&warehouse, "packing-1")?;
    let said = warehouse.hub.say(&["backup", "--json"])?;
    let backup: Json = serde_json::from_str(&said.out).with_context(|| format!("{said:?}"))?;
    let file = carried(&warehouse, &edge.db(), "stick")?;
    rescue(&warehouse, &file, &[])?;
    drop(edge);
    let id = backup["id"].as_str().context("an id")?;
    let restored = warehouse.hub.say(&["restore", id, "--force"])?;
    ensure!(restored.code == 0, "{restored:?}");
    // Its device never comes back to send it: the journal has it.
    until_number(&hub, COUNTER, before + 60)?;
    all_is_in(&hub, before, "packing-1")?;
    let again = rescue(&warehouse, &file, &[])?;
    ensure!(again["changesets"] == 0, "{again}");
    let other = warehouse.device("other")?;
    warehouse.agree(&[&other])
}
