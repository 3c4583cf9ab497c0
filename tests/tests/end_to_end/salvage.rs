//! A device's file is damaged on its card: every command says what to do, and what can still be read of the
//! unsent work is at the hub afterwards, once.

use crate::rescue::cut_without_link;
use crate::warehouse::{Done, Warehouse, sql};
use anyhow::{Context as _, ensure};
use rusqlite::Connection;
use std::path::Path;
use tt_tests::inspect;

const PAGE: usize = 4_096;

fn shipments(note: &str) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
         INSERT INTO shipments(po_id, notes) SELECT 1, '{note} ' || i || ' ' || hex(zeroblob(40)) FROM n"
    )
}

/// Zeroes the page on which this note lies.
fn spoil(db: &Path, note: &str) -> Done {
    let mut bytes = std::fs::read(db)?;
    let mut pages = bytes.chunks_mut(PAGE);
    let lies_on =
        |page: &&mut [u8]| page[0] == 13 && page.windows(note.len()).any(|text| text == note.as_bytes());
    pages.find(lies_on).with_context(|| format!("{note} is in the file"))?.fill(0);
    Ok(std::fs::write(db, bytes)?)
}

/// Rows with this note that can be read one by one.
fn legible(db: &Path, note: &str, ids: std::ops::RangeInclusive<i64>) -> anyhow::Result<i64> {
    let conn = Connection::open(db)?;
    let sql = "SELECT notes LIKE ?2 || ' %' FROM shipments WHERE id = ?1";
    Ok(ids
        .filter(|id| conn.query_row(sql, (id, note), |row| row.get(0)).unwrap_or(false))
        .count()
        .try_into()?)
}

#[test]
fn a_damaged_file_is_taken_apart_and_what_can_be_read_of_it_goes_in_once() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.device("packing-1")?;
    let (db, hub) = (edge.db(), warehouse.hub.db());
    let counter = "SELECT good_count FROM po_lines WHERE id = 1";
    let before = inspect::number(&hub, counter)?;
    sql(&db, &shipments("sent"))?;
    edge.sync("20")?;
    sql(&db, &shipments("cut"))?;
    cut_without_link(&edge)?;
    sql(&db, &shipments("uncut"))?;
    sql(&db, "UPDATE po_lines SET good_count = good_count + 10 WHERE id = 1")?;
    let last = inspect::number(&db, "SELECT max(id) FROM shipments")?;
    for note in ["sent 150 ", "cut 150 ", "uncut 100 ", "uncut 200 "] {
        spoil(&db, note)?;
    }
    let uncut = legible(&db, "uncut", last - 320..=last)?;
    ensure!((100..300).contains(&uncut), "{uncut} of 300 can still be read");
    for command in [&["reseed"][..], &["doctor"], &["sync", "--timeout", "5"]] {
        let said = edge.say(command)?;
        ensure!(said.code == 1 && (said.err + &said.out).contains("--rescue"), "{command:?} says what to do");
    }
    let rescue = ["join", &warehouse.hub.invite("packing-2")?, "--rescue", "--json"];
    let program = Connection::open(&db)?;
    program.query_row("SELECT count(*) FROM employees", [], |_| Ok(()))?;
    let said = edge.say(&rescue)?;
    ensure!(said.code == 1 && said.err.contains("has it open: stop these programs"), "{said:?}");
    drop(program);
    // Until somebody stops them, programs and the daemon go on writing where the file can be written.
    let damaged = std::fs::read(&db)?;
    // The same command again says the same, and hands nothing in twice.
    for _ in 0..2 {
        let said = edge.say(&rescue)?;
        let json: serde_json::Value = serde_json::from_str(&said.out).with_context(|| said.err.clone())?;
        ensure!(said.code == 1 && json["handed_in"] == true, "{said:?}");
        ensure!(said.err.contains("NOT readable: \"shipments\""), "{said:?}");
        let aside = Path::new(json["salvaged"]["aside"].as_str().context("kept")?).join("tablet_counter.db");
        ensure!(std::fs::read(aside)? == damaged, "the damaged file is kept as it was");
    }
    for (note, expected) in [("sent", 300), ("cut", 300), ("uncut", uncut)] {
        let count = format!("SELECT count(*) FROM shipments WHERE notes LIKE '{note} %'");
        ensure!(inspect::number(&hub, &count)? == expected, "{note}: {}", inspect::number(&hub, &count)?);
        let once = format!("SELECT count(DISTINCT notes) FROM shipments WHERE notes LIKE '{note} %'");
        ensure!(inspect::number(&hub, &once)? == expected, "{note}: each once");
    }
    ensure!(inspect::number(&hub, counter)? == before + 10, "counted once");
    warehouse.agree(&[&edge])
}
