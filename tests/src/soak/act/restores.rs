//! The hub is brought back to an earlier moment, with devices linked and away; a restore is killed; one is undone.

use crate::soak::past::State;
use crate::soak::site::{Point, Site};
use anyhow::{Context as _, bail};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::process::Stdio;

/// Moments back to which the hub is brought: the youngest of all.
const POINTS: usize = 24;
/// About as long as a restore takes.
const TAKES_MS: u64 = 1_500;

/// Programs at the hub rest meanwhile, so that it is certain what is taken back.
fn at_rest(site: &mut Site) -> anyhow::Result<(BTreeMap<String, u64>, State)> {
    site.office.iter_mut().try_for_each(crate::soak::crew::Worker::rest)?;
    let (_, begun) = site.office_at()?;
    let state = site.past.now(&begun);
    Ok((begun, state))
}

fn go_on(site: &mut Site) -> anyhow::Result<()> {
    site.office.iter_mut().try_for_each(crate::soak::crew::Worker::start)
}

fn choose(site: &mut Site) -> anyhow::Result<Option<Point>> {
    let listed = site.backups()?;
    let is_there = |id: &str| listed.iter().any(|one| one["id"] == id);
    let usable = |point: &&Point| match point.arguments.as_slice() {
        [id] => is_there(id),
        _ => true,
    };
    let points: Vec<Point> = site.points.iter().filter(usable).rev().take(POINTS).cloned().collect();
    if points.is_empty() {
        return Ok(None);
    }
    let at = usize::try_from(site.random.below(points.len() as u64))?;
    Ok(Some(points[at].clone()))
}

/// To a backup or a moment, with the daemon or without it.
pub(super) fn restore(site: &mut Site) -> anyhow::Result<Option<String>> {
    let Some(point) = choose(site)? else { return Ok(None) };
    let (at, before) = at_rest(site)?;
    let without_daemon = site.random.once_in(4);
    if without_daemon {
        site.hub.daemon.take().context("the hub runs")?.stop()?;
    }
    let named: Vec<&str> = point.arguments.iter().map(String::as_str).collect();
    let said = site.hub_says(&[&["restore", "--force", "--json"], &named[..]].concat())?;
    if without_daemon {
        site.serve()?;
    }
    let is_too_old = said.err.contains("no verified backup is as old");
    if said.code == 0 {
        restored(site, &point, &at, before);
    } else if is_too_old {
        site.points.retain(|other| other.arguments != point.arguments);
    } else {
        bail!("restore {} ended with {}: {}", named.join(" "), said.code, said.err.trim());
    }
    go_on(site)?;
    let how = if without_daemon { ", without the daemon" } else { "" };
    Ok((!is_too_old).then(|| format!("the hub was restored: {}{how}", named.join(" "))))
}

fn restored(site: &mut Site, point: &Point, at: &BTreeMap<String, u64>, before: State) {
    site.past.go_back(&point.state, at);
    site.before_restore = Some(before);
    site.restores += 1;
    site.unsettled = true;
}

fn epoch(site: &Site) -> anyhow::Result<Json> {
    Ok(site.hub_must(&["status"])?["epoch"].clone())
}

/// The old state stands, or the restore is complete.
pub(super) fn restore_killed(site: &mut Site) -> anyhow::Result<Option<String>> {
    let Some(point) = choose(site)? else { return Ok(None) };
    let (at, before) = at_rest(site)?;
    let former = epoch(site)?;
    let named: Vec<&str> = point.arguments.iter().map(String::as_str).collect();
    let arguments = [&["restore", "--force"], &named[..]].concat();
    let mut command = site.program.command("hub", &site.hub.dir, &arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    site.wait(TAKES_MS);
    child.kill()?;
    child.wait()?;
    let is_done = epoch(site)? != former;
    if is_done {
        restored(site, &point, &at, before);
    }
    go_on(site)?;
    let outcome = if is_done { "it is done" } else { "nothing was changed" };
    Ok(Some(format!("kill -9 of a restore: {}: {outcome}", named.join(" "))))
}

/// The last restore was a mistake.
pub(super) fn undo(site: &mut Site) -> anyhow::Result<Option<String>> {
    let Some(before) = site.before_restore.take() else { return Ok(None) };
    let (at, _) = at_rest(site)?;
    site.hub_must(&["restore", "undo", "--force"])?;
    site.past.go_back(&before, &at);
    site.restores += 1;
    site.unsettled = true;
    go_on(site)?;
    Ok(Some("the last restore was undone".to_owned()))
}
