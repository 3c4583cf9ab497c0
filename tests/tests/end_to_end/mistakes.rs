//! Wrong tokens, wrong files, wrong lines: each gets a clear reason and exit code 1 or 2, and does no harm.
//!
//! * `tokens`: damaged, used, expired, revoked, of another hub
//! * `files`: what `--db` cannot be, and what happens to a file after it was joined
//! * `lines`: commands out of order, and lines that make no sense

#[path = "mistakes/files.rs"]
mod files;
#[path = "mistakes/lines.rs"]
mod lines;
#[path = "mistakes/tokens.rs"]
mod tokens;

use crate::warehouse::Done;
use anyhow::ensure;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What lies in a folder, byte for byte. Sockets have no bytes.
fn bytes(folder: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(bytes(&path)?);
        } else if path.is_file() {
            found.insert(path.clone(), std::fs::read(&path)?);
        }
    }
    Ok(found)
}

/// Checks that a folder is as it was. Logs and what SQLite makes while it reads do not count.
fn untouched(folder: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) -> Done {
    let aside = |path: &Path| {
        [".lock", ".log", "-shm", "-wal"].iter().any(|end| path.to_string_lossy().ends_with(end))
    };
    let mut after = bytes(folder)?;
    after.retain(|path, _| !aside(path));
    for (path, bytes) in before.iter().filter(|(path, _)| !aside(path)) {
        ensure!(after.remove(path).as_ref() == Some(bytes), "{} was changed", path.display());
    }
    ensure!(after.is_empty(), "left behind: {:?}", after.keys());
    Ok(())
}
