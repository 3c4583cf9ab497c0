//! `status --json` is a contract: its keys, and that only rows that really differ are unsent.

use crate::warehouse::{Done, Warehouse, is_linked, sql};
use anyhow::ensure;
use std::collections::BTreeSet;
use tt_tests::node::{Edge, until};

const KEYS: [&str; 10] = [
    "daemon",
    "connected",
    "unsent",
    "unread",
    "oldest_unsent_s",
    "version",
    "epoch",
    "blocked",
    "last_sync",
    "id_space_used",
];

#[test]
fn status_has_exactly_its_keys() -> Done {
    let warehouse = Warehouse::open()?;
    let mut edge = warehouse.device("packing-1")?;
    let away = edge.status()?;
    ensure!(keys(&away) == BTreeSet::from(KEYS.map(str::to_owned)), "{away}");
    ensure!(away["daemon"] == false && away["connected"] == false, "{away}");
    ensure!(
        away["unread"].is_null() && away["last_sync"].is_null() && away["oldest_unsent_s"].is_null(),
        "{away}"
    );
    edge.run()?;
    edge.sync("30")?;
    let linked = edge.status()?;
    ensure!(keys(&linked) == BTreeSet::from(KEYS.map(str::to_owned)), "{linked}");
    ensure!(
        linked["daemon"] == true && linked["connected"] == true && linked["blocked"].is_null(),
        "{linked}"
    );
    ensure!(linked["unsent"] == 0 && linked["unread"] == 0 && linked["last_sync"].is_i64(), "{linked}");
    ensure!(linked["version"].is_u64() && linked["epoch"] == 1, "{linked}");
    let used = linked["id_space_used"].as_f64().unwrap_or(-1.0);
    ensure!((0.0..1.0).contains(&used), "{linked}");
    Ok(())
}

#[test]
fn only_rows_that_differ_are_unsent() -> Done {
    let mut warehouse = Warehouse::open()?;
    let mut edge = warehouse.device("packing-1")?;
    counts_what_differs(&edge)?;
    edge.sync("30")?;
    edge.run()?;
    // A daemon without a link makes no cut: a revert is still nothing.
    warehouse.stop_hub()?;
    until("the link is gone", || Ok((!is_linked(&edge)?).then_some(())))?;
    counts_what_differs(&edge)?;
    warehouse.serve()?;
    warehouse.agree(&[&edge])
}

/// Leaves two rows that differ behind.
fn counts_what_differs(edge: &Edge) -> Done {
    let db = edge.db();
    unsent(edge, 0)?;
    sql(&db, "UPDATE machines SET machine_name = machine_name || '?' WHERE id = 1")?;
    sql(&db, "UPDATE machines SET machine_name = rtrim(machine_name, '?') WHERE id = 1")?;
    sql(&db, "INSERT INTO shipments(po_id, carrier) VALUES (1, 'UPS')")?;
    sql(&db, "DELETE FROM shipments WHERE id = (SELECT MAX(id) FROM shipments)")?;
    unsent(edge, 0)?;
    let one = "UPDATE po_lines SET good_count = good_count + 1 WHERE id = 1;";
    sql(&db, &one.repeat(1000))?;
    unsent(edge, 1)?;
    sql(&db, "INSERT INTO shipments(po_id, carrier) VALUES (1, 'UPS')")?;
    unsent(edge, 2)?;
    let age = edge.status()?["oldest_unsent_s"].as_u64();
    ensure!(age.is_some_and(|age| age < 60), "the oldest is {age:?} s old");
    Ok(())
}

fn unsent(edge: &Edge, rows: u64) -> Done {
    let status = edge.status()?;
    ensure!(status["unsent"] == rows, "{rows} rows differ: {status}");
    Ok(())
}

fn keys(status: &serde_json::Value) -> BTreeSet<String> {
    status.as_object().into_iter().flat_map(|status| status.keys().cloned()).collect()
}
