//! Writes small files so that they are whole or not there: temporary file in the same folder, write,
//! fsync, rename, fsync the folder.
//!
//! Every file is made for the daemon's user alone from its first byte. Nothing else may rename a file,
//! and none of this is for a database that a program may have open.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Makes a folder and those above it, for the owner alone. One that exists is left as it is.
///
/// # Errors
/// When the system refuses; what was there before is then still there.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    let is_new = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let new: Vec<&Path> = folder.ancestors().take_while(is_new).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // A file in a folder is only safe when the folder's own name is.
    new.into_iter().try_for_each(sync_above)
}

/// Writes a file, replacing what is there.
///
/// # Errors
/// When the system refuses; what was there before is then still there.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    write_and_sync(&temporary, bytes)?;
    put_in_place(&temporary, path)
}

/// Moves a file or folder that is on disk already to its own name in the same file system.
///
/// # Errors
/// When the system refuses; what was there before is then still there.
#[expect(clippy::disallowed_methods, reason = "this is the rename of the durable write")]
pub fn put_in_place(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_above(to)
}

/// Brings the name of a file or folder to disk.
fn sync_above(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // A file left by an earlier attempt keeps its old mode when it is opened again.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_all_the_way_for_the_owner_alone_and_one_that_is_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let folder = open.join("a/b/c");
        make_folder(&folder).unwrap();
        make_folder(&folder).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&open.join("a")), mode(&open)), (0o700, 0o700, 0o755));
        fs::write(open.join("file"), "").unwrap();
        assert!(make_folder(&open.join("file/below")).is_err());
    }
}
