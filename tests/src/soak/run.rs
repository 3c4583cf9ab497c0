//! A soak from beginning to end: programs count, faults happen one after the other, and after so many of them there is
//! a quiet moment.

use super::act;
use super::backups;
use super::chronicle::{Chronicle, Tally};
use super::disk::Disk;
use super::fault::{Fault, Mends};
use super::quiet::quiet;
use super::site::Site;
use super::strain::Strain;
use crate::node::Program;
use anyhow::{Context as _, bail};
use std::path::PathBuf;
use std::time::Duration;

/// How a soak is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// It ends after so long.
    pub minutes: u64,
    /// Or after so many faults, at the latest.
    pub faults: Option<u64>,
    /// The seed of all chance.
    pub seed: u64,
    /// Devices.
    pub devices: usize,
    /// Where its folder is made.
    pub parent: PathBuf,
}

/// Milliseconds between two transactions of a program, and between two faults; faults between two quiet moments.
struct Pace {
    program_ms: u64,
    fault_ms: u64,
    faults: u64,
}

/// A soak of minutes is gentle, so that it can run beside other work; one of a few faults has no time for that.
const GENTLE: Pace = Pace { program_ms: 900, fault_ms: 5_000, faults: 40 };
const BRISK: Pace = Pace { program_ms: 60, fault_ms: 300, faults: 8 };

/// Runs a soak and proves its end. The folder goes when all is well, and stays when it is not.
///
/// # Errors
/// With what was lost, doubled or changed, or what else failed.
pub fn run(program: &Program, plan: &Plan) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("tablettracker-soak-").tempdir_in(&plan.parent);
    let folder = folder.with_context(|| format!("cannot make a folder in {}", plan.parent.display()))?;
    let mut chronicle = Chronicle::begin(folder.path())?;
    chronicle.say(&format!(
        "soak of {} devices in {} (seed {})",
        plan.devices,
        folder.path().display(),
        plan.seed
    ));
    let done = play(program, plan, folder.path(), &mut chronicle);
    let Tally { faults, commits, quiet, backups, restores } = chronicle.tally;
    let minutes = chronicle.elapsed().as_secs() / 60;
    if let Err(error) = done {
        chronicle.say(&format!("FAILED: {error:#}"));
        let folder = folder.keep();
        bail!(
            "after {minutes} minutes and {faults} faults something is wrong (seed {}); the folder with all logs and \
             ledgers stays: {}",
            plan.seed,
            folder.display()
        );
    }
    println!(
        "soak: {minutes} minutes, {faults} faults, {commits} commits, {quiet} quiet moments, {backups} backups, \
         {restores} restores: nothing lost, nothing doubled (seed {})",
        plan.seed
    );
    Ok(())
}

fn play(
    program: &Program,
    plan: &Plan,
    dir: &std::path::Path,
    chronicle: &mut Chronicle,
) -> anyhow::Result<()> {
    let pace = if plan.faults.is_some() { BRISK } else { GENTLE };
    let mut site = Site::begin(program, dir, plan.devices, plan.seed, pace.program_ms)?;
    chronicle.say("all devices have joined; programs begin to count");
    let done = stretches(&mut site, plan, &pace, chronicle);
    if done.is_err() {
        site.devices.iter().filter_map(|device| device.disk.as_ref()).try_for_each(Disk::keep)?;
    }
    done
}

/// Faults and quiet moments, until it is over.
fn stretches(site: &mut Site, plan: &Plan, pace: &Pace, chronicle: &mut Chronicle) -> anyhow::Result<()> {
    let (mut mends, mut strain) = (Mends::new(), Strain::default());
    while !is_over(plan, chronicle) {
        site.start_programs()?;
        for _ in 0..pace.faults {
            if is_over(plan, chronicle) {
                break;
            }
            site.wait(2 * pace.fault_ms);
            one(site, &mut mends, chronicle)?;
            chronicle.each_minute(|tally| sum(site, tally))?;
        }
        quiet(site, &mut mends, &mut strain, chronicle)?;
    }
    let rehearsed = backups::rehearse(site)?;
    chronicle.say(&format!("each of {rehearsed} backups can be restored"));
    Ok(())
}

fn is_over(plan: &Plan, chronicle: &Chronicle) -> bool {
    plan.faults.is_some_and(|faults| chronicle.tally.faults >= faults)
        || chronicle.elapsed() >= Duration::from_secs(plan.minutes * 60)
}

/// One fault, and a look at everybody who should be alive.
fn one(site: &mut Site, mends: &mut Mends, chronicle: &mut Chronicle) -> anyhow::Result<()> {
    for mended in act::mend_due(site, mends)? {
        chronicle.say(&mended);
    }
    let happened = loop {
        let fault = Fault::choose(&mut site.random);
        let happened = act::perform(site, mends, fault);
        let number = chronicle.tally.faults + 1;
        if let Some(happened) = happened.with_context(|| format!("fault {number}, {fault:?}"))? {
            break happened;
        }
    };
    chronicle.tally.faults += 1;
    (chronicle.tally.backups, chronicle.tally.restores) = (site.made_backups, site.restores);
    chronicle.say(&format!("{}: {happened}", chronicle.tally.faults));
    look(site)
}

/// Everybody who should be alive is, and a node by chance has no half of a transaction.
fn look(site: &mut Site) -> anyhow::Result<()> {
    site.workers().try_for_each(super::crew::Worker::look)?;
    for device in &mut site.devices {
        if let Some(daemon) = &mut device.edge.daemon
            && !daemon.is_running()?
        {
            bail!("the daemon of {} ended by itself; see {}", device.name, device.edge.dir.display());
        }
    }
    if let Some(daemon) = &mut site.hub.daemon
        && !daemon.is_running()?
    {
        bail!("the hub's daemon ended by itself; see {}", site.hub.dir.display());
    }
    let files = site.files();
    let at = usize::try_from(site.random.below(files.len() as u64))?;
    if site.unsettled { Ok(()) } else { backups::torn(&files[at].1) }
}

fn sum(site: &Site, tally: Tally) -> anyhow::Result<String> {
    let commits = site.commits()?;
    let version = site.hub_must(&["status"])?["version"].clone();
    Ok(format!(
        "{} faults, {commits} commits, {} quiet moments, {} backups, {} restores; the hub is at version {version}",
        tally.faults, tally.quiet, tally.backups, tally.restores
    ))
}
