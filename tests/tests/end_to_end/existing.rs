//! A device brings the file that its program has always used. Nothing of it is lost, and nothing that it
//! lacks is taken for a delete.

use crate::warehouse::{Done, Warehouse, copy, sql, until_number};
use anyhow::ensure;
use rusqlite::Connection;
use std::path::PathBuf;
use tt_tests::inspect;

const ROWS: &str = "SELECT COUNT(*) FROM warehouse_submissions";

/// The program's file, changed while nobody synchronised.
fn file(warehouse: &Warehouse, changes: &str) -> anyhow::Result<PathBuf> {
    let path = warehouse.path("old_station.db");
    copy("tablettracker_2026.db", &path)?;
    Connection::open(&path)?.execute_batch(changes)?;
    Ok(path)
}

#[test]
fn equal_rows_are_nothing() -> Done {
    let warehouse = Warehouse::open()?;
    let path = file(&warehouse, "")?;
    let edge = warehouse.device_with("packing-1", &path)?;
    ensure!(edge.status()?["unsent"] == 0, "all rows are equal");
    warehouse.agree(&[&edge])?;
    ensure!(warehouse.conflicts()?.is_empty(), "nothing differs");
    sql(&path, "UPDATE po_lines SET good_count = good_count + 1 WHERE id = 1")?;
    edge.sync("30")?;
    until_number(&warehouse.hub.db(), "SELECT good_count FROM po_lines WHERE id = 1", 1)
}

#[test]
fn own_rows_are_offered_and_missing_rows_come_back() -> Done {
    let warehouse = Warehouse::open()?;
    let before = inspect::number(&warehouse.hub.db(), ROWS)?;
    let path = file(
        &warehouse,
        "INSERT INTO purchase_orders(id, po_number) VALUES (700, 'PO-OWN');
         INSERT INTO po_lines(id, po_id, inventory_item_id, good_count) VALUES (701, 700, 'ITEM-OWN', 44);
         INSERT INTO warehouse_submissions(employee_name, product_name, assigned_po_id) VALUES ('own', 'own', 700);
         DELETE FROM warehouse_submissions WHERE id <= 3;
         DELETE FROM machine_counts;",
    )?;
    let (other, mut edge) = (warehouse.linked("packing-2")?, warehouse.device_with("packing-1", &path)?);
    ensure!(edge.status()?["unsent"] == 3, "three rows are its own: {}", edge.status()?);
    edge.run()?;
    warehouse.agree(&[&edge, &other])?;
    for db in [warehouse.hub.db(), edge.db(), other.db()] {
        ensure!(inspect::number(&db, ROWS)? == before + 1, "rows that the file lacked are not deletes");
        let sum = "SELECT SUM(good_count) FROM po_lines JOIN purchase_orders ON purchase_orders.id = po_id
                   WHERE purchase_orders.po_number = 'PO-OWN'";
        ensure!(inspect::number(&db, sum)? == 44, "its own rows are everywhere");
    }
    ensure!(warehouse.conflicts()?.is_empty(), "nothing was contested");
    Ok(())
}

#[test]
fn differing_rows_are_listed_and_the_hubs_stay() -> Done {
    let warehouse = Warehouse::open()?;
    let path = file(
        &warehouse,
        "UPDATE machine_counts SET employee_name = 'somebody else' WHERE id = 2;
         UPDATE app_settings SET setting_value = '9' WHERE setting_key = 'cards_per_turn';",
    )?;
    let edge = warehouse.device_with("packing-1", &path)?;
    warehouse.agree(&[&edge])?;
    let setting = "SELECT setting_value = '2' FROM app_settings WHERE setting_key = 'cards_per_turn'";
    let name = "SELECT employee_name <> 'somebody else' FROM machine_counts WHERE id = 2";
    for db in [warehouse.hub.db(), edge.db()] {
        ensure!(
            inspect::number(&db, setting)? == 1 && inspect::number(&db, name)? == 1,
            "the hub's rows stay"
        );
    }
    let listed = warehouse.conflicts()?;
    let mut tables: Vec<_> = listed.iter().filter_map(|entry| entry["table"].as_str()).collect();
    tables.sort_unstable();
    ensure!(tables == ["app_settings", "machine_counts"], "{listed:?}");
    for entry in &listed {
        ensure!(entry["state"] == "open" && entry["lost_from"] == "packing-1", "{entry}");
        ensure!(
            entry.to_string().contains(if entry["table"] == "app_settings" {
                "\"9\""
            } else {
                "somebody else"
            }),
            "{entry}"
        );
    }
    Ok(())
}

#[test]
fn an_older_file_gets_the_columns_and_tables_that_it_lacks() -> Done {
    let warehouse = Warehouse::open()?;
    let path = file(
        &warehouse,
        "ALTER TABLE warehouse_submissions DROP COLUMN case_count;
         ALTER TABLE machines DROP COLUMN compressor_json;
         DROP TABLE compressors;",
    )?;
    sql(&path, "INSERT INTO machines(machine_name) VALUES ('from the old file')")?;
    let edge = warehouse.device_with("packing-1", &path)?;
    warehouse.agree(&[&edge])?;
    sql(&path, "INSERT INTO compressors(compressor_name) VALUES ('new')")?;
    sql(&path, "UPDATE warehouse_submissions SET case_count = 5 WHERE id = 10")?;
    sql(&path, "UPDATE machines SET compressor_json = '{}' WHERE machine_name = 'from the old file'")?;
    warehouse.agree(&[&edge])?;
    until_number(&warehouse.hub.db(), "SELECT case_count FROM warehouse_submissions WHERE id = 10", 5)?;
    until_number(&warehouse.hub.db(), "SELECT COUNT(*) FROM machines WHERE compressor_json = '{}'", 1)?;
    ensure!(warehouse.conflicts()?.is_empty(), "nothing was contested");
    Ok(())
}
