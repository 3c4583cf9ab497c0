//! The folder in which a hub is built before it is put in place.
//!
//! Dropping it takes away everything that was made, folders above it included, unless the hub is in place.

use super::InitError;
use crate::config;
use crate::folder::Folder;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use tt_migrations::durable;

pub(super) struct Staging {
    folder: Folder,
    path: PathBuf,
    /// Folders that were not there before, the innermost first.
    made: Vec<PathBuf>,
    done: bool,
}

impl Staging {
    /// Makes the hub's folder and, in it, the one to build in.
    pub(super) fn begin(folder: &Folder) -> Result<Self, InitError> {
        let is_new = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let made = folder.path().ancestors().take_while(is_new).map(Path::to_owned).collect();
        let staging = Self { folder: folder.clone(), path: folder.staging(), made, done: false };
        durable::make_folder(folder.path()).map_err(|source| failed(folder.path(), source))?;
        // An attempt that was killed may have left it.
        match fs::remove_dir_all(&staging.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&staging.path, error));
            }
            _ => {}
        }
        DirBuilder::new()
            .mode(0o700)
            .create(&staging.path)
            .map_err(|source| failed(folder.path(), source))?;
        Ok(staging)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An empty file for the database, for the hub's user alone; SQLite gives its mode to the log, too.
    pub(super) fn new_database(&self) -> Result<PathBuf, InitError> {
        let path = Folder::new(&self.path).database();
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| failed(&path, source))?;
        Ok(path)
    }

    /// Puts authority, settings and database in place, in this order. An authority and settings that
    /// the operator has put there before stay.
    pub(super) fn put_in_place(mut self) -> Result<(), InitError> {
        let staged = Folder::new(&self.path);
        let (authority, staged_authority) = (self.folder.path().join("ca"), self.path.join("ca"));
        let is_new = staged_authority.exists();
        if is_new {
            durable::put_in_place(&staged_authority, &authority)
                .map_err(|source| failed(&authority, source))?;
        }
        let database = self.folder.database();
        let config = self.folder.config();
        let placed = || {
            if !config.exists() {
                durable::write(&config, config::DEFAULT.as_bytes())?;
            }
            durable::put_in_place(&staged.database(), &database)
        };
        if let Err(source) = placed() {
            // Back into the staging folder, which is about to be removed.
            if is_new {
                let _ = durable::put_in_place(&authority, &staged_authority);
            }
            return Err(failed(&database, source));
        }
        self.done = true;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Whatever cannot be removed now is removed by the next attempt.
        let _ = fs::remove_dir_all(&self.path);
        if !self.done {
            for folder in &self.made {
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

fn failed(path: &Path, source: io::Error) -> InitError {
    InitError::Write { path: path.to_owned(), source }
}
