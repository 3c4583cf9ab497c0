//! What a count writes is what the program writes, in files of two ages; corrections change the same rows
//! and add the difference.

use crate::http::{get, machine, packaged, post};
use crate::warehouse::{Done, Warehouse, fixture, sql};
use anyhow::ensure;
use serde_json::json;
use tt_tests::inspect;

const LINE: &str = "SELECT machine_good_count FROM po_lines WHERE id = 1";
const TOTAL: &str = "SELECT machine_good_count FROM purchase_orders WHERE id = 1";

#[test]
fn a_machine_count_is_written_corrected_and_taken_back_as_the_program_would() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let (page, db) = (edge.page()?, edge.db());
    let line = inspect::number(&db, LINE)?;
    let key = "/api/entries/key-00000001";
    let said = post(&page, key, &machine("ROWS-1", &[(3, 100), (4, 10)]))?;
    ensure!(said.status == 200, "{}", said.body);
    // 100 turns of 3 cards and 10 presses of 2 blisters, of 4 tablets each.
    ensure!(inspect::number(&db, LINE)? == line + 1200 + 80);
    ensure!(
        inspect::number(&db, TOTAL)? == inspect::number(&db, "SELECT SUM(machine_good_count) FROM po_lines")?
    );
    let row = "SELECT COUNT(*) FROM warehouse_submissions WHERE receipt_number = 'ROWS-1' AND machine_id = 3
        AND submission_type = 'machine' AND displays_made = 100 AND packs_remaining = 300 AND bag_id = 15
        AND tablets_pressed_into_cards = 1200 AND assigned_po_id = 1 AND inventory_item_id = 'ACC-ITEM-1'";
    ensure!(inspect::number(&db, row)? == 1);
    ensure!(
        inspect::number(
            &db,
            "SELECT COUNT(*) FROM machine_counts WHERE employee_name = 'Ana' AND bag_number = '2'"
        )? == 2
    );
    sql(
        &db,
        "UPDATE warehouse_submissions SET admin_notes = 'by a manager' WHERE receipt_number = 'ROWS-1'",
    )?;
    for _ in 0..2 {
        let said = post(&page, &format!("{key}/amend"), &machine("ROWS-1", &[(3, 90)]))?;
        ensure!(said.status == 200, "{}", said.body);
        ensure!(inspect::number(&db, LINE)? == line + 1080);
    }
    let kept = "SELECT COUNT(*) FROM warehouse_submissions WHERE receipt_number = 'ROWS-1' AND admin_notes = 'by a manager'";
    ensure!(inspect::number(&db, kept)? == 1, "what others changed stays, the second machine's row is gone");
    for _ in 0..2 {
        ensure!(post(&page, &format!("{key}/void"), &json!({}))?.status == 200);
        ensure!(inspect::number(&db, LINE)? == line);
    }
    ensure!(
        post(&page, key, &machine("ROWS-1", &[(3, 90)]))?.json()?["again"] == true,
        "a late retry does not count again"
    );
    ensure!(inspect::number(&db, LINE)? == line);
    warehouse.agree(&[&edge])
}

#[test]
fn a_packaged_count_takes_the_bag_of_its_receipt() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let page = edge.page()?;
    ensure!(post(&page, "/api/entries/key-00000001", &machine("ROWS-2", &[(3, 5)]))?.status == 200);
    let mut entry = packaged("ROWS-2", 2);
    entry["count"]["box"] = json!(null);
    entry["count"]["bag"] = json!(null);
    entry["count"]["cases"] = json!(1);
    ensure!(post(&page, "/api/entries/key-00000002", &entry)?.status == 200);
    let row = "SELECT COUNT(*) FROM warehouse_submissions WHERE receipt_number = 'ROWS-2' AND submission_type = 'packaged'
        AND bag_id = 15 AND bag_number = 2 AND assigned_po_id = 1 AND displays_made = 8 AND case_count = 1
        AND loose_display_count = 2 AND bag_end_time IS NOT NULL AND needs_review = 0";
    ensure!(inspect::number(&edge.db(), row)? == 1);
    entry["count"]["receipt"] = json!("ROWS-NONE");
    let asked = post(&page, "/api/entries/key-00000003", &entry)?.json()?;
    ensure!(asked["error"] == "receipt-unknown" && asked["question"] == true, "{asked}");
    entry["confirmed"] = json!(true);
    ensure!(post(&page, "/api/entries/key-00000003", &entry)?.status == 200);
    let review = "SELECT COUNT(*) FROM warehouse_submissions WHERE receipt_number = 'ROWS-NONE' AND needs_review = 1 AND bag_id IS NULL";
    ensure!(inspect::number(&edge.db(), review)? == 1);
    Ok(())
}

#[test]
fn a_file_of_2025_takes_the_columns_that_it_has() -> Done {
    let warehouse = Warehouse::adopting(&fixture("tablettracker_2025.db"))?;
    let edge = warehouse.linked("packing-1")?;
    let page = edge.page()?;
    let catalog = get(&page, "/api/catalog")?.json()?;
    ensure!(
        catalog["receipts"] == false && catalog["damaged"] == true && catalog["machines"] == json!([]),
        "{catalog}"
    );
    let packed = json!({ "kind": "packaged", "product": "Calm Mint 4ct", "displays": 7, "damaged": 2 });
    let entry = json!({ "employee": "Ana", "day": "2026-01-31", "count": packed });
    ensure!(post(&page, "/api/entries/key-00000001", &entry)?.status == 200);
    let counted = json!({ "kind": "machine", "product": "Calm Mint 4ct", "bag": 9999, "machines": [{ "counter": 12 }] });
    let entry = json!({ "employee": "Ana", "confirmed": true, "count": counted });
    ensure!(post(&page, "/api/entries/key-00000002", &entry)?.status == 200);
    let bag = json!({ "kind": "bag", "tablet": "Calm Mint", "box": 9999, "bag": 9999, "tablets": 41 });
    let said = post(
        &page,
        "/api/entries/key-00000003",
        &json!({ "employee": "Ana", "confirmed": true, "count": bag }),
    )?;
    ensure!(said.status == 200, "{}", said.body);
    let rows = [
        "SELECT COUNT(*) FROM warehouse_submissions WHERE displays_made = 7 AND damaged_tablets = 2 AND submission_date = '2026-01-31'",
        "SELECT COUNT(*) FROM machine_counts WHERE machine_count = 12 AND employee_name = 'Ana' AND tablet_type_id = 1",
        "SELECT COUNT(*) FROM warehouse_submissions WHERE submission_type = 'bag' AND loose_tablets = 41 AND product_name = 'Calm Mint'",
    ];
    for row in rows {
        ensure!(inspect::number(&edge.db(), row)? == 1, "{row}");
    }
    warehouse.agree(&[&edge])
}

#[test]
fn a_file_of_another_program_says_that_nothing_can_be_counted() -> Done {
    let folder = tempfile::tempdir()?;
    let other = folder.path().join("other.db");
    rusqlite::Connection::open(&other)?
        .execute_batch("CREATE TABLE stock(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)")?;
    let warehouse = Warehouse::adopting(&other)?;
    let edge = warehouse.linked("packing-1")?;
    let page = edge.page()?;
    for answer in [get(&page, "/api/catalog")?, post(&page, "/api/entries/key-00000001", &packaged("x", 1))?]
    {
        ensure!(answer.status == 422 && answer.json()?["error"] == "no-table", "{}", answer.body);
        ensure!(answer.body.contains("warehouse_submissions"), "{}", answer.body);
    }
    Ok(())
}
