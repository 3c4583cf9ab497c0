//! Reading and writing the authority's few small files, with errors that name them.
//!
//! Every file is made for the hub's user alone from its first byte; `durable` makes each write whole.

use super::CaError;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tt_migrations::durable;

pub(super) fn make_folder(folder: &Path) -> Result<(), CaError> {
    durable::make_folder(folder).map_err(|source| not_written(folder, source))
}

pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), CaError> {
    durable::write(path, bytes).map_err(|source| not_written(path, source))
}

fn not_written(path: &Path, source: io::Error) -> CaError {
    CaError::Write { path: path.to_owned(), source }
}

/// Reads a file that nobody else may read.
pub(super) fn read_private(path: &Path) -> Result<String, CaError> {
    let text = read(path)?;
    let metadata = fs::metadata(path).map_err(|source| CaError::Read { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CaError::Permissions { path: path.to_owned(), mode });
    }
    Ok(text)
}

pub(super) fn read(path: &Path) -> Result<String, CaError> {
    fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CaError::Missing(path.to_owned()),
        _ => CaError::Read { path: path.to_owned(), source },
    })
}
