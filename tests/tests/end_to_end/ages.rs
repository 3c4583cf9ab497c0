//! Files of two ages of the real program: adopted by a hub, replicated to two devices, and still usable
//! by the program as it has always been.

use crate::warehouse::{Done, Warehouse, fixture, sql, until_number};
use anyhow::{Context as _, ensure};
use rusqlite::ErrorCode;
use tt_tests::node::Edge;
use tt_tests::{inspect, writer};

#[test]
fn a_file_of_2025_is_adopted_and_stays_usable() -> Done {
    let story = Story::begin("tablettracker_2025.db")?;
    story.defaults_in_double_quotes_work()?;
    story.settings_are_replaced()?;
    story.warehouse.agree(&[&story.station, &story.other])
}

#[test]
fn a_file_of_2026_is_adopted_and_stays_usable() -> Done {
    let story = Story::begin("tablettracker_2026.db")?;
    story.defaults_in_double_quotes_work()?;
    story.settings_are_replaced()?;
    story.deletes_cascade()?;
    story.a_partial_index_still_refuses()?;
    story.warehouse.agree(&[&story.station, &story.other])
}

struct Story {
    station: Edge,
    other: Edge,
    warehouse: Warehouse,
}

impl Story {
    fn begin(file: &str) -> anyhow::Result<Self> {
        let warehouse = Warehouse::adopting(&fixture(file))?;
        let (station, other) = (warehouse.linked("packing-1")?, warehouse.linked("packing-2")?);
        warehouse.agree(&[&station, &other])?;
        let tables = inspect::digests(&fixture(file))?;
        for (table, digest) in inspect::digests(&station.db())? {
            ensure!(
                tables.get(&table).is_some_and(|old| old.rows == digest.rows),
                "{table} has all its rows"
            );
        }
        Ok(Self { station, other, warehouse })
    }

    /// Everywhere soon, without a command.
    fn everywhere(&self, sql: &str, expected: i64) -> Done {
        until_number(&self.warehouse.hub.db(), sql, expected)?;
        until_number(&self.other.db(), sql, expected)
    }

    fn defaults_in_double_quotes_work(&self) -> Done {
        let db = self.station.db();
        sql(&db, "INSERT INTO warehouse_submissions(employee_name, product_name) VALUES ('quoted', 'b')")?;
        sql(&db, "INSERT INTO purchase_orders(po_number) VALUES ('PO-quoted')")?;
        let type_ = "SELECT COUNT(*) FROM warehouse_submissions WHERE employee_name = 'quoted' AND submission_type = 'packaged'";
        self.everywhere(type_, 1)?;
        self.everywhere("SELECT COUNT(*) FROM purchase_orders WHERE po_number = 'PO-quoted' AND internal_status = 'Active'", 1)
    }

    fn settings_are_replaced(&self) -> Done {
        let db = self.station.db();
        sql(
            &db,
            "INSERT OR REPLACE INTO app_settings(setting_key, setting_value) VALUES ('cards_per_turn', '3')",
        )?;
        sql(
            &db,
            "INSERT OR REPLACE INTO app_settings(setting_key, setting_value) VALUES ('colour', 'blue')",
        )?;
        sql(
            &db,
            "INSERT OR REPLACE INTO app_settings(setting_key, setting_value) VALUES ('colour', 'green')",
        )?;
        let both =
            "SELECT COUNT(*) FROM app_settings WHERE (setting_key = 'cards_per_turn' AND setting_value = '3')
                    OR (setting_key = 'colour' AND setting_value = 'green')";
        self.everywhere(both, 2)?;
        self.everywhere(
            "SELECT COUNT(*) FROM app_settings WHERE setting_key IN ('cards_per_turn', 'colour')",
            2,
        )
    }

    fn deletes_cascade(&self) -> Done {
        let db = self.station.db();
        sql(
            &db,
            "BEGIN; INSERT INTO receiving(received_by) VALUES ('cascade');
             INSERT INTO receiving_flavor_batches(receiving_id, tablet_type_id, batch_number)
             SELECT MAX(receiving.id), 1, 'cascade' FROM receiving WHERE received_by = 'cascade'; COMMIT",
        )?;
        let children = "SELECT COUNT(*) FROM receiving_flavor_batches WHERE batch_number = 'cascade'";
        self.everywhere(children, 1)?;
        sql(&db, "DELETE FROM receiving WHERE received_by = 'cascade'")?;
        ensure!(inspect::number(&db, children)? == 0, "the program's own SQLite has cascaded");
        self.everywhere(children, 0)?;
        self.everywhere("SELECT COUNT(*) FROM receiving WHERE received_by = 'cascade'", 0)
    }

    fn a_partial_index_still_refuses(&self) -> Done {
        let db = self.station.db();
        let event = |kind: &str| {
            format!(
                "INSERT INTO workflow_events(event_type, payload, occurred_at, workflow_bag_id)
                 SELECT '{kind}', 'partial', 1, MAX(id) FROM workflow_bags"
            )
        };
        sql(&db, "INSERT INTO workflow_bags(created_at) VALUES (1)")?;
        for kind in ["BAG_FINALIZED", "SCANNED", "SCANNED"] {
            sql(&db, &event(kind))?;
        }
        let second = writer::open(&db)?.execute_batch(&event("BAG_FINALIZED"));
        let code = second.err().context("a bag is finalized once")?.sqlite_error_code();
        ensure!(code == Some(ErrorCode::ConstraintViolation), "{code:?}");
        self.everywhere("SELECT COUNT(*) FROM workflow_events WHERE payload = 'partial'", 3)
    }
}
