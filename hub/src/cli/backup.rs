//! `backup`, `backups`, `verify` and `prune`: make, list, read back and thin out backups.
//!
//! They work with and without the daemon: the database is read on a connection of their own, and one lock keeps
//! two of them apart. Problems go to stderr and to `backup_alerts.log`.

mod shape;

use super::output::{self, Report};
use super::{CliError, Place};
use crate::background;
use crate::backup::{BackupError, BackupLock, Backups, Listed, Outcome, Problem, Tier};
use crate::clock;
use crate::config::Config;
use crate::folder::Folder;
use crate::view;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use tt_terminal::bar::Bar;
use tt_terminal::watch::Watch;

#[derive(clap::Args)]
pub(super) struct MakeArguments {
    /// Make one backup of this tier. Without it: an hourly one now, and each coarser one that is due.
    #[arg(long)]
    tier: Option<Tier>,
}

#[derive(clap::Args)]
pub(super) struct VerifyArguments {
    /// The backup to read back; all without it.
    id: Option<String>,
}

#[derive(clap::Args)]
pub(super) struct PruneArguments {
    /// Only say what would be removed, and why.
    #[arg(long)]
    dry_run: bool,
}

struct Work {
    backups: Backups,
    now: i64,
}

impl Work {
    fn begin(place: &Place) -> Result<Self, CliError> {
        let folder = Folder::of_hub(&std::path::absolute(&place.data)?)?;
        let config = Config::read(&folder)?;
        let mut backups = Backups::open(&folder, &config.backup)?;
        backups.watch(Arc::new(Bar::for_command(place.json)));
        Ok(Self { backups, now: clock::now().0.div_euclid(1_000) })
    }

    fn lock(&self) -> Result<BackupLock, BackupError> {
        self.backups.lock()
    }
}

pub(super) fn make(place: &Place, arguments: &MakeArguments) -> Result<(), CliError> {
    let work = Work::begin(place)?;
    background::give_way();
    let lock = work.lock()?;
    let tiers = work.backups.wanted(arguments.tier, work.now);
    let Outcome { backups, problems } = work.backups.make(&lock, &tiers, work.now)?;
    work.backups.progress().end();
    if place.json {
        let first = backups.first().map(|backup| view::backups::backup(backup, &work.backups.vaults));
        output::json(&first.unwrap_or(Json::Null))?;
    } else {
        for backup in &backups {
            output::text(&shape::line(backup, &work.backups.vaults))?;
        }
    }
    settle(&problems)
}

pub(super) fn list(place: &Place, watch: &Watch) -> Result<(), CliError> {
    let work = Work::begin(place)?;
    let mut problems = Vec::new();
    output::show(place, watch, &mut || {
        let catalog = work.backups.glance();
        let mut report = report(place, &work, &catalog.backups);
        if let (Report::Text(text), true) = (&mut report, watch.every().is_some()) {
            catalog.problems.iter().for_each(|problem| text.push_str(&format!("{}\n", problem.what)));
        }
        problems = catalog.problems;
        Ok(report)
    })?;
    // Whoever watched has seen them.
    if watch.every().is_some() { Ok(()) } else { settle(&problems) }
}

pub(super) fn verify(place: &Place, arguments: &VerifyArguments) -> Result<(), CliError> {
    let work = Work::begin(place)?;
    background::give_way();
    let lock = work.lock()?;
    let Outcome { backups, problems } = work.backups.verify(&lock, arguments.id.as_deref(), work.now)?;
    work.backups.progress().end();
    output::show(place, &Watch::default(), &mut || Ok(report(place, &work, &backups)))?;
    // What was repaired is said, but all is well now.
    let is_good = |backup: &Listed| backup.copies.iter().all(|(_, state)| state.is_good());
    if backups.iter().all(is_good) && problems.iter().all(Problem::is_warning) {
        problems.iter().for_each(|problem| eprintln!("tt-hub: {}", problem.what));
        return Ok(());
    }
    settle(&problems)
}

pub(super) fn prune(place: &Place, arguments: &PruneArguments) -> Result<(), CliError> {
    let work = Work::begin(place)?;
    let pruned = if arguments.dry_run {
        work.backups.plan_prune(work.now)
    } else {
        work.backups.prune(&work.lock()?, work.now)
    };
    work.backups.progress().end();
    if place.json {
        let of = |keep: bool| {
            let decisions = pruned.decisions.iter().filter(|decision| decision.keep == keep);
            decisions.map(|decision| json!({ "id": decision.id, "why": decision.why })).collect::<Vec<_>>()
        };
        output::json(&json!({ "dry_run": arguments.dry_run, "keep": of(true), "drop": of(false) }))?;
    } else {
        let mut rows = vec![["BACKUP", "", "WHY"].map(str::to_owned).to_vec()];
        for decision in &pruned.decisions {
            let word = if decision.keep { "keep" } else { "drop" };
            rows.push(vec![decision.id.clone(), word.to_owned(), decision.why.clone()]);
        }
        output::text(&output::columns(&rows))?;
    }
    settle(&pruned.problems)
}

fn report(place: &Place, work: &Work, backups: &[Listed]) -> Report {
    if place.json {
        let list = backups.iter().map(|backup| view::backups::backup(backup, &work.backups.vaults));
        return Report::Json(Json::Array(list.collect()));
    }
    if backups.is_empty() {
        return Report::Text("no backups yet: `tt-hub backup` makes one\n".to_owned());
    }
    Report::Text(output::columns(&shape::table(backups, &work.backups.vaults)))
}

/// A command with problems has failed, and says all of them.
fn settle(problems: &[Problem]) -> Result<(), CliError> {
    if problems.is_empty() {
        return Ok(());
    }
    let all: Vec<&str> = problems.iter().map(|problem| problem.what.as_str()).collect();
    Err(CliError::Refused(all.join("; ")))
}
