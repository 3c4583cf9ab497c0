//! The operator decides on a running hub, and every running device has it at once, without any command.

use crate::warehouse::{Done, Warehouse, sql};
use anyhow::ensure;
use std::path::Path;
use tt_tests::inspect;
use tt_tests::node::{Edge, until};

const NAME: &str = "SELECT line_item_name FROM po_lines WHERE id = 1";

#[test]
fn a_decision_reaches_every_running_device() -> Done {
    let warehouse = Warehouse::open()?;
    let (mut first, mut second) = (warehouse.device("packing-1")?, warehouse.device("packing-2")?);
    for (edge, name) in [(&first, "earlier"), (&second, "later")] {
        sql(&edge.db(), &format!("UPDATE po_lines SET line_item_name = '{name}' WHERE id = 1"))?;
    }
    for (edge, number) in [(&first, "N-1"), (&second, "N-2")] {
        sql(&edge.db(), &format!("INSERT INTO tablet_types(id, tablet_type_name) VALUES (77, '{number}')"))?;
    }
    first.sync("60")?;
    second.sync("60")?;
    let listed = warehouse.conflicts()?;
    ensure!(listed.len() == 2, "one column and one row are contested: {listed:?}");
    first.run()?;
    second.run()?;
    until_both([&first, &second], NAME, "later")?;
    let by_kind = |kind: &str| {
        let found = listed.iter().find(|entry| entry["kind"] == kind);
        found.map(|entry| entry["id"].to_string()).unwrap_or_default()
    };
    let (column, row) = (by_kind("column"), by_kind("key"));
    decide(&warehouse, &["take", &column, "loser"])?;
    until_both([&first, &second], NAME, "earlier")?;
    decide(&warehouse, &["edit", &row, "id=new", "tablet_type_name=N-3"])?;
    let types = "SELECT group_concat(tablet_type_name) FROM (SELECT * FROM tablet_types WHERE tablet_type_name LIKE 'N-%' ORDER BY 1)";
    until_both([&first, &second], types, "N-1,N-3")?;
    ensure!(warehouse.conflicts()?.is_empty(), "both are closed");
    warehouse.agree(&[&first, &second])
}

fn decide(warehouse: &Warehouse, line: &[&str]) -> Done {
    let said = warehouse.hub.say(&[&["conflicts"], line].concat())?;
    ensure!(said.code == 0, "{line:?}: {said:?}");
    Ok(())
}

fn until_both(edges: [&Edge; 2], sql: &str, expected: &str) -> Done {
    edges.into_iter().try_for_each(|edge| until_text(&edge.db(), sql, expected))
}

fn until_text(db: &Path, sql: &str, expected: &str) -> Done {
    until(&format!("{sql} gives {expected} in {}", db.display()), || {
        let found: Option<String> = inspect::open(db)?.query_row(sql, [], |row| row.get(0))?;
        Ok((found.as_deref() == Some(expected)).then_some(()))
    })
}
