//! What is written anywhere is everywhere soon, without any command: from device to device, from the
//! hub's own file to the devices, and over a link whose address changes.

use crate::warehouse::{Done, Warehouse, is_linked, sql, until_number};
use anyhow::{Context as _, ensure};
use tt_tests::inspect;
use tt_tests::node::until;

const COUNT: &str = "SELECT good_count FROM po_lines WHERE id = 1";

#[test]
fn a_count_on_one_device_reaches_another_by_itself() -> Done {
    let warehouse = Warehouse::open()?;
    let (first, second) = (warehouse.linked("packing-1")?, warehouse.linked("packing-2")?);
    for (edge, other, expected) in [(&first, &second, 5), (&second, &first, 10)] {
        sql(&edge.db(), "UPDATE po_lines SET good_count = good_count + 5 WHERE id = 1")?;
        until_number(&other.db(), COUNT, expected)?;
    }
    let order = text(&first.db(), "SELECT po_number FROM purchase_orders")?;
    let item = text(&first.db(), "SELECT inventory_item_id FROM po_lines WHERE id = 1")?;
    let count = [
        "count",
        "--employee",
        "ana",
        "--product",
        "Blue 30ct",
        "--loose",
        "12",
        "--po",
        &order,
        "--item",
        &item,
    ];
    let said = first.say(&[&count[..], &["--good", "12", "--json"]].concat())?;
    ensure!(said.code == 0, "{said:?}");
    let id = serde_json::from_str::<serde_json::Value>(&said.out)?["id"].as_i64().context("an id")?;
    until_number(&second.db(), &format!("SELECT COUNT(*) FROM warehouse_submissions WHERE id = {id}"), 1)?;
    until_number(&second.db(), COUNT, 22)?;
    warehouse.agree(&[&first, &second])
}

#[test]
fn what_programs_write_at_the_hub_reaches_the_devices() -> Done {
    let warehouse = Warehouse::open()?;
    let (linked, away) = (warehouse.linked("packing-1")?, warehouse.device("packing-2")?);
    sql(
        &warehouse.hub.db(),
        "BEGIN; UPDATE po_lines SET good_count = good_count + 3 WHERE id = 1;
         INSERT INTO purchase_orders(po_number) VALUES ('PO-OFFICE');
         INSERT INTO po_lines(po_id, inventory_item_id) SELECT id, 'ITEM-OFFICE' FROM purchase_orders
         WHERE po_number = 'PO-OFFICE'; COMMIT",
    )?;
    until_number(&linked.db(), COUNT, 3)?;
    until_number(&linked.db(), "SELECT COUNT(*) FROM po_lines WHERE inventory_item_id = 'ITEM-OFFICE'", 1)?;
    away.sync("30")?;
    ensure!(inspect::number(&away.db(), COUNT)? == 3, "sync brings all that was committed at the hub");
    sql(&warehouse.hub.db(), "UPDATE po_lines SET good_count = good_count + 4 WHERE id = 1")?;
    away.sync("30")?;
    ensure!(inspect::number(&away.db(), COUNT)? == 7, "also what was committed a moment ago");
    warehouse.agree(&[&linked, &away])
}

#[test]
fn a_link_survives_a_change_of_address() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let links = links(&warehouse)?;
    for expected in 1..=3 {
        warehouse.relay.move_devices();
        sql(&edge.db(), "UPDATE po_lines SET good_count = good_count + 1 WHERE id = 1")?;
        until("the count is at the hub", || {
            ensure!(is_linked(&edge)?, "the link was lost");
            Ok((inspect::number(&warehouse.hub.db(), COUNT)? == expected).then_some(()))
        })?;
        sql(&warehouse.hub.db(), "UPDATE po_lines SET damaged_count = damaged_count + 1 WHERE id = 1")?;
        until_number(&edge.db(), "SELECT damaged_count FROM po_lines WHERE id = 1", expected)?;
    }
    ensure!(self::links(&warehouse)? == links, "the hub has seen another link");
    warehouse.agree(&[&edge])
}

/// Links that the hub has seen begin or end.
fn links(warehouse: &Warehouse) -> anyhow::Result<usize> {
    Ok(warehouse.hub.daemon.as_ref().context("the hub runs")?.log()?.matches("linked").count())
}

fn text(db: &std::path::Path, sql: &str) -> anyhow::Result<String> {
    Ok(inspect::open(db)?.query_row(sql, [], |row| row.get(0))?)
}
