//! The ids under which this hub has begun to make backups, newest last, in `DIR/backups/made`.
//!
//! A file in a vault that has the name of a backup and no manifest was left by a run that was cut off, or it is somebody's
//! own: the program before this one gave its backups the same names. Only what this hub began is ever tidied away.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tt_migrations::durable;

/// Older ones are forgotten: what they may have left stays where it is.
const IDS_MAX: usize = 4_096;

fn path(root: &Path) -> PathBuf {
    root.join("made")
}

/// All of them. What cannot be read was not begun by us.
pub(super) fn all(root: &Path) -> BTreeSet<String> {
    fs::read_to_string(path(root)).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Before the first file of these is written.
pub(super) fn begin(root: &Path, ids: impl Iterator<Item = String>) -> io::Result<()> {
    let before = match fs::read_to_string(path(root)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        before => before.unwrap_or_default(),
    };
    let mut lines: Vec<String> = before.lines().map(str::to_owned).chain(ids).collect();
    lines.drain(..lines.len().saturating_sub(IDS_MAX));
    durable::write(&path(root), format!("{}\n", lines.join("\n")).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_ids_are_known() {
        let dir = tempfile::tempdir().unwrap();
        assert!(all(dir.path()).is_empty());
        begin(dir.path(), (0..IDS_MAX).map(|id| id.to_string())).unwrap();
        begin(dir.path(), ["last".to_owned()].into_iter()).unwrap();
        let known = all(dir.path());
        assert_eq!(known.len(), IDS_MAX);
        assert!(known.contains("last") && known.contains("1") && !known.contains("0"));
    }
}
