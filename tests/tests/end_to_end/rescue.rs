//! Files that are not what the hub thinks they are: copied to a second device, or put back from yesterday. Each is
//! stopped with the reason, and `join --rescue` brings its work in, nothing twice and nothing lost.

use crate::warehouse::{Done, Warehouse, program, sql};
use anyhow::{Context as _, ensure};
use std::path::Path;
use tt_tests::inspect;
use tt_tests::node::{Edge, until};

const COUNTER: &str = "SELECT good_count FROM po_lines WHERE id = 1";
const ADD: &str = "UPDATE po_lines SET good_count = good_count + 10 WHERE id = 1";

fn shipment(note: &str) -> String {
    format!("INSERT INTO shipments(po_id, notes) VALUES (1, '{note}')")
}

fn times(db: &Path, note: &str) -> anyhow::Result<i64> {
    Ok(inspect::number(db, &format!("SELECT count(*) FROM shipments WHERE notes = '{note}'"))?)
}

/// All of a device: its folder with identity and file.
fn copy_device(from: &Edge, to: &Path) -> anyhow::Result<Edge> {
    std::fs::create_dir_all(to.join("identity"))?;
    let db = to.join("tablet_counter.db");
    rusqlite::Connection::open(from.db())?.execute("VACUUM INTO ?1", [db.to_string_lossy()])?;
    for entry in std::fs::read_dir(from.dir.join("identity"))? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join("identity").join(entry.file_name()))?;
    }
    let settings = std::fs::read_to_string(from.dir.join("edge.json"))?;
    let (old, new) = (from.dir.display().to_string(), to.display().to_string());
    std::fs::write(to.join("edge.json"), settings.replace(&old, &new))?;
    Ok(Edge::joined(&program(), to, None))
}

/// The device is stopped, and says what to do.
fn blocked(edge: &Edge) -> Done {
    let said = edge.say(&["sync", "--timeout", "20"])?;
    ensure!(said.code == 1 && said.err.contains("--rescue"), "{said:?}");
    let status = edge.status()?;
    let reason = status["blocked"].as_str().context("it says why")?;
    ensure!(reason.contains("--rescue"), "{reason}");
    Ok(())
}

fn rescued(warehouse: &Warehouse, edge: &Edge, name: &str) -> Done {
    let token = warehouse.hub.invite(name)?;
    let said = edge.say(&["join", &token, "--rescue", "--json"])?;
    ensure!(said.code == 0 && said.out.contains("\"handed_in\":true"), "{said:?}");
    let again = edge.say(&["join", &token, "--rescue", "--json"])?;
    ensure!(again.code == 0, "the same command again: {again:?}");
    Ok(())
}

#[test]
fn a_device_whose_image_was_cloned_is_stopped_and_rescued() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.device("packing-1")?;
    let before = inspect::number(&warehouse.hub.db(), COUNTER)?;
    sql(&edge.db(), &format!("{ADD}; {}", shipment("before")))?;
    edge.sync("20")?;
    let clone = copy_device(&edge, &warehouse.path("clone"))?;
    // Both give the same ids and the same numbers from here on.
    sql(&edge.db(), &format!("{ADD}; {}; {}", shipment("original"), shipment("original 2")))?;
    edge.sync("20")?;
    sql(&clone.db(), &format!("{ADD}; {}; {}", shipment("clone"), shipment("clone 2")))?;
    let child = "INSERT INTO receiving(shipment_id, notes) SELECT max(id), 'child' FROM shipments";
    sql(&clone.db(), child)?;
    blocked(&clone)?;
    rescued(&warehouse, &clone, "packing-2")?;
    edge.sync("20")?;
    let hub = warehouse.hub.db();
    ensure!(inspect::number(&hub, COUNTER)? == before + 30, "each count once");
    for note in ["before", "original", "original 2", "clone", "clone 2"] {
        ensure!(times(&hub, note)? == 1, "{note}: {}", times(&hub, note)?);
    }
    let of_clone = "SELECT count(*) FROM receiving r JOIN shipments s ON s.id = r.shipment_id
                    WHERE r.notes = 'child' AND s.notes = 'clone 2'";
    ensure!(inspect::number(&hub, of_clone)? == 1, "the child went along with its parent's new id");
    // The list names both, although there is nothing to decide.
    let said = warehouse.hub.say(&["conflicts", "--all", "--json"])?;
    ensure!(said.out.matches("another row has its id").count() >= 2, "{said:?}");
    warehouse.agree(&[&edge, &clone])
}

#[test]
fn a_file_of_yesterday_that_was_put_back_is_stopped_and_rescued() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.device("packing-1")?;
    let before = inspect::number(&warehouse.hub.db(), COUNTER)?;
    sql(&edge.db(), &format!("{ADD}; {}", shipment("yesterday")))?;
    edge.sync("20")?;
    let yesterday = copy_device(&edge, &warehouse.path("yesterday"))?;
    sql(&edge.db(), &format!("{ADD}; {}", shipment("today")))?;
    edge.sync("20")?;
    sql(&edge.db(), &shipment("today 2"))?;
    edge.sync("20")?;
    sql(&yesterday.db(), &format!("{ADD}; {}", shipment("after all")))?;
    blocked(&yesterday)?;
    rescued(&warehouse, &yesterday, "packing-2")?;
    let hub = warehouse.hub.db();
    ensure!(inspect::number(&hub, COUNTER)? == before + 30, "each count once");
    for note in ["yesterday", "today", "today 2", "after all"] {
        ensure!(times(&hub, note)? == 1, "{note}: {}", times(&hub, note)?);
    }
    warehouse.agree(&[&yesterday])
}

#[test]
fn work_that_two_copies_hold_is_handed_in_once_whoever_comes_first() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.device("packing-1")?;
    let before = inspect::number(&warehouse.hub.db(), COUNTER)?;
    sql(&edge.db(), &format!("{ADD}; {}", shipment("of both")))?;
    // It is cut, but the link was lost before it reached the hub.
    cut_without_link(&edge)?;
    let clone = copy_device(&edge, &warehouse.path("clone"))?;
    rescued(&warehouse, &clone, "packing-2")?;
    until("the original is in step", || Ok(edge.sync("20").ok()))?;
    let hub = warehouse.hub.db();
    ensure!(inspect::number(&hub, COUNTER)? == before + 10, "counted once");
    ensure!(times(&hub, "of both")? == 1, "one row");
    clone.sync("20")?;
    warehouse.agree(&[&edge, &clone])
}

#[test]
fn a_damaged_changeset_is_named_and_the_whole_ones_go_in() -> Done {
    let warehouse = Warehouse::open()?;
    let hub = warehouse.hub.db();
    for (number, (damage, words)) in [
        (
            "UPDATE _sync_piece SET bytes = zeroblob(length(bytes)) WHERE seq = 2",
            "not the bytes that were cut",
        ),
        ("DELETE FROM _sync_piece WHERE seq = 2", "0 of its 1 pieces"),
        ("UPDATE _sync_outbox SET hash = x'00' WHERE seq = 2", "2 rows of \"shipments\""),
        ("DELETE FROM _sync_outbox WHERE seq = 2", "does not know it any more"),
    ]
    .into_iter()
    .enumerate()
    {
        let edge = warehouse.device(&format!("packing-{number}"))?;
        let note = |what: &str| format!("{what} {number}");
        sql(&edge.db(), &shipment(&note("safe")))?;
        edge.sync("20")?;
        sql(&edge.db(), &format!("{}; {}", shipment(&note("lost")), shipment(&note("lost"))))?;
        cut_without_link(&edge)?;
        sql(&edge.db(), &shipment(&note("whole")))?;
        cut_without_link(&edge)?;
        sql(&edge.db(), &format!("{damage}; {}", shipment(&note("uncut"))))?;
        let token = warehouse.hub.invite(&format!("again-{number}"))?;
        // The same command again says the same.
        for _ in 0..2 {
            let said = edge.say(&["join", &token, "--rescue", "--json"])?;
            ensure!(
                said.code == 1 && said.err.contains("changeset 2") && said.err.contains(words),
                "{said:?}"
            );
            let json: serde_json::Value = serde_json::from_str(&said.out)?;
            ensure!(json["lost"][0]["seq"] == 2 && json["lost"][1].is_null(), "{said:?}");
            ensure!(json["handed_in"] == true && json["changesets"] == 3, "{said:?}");
            let aside = json["aside"].as_str().context("the file is kept")?;
            ensure!(times(Path::new(aside), &note("lost"))? == 2, "as it was");
        }
        for (what, expected) in [("safe", 1), ("lost", 0), ("whole", 1), ("uncut", 1)] {
            let found = times(&hub, &note(what))?;
            ensure!(found == expected, "{what} {number} is at the hub {found} times");
        }
        warehouse.agree(&[&edge])?;
    }
    Ok(())
}

/// What a device has cut before its link was lost.
pub(crate) fn cut_without_link(edge: &Edge) -> Done {
    let policy = tt_migrations::policy::shipped();
    let mut store = tt_edge::store::EdgeStore::open(&edge.db(), policy)?;
    store.cut(tt_protocol::number::Millis(1_800_000_000_000))?.context("there is something to cut")?;
    Ok(())
}
