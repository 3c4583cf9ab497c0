//! Every number of the alert rules and the board is one that a real hub and a real device give.

use crate::http::get;
use crate::warehouse::{Done, Warehouse, sql};
use anyhow::{Context as _, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tt_tests::node::until;

/// Words of a text that are names of our numbers.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("tt_hub_") || word.starts_with("tt_edge_"))
        .map(str::to_owned)
        .collect()
}

/// Names of the samples, and nothing that only a help line names.
fn given(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.split(['{', ' ']).next()?.to_owned())).collect()
}

#[test]
fn alerts_and_board_ask_for_numbers_that_are_there() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    sql(&edge.db(), "INSERT INTO purchase_orders(po_number) VALUES ('PO-NUMBERS')")?;
    edge.sync("60")?;
    for command in [&["backup"][..], &["drill"]] {
        let said = warehouse.hub.say(command)?;
        ensure!(said.code == 0, "{command:?}: {said:?}");
    }
    let addresses: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(warehouse.hub.dir.join("hub.addr.json"))?)?;
    let http = addresses["http"].as_str().context("an address")?;
    // Numbers that need the vaults are read every few seconds, and a device's clock is measured when it says more.
    let metrics = get(http, "/metrics")?.body;
    ensure!(metrics.contains("\ntt_hub_merged_rows_total 1\n"), "the row was merged: {metrics}");
    let block = metrics
        .lines()
        .find_map(|line| line.strip_prefix("tt_hub_device_id_block_used_ratio{device=\"packing-1\"} "));
    let used: f64 = block.context("the device has a block of ids")?.parse()?;
    ensure!(0.0 < used && used < 0.001, "{used} of it is used");
    let mut all = until("rehearsal and clock show", || {
        let found = given(&get(http, "/metrics")?.body);
        let shown = ["tt_hub_drill_success", "tt_hub_device_clock_offset_seconds"];
        Ok(shown.iter().all(|name| found.contains(*name)).then_some(found))
    })?;
    all.extend(given(&get(&edge.page()?, "/metrics")?.body));
    // Those are there when there is something to count.
    let sometimes = ["tt_hub_conflicts_open", "tt_hub_device_oldest_unsent_seconds"];
    all.extend(sometimes.map(str::to_owned));
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    for file in ["prometheus/alerts.yml", "grafana/tablettracker.json"] {
        let wanted = names(&fs::read_to_string(deploy.join(file))?);
        ensure!(wanted.len() > 10, "{file} asks for {wanted:?}");
        let lacking: Vec<&String> = wanted.difference(&all).collect();
        ensure!(lacking.is_empty(), "{file} asks for {lacking:?}, and there is {all:?}");
    }
    Ok(())
}
