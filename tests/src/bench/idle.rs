//! Idle: what linked devices cost that have nothing to do, and what their hub costs then. Real processes; the links go
//! through a relay that counts bytes.

use super::rows;
use crate::node::{Daemon, Edge, Hub, Program, until};
use crate::relay::Relay;
use anyhow::Context as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What follows a greeting is over by then.
const SETTLE: Duration = Duration::from_secs(20);

/// What a process has used so far.
#[derive(Clone, Copy)]
struct Used {
    wakes: f64,
    cpu_ns: f64,
}

/// Prints memory, wake-ups, processor time and bytes on the wire, of one device and of the hub that has all of them.
///
/// # Errors
/// When a process fails, or the system does not tell.
pub fn measure(program: &Program, devices: u32, minutes: u32) -> anyhow::Result<()> {
    println!("Idle: {devices} linked devices without work, {minutes} min");
    let dir = tempfile::tempdir()?;
    let seed = dir.path().join("seed.db");
    rows::database(&seed)?;
    let relay = Relay::start(([127, 0, 0, 1], 9).into())?;
    let mut hub = Hub::init(program, &dir.path().join("hub"), Some(&seed))?;
    relay.lead_to(hub.serve("127.0.0.1:0", &["--advertise", &relay.address().to_string()])?);
    let mut edges = Vec::new();
    for number in 0..devices {
        let name = format!("idle-{number}");
        let mut edge = Edge::join(program, &dir.path().join(&name), &hub.invite(&name)?)?;
        edge.run()?;
        until("the device is linked", || Ok((edge.status()?["connected"] == true).then_some(())))?;
        edges.push(edge);
    }
    let device = process(edges.first().and_then(|edge| edge.daemon.as_ref()))?;
    let hub = process(hub.daemon.as_ref())?;
    std::thread::sleep(SETTLE);
    let before = (used(&device)?, used(&hub)?, relay.bytes());
    std::thread::sleep(Duration::from_secs(60) * minutes);
    let after = (used(&device)?, used(&hub)?, relay.bytes());
    let minutes = f64::from(minutes);
    tell("a device", &device, (before.0, after.0), minutes)?;
    let bytes = (after.2 - before.2) as f64 / minutes / f64::from(devices);
    line("a device: on the wire, without IP and UDP headers", bytes, "bytes/min");
    tell("the hub", &hub, (before.1, after.1), minutes)
}

fn tell(who: &str, process: &Path, (before, after): (Used, Used), minutes: f64) -> anyhow::Result<()> {
    line(
        &format!("{who}: resident, with the pages of its program"),
        kilobytes(process, "VmRSS:")? / 1024.0,
        "MiB",
    );
    line(&format!("{who}: resident, its own"), kilobytes(process, "RssAnon:")? / 1024.0, "MiB");
    line(&format!("{who}: wake-ups"), (after.wakes - before.wakes) / minutes, "per min");
    let share = (after.cpu_ns - before.cpu_ns) / (minutes * 60e9) * 100.0;
    line(&format!("{who}: of a core"), share, "%");
    Ok(())
}

fn line(what: &str, value: f64, unit: &str) {
    println!("  {what:<58} {value:>9.3} {unit}");
}

fn process(daemon: Option<&Daemon>) -> anyhow::Result<PathBuf> {
    let pid = daemon.map(Daemon::pid).context("the daemon runs")?;
    Ok(Path::new("/proc").join(pid.to_string()))
}

/// A thread that slept and was woken has switched voluntarily.
fn used(process: &Path) -> anyhow::Result<Used> {
    let mut used = Used { wakes: 0.0, cpu_ns: 0.0 };
    for task in fs::read_dir(process.join("task"))? {
        let task = task?.path();
        used.wakes += field(&task.join("status"), "voluntary_ctxt_switches:")?;
        let ran = fs::read_to_string(task.join("schedstat"))?;
        used.cpu_ns += ran.split_whitespace().next().context("the time that a thread ran")?.parse::<f64>()?;
    }
    Ok(used)
}

fn kilobytes(process: &Path, name: &str) -> anyhow::Result<f64> {
    field(&process.join("status"), name)
}

fn field(file: &Path, name: &str) -> anyhow::Result<f64> {
    let text = fs::read_to_string(file)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let value = value.with_context(|| format!("{} has no {name}", file.display()))?;
    Ok(value.trim().trim_end_matches(" kB").parse()?)
}
