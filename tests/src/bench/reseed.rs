//! What a device fetches: one that is new, and one whose rows are one in a hundred behind, scattered over the file.
//! Beside it what `cp` and `gunzip` take for the same database in the same run.

use super::figure::{Figure, print, time};
use super::rows;
use crate::node::{Edge, Hub, Program};
use crate::relay::Relay;
use rusqlite::Connection;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Bytes of one submission in the file.
const ROW_BYTES: u64 = 125;
/// The device has these rows otherwise, and nothing has told it that the hub's are newer.
const BEHIND: &str = "UPDATE warehouse_submissions SET loose_tablets = loose_tablets + 1 WHERE id % 100 = 7";
/// Where the relay leads while the hub is not started.
const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

/// Prints bytes, seconds and ratios for a database of about `megabytes`.
///
/// # Errors
/// When a process or SQLite fails.
pub fn measure(program: &Program, runs: usize, megabytes: u32) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut hub = filled(program, dir.path(), megabytes)?;
    let plain = dir.path().join("plain.db");
    Connection::open(hub.db())?.execute("VACUUM INTO ?1", [plain.to_string_lossy()])?;
    let raw = fs::metadata(&plain)?.len() as f64;
    println!("Devices of a hub with a database of {:.1} MB ({runs} runs)", raw / 1e6);
    hub.serve("127.0.0.1:0", &[])?;
    let [mut unpacked, mut fresh, mut to_unpacked, mut behind] = [const { Figure(Vec::new()) }; 4];
    for run in 0..runs {
        let plainly = copy_and_unpack(&plain)?;
        let (edge, taken) = time(|| join(program, &hub, dir.path(), &format!("timed-{run}")));
        let edge = edge?;
        unpacked.add(plainly);
        fresh.add(taken.as_secs_f64());
        to_unpacked.add(taken.as_secs_f64() / plainly);
        fall_behind(&edge)?;
        let (done, taken) = time(|| program.must("edge", &edge.dir, &["reseed"]));
        done?;
        behind.add(taken.as_secs_f64());
        fs::remove_dir_all(&edge.dir)?;
    }
    print("cp of it and gunzip of its gzip", &unpacked, "s");
    print("a new device joins", &fresh, "s");
    print("  against cp and gunzip", &to_unpacked, "x");
    print("a device that is 1 % behind is reseeded", &behind, "s");
    hub.daemon.take().map_or(Ok(()), crate::node::Daemon::stop)?;
    bytes(program, &mut hub, dir.path(), raw)
}

/// The same once more through a relay, which counts.
fn bytes(program: &Program, hub: &mut Hub, dir: &Path, raw: f64) -> anyhow::Result<()> {
    let relay = Relay::start(SocketAddr::from(NOWHERE))?;
    let advertise = relay.address().to_string();
    relay.lead_to(hub.serve("127.0.0.1:0", &["--advertise", &advertise])?);
    let edge = join(program, hub, dir, "counted")?;
    let fresh = relay.received();
    fall_behind(&edge)?;
    let (received, sent) = (relay.received(), relay.sent());
    program.must("edge", &edge.dir, &["reseed"])?;
    let (received, sent) = (relay.received() - received, relay.sent() - sent);
    let line = |what: &str, bytes: u64| {
        let bytes = bytes as f64;
        println!("  {what:<58} {:>9.0} kB, {:.4} of the file", bytes / 1e3, bytes / raw);
    };
    line("to a new device", fresh);
    line("to a device that is 1 % behind", received);
    line("  from it", sent);
    Ok(())
}

fn filled(program: &Program, dir: &Path, megabytes: u32) -> anyhow::Result<Hub> {
    let seed = dir.join("seed.db");
    rows::database(&seed)?;
    let mut conn = Connection::open(&seed)?;
    let tx = conn.transaction()?;
    rows::insert(&tx, u32::try_from(u64::from(megabytes) * 1_000_000 / ROW_BYTES)?, 7)?;
    tx.commit()?;
    drop(conn);
    let hub = Hub::init(program, &dir.join("hub"), Some(&seed))?;
    fs::remove_file(&seed)?;
    Ok(hub)
}

fn join(program: &Program, hub: &Hub, dir: &Path, name: &str) -> anyhow::Result<Edge> {
    Edge::join(program, &dir.join(name), &hub.invite(name)?)
}

fn fall_behind(edge: &Edge) -> anyhow::Result<()> {
    let unseen = tt_migrations::connection::open(&edge.db())?;
    unseen.execute_batch(BEHIND)?;
    Ok(unseen.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?)
}

/// Seconds.
fn copy_and_unpack(plain: &Path) -> anyhow::Result<f64> {
    let (copy, packed) = (plain.with_extension("copy"), plain.with_extension("gz"));
    if !packed.exists() {
        let status = Command::new("gzip").arg("-c").arg(plain).stdout(File::create(&packed)?).status()?;
        anyhow::ensure!(status.success(), "gzip failed");
    }
    let (done, taken) = time(|| -> anyhow::Result<()> {
        let copied = Command::new("cp").arg(plain).arg(&copy).status()?;
        let mut gunzip = Command::new("gunzip");
        gunzip.arg("-c").stdin(File::open(&packed)?).stdout(File::create(&copy)?).stderr(Stdio::inherit());
        anyhow::ensure!(copied.success() && gunzip.status()?.success(), "cp or gunzip failed");
        Ok(())
    });
    done?;
    fs::remove_file(copy)?;
    Ok(taken.as_secs_f64())
}
