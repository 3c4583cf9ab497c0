//! The clock of a device was set while no daemon ran.

use crate::warehouse::{Done, Warehouse, sql};
use anyhow::{Context as _, ensure};
use tt_tests::inspect;
use tt_tests::wrong_clock::was_off_by;

/// A day and a minute: the measured offset is a few milliseconds beside it.
const DAY_MS: i64 = 86_460_000;

fn named(name: &str) -> String {
    format!("UPDATE po_lines SET line_item_name = '{name}' WHERE id = 1")
}

#[test]
fn a_clock_that_was_set_while_no_daemon_ran_neither_wins_nor_loses_by_it() -> Done {
    for (off_ms, word) in
        [(DAY_MS, "24 h ahead"), (-DAY_MS, "24 h behind"), (-20_000 * DAY_MS, "20013 days behind")]
    {
        let warehouse = Warehouse::open()?;
        let wrong = warehouse.device("packing-1")?;
        let right = warehouse.device("packing-2")?;
        sql(&wrong.db(), &named("first"))?;
        for edge in [&wrong, &right] {
            edge.sync("30")?;
        }
        sql(&wrong.db(), &named("earlier"))?;
        sql(&right.db(), &named("later"))?;
        right.sync("30")?;
        was_off_by(&wrong.db(), off_ms)?;
        let said = wrong.say(&["status"])?;
        ensure!(said.out.contains(&format!("the clock is {word}")), "{said:?}");
        wrong.sync("30")?;
        right.sync("30")?;
        warehouse.agree(&[&wrong, &right])?;
        let later = "SELECT line_item_name = 'later' FROM po_lines WHERE id = 1";
        ensure!(inspect::number(&warehouse.hub.db(), later)? == 1, "{word}: the earlier value won");
        let said = wrong.say(&["status"])?;
        ensure!(!said.out.contains("the clock is"), "{said:?}");
    }
    Ok(())
}

#[test]
fn a_count_without_a_daemon_does_not_mix_two_scales() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.device("packing-1")?;
    sql(&edge.db(), &named("first"))?;
    edge.sync("30")?;
    sql(&edge.db(), &named("noted"))?;
    let noted = "SELECT _at FROM _sync_base_po_lines";
    let at = inspect::number(&edge.db(), noted)?;
    was_off_by(&edge.db(), DAY_MS)?;
    let said = edge.say(&["count", "--employee", "Ana", "--product", "P", "--displays", "1"])?;
    ensure!(said.code == 0, "{said:?}");
    let moved = inspect::number(&edge.db(), noted)?;
    ensure!((moved - at).abs() < 1_000, "the note is on the scale of the clock as it is now: {at} {moved}");
    edge.sync("30")?;
    warehouse.agree(&[&edge]).context("all of it arrives")
}
