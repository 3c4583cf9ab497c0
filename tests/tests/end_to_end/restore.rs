//! The operator restores a running hub while devices are linked.
//!
//! The daemon lets go of its links and its file, and goes on in the next epoch. Devices bring again what the backup
//! did not have; what they no longer keep, because two vaults had it, the hub takes from its journal.

use crate::warehouse::{Done, Warehouse, sql, until_number};
use anyhow::{Context as _, ensure};
use serde_json::Value as Json;
use tt_tests::inspect;
use tt_tests::node::until;

const LATE: &str = "SELECT count(*) FROM tablet_types WHERE tablet_type_name = 'late'";
const GOOD: &str = "SELECT good_count FROM po_lines WHERE id = 1";

fn json(warehouse: &Warehouse, args: &[&str]) -> anyhow::Result<Json> {
    let said = warehouse.hub.say(&[args, &["--json"]].concat())?;
    ensure!(said.code == 0, "{args:?}: {said:?}");
    Ok(serde_json::from_str(&said.out)?)
}

#[test]
fn a_restored_hub_has_again_what_devices_had_handed_in_and_what_they_forgot() -> Done {
    let mut warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    sql(&edge.db(), "UPDATE po_lines SET good_count = good_count + 5 WHERE id = 1")?;
    edge.sync("60")?;
    let backup = json(&warehouse, &["backup", "--tier", "daily"])?;
    let id = backup["id"].as_str().context("an id")?;
    let good = inspect::number(&warehouse.hub.db(), GOOD)?;
    sql(&edge.db(), "INSERT INTO tablet_types(tablet_type_name) VALUES ('late')")?;
    sql(&edge.db(), "UPDATE po_lines SET good_count = good_count + 7 WHERE id = 1")?;
    edge.sync("60")?;
    until_number(&warehouse.hub.db(), LATE, 1)?;

    let plan = json(&warehouse, &["restore", id, "--dry-run"])?;
    let device = &plan["plan"]["devices"][0];
    ensure!(device["name"] == "packing-1", "{plan}");
    ensure!(
        device["again_to"].as_u64() > device["merged"].as_u64(),
        "its last changeset comes again: {plan}"
    );
    ensure!(plan["plan"]["newest_lost_at"].is_i64(), "{plan}");

    // The hardest case: two vaults have it, and the device has forgotten what it sent.
    until("the device keeps nothing that is safe", || {
        Ok((inspect::number(&edge.db(), "SELECT count(*) FROM _sync_piece")? == 0).then_some(()))
    })?;
    let done = json(&warehouse, &["restore", id, "--force"])?;
    ensure!(done["epoch"] == 2 && done["notes"] == Json::Array(Vec::new()), "{done}");
    let status = json(&warehouse, &["status"])?;
    ensure!(status["failing"].is_null() && status["epoch"] == 2, "{status}");
    ensure!(status["last_restore"]["id"] == id, "{status}");

    // Its program goes on while all of that happens.
    sql(&edge.db(), "UPDATE po_lines SET good_count = good_count + 1 WHERE id = 1")?;
    until_number(&warehouse.hub.db(), LATE, 1)?;
    until_number(&warehouse.hub.db(), GOOD, good + 8)?;
    until("the device is in the new epoch", || Ok((edge.status()?["epoch"] == 2).then_some(())))?;
    let fresh = warehouse.device("packing-2")?;
    ensure!(fresh.status()?["epoch"] == 2);
    warehouse.agree(&[&edge, &fresh])?;
    warehouse.stop_hub()?;
    warehouse.serve()?;
    fresh.sync("60")?;
    warehouse.agree(&[&edge, &fresh])
}

/// One was revoked before the restore and one is revoked after it, both never come again: the journal has their work.
#[test]
fn a_restored_hub_has_again_what_revoked_devices_had_handed_in() -> Done {
    let mut warehouse = Warehouse::open()?;
    let devices = ["packing-1", "packing-2", "packing-3", "packing-4"];
    let edges = devices.map(|name| warehouse.device(name));
    let edges = edges.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let backup = json(&warehouse, &["backup", "--tier", "daily"])?;
    let id = backup["id"].as_str().context("an id")?;
    let good = inspect::number(&warehouse.hub.db(), GOOD)?;
    for (edge, count) in edges.iter().zip([1, 10, 100, 1_000]) {
        sql(&edge.db(), &format!("UPDATE po_lines SET good_count = good_count + {count} WHERE id = 1"))?;
        sql(&edge.db(), &format!("INSERT INTO tablet_types(tablet_type_name) VALUES ('of {count}')"))?;
        edge.sync("60")?;
    }
    json(&warehouse, &["revoke", "packing-1"])?;
    let said = warehouse.hub.say(&["restore", id, "--force"])?;
    ensure!(said.code == 0 && said.out.contains("from its journal"), "{said:?}");
    until_number(&warehouse.hub.db(), GOOD, good + 1)?;
    json(&warehouse, &["revoke", "packing-2"])?;
    until_number(&warehouse.hub.db(), GOOD, good + 11)?;
    warehouse.stop_hub()?;
    json(&warehouse, &["revoke", "packing-3"])?;
    warehouse.serve()?;
    until_number(&warehouse.hub.db(), GOOD, good + 111)?;
    warehouse.agree(&[&edges[3]])?;
    until_number(&edges[3].db(), GOOD, good + 1_111)?;
    let types = "SELECT count(*) FROM tablet_types WHERE tablet_type_name LIKE 'of 1%'";
    ensure!(inspect::number(&warehouse.hub.db(), types)? == 4, "each row once");
    Ok(())
}
