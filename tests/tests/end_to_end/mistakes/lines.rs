//! Commands out of order, and lines that make no sense.

use super::{bytes, untouched};
use crate::warehouse::{Done, Warehouse, program, refused, until_number};
use anyhow::{Context as _, ensure};
use std::net::UdpSocket;
use std::process::Command;
use tt_tests::inspect;

const COUNT: [&str; 5] = ["count", "--employee", "ana", "--product", "Blue 30ct"];

#[test]
fn commands_before_joining_say_to_join() -> Done {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("edge");
    for line in [&["run"][..], &["sync"], &["status"], &["status", "--json"], &COUNT] {
        let said = program().say("edge", &dir, line)?;
        refused(&said, 1, &["belongs to no hub yet", "tt-edge join TOKEN"])
            .with_context(|| format!("{line:?}"))?;
        ensure!(said.out.is_empty() && !dir.exists(), "{line:?} left something behind");
    }
    for line in [&["serve"][..], &["invite", "a"], &["edges"], &["status"], &["conflicts"], &["revoke", "a"]]
    {
        refused(&program().say("hub", &dir, line)?, 1, &["there is no hub in", "init"])
            .with_context(|| format!("{line:?}"))?;
        ensure!(!dir.exists(), "{line:?} left something behind");
    }
    Ok(())
}

#[test]
fn lines_that_make_no_sense_have_exit_code_2() -> Done {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("edge");
    for line in [
        &[][..],
        &["jump"],
        &["join"],
        &["sync", "--timeout"],
        &["sync", "--timeout", "soon"],
        &["status", "--verbos"],
    ] {
        let said = program().say("edge", &dir, line)?;
        ensure!(said.code == 2 && said.err.contains("--help") && said.out.is_empty(), "{line:?}: {said:?}");
    }
    for line in [&["count"][..], &["count", "--employee", "a", "--product", "b", "--loose", "many"]] {
        let said = program().say("edge", &dir, line)?;
        ensure!(said.code == 2 && !said.err.is_empty(), "{line:?}: {said:?}");
    }
    for line in [
        &["invite"][..],
        &["serve", "--listen", "here"],
        &["invite", "a", "--ttl", "soon"],
        &["serve", "--advertise", "x"],
    ] {
        let said = program().say("hub", &dir, line)?;
        ensure!(said.code == 2 && !said.err.is_empty(), "{line:?}: {said:?}");
    }
    let help = program().say("edge", &dir, &["--help"])?;
    ensure!(help.code == 0 && help.out.contains("join"), "{help:?}");
    ensure!(!dir.exists(), "a line that makes no sense leaves nothing behind");
    Ok(())
}

#[test]
fn a_count_that_cannot_be_is_not_saved() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.device("packing-1")?;
    let before = bytes(&edge.dir)?;
    let order = ["--po", "PO-NOWHERE", "--item", "ITEM"];
    let cases = [
        (vec!["--loose", "-3"], 1, "cannot be negative"),
        (vec!["--damaged=-1"], 1, "cannot be negative"),
        (vec!["--box", "-1"], 1, "cannot be negative"),
        (order.to_vec(), 1, "there is no purchase order PO-NOWHERE"),
        (vec!["--good", "5"], 2, "--po"),
    ];
    for (more, code, reason) in cases {
        let said = edge.say(&[&COUNT[..], &more].concat())?;
        refused(&said, code, &[reason]).with_context(|| format!("{more:?}"))?;
        untouched(&edge.dir, &before)?;
    }
    ensure!(edge.status()?["unsent"] == 0, "nothing was saved");
    let known: String =
        inspect::open(&edge.db())?
            .query_row("SELECT po_number FROM purchase_orders", [], |row| row.get(0))?;
    let said = edge.say(&[&COUNT[..], &["--po", &known, "--item", "ITEM-NOWHERE"]].concat())?;
    refused(&said, 1, &["no line for item ITEM-NOWHERE"])?;
    ensure!(edge.status()?["unsent"] == 0, "not even half of it was saved");
    let said = edge.say(&[&COUNT[..], &["--loose", "3", "--box", "2"]].concat())?;
    ensure!(said.code == 0 && said.out.contains("Saved on this device as entry"), "{said:?}");
    edge.sync("30")?;
    until_number(
        &warehouse.hub.db(),
        "SELECT COUNT(*) FROM warehouse_submissions WHERE loose_tablets = 3 AND box_number = 2",
        1,
    )
}

#[test]
fn a_port_that_is_taken_is_named() -> Done {
    let warehouse = Warehouse::closed(None)?;
    let taken = UdpSocket::bind("127.0.0.1:0")?.local_addr().context("an address")?;
    let holder = UdpSocket::bind(taken)?;
    let said = warehouse.hub.say(&["serve", "--listen", &taken.to_string(), "--http", "127.0.0.1:0"])?;
    refused(&said, 1, &[&taken.to_string(), "in use", "--listen"])?;
    drop(holder);
    let holder = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken = holder.local_addr()?.to_string();
    let said = warehouse.hub.say(&["serve", "--listen", "127.0.0.1:0", "--http", &taken])?;
    refused(&said, 1, &[&taken, "in use", "--http"])
}

#[test]
fn folder_and_json_stand_anywhere_on_the_line() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.device("packing-1")?;
    let (edge, hub) = (edge.dir.display().to_string(), warehouse.hub.dir.display().to_string());
    let lines = [
        vec!["edge", "--data", &edge, "--json", "status"],
        vec!["edge", "--json", "status", "--data", &edge],
        vec!["edge", "status", "--json", "--data", &edge],
        vec!["edge", "sync", "--data", &edge, "--timeout", "30", "--json"],
        vec!["hub", "--data", &hub, "--json", "edges"],
        vec!["hub", "edges", "--json", "--data", &hub],
        vec!["hub", "--json", "conflicts", "--data", &hub, "--all"],
    ];
    for line in lines {
        let output = Command::new(program().0).args(&line).output()?;
        ensure!(output.status.success(), "{line:?}: {output:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).with_context(|| format!("{line:?}"))?;
    }
    Ok(())
}
