//! Reading and writing the identity's few small files, and putting a new identity in place.
//!
//! A write is whole or not there: temporary file in the same folder, write, fsync, rename, fsync the
//! folder. Every file is made for this user alone from its first byte.

use super::{FOLDER, IdentityError, JOINING, LINK, OLD};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tt_migrations::durable;

pub(super) fn make_folder(folder: &Path) -> Result<(), IdentityError> {
    durable::make_folder(folder).map_err(|source| IdentityError::Write { path: folder.to_owned(), source })
}

pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    durable::write(path, bytes).map_err(|source| IdentityError::Write { path: path.to_owned(), source })
}

/// Puts the finished new identity in the place of the old one, which is removed.
pub(super) fn swap(dir: &Path) -> Result<(), IdentityError> {
    let (current, joining, old) = (dir.join(FOLDER), dir.join(JOINING), dir.join(OLD));
    let swap = || {
        remove_folder(&old)?;
        if current.exists() {
            durable::put_in_place(&current, &old)?;
        }
        durable::put_in_place(&joining, &current)?;
        remove_folder(&old)
    };
    swap().map_err(|source| IdentityError::Write { path: current.clone(), source })
}

/// A crash may have come between the two renames of [`swap`], or just before the first.
pub(super) fn finish_swap(dir: &Path) -> Result<(), IdentityError> {
    if dir.join(JOINING).join(LINK).exists() { swap(dir) } else { Ok(()) }
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Reads a file that nobody else may read.
pub(super) fn read_private(path: &Path) -> Result<String, IdentityError> {
    let text = read(path)?;
    let metadata =
        fs::metadata(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Permissions { path: path.to_owned(), mode });
    }
    Ok(text)
}

pub(super) fn read(path: &Path) -> Result<String, IdentityError> {
    fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => IdentityError::Missing(path.to_owned()),
        _ => IdentityError::Read { path: path.to_owned(), source },
    })
}
