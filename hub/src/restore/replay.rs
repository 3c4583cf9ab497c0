//! From a backup to a moment after it: the journal is replayed onto the fetched file.
//!
//! The journal that goes furthest is asked first, the hub's own or one in a vault: any of them may have burnt.

use super::prepare::{in_one_file, open_store};
use super::{RestoreError, Restores, Target, journal};
use crate::backup::manifest::Manifest;
use crate::journal::reader::Reader;
use crate::journal::replay::{self, Replayed};
use std::fs;
use std::io;
use std::path::Path;
use tt_migrations::progress::Progress;
use tt_protocol::number::{Millis, Version};

/// Brings the fetched backup at `database` to the target, which is not older than it. A backup of exactly that
/// version is there already. Gives what a person should know.
pub(super) fn up_to(
    restores: &Restores,
    database: &Path,
    manifest: &Manifest,
    target: Target,
) -> Result<Vec<String>, RestoreError> {
    if target == Target::Version(manifest.version) {
        return Ok(Vec::new());
    }
    let (done, mut notes) = from_any(&journal::all(restores), database, |reader| {
        attempt(database, reader, target, restores.backups.progress())
    })?;
    match done {
        Some(done) => {
            notes.extend(ended_early(&done, target));
            Ok(notes)
        }
        None => {
            let (to, why) = (target.to_string(), notes.join("; "));
            Err(RestoreError::Journal { to, id: manifest.id.clone(), why })
        }
    }
}

/// Tries the journal of each place, each time with the file as it is now. Gives what the first that was of use has
/// led to, if one was, and why others were not. The file is not to be used after an attempt that failed.
pub(super) fn from_any<T>(
    all: &[journal::Found],
    database: &Path,
    mut attempt: impl FnMut(&Reader) -> Result<T, String>,
) -> Result<(Option<T>, Vec<String>), RestoreError> {
    let mut untouched = database.as_os_str().to_owned();
    untouched.push(".untouched");
    let untouched = Path::new(&untouched);
    let failed = |source| RestoreError::File { path: database.to_owned(), source };
    fs::copy(database, untouched).map_err(failed)?;
    let mut notes = Vec::new();
    for found in all {
        // Nobody has the file open, and an attempt that stopped half way has left it unusable, with its log.
        for ending in ["-wal", "-shm"] {
            let mut log = database.as_os_str().to_owned();
            log.push(ending);
            match fs::remove_file(Path::new(&log)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        fs::copy(untouched, database).map_err(failed)?;
        match attempt(&found.reader) {
            Ok(done) => {
                notes.extend(found.passes_over(all));
                return Ok((Some(done), notes));
            }
            Err(reason) => notes.push(format!("the journal of {} was not used: {reason}", found.place)),
        }
    }
    Ok((None, notes))
}

fn attempt(
    database: &Path,
    reader: &Reader,
    target: Target,
    progress: &dyn Progress,
) -> Result<Replayed, String> {
    let mut store = open_store(database).map_err(|error| error.to_string())?;
    let target_of = match target {
        Target::Version(version) => replay::Target { version: Some(Version(version)), ..Default::default() },
        // All of that second.
        Target::Time(at) => replay::Target { at: Some(Millis(at * 1_000 + 999)), ..Default::default() },
    };
    let done =
        replay::replay_watched(&mut store, reader, target_of, progress).map_err(|error| error.to_string())?;
    drop(store);
    in_one_file(database).map_err(|error| error.to_string())?;
    match target {
        Target::Version(version) if done.version != Version(version) => {
            Err(format!("it leads to version {}", done.version))
        }
        _ => Ok(done),
    }
}

fn ended_early(done: &Replayed, target: Target) -> Option<String> {
    (done.to_the_end && matches!(target, Target::Time(_)))
        .then(|| format!("the journal ends before {target}, with version {}: all of it is in", done.version))
}
