//! Reading and writing the identity's few small files, and putting a new identity in place.
//!
//! A write is whole or not there: temporary file in the same folder, write, fsync, rename, fsync the
//! folder. Every file is made for this user alone from its first byte.

use super::{FOLDER, IdentityError, JOINING, LINK, OLD};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

pub(super) fn make_folder(folder: &Path) -> Result<(), IdentityError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| IdentityError::Write { path: folder.to_owned(), source })
}

#[expect(clippy::disallowed_methods, reason = "this is a durable write")]
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    let failed = |source| IdentityError::Write { path: path.to_owned(), source };
    let temporary = path.with_extension("new");
    write_and_sync(&temporary, bytes).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)?;
    sync_folder(path.parent().expect("the file lies in the identity's folder")).map_err(failed)
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // A file left by an earlier attempt keeps its old mode when it is opened again.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Puts the finished new identity in the place of the old one, which is removed.
#[expect(clippy::disallowed_methods, reason = "every file inside is synced, and the folder is synced after")]
pub(super) fn swap(dir: &Path) -> Result<(), IdentityError> {
    let (current, joining, old) = (dir.join(FOLDER), dir.join(JOINING), dir.join(OLD));
    let swap = || {
        remove_folder(&old)?;
        if current.exists() {
            fs::rename(&current, &old)?;
        }
        fs::rename(&joining, &current)?;
        sync_folder(dir)?;
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
