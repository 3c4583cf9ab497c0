//! Backups: made on their own schedule, killed in the middle, and with the hub's daemon dying beside them.

use crate::soak::backups;
use crate::soak::site::Site;
use anyhow::{Context as _, ensure};
use std::process::{Child, Stdio};
use std::time::Duration;

const TIERS: [&str; 5] = ["hourly", "hourly", "daily", "weekly", "monthly"];
/// About as long as a backup takes.
const TAKES_MS: u64 = 600;

pub(super) fn backup(site: &mut Site) -> anyhow::Result<Option<String>> {
    let tier = site.random.pick(&TIERS);
    if site.vault_away() {
        let said = site.hub_says(&["backup", "--tier", tier])?;
        ensure!(
            said.code == 1 && said.err.contains("secondary"),
            "a vault is away and nobody says so: {said:?}"
        );
        return Ok(Some("a backup without the second vault was made, and it said so".to_owned()));
    }
    let id = backups::make(site, tier)?;
    site.made_backups += 1;
    Ok(Some(format!("the backup {id} was made")))
}

fn begin(site: &mut Site) -> anyhow::Result<Child> {
    let tier = site.random.pick(&TIERS);
    let mut command = site.program.command("hub", &site.hub.dir, &["backup", "--tier", tier]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let moment = site.random.below(TAKES_MS);
    std::thread::sleep(Duration::from_millis(moment));
    Ok(child)
}

pub(super) fn backup_killed(site: &mut Site) -> anyhow::Result<String> {
    let mut child = begin(site)?;
    child.kill()?;
    child.wait()?;
    Ok("kill -9 of a backup".to_owned())
}

pub(super) fn hub_killed_in_backup(site: &mut Site) -> anyhow::Result<String> {
    let mut child = begin(site)?;
    site.hub.daemon.take().context("the hub runs")?.kill()?;
    let status = child.wait()?;
    site.serve()?;
    Ok(format!("kill -9 of the hub while a backup was made, which ended with {status}"))
}
