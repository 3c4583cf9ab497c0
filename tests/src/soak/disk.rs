//! A small disk of its own for a device, that can run full: a file system in memory. Only root may mount one; elsewhere
//! no disk runs full.

use anyhow::ensure;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Room for the device's file, a snapshot of it twice, and logs.
const MIB: usize = 400;

/// A mounted disk; it goes when this is dropped.
pub(super) struct Disk(PathBuf);

impl Disk {
    /// None where nothing can be mounted.
    pub(super) fn mount(at: &Path) -> anyhow::Result<Option<Self>> {
        fs::create_dir_all(at)?;
        let options = format!("size={MIB}m,mode=0700");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        Ok(done.is_ok_and(|done| done.status.success()).then(|| Self(at.to_owned())))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Not one more byte fits.
    pub(super) fn fill(&self) -> anyhow::Result<()> {
        let mut file = fs::File::create(self.ballast())?;
        let mut chunk = vec![7; 1 << 20];
        while !chunk.is_empty() {
            match file.write(&chunk) {
                Ok(written) if written > 0 => {}
                _ => chunk.truncate(chunk.len() / 2),
            }
        }
        Ok(())
    }

    pub(super) fn empty(&self) -> std::io::Result<()> {
        fs::remove_file(self.ballast())
    }

    /// What is on it, beside it, for whoever looks for the cause.
    pub(super) fn keep(&self) -> anyhow::Result<()> {
        let _ = fs::remove_file(self.ballast());
        let kept = self.0.with_extension("kept");
        let status = Command::new("cp").arg("-a").arg(&self.0).arg(&kept).status()?;
        ensure!(status.success(), "cannot copy {}", self.0.display());
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: what still has a file open there must not keep it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
