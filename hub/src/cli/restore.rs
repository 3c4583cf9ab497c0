//! `restore`: brings the database back from a backup, a file or a moment, and `restore undo` takes that back.
//!
//! It shows what will change before it changes anything, and asks a person. `--force` skips the question, never the
//! check.

mod shape;

use super::{CliError, Place, output};
use crate::backup::{BackupLock, Listed};
use crate::clock;
use crate::config::Config;
use crate::folder::Folder;
use crate::restore::{Hold, Looked, Purpose, Restores, Step, Target, What};
use serde_json::json;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::sync::Arc;
use tt_migrations::progress::Progress;
use tt_terminal::bar::Bar;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A backup's id, a database or its .gz from anywhere, or `undo`: the state before the last restore.
    #[arg(value_name = "ID|FILE|undo", conflicts_with = "at")]
    what: Option<String>,
    /// The state at a time (with its offset, or the site's local time) or at a version of the hub.
    #[arg(long, value_name = "TIME|VERSION")]
    at: Option<String>,
    /// Choose from a list.
    #[arg(long)]
    interactive: bool,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask. Everything is checked all the same.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(place: &Place, arguments: &Arguments) -> Result<(), CliError> {
    let asks = !arguments.force && !arguments.dry_run;
    if arguments.what.is_none() && arguments.at.is_none() && !arguments.interactive {
        let usage =
            "restore what? Name a backup (`tt-hub backups` lists them) or a file, or add --interactive";
        return Err(CliError::Usage(usage.to_owned()));
    }
    let folder = Folder::of_hub(&std::path::absolute(&place.data)?)?;
    if asks && !arguments.interactive && !io::stdin().is_terminal() {
        let usage =
            "there is no terminal to ask on: look at what would change with --dry-run, then add --force";
        return Err(CliError::Refused(usage.to_owned()));
    }
    let config = Config::read(&folder)?;
    let bar = Arc::new(Bar::for_command(place.json));
    let progress: Arc<dyn Progress> = bar.clone();
    let restores = Restores::open(&folder, &config.backup)?.watched_by(&progress);
    let lock = restores.backups.lock()?;
    if let Some(note) = restores.settle(clock::now().0)? {
        eprintln!("tt-hub: {note}");
    }
    let Some(what) = choose(&restores, arguments)? else { return Ok(()) };
    // Nobody is asked: a running hub waits from here on, so that the database is read only once.
    let hold = if arguments.force && !arguments.dry_run { Some(Hold::take(&folder)?) } else { None };
    let purpose = if hold.is_some() { Purpose::Restore } else { Purpose::Tell };
    let looked = restores.look(&lock, &what, purpose)?;
    bar.end();
    show(place, &restores, &looked)?;
    if arguments.dry_run {
        if place.json {
            let Looked { source, plan, .. } = &looked;
            output::json(
                &json!({ "id": source.label, "dry_run": true, "plan": plan, "notes": source.notes }),
            )?;
        }
        return Ok(());
    }
    let hold = match hold {
        Some(hold) => hold,
        None if is_wanted()? => Hold::take(&folder)?,
        None => return Err(CliError::Refused("not restored: nothing was changed".to_owned())),
    };
    carry_out(place, &restores, (&lock, &bar), looked, hold)
}

/// What a person should know before anything changes.
fn show(place: &Place, restores: &Restores, looked: &Looked) -> Result<(), CliError> {
    looked.source.notes.iter().for_each(|note| eprintln!("tt-hub: {note}"));
    if !place.json {
        output::text(&shape::plan(&looked.source.label, &looked.plan, restores.backups.zone()))?;
    }
    Ok(())
}

fn carry_out(
    place: &Place,
    restores: &Restores,
    (lock, bar): (&BackupLock, &Bar),
    looked: Looked,
    mut hold: Hold,
) -> Result<(), CliError> {
    let (source, plan) = (looked.source.clone(), looked.plan.clone());
    let done = restores.carry_out(lock, looked, &mut hold, clock::now().0, &mut |step| {
        say(bar, step);
        Ok(())
    });
    bar.step("the hub goes on");
    let released = hold.release();
    bar.end();
    let done = done?;
    let mut notes = done.notes;
    notes.extend(released.err().map(|reason| format!("the running hub cannot go on: {reason}")));
    notes.iter().for_each(|note| eprintln!("tt-hub: {note}"));
    notes.extend(source.notes);
    let label = source.label;
    if place.json {
        return Ok(output::json(&json!({
            "id": label, "outcome": "restored", "epoch": done.begun.epoch.0, "version": done.begun.version.0,
            "safety_copy": done.safety, "plan": plan, "notes": notes,
        }))?);
    }
    Ok(output::text(&shape::done(&label, done.begun, &done.safety))?)
}

/// What is under way, for whoever waits: a bar, or a line where none can be drawn.
fn say(bar: &Bar, step: Step) {
    let (what, is_told) = match step {
        Step::Keep => ("keeping the present database safe", true),
        Step::Prepare => ("preparing the next database", false),
        Step::Lock => ("waiting until no program writes", false),
        Step::Write => ("writing the database", true),
        Step::Check => ("checking what was written", true),
        Step::Intend | Step::Record => return,
    };
    if bar.is_drawn() {
        bar.step(what);
    } else if is_told {
        eprintln!("tt-hub: {what} …");
    }
}

/// None: the operator left.
fn choose(restores: &Restores, arguments: &Arguments) -> Result<Option<What>, CliError> {
    if let Some(at) = &arguments.at {
        return Ok(Some(What::At(Target::read(at, &restores.backups)?)));
    }
    match arguments.what.as_deref() {
        Some("undo") => Ok(Some(What::Undo)),
        Some(name) => Ok(Some(What::Named(name.to_owned()))),
        None => pick(restores),
    }
}

fn pick(restores: &Restores) -> Result<Option<What>, CliError> {
    let catalog = restores.backups.glance();
    let newest_first: Vec<&Listed> = catalog.backups.iter().rev().collect();
    if newest_first.is_empty() {
        output::text("no backups yet: `tt-hub backup` makes one\n")?;
        return Ok(None);
    }
    let now = clock::now().0.div_euclid(1_000);
    output::text(&output::columns(&shape::list(&newest_first, &restores.backups, now)))?;
    loop {
        let answer = ask(&format!("Which one (1 to {}, q leaves)? ", newest_first.len()))?;
        match answer.as_deref() {
            None => return Err(CliError::Refused("nobody answers: nothing was changed".to_owned())),
            Some("q" | "Q") => return Ok(None),
            Some(text) => {
                let number = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                if let Some(backup) = number.and_then(|number| newest_first.get(number)) {
                    return Ok(Some(What::Named(backup.manifest.id.clone())));
                }
                eprintln!("{text:?} is no number of the list");
            }
        }
    }
}

fn is_wanted() -> Result<bool, CliError> {
    Ok(ask("Type RESTORE to go on, anything else leaves: ")?.as_deref() == Some("RESTORE"))
}

/// None: nobody answers any more.
fn ask(question: &str) -> io::Result<Option<String>> {
    eprint!("{question}");
    io::stderr().flush()?;
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line)?;
    Ok((read > 0).then(|| line.trim().to_owned()))
}
