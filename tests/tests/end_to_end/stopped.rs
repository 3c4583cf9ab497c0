//! A device that is asked to stop as soon as anybody can see that it runs ends cleanly.

use crate::warehouse::{Done, Warehouse, program};
use anyhow::ensure;
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
