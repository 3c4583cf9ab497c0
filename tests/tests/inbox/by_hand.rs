//! `tt-edge import` takes files by hand, with and without the daemon, and says what it did.

use crate::warehouse::{Done, Warehouse, program, refused};
use anyhow::ensure;
use serde_json::Value as Json;
use std::fs;
use std::process::Stdio;
use tt_tests::inspect;

const CONFIG: &str = "[[file]]\nname = \"counts*.csv\"\ncount = \"direct\"\n";
const COUNTS: &str = "employee,product,loose\nana,Blue,1\nana,Blue,-2\nana,Blue,3\n";
const HERE: &str = "SELECT COUNT(*) FROM warehouse_submissions WHERE employee_name = 'ana'";

#[test]
fn a_file_is_shown_taken_refused_and_taken_again() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.device("scanner-1")?;
    let path = warehouse.path("counts.csv");
    fs::write(&path, COUNTS)?;
    let file = path.display().to_string();
    refused(&edge.say(&["import", &file])?, 1, &["no [[file]] of inbox.toml", "--table"])?;
    fs::write(edge.dir.join("inbox.toml"), CONFIG)?;
    let said = edge.say(&["import", &file, "--dry-run"])?;
    ensure!(
        said.code == 1 && said.out.contains("2 lines of counts.csv would go in, 1 would not"),
        "{said:?}"
    );
    ensure!(said.out.contains("line 4: {\"employee\":\"ana\""), "{said:?}");
    ensure!(inspect::number(&edge.db(), HERE)? == 0 && edge.status()?["unsent"] == 0, "nothing was written");
    let said = edge.say(&["import", &file, "--json"])?;
    let json: Json = serde_json::from_str(&said.out)?;
    ensure!(said.code == 1 && json["in"] == true && json["lines"] == 2 && json["rejected"] == 1, "{said:?}");
    ensure!(json["reasons"][0]["line"] == 3, "{json}");
    let kept = fs::read_to_string(edge.dir.join("inbox/rejected/counts.csv"))?;
    ensure!(kept == "employee,product,loose\nana,Blue,-2\n", "{kept}");
    ensure!(fs::read_to_string(&path)? == COUNTS, "the file stays");
    refused(&edge.say(&["import", &file])?, 1, &["its content went in at", "--again"])?;
    let copy = warehouse.path("copy.csv");
    fs::copy(&path, &copy)?;
    let copy = copy.display().to_string();
    refused(&edge.say(&["import", &copy, "--as", "counts.csv"])?, 1, &["as counts.csv (2 lines)"])?;
    ensure!(inspect::number(&edge.db(), HERE)? == 2, "once");
    ensure!(edge.say(&["import", &file, "--again"])?.code == 1, "a line still does not fit");
    ensure!(inspect::number(&edge.db(), HERE)? == 4, "again");
    warehouse.agree(&[&edge])?;
    ensure!(inspect::number(&warehouse.hub.db(), HERE)? == 4, "and at the hub");
    Ok(())
}

#[test]
fn a_table_is_named_on_the_line_and_the_daemon_hands_it_in() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("scanner-1")?;
    let path = warehouse.path("rows.csv");
    fs::write(&path, "tracking_number;carrier\nA;UPS\nB;DHL\n")?;
    let file = path.display().to_string();
    for (table, reason) in [("nothing", "no table nothing"), ("_sync_state", "one of the program's")] {
        refused(&edge.say(&["import", &file, "--table", table])?, 1, &[reason])?;
    }
    refused(
        &edge.say(&["import", &edge.dir.display().to_string(), "--table", "shipments"])?,
        1,
        &["no ordinary file"],
    )?;
    let said = edge.say(&["import", &file, "--table", "shipments", "--delimiter", ";"])?;
    ensure!(said.code == 0 && said.out.contains("Saved on this device: 2 lines of rows.csv"), "{said:?}");
    warehouse.agree(&[&edge])?;
    ensure!(inspect::number(&warehouse.hub.db(), "SELECT COUNT(*) FROM shipments")? == 2);
    Ok(())
}

#[test]
fn two_processes_with_the_same_file_take_it_once() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.device("scanner-1")?;
    fs::write(edge.dir.join("inbox.toml"), CONFIG)?;
    for round in 0..5 {
        let path = warehouse.path(&format!("counts-{round}.csv"));
        let lines: String = (0..300).map(|line| format!("ana,Blue {round},{line}\n")).collect();
        fs::write(&path, format!("employee,product,loose\n{lines}ana,Blue {round},-1\n"))?;
        let file = path.display().to_string();
        let start = || {
            let mut command = program().command("edge", &edge.dir, &["import", &file, "--json"]);
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
        };
        let mut taken = 0;
        for child in [start()?, start()?, start()?] {
            let json: Json = serde_json::from_slice(&child.wait_with_output()?.stdout)?;
            taken += i32::from(json["in"] == true);
        }
        let sql = format!("SELECT COUNT(*) FROM warehouse_submissions WHERE product_name = 'Blue {round}'");
        ensure!(taken == 1 && inspect::number(&edge.db(), &sql)? == 300, "round {round}: {taken} took it");
        let kept = fs::read_to_string(edge.dir.join(format!("inbox/rejected/counts-{round}.csv")))?;
        ensure!(kept.lines().count() == 2, "{kept}");
    }
    Ok(())
}
