//! What the page says of the hub is so: "saved here" until the hub has acknowledged, "at the hub" after that.

use crate::http::{begin, get, packaged, post};
use crate::warehouse::{Done, Warehouse, until_number};
use anyhow::{Context as _, ensure};
use serde_json::{Value as Json, json};
use std::io::{BufRead as _, BufReader};
use tt_tests::node::until;

const COUNTED: &str =
    "SELECT COALESCE(SUM(displays_made), 0) FROM warehouse_submissions WHERE receipt_number LIKE 'HUB-%'";

fn now(page: &str) -> anyhow::Result<Json> {
    get(page, "/api/now")?.json()
}

#[test]
fn an_entry_is_at_the_hub_when_the_hub_has_it_and_not_before() -> Done {
    let mut warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let page = edge.page()?;
    warehouse.stop_hub()?;
    until("the link is gone", || Ok((now(&page)?["connected"] == false).then_some(())))?;
    ensure!(post(&page, "/api/entries/key-00000001", &packaged("HUB-1", 3))?.status == 200);
    let offline = now(&page)?;
    ensure!(offline["waiting"] == 1 && offline["entries"][0]["at_hub"] == false, "{offline}");
    ensure!(offline["entries"][0]["entry"]["count"]["displays"] == 3, "{offline}");
    warehouse.serve()?;
    until("the page says that it is at the hub", || Ok((now(&page)?["waiting"] == 0).then_some(())))?;
    ensure!(now(&page)?["entries"][0]["at_hub"] == true);
    until_number(&warehouse.hub.db(), COUNTED, 3)?;
    warehouse.stop_hub()?;
    ensure!(post(&page, "/api/entries/key-00000001/amend", &packaged("HUB-1", 5))?.status == 200);
    ensure!(now(&page)?["waiting"] == 1, "a correction waits as well");
    ensure!(post(&page, "/api/entries/key-00000002", &packaged("HUB-2", 7))?.status == 200);
    ensure!(post(&page, "/api/entries/key-00000002/void", &json!({}))?.status == 200);
    ensure!(now(&page)?["waiting"] == 1, "what was never sent and is taken back does not wait");
    warehouse.serve()?;
    until("all is at the hub", || Ok((now(&page)?["waiting"] == 0).then_some(())))?;
    until_number(&warehouse.hub.db(), COUNTED, 5)?;
    warehouse.agree(&[&edge])
}

#[test]
fn an_open_page_is_told() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let page = edge.page()?;
    let events = BufReader::new(begin(&page, "GET /api/live", &[&format!("host: {page}")], "")?);
    let mut told = events
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("data: ").map(str::to_owned));
    let first: Json = serde_json::from_str(&told.next().context("the page is told at once")?)?;
    ensure!(first["entries"] == json!([]) && first["device"] == "packing-1", "{first}");
    ensure!(post(&page, "/api/entries/key-00000001", &packaged("HUB-3", 3))?.status == 200);
    for line in told {
        let now: Json = serde_json::from_str(&line)?;
        if now["entries"][0]["at_hub"] == true {
            return Ok(());
        }
    }
    anyhow::bail!("the page was never told that its entry is at the hub")
}

#[test]
fn metrics_and_readiness_say_how_the_device_is_doing() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let page = edge.page()?;
    edge.sync("60")?;
    let text = get(&page, "/metrics")?.body;
    let lines = [
        "# HELP tt_edge_unsent_rows ",
        "tt_edge_unsent_rows 0\n",
        "tt_edge_connected 1\n",
        "tt_edge_blocked 0\n",
        "# UNIT tt_edge_oldest_unsent_seconds seconds\n",
        "tt_edge_version ",
        "tt_edge_epoch ",
        "tt_edge_id_space_used_ratio ",
        "tt_edge_last_sync_timestamp_seconds ",
        "tt_edge_cuts_total ",
        "tt_edge_applied_feeds_total ",
        "tt_edge_clock_offset_seconds ",
        "# EOF\n",
    ];
    for line in lines {
        ensure!(text.contains(line), "{line} is missing:\n{text}");
    }
    ensure!(get(&page, "/readyz")?.status == 200 && get(&page, "/healthz")?.status == 200);
    ensure!(warehouse.hub.say(&["revoke", "packing-1"])?.code == 0);
    until("the device is not ready", || Ok((get(&page, "/readyz")?.status == 503).then_some(())))?;
    ensure!(get(&page, "/healthz")?.status == 200);
    until("the metrics say that it is blocked", || {
        Ok(get(&page, "/metrics")?.body.contains("tt_edge_blocked 1\n").then_some(()))
    })
}
