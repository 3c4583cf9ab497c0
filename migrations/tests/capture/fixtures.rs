//! Files of the real program get capture and stay usable.

use crate::station::Station;
use rusqlite::Connection;
use std::path::Path;
use tempfile::TempDir;

/// A copy of a fixture, captured.
fn adopt(name: &str) -> Station {
    let folder = TempDir::new().expect("folder");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name);
    let to = folder.path().join("station.db");
    std::fs::copy(&from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    let program = Connection::open(&to).expect("open");
    Station::adopt(folder, program, 7)
}

/// What programs of every age do.
fn daily_work(station: &mut Station) {
    station.run("PRAGMA foreign_keys = OFF");
    let order = station.insert("INSERT INTO purchase_orders(po_number) VALUES ('PO-NEW')");
    let status = format!("SELECT internal_status = 'Active' FROM purchase_orders WHERE id = {order}");
    assert_eq!(station.number(&status), 1, "a double-quoted default");
    let line =
        station.insert(&format!("INSERT INTO po_lines(po_id, inventory_item_id) VALUES ({order}, '1')"));
    assert_eq!(station.cut(), [format!("+ po_lines {line}"), format!("+ purchase_orders {order}")]);

    station.run(&format!("UPDATE po_lines SET good_count = good_count + 5 WHERE id = {line}"));
    assert_eq!(station.cut(), [format!("~ po_lines {line}: good_count")]);

    let first = station
        .insert("INSERT OR REPLACE INTO app_settings(setting_key, setting_value) VALUES ('cards', '1')");
    assert_eq!(station.cut(), [format!("+ app_settings {first}")]);
    let second = station
        .insert("INSERT OR REPLACE INTO app_settings(setting_key, setting_value) VALUES ('cards', '2')");
    assert_eq!(station.cut(), [format!("+ app_settings {second}"), format!("- app_settings {first}")]);

    let before = station.number("SELECT count(*) FROM warehouse_submissions");
    assert!(before > 0);
    station.run("UPDATE warehouse_submissions SET needs_review = TRUE WHERE needs_review = FALSE");
    station.cut();
    station.run("DELETE FROM warehouse_submissions");
    let gone = station.cut().iter().filter(|told| told.starts_with("- warehouse_submissions")).count();
    assert_eq!(i64::try_from(gone).expect("small"), before);
}

#[test]
fn a_file_of_2025() {
    let mut station = adopt("tablettracker_2025.db");
    daily_work(&mut station);
    assert_eq!(station.replica.tables.len(), 13);
    assert!(station.replica.keyless.is_empty());
}

#[test]
fn a_file_of_2026() {
    let mut station = adopt("tablettracker_2026.db");
    daily_work(&mut station);
    station.run("PRAGMA foreign_keys = ON");
    let receiving = station.insert("INSERT INTO receiving(receive_name) VALUES ('R')");
    let batch = "INSERT INTO receiving_flavor_batches(receiving_id, tablet_type_id, batch_number)";
    let batch = station.insert(&format!("{batch} SELECT {receiving}, min(id), 'B' FROM tablet_types"));
    station.cut();
    station.run(&format!("DELETE FROM receiving WHERE id = {receiving}"));
    assert_eq!(
        station.cut(),
        [format!("- receiving {receiving}"), format!("- receiving_flavor_batches {batch}")]
    );

    let event = "INSERT INTO workflow_events(event_type, payload, occurred_at, workflow_bag_id)";
    station.run("INSERT INTO workflow_bags(created_at) VALUES (1)");
    let bag = station.program.last_insert_rowid();
    let first = station.insert(&format!("{event} VALUES ('BAG_FINALIZED', '{{}}', 1, {bag})"));
    station.cut();
    station.refused(&format!("{event} VALUES ('BAG_FINALIZED', '{{}}', 2, {bag})"));
    let event = event.replace("INSERT", "INSERT OR REPLACE");
    let second = station.insert(&format!("{event} VALUES ('BAG_FINALIZED', '{{}}', 3, {bag})"));
    assert_eq!(station.cut(), [format!("+ workflow_events {second}"), format!("- workflow_events {first}")]);
}
