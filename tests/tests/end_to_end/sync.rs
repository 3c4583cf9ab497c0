//! What `sync` promises to scripts: exit 0 only when nothing is unsent or unread, else 1 with a reason
//! that a person can act on; with and without the daemon.

use crate::warehouse::{Done, Warehouse, is_linked, refused, sql, until_number};
use anyhow::{Context as _, ensure};
use tt_tests::node::{Edge, until};

const COUNTED: &str = "UPDATE po_lines SET good_count = good_count + 7 WHERE id = 1";

#[test]
fn sync_succeeds_when_both_ends_agree() -> Done {
    let warehouse = Warehouse::open()?;
    let mut edge = warehouse.device("packing-1")?;
    for daemon in [false, true] {
        if daemon {
            edge.run()?;
        }
        sql(&edge.db(), COUNTED)?;
        let said = edge.say(&["sync"])?;
        ensure!(said.code == 0 && said.out.contains("In step with the hub"), "{said:?}");
        let said = edge.say(&["sync", "--json"])?;
        ensure!(said.code == 0 && said.out.trim() == r#"{"in_step":true}"#, "{said:?}");
    }
    warehouse.agree(&[&edge])?;
    until_number(&warehouse.hub.db(), "SELECT good_count FROM po_lines WHERE id = 1", 14)
}

#[test]
fn sync_names_the_hub_that_is_out_of_reach() -> Done {
    let mut warehouse = Warehouse::open()?;
    let mut edge = warehouse.device("packing-1")?;
    warehouse.stop_hub()?;
    sql(&edge.db(), COUNTED)?;
    let address = warehouse.relay.address().to_string();
    for daemon in [false, true] {
        if daemon {
            edge.run()?;
        }
        let said = edge.say(&["sync", "--timeout", "2", "--json"])?;
        refused(&said, 1, &["not in step after 2 s", &address, "Nothing is lost"])?;
        ensure!(said.out.is_empty(), "nothing that a script could take for success: {said:?}");
        let status = edge.status()?;
        ensure!(
            status["unsent"] == 1 && status["connected"] == false && status["blocked"].is_null(),
            "{status}"
        );
    }
    warehouse.serve()?;
    edge.sync("30")?;
    warehouse.agree(&[&edge])
}

#[test]
fn a_revoked_device_is_cut_off_and_told_why() -> Done {
    let warehouse = Warehouse::open()?;
    let mut edge = warehouse.linked("packing-1")?;
    let other = warehouse.linked("packing-2")?;
    warehouse.hub.program.must("hub", &warehouse.hub.dir, &["revoke", "packing-1"])?;
    until("the revoked device has lost its link", || Ok((!is_linked(&edge)?).then_some(())))?;
    sql(&edge.db(), COUNTED)?;
    says_that_it_is_revoked(&edge).context("with its daemon")?;
    edge.daemon.take().context("it runs")?.stop()?;
    says_that_it_is_revoked(&edge).context("without its daemon")?;
    edge.run()?;
    until("the daemon knows it again", || Ok(edge.status()?["daemon"].as_bool().filter(|runs| *runs)))?;
    says_that_it_is_revoked(&edge).context("with its daemon started again")?;
    warehouse.agree(&[&other])?;
    until_number(&warehouse.hub.db(), "SELECT good_count FROM po_lines WHERE id = 1", 0)?;
    let edges = warehouse.hub.program.must("hub", &warehouse.hub.dir, &["edges", "--json"])?;
    let edges: serde_json::Value = serde_json::from_str(&edges)?;
    ensure!(edges[0]["name"] == "packing-1" && edges[0]["state"] == "revoked", "{edges}");
    Ok(())
}

fn says_that_it_is_revoked(edge: &Edge) -> Done {
    refused(&edge.say(&["sync", "--timeout", "20"])?, 1, &["the hub refuses", "revoked"])?;
    let said = edge.say(&["status", "--json"])?;
    let status: serde_json::Value = serde_json::from_str(&said.out)?;
    let reason = status["blocked"].as_str().unwrap_or_default();
    ensure!(said.code == 1 && reason.contains("revoked"), "{said:?}");
    ensure!(status["unsent"] == 1 && status["connected"] == false, "the count stays here: {status}");
    let said = edge.say(&["status"])?;
    ensure!(said.code == 1 && said.out.contains("blocked:") && said.out.contains("revoked"), "{said:?}");
    Ok(())
}
