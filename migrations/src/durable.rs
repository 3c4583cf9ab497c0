//! The durable write: after it returns, the file is whole on disk; before, the old one is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Replaces the file at `path` with `bytes`: temporary file in the same folder, write, fsync, rename,
/// fsync the folder. The file has `mode` from its first byte.
///
/// # Errors
/// When the system refuses any of these; the old file is then still there.
#[expect(clippy::disallowed_methods, reason = "this is the durable write")]
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    // A file left by an earlier attempt keeps its old mode when it is opened again.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
