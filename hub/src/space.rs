//! Room on disks: what is free for us, and how much there is in all.

use rustix::fs::statvfs;
use std::io;
use std::path::Path;

/// What is left on the disk of a folder, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// For programs without special rights.
    pub(crate) free: u64,
    pub(crate) total: u64,
}

impl Space {
    /// Of the disk on which a folder lies, or of the nearest one above it that is there.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let mut error = io::Error::from(io::ErrorKind::NotFound);
        for folder in folder.ancestors() {
            match statvfs(folder) {
                Ok(found) => {
                    let (free, total) = (found.f_bavail, found.f_blocks);
                    return Ok(Self { free: free * found.f_frsize, total: total * found.f_frsize });
                }
                Err(failed) => error = failed.into(),
            }
            if error.kind() != io::ErrorKind::NotFound {
                break;
            }
        }
        Err(error)
    }
}

/// Bytes as a person reads them: `1.5 GiB`.
pub(crate) fn readable(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let power = (bytes.max(1).ilog2() / 10).min(4);
    if power == 0 {
        return format!("{bytes} bytes");
    }
    format!("{:.1} {}", bytes as f64 / f64::from(1 << 10).powi(power.cast_signed()), UNITS[power as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_made_yet_is_on_the_disk_above_it() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::of(dir.path()).unwrap();
        assert!(space.total > 0 && space.free <= space.total);
        assert_eq!(Space::of(&dir.path().join("not/yet")).unwrap().total, space.total);
    }

    #[test]
    fn bytes_are_readable() {
        let texts = [0, 1_023, 1_024, 1_610_612_736, u64::MAX].map(readable);
        assert_eq!(texts, ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 GiB", "16777216.0 TiB"]);
    }
}
