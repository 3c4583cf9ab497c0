//! A device that is asked to stop as soon as anybody can see that it runs ends cleanly, and one whose log has no room
//! goes on.

use crate::warehouse::{Done, Warehouse, program, sql, until_number};
use anyhow::{Context as _, ensure};
use std::fs::File;
use std::process::{Command, Stdio};
use tt_tests::node::until;

/// The time between the daemon's ear and the end of its start is short: some tries meet it.
const TRIES: u32 = 5;

#[test]
fn a_device_that_is_asked_to_stop_while_it_starts_ends_cleanly() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.device("packing-1")?;
    let socket = edge.dir.join("control.sock");
    for _ in 0..TRIES {
        let mut command = program().command("edge", &edge.dir, &["run", "--http", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        while !socket.exists() && child.try_wait()?.is_none() {
            std::thread::yield_now();
        }
        Command::new("kill").arg("-TERM").arg(child.id().to_string()).status()?;
        let ended = until("the daemon ends", || Ok(child.try_wait()?));
        if ended.is_err() {
            child.kill()?;
        }
        let ended = ended?;
        ensure!(ended.success(), "it ended with {ended}");
        ensure!(!socket.exists(), "and left its ear behind");
    }
    Ok(())
}

/// A log on a disk that is full takes nothing. Whoever wrote to it must not die of that.
#[test]
fn daemons_whose_log_has_no_room_go_on() -> Done {
    let mut warehouse = Warehouse::open()?;
    let edge = warehouse.device("packing-1")?;
    warehouse.stop_hub()?;
    let full = || File::options().write(true).open("/dev/full");
    let start = |role, dir, args: &[&str]| -> anyhow::Result<_> {
        Ok(program().command(role, dir, args).stdout(Stdio::null()).stderr(full()?).spawn()?)
    };
    let mut daemon = start("edge", &edge.dir, &["run", "--http", "127.0.0.1:0"])?;
    let mut hub =
        start("hub", &warehouse.hub.dir, &["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])?;
    let said = until("the hub listens", || {
        ensure!(hub.try_wait()?.is_none(), "the hub has ended");
        Ok(std::fs::read(warehouse.hub.dir.join("hub.addr.json")).ok())
    })?;
    let said: serde_json::Value = serde_json::from_slice(&said)?;
    warehouse.relay.lead_to(said["quic"].as_str().context("an address")?.parse()?);
    sql(&edge.db(), "UPDATE po_lines SET good_count = good_count + 3 WHERE id = 1")?;
    until_number(&warehouse.hub.db(), "SELECT good_count FROM po_lines WHERE id = 1", 3)?;
    let status = edge.status()?;
    ensure!(daemon.try_wait()?.is_none() && status["daemon"] == true, "{status}");
    for child in [&mut daemon, &mut hub] {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}
