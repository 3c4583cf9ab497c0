//! A device whose rows are behind is reseeded with real daemons: few bytes go over the wireless, what it has not sent
//! goes in first, and a link that is cut goes on.

use crate::warehouse::{Done, Warehouse, program, sql};
use anyhow::ensure;
use std::fs;
use std::process::Stdio;
use tt_tests::inspect;
use tt_tests::node::{Edge, until};

/// Makes a snapshot of some megabytes, which does not pack well.
const LARGE: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
    INSERT INTO shipments(po_id, notes) SELECT 1, hex(randomblob(100)) FROM n";

/// The device has other rows, and nothing tells that they are behind.
fn unseen(edge: &Edge, statement: &str) -> Done {
    let conn = tt_migrations::connection::open(&edge.db())?;
    conn.execute_batch(statement)?;
    Ok(conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?)
}

#[test]
fn a_device_that_is_one_percent_behind_fetches_little_and_hands_in_its_own_first() -> Done {
    let warehouse = Warehouse::open()?;
    sql(&warehouse.hub.db(), LARGE)?;
    let before = warehouse.relay.received();
    let edge = warehouse.device("packing-1")?;
    let whole = warehouse.relay.received() - before;
    let counted = inspect::number(&edge.db(), "SELECT good_count FROM po_lines WHERE id = 1")?;
    unseen(&edge, "UPDATE shipments SET notes = 'old' WHERE id % 100 = 0")?;
    sql(&edge.db(), "UPDATE po_lines SET good_count = good_count + 3 WHERE id = 1")?;
    let before = warehouse.relay.received();
    let said = edge.say(&["reseed"])?;
    ensure!(said.code == 0, "{said:?}");
    let fetched = warehouse.relay.received() - before;
    println!("{fetched} bytes, where all of it is {whole}");
    // 200 rows of 100 random bytes each, what tells them apart, and what a link costs.
    ensure!(fetched < 100_000 && whole > 2_000_000, "{fetched} bytes, where all of it is {whole}");
    ensure!(inspect::number(&edge.db(), "SELECT COUNT(*) FROM shipments WHERE notes = 'old'")? == 0);
    let at_hub = inspect::number(&warehouse.hub.db(), "SELECT good_count FROM po_lines WHERE id = 1")?;
    ensure!(at_hub == counted + 3, "what it had counted went in first");
    nothing_is_left(&edge)?;
    warehouse.agree(&[&edge])
}

#[test]
fn rows_that_were_fetched_before_a_link_was_cut_are_not_fetched_again() -> Done {
    let warehouse = Warehouse::open()?;
    sql(&warehouse.hub.db(), LARGE)?;
    let edge = warehouse.device("packing-1")?;
    unseen(&edge, "UPDATE shipments SET notes = 'old'")?;
    let whole = 20_000 * 100_u64;
    warehouse.relay.cut_after(whole * 3 / 4);
    let mut command = program().command("edge", &edge.dir, &["reseed"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    until("the link is cut in the middle", || Ok(warehouse.relay.is_cut().then_some(())))?;
    let rows = edge.dir.join("seed.rows");
    until("what came is kept", || Ok(fs::metadata(&rows).ok().filter(|rows| rows.len() >= whole / 4)))?;
    child.kill()?;
    child.wait()?;
    let old = inspect::number(&edge.db(), "SELECT COUNT(*) FROM shipments WHERE notes = 'old'")?;
    ensure!(old >= 20_000, "nothing is written before all is there");
    let kept = fs::metadata(&rows)?.len();
    let before = warehouse.relay.received();
    warehouse.relay.mend();
    let said = edge.say(&["reseed"])?;
    ensure!(said.code == 0, "{said:?}");
    let again = warehouse.relay.received() - before;
    println!("{kept} bytes were kept, {again} came after the link was mended");
    ensure!(again + kept * 3 / 4 < whole * 5 / 4, "{again} bytes came again, and {kept} were here");
    nothing_is_left(&edge)?;
    warehouse.agree(&[&edge])
}

fn nothing_is_left(edge: &Edge) -> Done {
    for entry in fs::read_dir(&edge.dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(!name.starts_with("seed."), "{name} was left behind");
    }
    Ok(())
}
