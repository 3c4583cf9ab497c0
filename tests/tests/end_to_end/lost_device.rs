//! A device is gone, and its file was carried to the hub: `tt-hub rescue` takes the unsent work out of it, once,
//! whatever else brings the same work.
//!
//! * `troubles`: commands and daemons that are killed, damaged and wrong files, a hub that is restored

#[path = "lost_device/troubles.rs"]
mod troubles;

use crate::warehouse::{Done, Warehouse, program, sql};
use anyhow::{Context as _, ensure};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use tt_tests::inspect;
use tt_tests::node::{Edge, until};

const COUNTER: &str = "SELECT good_count FROM po_lines WHERE id = 1";

fn add(count: i64) -> String {
    format!("UPDATE po_lines SET good_count = good_count + {count} WHERE id = 1")
}

fn shipment(note: &str) -> String {
    format!("INSERT INTO shipments(po_id, notes) VALUES (1, '{note}')")
}

/// A child of the newest shipment in the file.
fn child(note: &str) -> String {
    format!("INSERT INTO receiving(shipment_id, notes) SELECT max(id), '{note}' FROM shipments")
}

fn times(db: &Path, note: &str) -> anyhow::Result<i64> {
    Ok(inspect::number(db, &format!("SELECT count(*) FROM shipments WHERE notes = '{note}'"))?)
}

/// What a stick would hold: the file as it lies there, with its log.
fn carried(warehouse: &Warehouse, db: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let stick = warehouse.path(name);
    std::fs::create_dir_all(&stick)?;
    let to = stick.join("tablet_counter.db");
    for ending in ["", "-wal"] {
        let from = PathBuf::from(format!("{}{ending}", db.display()));
        if from.exists() {
            std::fs::copy(&from, format!("{}{ending}", to.display()))?;
        }
    }
    Ok(to)
}

/// Bytes of all that lies on a stick.
fn bytes(file: &Path) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(file.parent().context("a folder")?)? {
        let path = entry?.path();
        all.push((path.clone(), std::fs::read(&path)?));
    }
    all.sort();
    Ok(all)
}

/// `rescue FILE --json`, which must leave the stick as it is.
fn rescue(warehouse: &Warehouse, file: &Path, more: &[&str]) -> anyhow::Result<Json> {
    let before = bytes(file)?;
    let path = file.display().to_string();
    let args: Vec<&str> = ["rescue", &path, "--json"].into_iter().chain(more.iter().copied()).collect();
    let said = warehouse.hub.say(&args)?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(bytes(file)? == before, "the stick was written");
    Ok(serde_json::from_str(&said.out)?)
}

/// What a device has cut just before its link was lost.
fn cut(edge: &Edge) -> Done {
    let now = inspect::number(&edge.db(), "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)")?;
    let mut store = tt_edge::store::EdgeStore::open(&edge.db(), tt_migrations::policy::shipped())?;
    store.cut(tt_protocol::number::Millis(now))?.context("there is something to cut")?;
    Ok(())
}

/// A device with work that was sent, work that was cut and not sent, and work that was not cut: 10, 20 and 30
/// counts, and a shipment of each.
fn device_with_work(warehouse: &Warehouse, name: &str) -> anyhow::Result<Edge> {
    let edge = warehouse.device(name)?;
    sql(&edge.db(), &format!("{}; {}", add(10), shipment(&format!("{name} sent"))))?;
    edge.sync("20")?;
    sql(&edge.db(), &format!("{}; {}", add(20), shipment(&format!("{name} cut"))))?;
    cut(&edge)?;
    sql(&edge.db(), &format!("{}; {}; {}", add(30), shipment(&format!("{name} uncut")), child(name)))?;
    Ok(edge)
}

/// Each of the three once, the child under its own parent, nothing twice.
fn all_is_in(hub: &Path, before: i64, name: &str) -> Done {
    let found = inspect::number(hub, COUNTER)?;
    ensure!(found == before + 60, "{} counts instead of 60", found - before);
    for what in ["sent", "cut", "uncut"] {
        let note = format!("{name} {what}");
        ensure!(times(hub, &note)? == 1, "`{note}` is there {} times", times(hub, &note)?);
    }
    let child = format!(
        "SELECT count(*) FROM receiving r JOIN shipments s ON s.id = r.shipment_id
         WHERE r.notes = '{name}' AND s.notes = '{name} uncut'"
    );
    ensure!(inspect::number(hub, &child)? == 1, "the child is under its own parent");
    Ok(())
}

#[test]
fn the_work_of_a_lost_device_goes_in_once_with_and_without_the_daemon() -> Done {
    let mut warehouse = Warehouse::open()?;
    let hub = warehouse.hub.db();
    for (name, is_served) in [("packing-1", true), ("packing-2", false)] {
        let before = inspect::number(&hub, COUNTER)?;
        let edge = device_with_work(&warehouse, name)?;
        let file = carried(&warehouse, &edge.db(), &format!("stick-{name}"))?;
        if !is_served {
            warehouse.stop_hub()?;
        }
        let planned = rescue(&warehouse, &file, &["--dry-run"])?;
        ensure!(inspect::number(&hub, COUNTER)? == before + 10, "a dry run writes nothing");
        let said = rescue(&warehouse, &file, &[])?;
        for told in [&planned, &said] {
            ensure!(told["name"] == name && told["changesets"] == 2 && told["merged"] == 1, "{told}");
            ensure!(told["rows"] == 5 && told["uncut"] == 3 && told["unclear"] == 0, "{told}");
            ensure!(told["tables"] == json!({ "po_lines": 2, "receiving": 1, "shipments": 2 }), "{told}");
            ensure!(told["lost"] == json!([]) && told["illegible"] == json!([]), "{told}");
        }
        all_is_in(&hub, before, name)?;
        let again = rescue(&warehouse, &file, &[])?;
        ensure!(again["changesets"] == 0 && again["merged"] == 3 && again["rows"] == 0, "{again}");
        all_is_in(&hub, before, name)?;
        ensure!(warehouse.conflicts()?.is_empty(), "nothing to decide: {:?}", warehouse.conflicts()?);
        tells_what_to_revoke(&warehouse, name)?;
    }
    warehouse.serve()?;
    let other = warehouse.device("other")?;
    warehouse.agree(&[&other])
}

fn tells_what_to_revoke(warehouse: &Warehouse, name: &str) -> Done {
    let revoke = format!("tt-hub revoke {name}");
    let edges = warehouse.hub.say(&["edges"])?;
    ensure!(edges.out.contains(&revoke), "{edges:?}");
    let history = warehouse.hub.say(&["history", "po_lines", "1"])?;
    ensure!(history.out.contains(&format!("{name}, through {name}-rescued-")), "{history:?}");
    ensure!(warehouse.hub.say(&["revoke", name])?.code == 0, "it is cut off");
    let edges = warehouse.hub.say(&["edges"])?;
    ensure!(!edges.out.contains(&revoke), "{edges:?}");
    Ok(())
}

#[test]
fn a_device_that_is_found_again_hands_in_only_what_the_copy_did_not_have() -> Done {
    let warehouse = Warehouse::open()?;
    let hub = warehouse.hub.db();
    let before = inspect::number(&hub, COUNTER)?;
    let edge = device_with_work(&warehouse, "packing-1")?;
    let file = carried(&warehouse, &edge.db(), "stick")?;
    rescue(&warehouse, &file, &[])?;
    all_is_in(&hub, before, "packing-1")?;
    // It was only under a table. It has counted on: the same line, another row, and the row that was new.
    sql(
        &edge.db(),
        &format!(
            "{}; {}; UPDATE shipments SET notes = 'mended' WHERE notes = 'packing-1 uncut'",
            add(5),
            shipment("after")
        ),
    )?;
    until("the device is in step", || Ok(edge.sync("20").ok()))?;
    ensure!(inspect::number(&hub, COUNTER)? == before + 65, "five more, and nothing twice");
    for (note, expected) in
        [("packing-1 cut", 1), ("packing-1 uncut", 0), ("mended", 1), ("after", 1), ("packing-1 sent", 1)]
    {
        ensure!(times(&hub, note)? == expected, "`{note}` is there {} times", times(&hub, note)?);
    }
    ensure!(warehouse.conflicts()?.is_empty(), "{:?}", warehouse.conflicts()?);
    // The stick turns up once more.
    let again = rescue(&warehouse, &file, &[])?;
    ensure!(again["changesets"] == 0, "{again}");
    warehouse.agree(&[&edge])
}

#[test]
fn a_copy_whose_device_has_handed_in_everything_brings_nothing() -> Done {
    let warehouse = Warehouse::open()?;
    let hub = warehouse.hub.db();
    let before = inspect::number(&hub, COUNTER)?;
    let edge = device_with_work(&warehouse, "packing-1")?;
    let file = carried(&warehouse, &edge.db(), "stick")?;
    until("the device is in step", || Ok(edge.sync("20").ok()))?;
    let said = rescue(&warehouse, &file, &[])?;
    ensure!(said["changesets"] == 0 && said["merged"] == 3 && said["unclear"] == 0, "{said}");
    all_is_in(&hub, before, "packing-1")?;
    // With work done after the copy was made, nobody can know what the copy's own count was.
    sql(&edge.db(), &add(3))?;
    let file = carried(&warehouse, &edge.db(), "later stick")?;
    sql(&edge.db(), &format!("{}; {}", add(4), shipment("later")))?;
    until("the device is in step", || Ok(edge.sync("20").ok()))?;
    let said = rescue(&warehouse, &file, &[])?;
    ensure!(said["rows"] == 0 && said["unclear"] == 1, "{said}");
    ensure!(inspect::number(&hub, COUNTER)? == before + 67, "seven more, once");
    let open = warehouse.conflicts()?;
    ensure!(open.len() == 1 && open[0]["kind"] == "copy" && open[0]["rows"] == 1, "{open:?}");
    let id = open[0]["id"].to_string();
    ensure!(warehouse.hub.say(&["conflicts", "dismiss", &id])?.code == 0, "it was the same work");
    sql(&edge.db(), &add(1))?;
    let file = carried(&warehouse, &edge.db(), "last stick")?;
    sql(&edge.db(), &add(1))?;
    until("the device is in step", || Ok(edge.sync("20").ok()))?;
    rescue(&warehouse, &file, &[])?;
    let id = warehouse.conflicts()?[0]["id"].to_string();
    let taken = warehouse.hub.say(&["conflicts", "take", &id, "loser"])?;
    ensure!(taken.code == 0 && inspect::number(&hub, COUNTER)? == before + 70, "it was more work: {taken:?}");
    warehouse.agree(&[&edge])
}

#[test]
fn a_copy_that_was_rescued_as_a_device_and_the_file_itself_bring_the_work_once() -> Done {
    let warehouse = Warehouse::open()?;
    let hub = warehouse.hub.db();
    for (name, file_first) in [("packing-1", true), ("packing-2", false)] {
        let before = inspect::number(&hub, COUNTER)?;
        let edge = device_with_work(&warehouse, name)?;
        let file = carried(&warehouse, &edge.db(), &format!("stick-{name}"))?;
        let copy = carried(&warehouse, &edge.db(), &format!("copy-{name}"))?;
        let joined = Edge::joined(&program(), &warehouse.path(&format!("copy-{name}")), Some(&copy));
        let token = warehouse.hub.invite(&format!("{name}-again"))?;
        let path = copy.display().to_string();
        let join = || -> Done {
            let said = joined.say(&["join", &token, "--rescue", "--db", &path, "--json"])?;
            ensure!(said.code == 0 && said.out.contains("\"handed_in\":true"), "{said:?}");
            Ok(())
        };
        if file_first {
            rescue(&warehouse, &file, &[])?;
            join()?;
        } else {
            join()?;
            let said = rescue(&warehouse, &file, &[])?;
            ensure!(said["changesets"] == 0 && said["merged"] == 3, "{said}");
        }
        all_is_in(&hub, before, name)?;
        ensure!(warehouse.conflicts()?.is_empty(), "{:?}", warehouse.conflicts()?);
        warehouse.agree(&[&joined])?;
    }
    Ok(())
}

#[test]
fn rows_whose_ids_mean_something_else_by_now_go_in_under_fresh_ones_with_their_children() -> Done {
    let warehouse = Warehouse::open()?;
    let hub = warehouse.hub.db();
    let before = inspect::number(&hub, COUNTER)?;
    let edge = warehouse.device("packing-1")?;
    sql(&edge.db(), &format!("{}; {}", add(10), shipment("before")))?;
    edge.sync("20")?;
    // Somebody goes on with the file of yesterday elsewhere, and both give the same ids.
    let file = carried(&warehouse, &edge.db(), "stick")?;
    sql(&edge.db(), &format!("{}; {}; {}", add(10), shipment("original"), shipment("original 2")))?;
    edge.sync("20")?;
    sql(&file, &format!("{}; {}; {}; {}", add(10), shipment("copy"), shipment("copy 2"), child("child")))?;
    let said = rescue(&warehouse, &file, &[])?;
    ensure!(said["changesets"] == 1 && said["unclear"] == 0, "{said}");
    ensure!(inspect::number(&hub, COUNTER)? == before + 30, "each count once");
    for note in ["before", "original", "original 2", "copy", "copy 2"] {
        ensure!(times(&hub, note)? == 1, "{note}: {}", times(&hub, note)?);
    }
    let of_copy = "SELECT count(*) FROM receiving r JOIN shipments s ON s.id = r.shipment_id
                   WHERE r.notes = 'child' AND s.notes = 'copy 2'";
    ensure!(inspect::number(&hub, of_copy)? == 1, "the child went along with its parent's new id");
    let listed = warehouse.hub.say(&["conflicts", "--all", "--json"])?;
    ensure!(listed.out.matches("another row has its id").count() >= 2, "{listed:?}");
    warehouse.agree(&[&edge])
}
