//! `tt-edge leave`: takes a device off its hub. What is unsent is handed in, our traces go out of the program's
//! file, the hub is told, and last the keys and files in DIR go. Interrupted anywhere, the same command goes on.
//!
//! The hub is told after the file is clean: a device that it has cut off could not hand in what programs still
//! write meanwhile.

use super::sync::once;
use super::{Outcome, addresses, runtime};
use crate::clock;
use crate::daemon::control::Reply;
use crate::daemon::worker::{self, Event};
use crate::identity::Identity;
use crate::join;
use crate::link::{self, LinkError};
use crate::place::{Lock, Place, lock};
use crate::store::{Left, StoreError, Unsent};
use anyhow::bail;
use clap::Args;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tt_migrations::progress::Unwatched;
use tt_protocol::counted::counted;
use tt_protocol::number::EdgeId;

/// For the goodbye.
const DEADLINE: Duration = Duration::from_secs(10);
/// Rounds of handing in, while programs go on writing.
const ROUNDS: u32 = 5;

#[derive(Debug, Args)]
pub(super) struct LeaveArgs {
    /// Leave work behind that cannot be handed in: it stays in the file, and reaches no other node.
    #[arg(long)]
    force: bool,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    /// How long to try to hand in what is unsent, in seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// One more address of the hub, HOST:PORT.
    #[arg(long, value_name = "ADDR")]
    hub: Option<String>,
}

pub(super) fn leave(place: &Place, args: &LeaveArgs, json: bool) -> Outcome {
    let db = place.db()?;
    let held = lock(&db)?;
    let identity = Identity::load(place.dir()).ok();
    let name = identity.as_ref().map_or_else(|| "NAME".to_owned(), |identity| identity.name.clone());
    let left = if let Some(device) = join::device_in(&db) {
        is_ours(place, &db, (device, identity.as_ref()), args)?;
        match clean(place, &held, &db, identity, args)? {
            Ok(left) => left,
            Err((unsent, why)) => return Ok(refused(&name, &unsent, &why, json)),
        }
    } else if db.exists() {
        // An earlier attempt ended after the file was clean.
        Left::default()
    } else {
        return Err(StoreError::Missing(db).into());
    };
    if args.dry_run {
        let files = place.traces(&db);
        return Ok(planned(&name, &db, (&left, &files), json));
    }
    let told = goodbye(place, args);
    let removed = place.remove_traces(&db, held)?;
    report(&name, &db, (&left, &removed, told.as_ref()), json);
    Ok(ExitCode::SUCCESS)
}

/// After a leave that was interrupted, the file may have joined again with another folder.
fn is_ours(
    place: &Place,
    db: &Path,
    (device, identity): (EdgeId, Option<&Identity>),
    args: &LeaveArgs,
) -> anyhow::Result<()> {
    let (db, dir) = (db.display(), place.dir().display());
    match identity {
        Some(identity) if identity.device != device => {
            bail!(
                "{db} is device {device} by now, and {dir} is that of device {}: name the other folder with --data",
                identity.device
            )
        }
        None if !args.force => {
            bail!(
                "{db} is device {device}, and {dir} has lost its keys: work cannot be handed in, --force leaves it behind"
            )
        }
        _ => Ok(()),
    }
}

/// Why not all was handed in, beside what it is.
type Kept = (Unsent, String);

/// Hands in what is unsent and takes our traces out of the file.
fn clean(
    place: &Place,
    held: &Lock,
    db: &Path,
    mut identity: Option<Identity>,
    args: &LeaveArgs,
) -> anyhow::Result<Result<Left, Kept>> {
    if args.dry_run {
        let looked = worker::open(db)?.leave(clock::now(), true, true)?;
        return Ok(looked.map_err(|unsent| (unsent, "it is a dry run".to_owned())));
    }
    let mut why = String::new();
    let mut left_to_try = ROUNDS;
    loop {
        if left_to_try > 0 {
            let handed_in = match identity.take().map_or_else(|| Identity::load(place.dir()), Ok) {
                Ok(identity) => hand_in(place, held, identity, args)?,
                Err(error) => Some(error.to_string()),
            };
            left_to_try = if handed_in.is_none() { left_to_try - 1 } else { 0 };
            why =
                handed_in.unwrap_or_else(|| "programs write all the time: stop them for a moment".to_owned());
        }
        let mut store = worker::open(db)?;
        match store.leave(clock::now(), args.force, false)? {
            Err(_) if left_to_try > 0 => {}
            Err(unsent) => return Ok(Err((unsent, why))),
            Ok(left) => return Ok(Ok(left)),
        }
    }
}

/// The reason why not all was handed in; None: it was.
fn hand_in(
    place: &Place,
    held: &Lock,
    identity: Identity,
    args: &LeaveArgs,
) -> anyhow::Result<Option<String>> {
    let all = addresses(args.hub.as_ref(), &identity.addresses)?;
    let wait = Duration::from_secs(args.timeout);
    let reply =
        runtime()?.block_on(once(place, held, (identity, all), Event::Ask, (wait, Arc::new(Unwatched))))?;
    Ok(match reply {
        Reply::InStep => None,
        Reply::Failed(reason) => Some(reason),
        Reply::Status(_) | Reply::Compared | Reply::Progress(_) => {
            Some("the answer is of another version".to_owned())
        }
    })
}

/// Tells the hub. None when it has heard it, else why not.
fn goodbye(place: &Place, args: &LeaveArgs) -> Option<String> {
    let tell = || -> anyhow::Result<()> {
        let identity = Identity::load(place.dir())?;
        let all = addresses(args.hub.as_ref(), &identity.addresses)?;
        match runtime()?.block_on(link::leave(&identity, &all, DEADLINE)) {
            // It does not talk to this device any more: it knows.
            Ok(()) | Err(LinkError::Refused(_)) => Ok(()),
            Err(error) => bail!(error),
        }
    };
    tell().err().map(|error| error.to_string())
}

/// Something is unsent, and nothing was taken away.
fn refused(name: &str, unsent: &Unsent, why: &str, json: bool) -> ExitCode {
    if json {
        println!("{}", json!({ "left": false, "name": name, "reason": why, "unsent": unsent }));
        return ExitCode::FAILURE;
    }
    list(unsent);
    eprintln!(
        "tt-edge: {name} stays: {} not at the hub: {why}. Nothing was taken away. Bring the hub within reach and \
         type tt-edge leave again; with --force the rows are left behind: they stay in this file and reach no other node",
        counted(unsent.tables.values().sum::<u64>(), "row")
    );
    ExitCode::FAILURE
}

fn list(unsent: &Unsent) {
    let tables = unsent.tables.iter().map(|(table, rows)| format!("{table}: {}", counted(*rows, "row")));
    let rows = unsent.rows.iter().map(|row| format!("  {} {} {}", row.table, row.key, row.what));
    tables.chain(rows).for_each(|line| eprintln!("{line}"));
}

fn planned(name: &str, db: &Path, (left, files): (&Left, &[PathBuf]), json: bool) -> ExitCode {
    if json {
        let mut plan = value(name, db, left, (false, files, None));
        plan["unsent"] = plan["left_behind"].take();
        println!("{plan}");
        return ExitCode::SUCCESS;
    }
    println!("{name} would leave its hub. Nothing was changed.");
    if !left.behind.is_empty() {
        println!("It would hand in first:");
        list(&left.behind);
    }
    let of = |kind: &str| left.removed.iter().filter(|object| object.starts_with(kind)).count();
    println!(
        "  out of {}: {}, {} and {} of ours, whose names begin with _sync_ (--json lists them)",
        db.display(),
        counted(of("table "), "table"),
        counted(of("index "), "index"),
        counted(of("trigger "), "trigger")
    );
    for object in &left.intruders {
        println!("  out of it as well, because it names tables of ours: {object}");
    }
    for table in &left.given_back {
        println!("  the key of {table} has no AUTOINCREMENT again");
    }
    for file in files {
        println!("  removed: {}", file.display());
    }
    ExitCode::SUCCESS
}

fn value(
    name: &str,
    db: &Path,
    left: &Left,
    (done, files, untold): (bool, &[PathBuf], Option<&String>),
) -> Json {
    json!({ "left": done, "name": name, "db": db, "hub_told": done && untold.is_none(), "hub_reason": untold,
            "left_behind": left.behind, "removed": left.removed, "intruders": left.intruders,
            "given_back": left.given_back, "files": files })
}

fn report(name: &str, db: &Path, (left, files, untold): (&Left, &[PathBuf], Option<&String>), json: bool) {
    if json {
        println!("{}", value(name, db, left, (true, files, untold)));
        return;
    }
    if !left.behind.is_empty() {
        eprintln!("tt-edge: LEFT BEHIND, in this file and at no other node:");
        list(&left.behind);
    }
    for object in &left.intruders {
        eprintln!("tt-edge: {object} named tables of ours, and is gone with them");
    }
    println!("{name} has left its hub. {} is the program's alone, with every row as it was.", db.display());
    println!("New ids go on where they were, in a block that no other device is ever given.");
    match untold {
        None => println!("The hub does not talk to it any more."),
        Some(reason) => println!("The hub was not told ({reason}): type tt-hub revoke {name} there."),
    }
}
