//! One daemon per folder: a lock that the system drops with the process, however that ends.

use super::DaemonError;
use crate::folder::Folder;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

/// Held while the daemon runs. The file stays; it says which process had the lock last.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the lock lives as long as the file is open")] File);

impl Lock {
    pub(crate) fn take(folder: &Folder) -> Result<Self, DaemonError> {
        let path = folder.lock();
        let failed = |source| DaemonError::File { what: "lock", path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => write_pid(&mut file).map(|()| Self(file)).map_err(failed),
            Err(TryLockError::Error(source)) => Err(failed(source)),
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Without a number the message still says what is the matter.
                let _ = file.read_to_string(&mut pid);
                Err(DaemonError::Running { folder: folder.path().to_owned(), pid: pid.trim().to_owned() })
            }
        }
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_hears_who_was_first() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let first = Lock::take(&folder).unwrap();
        let error = Lock::take(&folder).unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        drop(first);
        Lock::take(&folder).unwrap();
    }
}
