//! Daemons and programs die by `kill -9`, are started again in order, or get no time for a while.

use super::lasting;
use crate::soak::fault::{Fault, Mend, Mends};
use crate::soak::site::{Site, signal};
use anyhow::Context as _;

/// Something happens to the daemon of a device, if it runs.
pub(super) fn edge(
    site: &mut Site,
    mends: &mut Mends,
    at: usize,
    fault: Fault,
) -> anyhow::Result<Option<String>> {
    let device = &mut site.devices[at];
    let name = device.name.clone();
    // On a full disk nothing can be started.
    if device.asleep || device.is_full || (device.is_old && fault != Fault::EdgeAsleep) {
        return Ok(None);
    }
    let Some(daemon) = device.edge.daemon.take() else { return Ok(None) };
    match fault {
        Fault::EdgeAsleep => {
            signal(daemon.pid(), "STOP")?;
            device.edge.daemon = Some(daemon);
            device.asleep = true;
            lasting(site, mends, Mend::Wake(name.clone()));
            Ok(Some(format!("the daemon of {name} gets no time")))
        }
        Fault::EdgeRestarted => {
            daemon.stop()?;
            device.edge.run()?;
            Ok(Some(format!("the daemon of {name} was started again")))
        }
        Fault::EdgeAway => {
            daemon.kill()?;
            lasting(site, mends, Mend::Daemon(name.clone()));
            Ok(Some(format!("kill -9 of the daemon of {name}, which stays away")))
        }
        _ => {
            daemon.kill()?;
            device.edge.run()?;
            Ok(Some(format!("kill -9 of the daemon of {name}")))
        }
    }
}

pub(super) fn hub_killed(site: &mut Site) -> anyhow::Result<String> {
    site.hub.daemon.take().context("the hub runs")?.kill()?;
    site.wait(2_000);
    site.serve()?;
    Ok("kill -9 of the hub".to_owned())
}

pub(super) fn hub_restarted(site: &mut Site) -> anyhow::Result<String> {
    site.hub.daemon.take().context("the hub runs")?.stop()?;
    site.wait(1_000);
    site.serve()?;
    Ok("the hub was started again".to_owned())
}

/// Programs wait for a lock that it may hold meanwhile, as they do for each other.
pub(super) fn hub_asleep(site: &mut Site) -> anyhow::Result<String> {
    let pid = site.hub.daemon.as_ref().context("the hub runs")?.pid();
    signal(pid, "STOP")?;
    site.wait(6_000);
    signal(pid, "CONT")?;
    Ok("the hub got no time for a while".to_owned())
}

pub(super) fn program_killed(site: &mut Site) -> anyhow::Result<Option<String>> {
    let count = site.workers().count() as u64;
    let at = usize::try_from(site.random.below(count))?;
    let is_full = site.devices.iter().any(|device| device.is_full);
    let worker = site.workers().nth(at).context("one of them")?;
    if is_full && worker.orders.small_disk {
        return Ok(None);
    }
    let in_the_middle = worker.kill()?;
    worker.start()?;
    let moment = if in_the_middle { ", in a transaction" } else { "" };
    Ok(Some(format!("kill -9 of the program {}{moment}", worker.who())))
}
