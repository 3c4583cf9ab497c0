//! The copy of a device's file, in the hub's folder: it goes when it is not needed any more.
//!
//! Two copies of one moment need a file that stands still: one that a program has open is refused, and one that is
//! another after the copy than before it.

use super::RescueError;
use crate::folder::Folder;
use crate::space::{Space, readable};
use rusqlite::{Connection, OptionalExtension as _};
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tt_migrations::salvage::{self, ENDINGS, Illegible, beside, is_damage};
use tt_migrations::{durable, holders, state};

/// What every database begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// A damaged file needs its copy and the sound one, and a cut writes a little.
const SHARE: u64 = 3;

/// A sound file with what the device's had.
#[derive(Debug)]
pub(crate) struct Copied {
    folder: PathBuf,
    /// Held as long as the copy is.
    _lock: File,
    /// The sound one.
    pub(crate) db: PathBuf,
    /// The device's own, for messages.
    pub(crate) of: PathBuf,
    /// What could not be read.
    pub(crate) illegible: Vec<Illegible>,
    /// The file is of a kind that has a log beside it, and there was none.
    pub(crate) has_no_log: bool,
}

impl Drop for Copied {
    fn drop(&mut self) {
        // What is left behind goes at the next rescue.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Copied {
    /// Copies a device's file and makes the copy sound.
    pub(crate) fn of(hub: &Folder, file: &Path) -> Result<Self, RescueError> {
        let file = file.canonicalize().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => RescueError::Missing(file.to_owned()),
            _ => failed("find", file, source),
        })?;
        let (folder, lock) = begin(hub)?;
        let db = folder.join("device.db");
        let mut copied = Self { folder, _lock: lock, db, of: file, illegible: Vec::new(), has_no_log: false };
        copied.fetch()?;
        copied.make_sound()?;
        copied.check_kind()?;
        Ok(copied)
    }

    fn fetch(&mut self) -> Result<(), RescueError> {
        let file = self.of.clone();
        let size = check_header(&file)?;
        if let Some(who) = holders::of(&file, std::process::id()) {
            return Err(RescueError::InUse { path: file, who });
        }
        let log = fs::metadata(beside(&file, "-wal")).map_or(0, |log| log.len());
        let needed = (size + log).saturating_mul(SHARE);
        let space = Space::of(&self.folder).map_err(|source| failed("look at", &self.folder, source))?;
        if space.free < needed {
            let (needed, free) = (readable(needed), readable(space.free));
            return Err(RescueError::NoRoom { folder: self.folder.clone(), needed, free });
        }
        let before = ENDINGS.map(|ending| look(&beside(&file, ending)));
        for ending in ENDINGS {
            let (from, to) = (beside(&file, ending), beside(&self.db, ending));
            if from.exists() {
                fs::copy(&from, &to).map_err(|source| failed("copy", &from, source))?;
                let own = Permissions::from_mode(0o600);
                fs::set_permissions(&to, own).map_err(|source| failed("write", &to, source))?;
            }
        }
        if before != ENDINGS.map(|ending| look(&beside(&file, ending))) {
            return Err(RescueError::Changing(file));
        }
        self.has_no_log = is_wal(&self.db) && before[1].is_none();
        Ok(())
    }

    fn make_sound(&mut self) -> Result<(), RescueError> {
        let damage = |db: &Path| {
            salvage::damage(db).map_err(|source| RescueError::Sqlite { path: self.of.clone(), source })
        };
        if damage(&self.db)?.is_none() {
            return Ok(());
        }
        let fresh = self.folder.join("sound.db");
        self.illegible = salvage::build(&self.db, &fresh).map_err(|source| {
            let path = self.of.clone();
            if is_damage(&source) {
                RescueError::Illegible { path, found: source.to_string() }
            } else {
                RescueError::Sqlite { path, source }
            }
        })?;
        if let Some(found) = damage(&fresh)? {
            return Err(RescueError::Unsound { path: self.of.clone(), found });
        }
        self.db = fresh;
        Ok(())
    }

    fn check_kind(&self) -> Result<(), RescueError> {
        let look = || -> rusqlite::Result<(bool, Option<i64>)> {
            let conn = Connection::open(&self.db)?;
            let has = |table: &str| {
                let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
                conn.query_row(sql, [table], |_| Ok(())).optional()
            };
            let device = if has("_sync_state")?.is_some() { state::get(&conn, state::DEVICE)? } else { None };
            Ok((has("_sync_merged")?.is_some(), device.filter(|device| *device > 0)))
        };
        let path = || self.of.clone();
        match look() {
            Ok((true, _)) => Err(RescueError::OfAHub(path())),
            Ok((false, None)) => Err(RescueError::NotOfADevice(path())),
            Ok((false, Some(_))) => Ok(()),
            Err(source) => Err(RescueError::Sqlite { path: path(), source }),
        }
    }
}

/// A folder for the copy, empty and for one at a time.
fn begin(hub: &Folder) -> Result<(PathBuf, File), RescueError> {
    let folder = hub.rescue();
    let refused = |source| failed("use", &folder, source);
    durable::make_folder(&folder).map_err(refused)?;
    let lock = File::create(folder.join("lock")).map_err(refused)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(RescueError::Busy(folder)),
        Err(fs::TryLockError::Error(source)) => return Err(refused(source)),
    }
    let work = folder.join("copy");
    match fs::remove_dir_all(&work) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(refused(source)),
        _ => {}
    }
    durable::make_folder(&work).map_err(refused)?;
    Ok((work, lock))
}

/// Gives the file's size in bytes.
fn check_header(file: &Path) -> Result<u64, RescueError> {
    let refused = |source| failed("read", file, source);
    let metadata = fs::metadata(file).map_err(refused)?;
    if !metadata.is_file() {
        return Err(RescueError::NotAFile(file.to_owned()));
    }
    let mut start = [0; 16];
    match File::open(file).and_then(|mut file| file.read_exact(&mut start)) {
        Ok(()) if start == *MAGIC => Ok(metadata.len()),
        Ok(()) => Err(RescueError::NotADatabase(file.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(RescueError::NotADatabase(file.to_owned()))
        }
        Err(source) => Err(refused(source)),
    }
}

/// Whether the file's header says that it has a log beside it.
fn is_wal(db: &Path) -> bool {
    let mut header = [0; 20];
    let read = File::open(db).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && header[18..20] == [2, 2]
}

/// Length and time of a file; None when it is not there.
fn look(path: &Path) -> Option<(u64, Option<SystemTime>)> {
    fs::metadata(path).ok().map(|found| (found.len(), found.modified().ok()))
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> RescueError {
    RescueError::Io { what, path: path.to_owned(), source }
}
