//! Reading and writing the authority's few small files.
//!
//! A write is whole or not there: temporary file in the same folder, write, fsync, rename, fsync the
//! folder. Every file is made for the hub's user alone from its first byte.

use super::CaError;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

pub(super) fn make_folder(folder: &Path) -> Result<(), CaError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| CaError::Write {
        path: folder.to_owned(),
        source,
    })
}

#[expect(clippy::disallowed_methods, reason = "this is a durable write")]
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), CaError> {
    let failed = |source| CaError::Write {
        path: path.to_owned(),
        source,
    };
    let temporary = path.with_extension("new");
    write_and_sync(&temporary, bytes).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)?;
    let folder = path.parent().expect("the file lies in the `ca` folder");
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    // A file left by an earlier attempt keeps its old mode when it is opened again.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Reads a file that nobody else may read.
pub(super) fn read_private(path: &Path) -> Result<String, CaError> {
    let text = read(path)?;
    let metadata = fs::metadata(path).map_err(|source| CaError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CaError::Permissions {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(text)
}

pub(super) fn read(path: &Path) -> Result<String, CaError> {
    fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CaError::Missing(path.to_owned()),
        _ => CaError::Read {
            path: path.to_owned(),
            source,
        },
    })
}
