//! The operator changes the schema of a hub that serves, and devices follow whatever they do meanwhile.

use crate::warehouse::{Done, Warehouse, sql, until_number};
use anyhow::ensure;
use std::fs;

const SPLIT: &str = "
CREATE TABLE halls(id INTEGER PRIMARY KEY AUTOINCREMENT, hall_name TEXT UNIQUE NOT NULL);
INSERT INTO halls(hall_name) VALUES ('north'), ('south');
ALTER TABLE po_lines ADD COLUMN hall_id INTEGER REFERENCES halls(id);
UPDATE po_lines SET hall_id = (SELECT id FROM halls WHERE hall_name = 'north');
";

fn write(warehouse: &Warehouse, name: &str, text: &str) -> Done {
    let folder = warehouse.hub.dir.join("migrations");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), text)?;
    Ok(())
}

#[test]
fn devices_that_are_linked_away_or_killed_follow_migrations_of_a_running_hub() -> Done {
    let warehouse = Warehouse::open()?;
    let linked = warehouse.linked("packing-1")?;
    let mut killed = warehouse.linked("packing-2")?;
    let away = warehouse.device("packing-3")?;
    killed.daemon.take().map_or(Ok(()), tt_tests::node::Daemon::kill)?;
    write(&warehouse, "0001_halls.sql", SPLIT)?;
    write(&warehouse, "0002_good.sql", "ALTER TABLE po_lines RENAME COLUMN good_count TO good")?;
    let said = warehouse.hub.say(&["migrate", "up"])?;
    ensure!(said.code == 0 && said.out == "applied 0001 halls\napplied 0002 good\n", "{said:?}");
    let renamed = "SELECT COUNT(*) FROM pragma_table_info('po_lines') WHERE name = 'good'";
    until_number(&linked.db(), renamed, 1)?;
    until_number(
        &linked.db(),
        "SELECT COUNT(*) FROM po_lines JOIN halls ON halls.id = hall_id WHERE po_lines.id <= 2",
        2,
    )?;
    sql(&linked.db(), "UPDATE po_lines SET good = good + 3 WHERE id = 1")?;
    for (edge, count) in [(&killed, 10), (&away, 20)] {
        sql(&edge.db(), &format!("UPDATE po_lines SET good_count = good_count + {count} WHERE id = 1"))?;
    }
    write(&warehouse, "0003_drop.sql", "ALTER TABLE po_lines DROP COLUMN line_item_name")?;
    ensure!(warehouse.hub.say(&["migrate", "up"])?.code == 0);
    killed.run()?;
    warehouse.agree(&[&linked, &killed, &away])?;
    until_number(&away.db(), "SELECT good FROM po_lines WHERE id = 1", 33)?;
    let columns =
        "SELECT COUNT(*) FROM pragma_table_info('po_lines') WHERE name IN ('good_count', 'line_item_name')";
    until_number(&killed.db(), columns, 0)?;
    // Its snapshot may be older than the migrations: they follow with its first feed.
    let late = warehouse.linked("packing-4")?;
    until_number(&late.db(), renamed, 1)?;
    sql(&late.db(), "UPDATE po_lines SET good = good + 1 WHERE id = 1")?;
    until_number(&linked.db(), "SELECT good FROM po_lines WHERE id = 1", 34)?;
    warehouse.agree(&[&linked, &killed, &away, &late])
}
