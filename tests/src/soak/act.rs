//! Lets a fault happen, and puts right what must not last.
//!
//! * `nodes`: daemons and programs die, are started again, or get no time
//! * `copies`: backups are made, and what happens to them
//! * `care`: copies rot, a vault is away, what is old goes
//! * `restores`: the hub is brought back to an earlier moment
//! * `devices`: clocks, files made anew, copied or put back, devices that are lost
//! * `schema`: the operator changes it
//! * `strangers`: somebody else sends bytes

mod care;
mod copies;
mod devices;
mod nodes;
mod restores;
mod schema;
mod strangers;

use super::fault::{Fault, Mend, Mends};
use super::site::{Device, Site, signal};
use anyhow::Context as _;
use std::time::Duration;

/// Most faults for which something stays broken.
const LASTS: u64 = 6;

/// Lets it happen. Gives what happened; None when it cannot now.
pub(super) fn perform(site: &mut Site, mends: &mut Mends, fault: Fault) -> anyhow::Result<Option<String>> {
    let at = usize::try_from(site.random.below(site.devices.len() as u64))?;
    match fault {
        Fault::Cut | Fault::CutLater | Fault::Flap | Fault::Move => {
            Ok(Some(wireless(site, mends, at, fault)))
        }
        Fault::EdgeKilled | Fault::EdgeAway | Fault::EdgeRestarted | Fault::EdgeAsleep => {
            nodes::edge(site, mends, at, fault)
        }
        Fault::HubKilled => nodes::hub_killed(site).map(Some),
        Fault::HubRestarted => nodes::hub_restarted(site).map(Some),
        Fault::HubAsleep => nodes::hub_asleep(site).map(Some),
        Fault::ProgramKilled => nodes::program_killed(site),
        Fault::Backup => copies::backup(site),
        Fault::BackupKilled => copies::backup_killed(site).map(Some),
        Fault::HubKilledInBackup => copies::hub_killed_in_backup(site).map(Some),
        Fault::Restore => restores::restore(site),
        Fault::RestoreKilled => restores::restore_killed(site),
        Fault::RestoreUndone => restores::undo(site),
        Fault::Rot => care::rot(site),
        Fault::VaultAway => care::vault_goes(site, mends),
        Fault::Drill => care::drill(site),
        Fault::Prune => care::prune(site),
        Fault::Maintain => care::maintain(site).map(Some),
        Fault::Reseed => devices::reseed(site, at).map(Some),
        Fault::Garbage => strangers::garbage(site).map(Some),
        Fault::Clock => devices::clock(site, mends, at),
        Fault::Lost => devices::lost(site, mends, at),
        Fault::Cloned => devices::cloned(site, mends, at).map(Some),
        Fault::PutBack => devices::put_back(site, mends, at),
        Fault::Migrate => schema::migrate(site),
        Fault::DiskFull => devices::disk_full(site, mends),
    }
}

fn wireless(site: &mut Site, mends: &mut Mends, at: usize, fault: Fault) -> String {
    let name = site.devices[at].name.clone();
    match fault {
        Fault::Move => {
            site.devices[at].relay.move_devices();
            return format!("{name} has another address");
        }
        Fault::Flap => {
            for _ in 0..4 + site.random.below(8) {
                site.devices[at].relay.cut();
                site.wait(300);
                site.devices[at].relay.mend();
                site.wait(500);
            }
            let still = mends.iter().any(|(_, mend)| *mend == Mend::Link(name.clone()));
            if still {
                site.devices[at].relay.cut();
            }
            return format!("the wireless of {name} came and went");
        }
        _ => {}
    }
    let what = if fault == Fault::CutLater {
        let bytes = site.random.below(20_000);
        site.devices[at].relay.cut_after(bytes);
        format!("the wireless of {name} goes after {bytes} more bytes")
    } else {
        site.devices[at].relay.cut();
        format!("the wireless of {name} is gone")
    };
    lasting(site, mends, Mend::Link(name));
    what
}

/// Puts it right after some more faults.
fn lasting(site: &mut Site, mends: &mut Mends, mend: Mend) {
    let after = 1 + site.random.below(LASTS);
    mends.retain(|(_, other)| *other != mend);
    mends.push((after, mend));
}

/// Puts right what has lasted long enough. Gives what that was.
pub(super) fn mend_due(site: &mut Site, mends: &mut Mends) -> anyhow::Result<Vec<String>> {
    for (left, _) in mends.iter_mut() {
        *left = left.saturating_sub(1);
    }
    let (due, later): (Mends, Mends) = mends.drain(..).partition(|(left, _)| *left == 0);
    *mends = later;
    due.into_iter().map(|(_, mend)| put_right(site, &mend)).collect()
}

/// Puts everything right.
pub(super) fn mend_all(site: &mut Site, mends: &mut Mends) -> anyhow::Result<()> {
    for (_, mend) in mends.drain(..) {
        put_right(site, &mend)?;
    }
    Ok(())
}

fn put_right(site: &mut Site, mend: &Mend) -> anyhow::Result<String> {
    match mend {
        Mend::Link(name) => {
            if let Some(device) = site.named(name) {
                device.relay.mend();
            }
            Ok(format!("the wireless of {name} is back"))
        }
        Mend::Daemon(name) => {
            if let Some(device) = site.named(name).filter(|device| device.edge.daemon.is_none()) {
                device.edge.run()?;
            }
            Ok(format!("the daemon of {name} is back"))
        }
        Mend::Wake(name) => {
            if let Some(device) = site.named(name) {
                wake(device)?;
            }
            Ok(format!("the daemon of {name} goes on"))
        }
        Mend::Disk(name) => {
            if let Some(device) = site.named(name)
                && let Some(disk) = &device.disk
            {
                disk.empty()?;
                device.is_full = false;
            }
            Ok(format!("there is room on the disk of {name} again"))
        }
        Mend::Vault => {
            site.vault_back()?;
            Ok("the second vault is back".to_owned())
        }
    }
}

fn wake(device: &mut Device) -> anyhow::Result<()> {
    if let (true, Some(daemon)) = (device.asleep, &device.edge.daemon) {
        signal(daemon.pid(), "CONT").with_context(|| device.name.clone())?;
    }
    device.asleep = false;
    Ok(())
}

impl Site {
    /// Some time, up to so many milliseconds.
    pub(super) fn wait(&mut self, ms_max: u64) {
        std::thread::sleep(Duration::from_millis(self.random.below(ms_max.max(1))));
    }

    pub(super) fn named(&mut self, name: &str) -> Option<&mut Device> {
        self.devices.iter_mut().find(|device| device.name == name)
    }
}
