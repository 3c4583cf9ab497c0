//! A damaged file is taken apart: what SQLite can still read of it becomes a new, sound file, from which
//! `join --rescue` hands in what was unsent.
//!
//! * The damaged file is copied aside first, with its log, and that copy is never opened.
//! * Nothing is put in the place of a file that another process has open.
//! * What cannot be read is counted and named.
//!
//! How a file is read around what is damaged is in [`tt_migrations::salvage`].

use crate::doctor::file;
use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use tt_migrations::salvage::{ENDINGS, beside, build, is_damage};
pub(crate) use tt_migrations::salvage::{Illegible, damage};
use tt_migrations::{durable, holders, state};

/// Why a damaged file was not taken apart.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SalvageError {
    /// A file could not be read or written.
    #[error("cannot {what} {path}: {source}; the damaged file is as it was")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// SQLite failed for another reason than damage.
    #[error("taking the damaged file apart: {0}; the damaged file is as it was")]
    Sqlite(#[from] rusqlite::Error),
    /// Somebody has it open.
    #[error(
        "{path} is damaged, and {who} has it open: stop these programs on this device, then type the same command again"
    )]
    Held {
        /// The file.
        path: PathBuf,
        /// Processes.
        who: String,
    },
    /// Not even what belongs to the device can be read.
    #[error(
        "{path} is damaged where it says which device it is and what is unsent ({found}): nothing can be handed in from \
         it. Keep {aside}, move {path} away while no program has it open, and fetch the rows with tt-edge join TOKEN"
    )]
    Illegible {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        found: String,
        /// Where the damaged file is kept.
        aside: PathBuf,
    },
    /// The new file is not sound.
    #[error(
        "what was read of the damaged file does not make a sound one: {0}; the damaged file is as it was"
    )]
    Unsound(String),
}

/// What came of a damaged file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Salvaged {
    /// Whose token it was done with.
    by: String,
    /// The folder with the damaged file as it was.
    pub aside: PathBuf,
    /// What could not be read.
    pub illegible: Vec<Illegible>,
}

/// Where the new file remembers it.
const SALVAGED: &str = "salvaged";

/// Brings a damaged file back as far as it can be read. None when it is sound. `by` names the token, so that
/// the same command goes on where it was cut off.
///
/// # Errors
/// When the file is held or cannot be read at all, or the system refuses.
pub(crate) fn when_damaged(db: &Path, by: &str) -> Result<Option<Salvaged>, SalvageError> {
    let db = &db.canonicalize().map_err(|source| failed("find", db, source))?;
    let aside = beside(db, &format!(".damaged-{}", by.get(..8).unwrap_or(by)));
    let found = damage(db)?;
    if found.is_none()
        && let Some(earlier) = remembered(db)?.filter(|earlier| earlier.by == by)
    {
        return Ok(Some(earlier));
    }
    // An attempt that was cut off may have left the file without its log: it then only seems to be sound.
    if found.is_none() && !aside.exists() {
        return Ok(None);
    }
    if let Some(who) = holders::of(db, std::process::id()) {
        return Err(SalvageError::Held { path: db.clone(), who });
    }
    if !aside.exists() {
        keep_aside(db, &aside)?;
    }
    let work = beside(db, ".salvaging");
    let _ = fs::remove_dir_all(&work);
    copy_all(&aside, &work, db)?;
    let fresh = work.join("fresh.db");
    let illegible = match build(&work.join(name_of(db, "")), &fresh) {
        Ok(illegible) => illegible,
        Err(error) if is_damage(&error) => {
            return Err(SalvageError::Illegible { path: db.clone(), found: error.to_string(), aside });
        }
        Err(error) => return Err(error.into()),
    };
    let salvaged = Salvaged { by: by.to_owned(), aside, illegible };
    remember(&fresh, &salvaged)?;
    if let Some(found) = damage(&fresh)? {
        return Err(SalvageError::Unsound(found));
    }
    put_in_place(&fresh, db)?;
    fs::remove_dir_all(&work).map_err(|source| failed("remove", &work, source))?;
    Ok(Some(salvaged))
}

/// What to do when SQLite fails because the file is damaged; empty when it fails for another reason.
pub(crate) fn advice(error: &rusqlite::Error) -> String {
    if is_damage(error) { format!(". The file is damaged: {}", file::DAMAGED) } else { String::new() }
}

fn remembered(db: &Path) -> rusqlite::Result<Option<Salvaged>> {
    let conn = file::open(db)?;
    let sql = "SELECT 1 FROM sqlite_schema WHERE name = '_sync_text'";
    if conn.query_row(sql, [], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    // Text of another version is as good as none.
    Ok(state::get_text(&conn, SALVAGED)?.and_then(|text| serde_json::from_str(&text).ok()))
}

fn remember(fresh: &Path, salvaged: &Salvaged) -> rusqlite::Result<()> {
    let text = serde_json::to_string(salvaged)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    state::set_text(&Connection::open(fresh)?, SALVAGED, &text)
}

fn keep_aside(db: &Path, aside: &Path) -> Result<(), SalvageError> {
    let half = beside(db, ".keeping");
    let _ = fs::remove_dir_all(&half);
    durable::make_folder(&half).map_err(|source| failed("create the folder", &half, source))?;
    for ending in ENDINGS {
        let from = beside(db, ending);
        if from.exists() {
            copy_one(&from, &half.join(name_of(db, ending)))?;
        }
    }
    durable::put_in_place(&half, aside).map_err(|source| failed("put in place", aside, source))
}

fn copy_all(aside: &Path, work: &Path, db: &Path) -> Result<(), SalvageError> {
    durable::make_folder(work).map_err(|source| failed("create the folder", work, source))?;
    for name in ENDINGS.map(|ending| name_of(db, ending)) {
        if aside.join(&name).exists() {
            copy_one(&aside.join(&name), &work.join(&name))?;
        }
    }
    Ok(())
}

fn copy_one(from: &Path, to: &Path) -> Result<(), SalvageError> {
    fs::copy(from, to).map_err(|source| failed("copy", from, source))?;
    File::open(to).and_then(|file| file.sync_all()).map_err(|source| failed("sync", to, source))
}

/// The former log goes first: SQLite would apply it to the new file.
fn put_in_place(fresh: &Path, db: &Path) -> Result<(), SalvageError> {
    let former = fs::metadata(db).map_err(|source| failed("read", db, source))?;
    let own = fs::metadata(fresh).map_err(|source| failed("read", fresh, source))?;
    let mut given = fs::set_permissions(fresh, former.permissions());
    if (own.uid(), own.gid()) != (former.uid(), former.gid()) {
        given = given.and_then(|()| chown(fresh, Some(former.uid()), Some(former.gid())));
    }
    given.map_err(|source| failed("give the former owner", fresh, source))?;
    File::open(fresh).and_then(|file| file.sync_all()).map_err(|source| failed("sync", fresh, source))?;
    for ending in ["-wal", "-shm", "-journal"] {
        let log = beside(db, ending);
        match fs::remove_file(&log) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &log, source));
            }
            _ => {}
        }
    }
    let folder = db.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|file| file.sync_all()).map_err(|source| failed("sync", folder, source))?;
    durable::put_in_place(fresh, db).map_err(|source| failed("put in place", db, source))
}

fn name_of(db: &Path, ending: &str) -> PathBuf {
    let mut name = db.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> SalvageError {
    SalvageError::Io { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
