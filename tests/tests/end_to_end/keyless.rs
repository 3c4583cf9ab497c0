//! A table without a primary key cannot be replicated. It is named by `init`, `join` and `status` on both
//! sides, and all else goes on.

use crate::warehouse::{Done, Warehouse, copy, program, sql, until_number};
use anyhow::ensure;
use rusqlite::Connection;
use tt_tests::inspect;

const TABLE: &str = "wall_notes";

#[test]
fn a_table_without_a_key_is_named_and_left_alone() -> Done {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("old.db");
    copy("tablettracker_2026.db", &file)?;
    Connection::open(&file)?
        .execute_batch("CREATE TABLE wall_notes(note TEXT); INSERT INTO wall_notes VALUES ('hub')")?;
    let adopt = file.display().to_string();
    let said = program().say("hub", &folder.path().join("hub"), &["init", "--adopt", &adopt])?;
    ensure!(said.code == 0, "{said:?}");
    names_it(&said.err)?;

    let warehouse = Warehouse::adopting(&file)?;
    names_it(&warehouse.hub.say(&["status"])?.out)?;
    let token = warehouse.hub.invite("packing-1")?;
    let said = warehouse.edge_says("packing-1", &["join", &token])?;
    ensure!(said.code == 0, "{said:?}");
    names_it(&said.err)?;
    let mut edge = tt_tests::node::Edge::joined(&program(), &warehouse.path("packing-1"), None);
    names_it(&edge.say(&["status"])?.out)?;
    edge.run()?;

    let own = inspect::number(&edge.db(), "SELECT COUNT(*) FROM wall_notes")?;
    sql(
        &edge.db(),
        "INSERT INTO wall_notes VALUES ('edge'); UPDATE po_lines SET good_count = good_count + 1 WHERE id = 1",
    )?;
    until_number(&warehouse.hub.db(), "SELECT good_count FROM po_lines WHERE id = 1", 1)?;
    warehouse.agree(&[&edge])?;
    names_it(&edge.say(&["status"])?.out)?;
    ensure!(
        inspect::number(&warehouse.hub.db(), "SELECT COUNT(*) FROM wall_notes")? == 1,
        "it is not replicated"
    );
    ensure!(
        inspect::number(&edge.db(), "SELECT COUNT(*) FROM wall_notes")? == own + 1,
        "and the program's rows stay"
    );
    Ok(())
}

fn names_it(text: &str) -> Done {
    let loud =
        text.lines().any(|line| line.contains(TABLE) && line.contains("NOT") && line.contains("primary key"));
    ensure!(loud, "{TABLE} is not named: {text}");
    Ok(())
}
