//! Numbered SQL that stands in a folder: what an operator adds to a schema of its own.
//!
//! Nothing is applied here. A file without a number or a gap between two numbers refuses the whole folder,
//! because a migration that is missing today must not slip in below the others tomorrow.

use super::{Migration, MigrationError};
use std::borrow::Cow;
use std::path::Path;

/// The numbered files of a folder, in order. A folder that does not exist holds none.
///
/// # Errors
/// [`MigrationError::Folder`] for a file that cannot be read, a name without number, or a gap.
pub fn from_folder(folder: &Path) -> Result<Vec<Migration>, MigrationError> {
    let refuse = |path: &Path, problem: String| MigrationError::Folder { path: path.to_owned(), problem };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| refuse(folder, error.to_string()))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| refuse(folder, error.to_string()))?.path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        let (number, name) = numbered(&path).ok_or_else(|| refuse(&path, "it has no number".to_owned()))?;
        let sql = std::fs::read_to_string(&path).map_err(|error| refuse(&path, error.to_string()))?;
        found.push(Migration { number, name: Cow::Owned(name), sql: Cow::Owned(sql) });
    }
    found.sort_by_key(|migration| migration.number);
    if let Some(pair) = found.windows(2).find(|pair| pair[1].number != pair[0].number + 1) {
        let (one, next) = (&pair[0], &pair[1]);
        let problem = match one.number == next.number {
            true => format!("number {} is there twice ({}, {})", one.number, one.name, next.name),
            false => format!("after {} comes {}", one.number, next.number),
        };
        return Err(refuse(folder, problem));
    }
    Ok(found)
}

fn numbered(path: &Path) -> Option<(u32, String)> {
    let (number, name) = path.file_stem()?.to_str()?.split_once('_')?;
    let number = number.parse().ok().filter(|&number| number > 0)?;
    Some((number, name.to_owned()))
}
