//! What keeps the hub's rows out of a running device, and what does not fire for them, is named on both sides.

use crate::warehouse::{Done, Warehouse, refused, sql, until_number};
use anyhow::ensure;
use tt_tests::node::{Edge, Hub, until};

const GOOD: &str = "SELECT good_count FROM po_lines WHERE id = 1";
const COUNT: &str = "UPDATE po_lines SET good_count = good_count + 3 WHERE id = 1";
const INDEX: &str = "one_parcel_each";

#[test]
fn a_unique_index_of_one_device_is_named_everywhere_until_it_is_dropped() -> Done {
    let warehouse = Warehouse::open()?;
    let (first, second) = (warehouse.linked("packing-1")?, warehouse.linked("packing-2")?);
    let index =
        format!("CREATE UNIQUE INDEX {INDEX} ON shipments(carrier, po_id) WHERE carrier LIKE 'Parcel%'");
    sql(&second.db(), &index)?;
    second.sync("30")?;
    sql(&first.db(), "INSERT INTO shipments(po_id, carrier) VALUES (1, 'Parcel one'), (1, 'Parcel one')")?;
    until("the device says what it waits for", || Ok(blocked(&second)?.filter(|why| why.contains(INDEX))))?;
    ensure!(second.say(&["status"])?.code == 1, "a script notices");
    ensure!(second.status()?["connected"] == true, "it is linked all the time");

    // Its own counts arrive, one after the other.
    for good in [3, 6, 9] {
        sql(&second.db(), COUNT)?;
        until_number(&warehouse.hub.db(), GOOD, good)?;
    }
    refused(&second.say(&["sync", "--timeout", "30"])?, 1, &[INDEX, "DROP INDEX"])?;
    let doctor = second.say(&["doctor"])?;
    ensure!(
        doctor.code == 1 && doctor.out.contains("FAIL  feed") && doctor.out.contains(INDEX),
        "{doctor:?}"
    );
    until("the hub's list names it", || Ok(edges(&warehouse.hub)?.contains(INDEX).then_some(())))?;

    sql(&second.db(), &format!("DROP INDEX {INDEX}"))?;
    until("it goes on by itself", || Ok(blocked(&second)?.is_none().then_some(())))?;
    warehouse.agree(&[&first, &second])?;
    until("the hub's list is clean", || Ok((!edges(&warehouse.hub)?.contains("blocked")).then_some(())))
}

#[test]
fn triggers_that_do_not_fire_are_named_by_doctor_and_by_the_hubs_status() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.device("packing-1")?;
    let trigger = "CREATE TABLE scratch(what TEXT);
                   CREATE TRIGGER writes_both AFTER UPDATE OF machine_name ON machines BEGIN
                     INSERT INTO scratch VALUES (NEW.machine_name);
                     UPDATE po_lines SET good_count = good_count WHERE id = NEW.id;
                   END;";
    ensure!(!warehouse.hub.say(&["status"])?.out.contains("trigger"), "nothing to say at first");
    sql(&warehouse.hub.db(), trigger)?;
    sql(&edge.db(), trigger)?;
    let told = "trigger \"writes_both\" does not fire for rows that come from elsewhere";
    let status = warehouse.hub.say(&["status"])?.out;
    ensure!(status.lines().any(|line| line.starts_with("WARNING") && line.contains(told)), "{status}");
    let json: serde_json::Value = serde_json::from_str(&warehouse.hub.say(&["status", "--json"])?.out)?;
    let named = json["triggers_left_out"].as_array().map_or(0, Vec::len);
    ensure!(
        named == 1 && json["triggers_left_out"][0].as_str().is_some_and(|one| one.contains(told)),
        "{json}"
    );
    let doctor = edge.say(&["doctor"])?.out;
    ensure!(doctor.matches(told).count() == 1 && doctor.contains("warn  trigger"), "{doctor}");
    let mut edge = edge;
    edge.run()?;
    edge.sync("30")?;
    let doctor = edge.say(&["doctor"])?.out;
    ensure!(doctor.matches(told).count() == 1, "the daemon names it too, and it is said once: {doctor}");
    Ok(())
}

fn blocked(edge: &Edge) -> anyhow::Result<Option<String>> {
    Ok(edge.status()?["blocked"].as_str().map(str::to_owned))
}

fn edges(hub: &Hub) -> anyhow::Result<String> {
    Ok(hub.say(&["edges"])?.out)
}
