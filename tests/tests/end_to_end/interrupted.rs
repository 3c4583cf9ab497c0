//! A join that was cut off or killed goes on with the same token, and fetches only what is missing.

use crate::warehouse::{Done, Warehouse, program, sql};
use anyhow::{Context as _, ensure};
use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;
use tt_tests::node::{Edge, until};
use tt_tests::sim::random::Random;

/// Makes a snapshot of some megabytes, which does not pack well.
const LARGE: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
    INSERT INTO shipments(po_id, notes) SELECT 1, hex(randomblob(250)) FROM n";
/// The link is lost after so much of it. That is far more than must be on disk then: of the last flight, which may be half
/// of all, packets that were dropped on the way are not sent again any more, and what follows them is of no use.
const LOST_AFTER_BYTES: u64 = 2_400_000;

fn start_join(warehouse: &Warehouse, token: &str) -> anyhow::Result<Child> {
    let mut command = program().command("edge", &warehouse.path("packing-1"), &["join", token]);
    Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

fn end(mut join: Child) -> Done {
    join.kill()?;
    join.wait()?;
    Ok(())
}

#[test]
fn a_join_that_lost_its_link_goes_on() -> Done {
    let warehouse = Warehouse::open()?;
    sql(&warehouse.hub.db(), LARGE)?;
    let token = warehouse.hub.invite("packing-1")?;
    warehouse.relay.cut_after(LOST_AFTER_BYTES);
    let join = start_join(&warehouse, &token)?;
    until("the link is lost in the middle", || Ok(warehouse.relay.is_cut().then_some(())))?;
    let part = warehouse.path("packing-1").join("snapshot.db.gz.part");
    until("what came is on disk", || Ok(fs::metadata(&part).ok().filter(|part| part.len() >= 512 * 1024)))?;
    end(join)?;
    ensure!(
        !warehouse.path("packing-1").join("tablet_counter.db").exists(),
        "a program never sees half of it"
    );
    let before = warehouse.relay.received();
    warehouse.relay.mend();
    let said = warehouse.edge_says("packing-1", &["join", &token])?;
    ensure!(said.code == 0, "{said:?}");
    let again = warehouse.relay.received() - before;
    let whole = fs::metadata(warehouse.hub.db())?.len();
    println!("{before} bytes before the link was lost, {again} after it, of a file of {whole}");
    let edge = Edge::joined(&program(), &warehouse.path("packing-1"), None);
    nothing_is_left(&edge)?;
    warehouse.agree(&[&edge])?;
    // A device that fetches all of it shows what all of it is.
    let before = warehouse.relay.received();
    warehouse.device("packing-2")?;
    let whole = warehouse.relay.received() - before;
    ensure!(again + 256 * 1024 <= whole, "{again} of {whole} bytes came again");
    Ok(())
}

#[test]
fn a_join_that_was_killed_at_any_moment_goes_on() -> Done {
    let warehouse = Warehouse::open()?;
    sql(&warehouse.hub.db(), LARGE)?;
    let token = warehouse.hub.invite("packing-1")?;
    let mut random = Random::new(7);
    for _ in 0..8 {
        let mut join = start_join(&warehouse, &token)?;
        std::thread::sleep(Duration::from_millis(random.below(250)));
        if join.try_wait()?.is_some() {
            break;
        }
        end(join)?;
    }
    let edge = Edge::joined(&program(), &warehouse.path("packing-1"), None);
    let said = edge.say(&["join", &token])?;
    ensure!(said.code == 0 || said.err.contains("already belongs to a hub"), "{said:?}");
    nothing_is_left(&edge)?;
    warehouse.agree(&[&edge])
}

#[test]
fn a_join_that_died_before_its_last_step_goes_on() -> Done {
    let warehouse = Warehouse::open()?;
    let token = warehouse.hub.invite("packing-1")?;
    let edge = Edge::join(&program(), &warehouse.path("packing-1"), &token)?;
    // The last step is the note which file is replicated.
    fs::remove_file(edge.dir.join("edge.json"))?;
    sql(&edge.db(), "UPDATE po_lines SET good_count = good_count + 1 WHERE id = 1")?;
    let said = edge.say(&["join", &token])?;
    ensure!(said.code == 0 && said.out.contains("Joined as packing-1"), "{said:?}");
    // One step earlier: the identity is there, the file is not.
    fs::remove_file(edge.dir.join("edge.json"))?;
    edge.sync("30").err().context("it has not joined")?;
    fs::rename(edge.db(), edge.dir.join("aside.db"))?;
    let said = edge.say(&["join", &token])?;
    ensure!(said.code == 0, "{said:?}");
    nothing_is_left(&edge)?;
    let devices: serde_json::Value = serde_json::from_str(&warehouse.hub.program.must(
        "hub",
        &warehouse.hub.dir,
        &["edges", "--json"],
    )?)?;
    ensure!(devices.as_array().is_some_and(|list| list.len() == 1), "it is one device: {devices}");
    Ok(())
}

fn nothing_is_left(edge: &Edge) -> Done {
    for entry in fs::read_dir(&edge.dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let left = [".joining", ".part", ".gz", ".old"].iter().any(|mark| name.contains(mark));
        ensure!(!left, "{name} was left behind");
    }
    Ok(())
}
