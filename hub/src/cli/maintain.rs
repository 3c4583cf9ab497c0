//! `maintain`: cuts the history, makes statistics and gives free pages back, now and not only when it is due. With
//! and without the daemon.
//!
//! Beside a daemon all of it is short commits, with a breath in between for merges and programs. A file that must be
//! written anew as a whole waits until no daemon runs.

use super::{CliError, Place, output};
use crate::clock;
use crate::config::Config;
use crate::control::{self, Reply, Request};
use crate::daemon;
use crate::database::{self, DatabaseError};
use crate::folder::Folder;
use crate::space::readable;
use crate::store::history::Cut;
use crate::upkeep::{self, Look};
use rusqlite::Connection;
use serde_json::json;
use std::thread;
use std::time::Duration;
use tt_protocol::number::Version;

/// Between two steps, so that whoever waits for the file gets it.
const BREATH: Duration = Duration::from_millis(20);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Cut the history of versions below this one; without it, what is older than the settings say. Devices that
    /// have not applied them take a snapshot when they come.
    #[arg(long, value_name = "VERSION")]
    forget_before: Option<u64>,
    /// Only say what is due, and why.
    #[arg(long, conflicts_with = "forget_before")]
    dry_run: bool,
}

pub(super) fn run(place: &Place, arguments: &Arguments) -> Result<(), CliError> {
    let folder = Folder::of_hub(&place.data)?;
    if arguments.dry_run {
        return dry_run(place, &folder);
    }
    let before = arguments.forget_before;
    let (cut, alone) = match control::ask(&folder, &Request::Forget { before })? {
        Some(Reply::Forgotten { forgotten, versions, images }) => {
            (Cut { forgotten: Version(forgotten), versions, images }, false)
        }
        Some(Reply::Failed { reason }) => return Err(CliError::Refused(reason)),
        Some(other) => return Err(CliError::Refused(format!("the hub answered something else: {other:?}"))),
        None => (cut_alone(&folder, before)?, true),
    };
    let kept = look_after(&folder, alone)?;
    let Cut { forgotten, versions, images } = cut;
    if place.json {
        return Ok(output::json(&json!({
            "forgotten": forgotten.0,
            "versions": versions,
            "images": images,
            "freed_bytes": kept.freed,
            "not_freed": kept.not_freed,
        }))?);
    }
    let freed = kept.not_freed.unwrap_or_else(|| format!("{} were given back", readable(kept.freed)));
    Ok(output::text(&format!(
        "{versions} versions and {images} images of deleted rows were cut; devices below version {forgotten} take a \
         snapshot when they come\nstatistics were made; {freed}\n"
    ))?)
}

fn dry_run(place: &Place, folder: &Folder) -> Result<(), CliError> {
    let settings = Config::read(folder)?.maintenance;
    let look = Look::at(&database::open(&folder.database())?)?;
    if place.json {
        return Ok(output::json(&look.json(&settings, clock::now()))?);
    }
    let due = look.due(&settings, clock::now());
    let due: Vec<String> = [due.analyse, due.vacuum].into_iter().flatten().collect();
    let how = if look.in_steps {
        "beside the daemon"
    } else {
        "for the whole file at once, by `tt-hub maintain` while no daemon runs"
    };
    let due = if due.is_empty() { "nothing is due".to_owned() } else { format!("due: {}", due.join("; ")) };
    Ok(output::text(&format!(
        "{due}\n{} of {} are free; they are given back {how}\n",
        readable(look.free_bytes),
        readable(look.bytes)
    ))?)
}

/// What came of it.
struct Kept {
    freed: u64,
    /// Why free pages stay, if they do.
    not_freed: Option<String>,
}

/// `alone`: no daemon answered.
fn look_after(folder: &Folder, alone: bool) -> Result<Kept, CliError> {
    // As long as this is held, no daemon starts.
    let lock = alone.then(|| daemon::Lock::take(folder)).transpose()?;
    let path = folder.database();
    let conn = database::open(&path)?;
    let failed = |error: rusqlite::Error| DatabaseError::new(&path, &error);
    let look = Look::at(&conn).map_err(failed)?;
    let not_freed = match upkeep::no_room(folder.path(), &look) {
        Some(reason) => Some(format!("free pages stay: {reason}")),
        None if !look.in_steps && lock.is_none() => Some(
            "free pages stay: the file must be written anew as a whole once; stop the hub and run this again"
                .to_owned(),
        ),
        None => None,
    };
    if not_freed.is_none() {
        free(&conn, look.in_steps).map_err(failed)?;
    }
    upkeep::analyse(&conn, clock::now()).map_err(failed)?;
    if lock.is_some() {
        conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(failed)?;
    }
    let left = Look::at(&conn).map_err(failed)?;
    Ok(Kept { freed: look.bytes.saturating_sub(left.bytes), not_freed })
}

fn free(conn: &Connection, in_steps: bool) -> rusqlite::Result<()> {
    if !in_steps {
        return upkeep::vacuum_whole(conn, clock::now());
    }
    while upkeep::give_back(conn, clock::now())? {
        thread::sleep(BREATH);
    }
    Ok(())
}

/// Without a daemon this command is the one writer.
fn cut_alone(folder: &Folder, before: Option<u64>) -> Result<Cut, CliError> {
    let keep = Config::read(folder)?.retention;
    let (_lock, mut store) = daemon::open_alone(folder)?;
    let cut = match before {
        Some(before) => store.forget_before(Version(before), clock::now())?,
        None => store.forget_old(keep, clock::now())?,
    };
    store.checkpoint()?;
    Ok(cut)
}
