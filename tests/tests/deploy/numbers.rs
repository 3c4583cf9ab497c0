//! Every number of the alert rules and the board is one that a real hub and a real device give.

use crate::http::get;
use crate::warehouse::{Done, Warehouse};
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
    edge.sync("60")?;
    for command in [&["backup"][..], &["drill"]] {
        let said = warehouse.hub.say(command)?;
        ensure!(said.code == 0, "{command:?}: {said:?}");
    }
    let addresses: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(warehouse.hub.dir.join("hub.addr.json"))?)?;
    let http = addresses["http"].as_str().context("an address")?;
    // Numbers that need the vaults are read every few seconds, and a device's clock is measured when it says more.
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
