//! One at a time works on the backups of a hub; the system drops the lock with the process.

use super::{BackupError, Backups};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use tt_migrations::durable;

/// Held by whoever makes, verifies or removes backups.
#[derive(Debug)]
pub(crate) struct BackupLock(
    #[expect(dead_code, reason = "the lock lives as long as the file is open")] File,
);

impl Backups {
    /// Takes the lock, or says who has it.
    pub(crate) fn lock(&self) -> Result<BackupLock, BackupError> {
        let path = self.root.join("backup.lock");
        let failed = |source| BackupError::File { path: path.clone(), source };
        durable::make_folder(&self.root).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(failed)?;
                writeln!(file, "{}", std::process::id()).map_err(failed)?;
                Ok(BackupLock(file))
            }
            Err(TryLockError::Error(source)) => Err(failed(source)),
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Without a number the message still says what is the matter.
                let _ = file.read_to_string(&mut pid);
                Err(BackupError::Locked { folder: self.root.clone(), pid: pid.trim().to_owned() })
            }
        }
    }
}
