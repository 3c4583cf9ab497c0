//! The operator restores a running hub while devices are linked.
//!
//! The daemon lets go of its links and its file, and goes on in the next epoch. A device of the former epoch is told
//! why it cannot go on as it is, keeps what it has, and its programs write on; devices that join get the restored state.

use crate::warehouse::{Done, Warehouse, is_linked, sql, until_number};
use anyhow::{Context as _, ensure};
use serde_json::Value as Json;
use tt_tests::inspect;
use tt_tests::node::until;

const LATE: &str = "SELECT count(*) FROM tablet_types WHERE tablet_type_name = 'late'";

fn json(warehouse: &Warehouse, args: &[&str]) -> anyhow::Result<Json> {
    let said = warehouse.hub.say(&[args, &["--json"]].concat())?;
    ensure!(said.code == 0, "{args:?}: {said:?}");
    Ok(serde_json::from_str(&said.out)?)
}

#[test]
fn a_linked_device_hears_of_the_restore_and_keeps_what_it_has() -> Done {
    let mut warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    sql(&edge.db(), "UPDATE po_lines SET good_count = good_count + 5 WHERE id = 1")?;
    edge.sync("60")?;
    let backup = json(&warehouse, &["backup", "--tier", "daily"])?;
    let id = backup["id"].as_str().context("an id")?;
    let before = inspect::digests(&warehouse.hub.db())?;
    sql(&edge.db(), "INSERT INTO tablet_types(tablet_type_name) VALUES ('late')")?;
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

    let done = json(&warehouse, &["restore", id, "--force"])?;
    ensure!(done["epoch"] == 2 && done["notes"] == Json::Array(Vec::new()), "{done}");
    ensure!(inspect::digests(&warehouse.hub.db())? == before, "the hub's rows are those of the backup");
    let status = json(&warehouse, &["status"])?;
    ensure!(status["failing"].is_null() && status["epoch"] == 2, "{status}");
    ensure!(status["last_restore"]["id"] == id, "{status}");

    // The device keeps its row, and its program goes on.
    sql(&edge.db(), "UPDATE po_lines SET good_count = good_count + 1 WHERE id = 1")?;
    ensure!(inspect::number(&edge.db(), LATE)? == 1);
    until("the device knows that the hub was restored", || {
        let status = edge.status()?;
        let blocked = status["blocked"].as_str().unwrap_or_default();
        Ok(blocked.contains("restored").then_some(()))
    })?;
    ensure!(!is_linked(&edge)?);

    // A new device gets the restored state, and not a snapshot of the former epoch.
    let fresh = warehouse.device("packing-2")?;
    ensure!(inspect::number(&fresh.db(), LATE)? == 0);
    ensure!(fresh.status()?["epoch"] == 2);
    warehouse.agree(&[&fresh])?;
    warehouse.stop_hub()?;
    warehouse.serve()?;
    fresh.sync("60")
}
