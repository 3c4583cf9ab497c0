//! Brings a compressed snapshot into vaults: the file first, then its checksum, then it is read back, and the
//! manifest last.

use super::Backups;
use super::check::{Checker, HOW};
use super::manifest::{MANIFEST_BYTES_MAX, Manifest, Verified, checksum_file, manifest_file};
use super::pack::pump;
use super::vault::{self, Vault};
use std::fs::File;
use std::io;
use std::path::Path;
use tt_migrations::progress::{Progress, Told};

/// No line of ours is longer.
const CHECKSUM_BYTES_MAX: u64 = 4_096;

impl Backups {
    /// Reads a copy back, and makes it part of the backup: its checksum beside it, and the manifest that says
    /// that it is there. Gives whether the checksum had to be written.
    pub(super) fn confirm(
        &self,
        number: usize,
        manifest: &Manifest,
        checker: &Checker<'_>,
        at: &str,
    ) -> Result<bool, String> {
        checker.check(self.vaults[number].vault.as_ref(), manifest)?;
        self.write_down(number, manifest, at)
    }

    /// Makes a copy that was read back part of the backup. Gives whether the checksum had to be written.
    pub(super) fn write_down(&self, number: usize, manifest: &Manifest, at: &str) -> Result<bool, String> {
        let vault = self.vaults[number].vault.as_ref();
        let checksum = checksum_file(&manifest.id);
        let line = manifest.checksum_line();
        let is_there = |vault| {
            vault::get(vault, &checksum, CHECKSUM_BYTES_MAX).is_ok_and(|found| found == line.as_bytes())
        };
        let was_there = is_there(vault);
        if !was_there {
            put_and_read_back(vault, &checksum, line.as_bytes())?;
        }
        let verified = Some(Verified { at: at.to_owned(), how: HOW.to_owned() });
        self.write_manifest(number, &Manifest { verified, damaged: None, ..manifest.clone() })?;
        Ok(!was_there)
    }

    pub(super) fn write_manifest(&self, number: usize, manifest: &Manifest) -> Result<(), String> {
        let vault = self.vaults[number].vault.as_ref();
        let bytes =
            manifest.to_bytes().map_err(|error| format!("its manifest cannot be written: {error}"))?;
        put_and_read_back(vault, &manifest_file(&manifest.id), &bytes)
    }

    /// Makes the copy in one vault again from that in another.
    pub(super) fn copy(&self, from: usize, to: usize, manifest: &Manifest) -> Result<(), String> {
        let failed = |error: io::Error| {
            let (from, to) = (self.vaults[from].vault.name(), self.vaults[to].vault.name());
            format!("{} cannot be copied from {from} to {to}: {error}", manifest.file)
        };
        let mut source = self.vaults[from].vault.read(&manifest.file).map_err(failed)?;
        let mut upload = self.vaults[to].vault.begin(&manifest.file).map_err(failed)?;
        pump(&mut source, |bytes| upload.write_all(bytes)).map_err(failed)?;
        upload.commit().map_err(failed)
    }

    /// Removes a backup from one vault: its manifest first, so that what a crash leaves is no backup.
    pub(super) fn discard(&self, number: usize, id: &str) -> io::Result<()> {
        let vault = self.vaults[number].vault.as_ref();
        for file in [manifest_file(id), super::manifest::file(id), checksum_file(id)] {
            vault.remove(&file)?;
        }
        Ok(())
    }
}

/// Writes the compressed snapshot into a vault under this name.
pub(crate) fn bring(
    vault: &dyn Vault,
    file: &str,
    packed: &Path,
    progress: &dyn Progress,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("{file} cannot be written: {error}");
    let source =
        File::open(packed).map_err(|error| format!("the compressed snapshot cannot be read: {error}"))?;
    let mut source = Told::new(source, progress);
    let mut upload = vault.begin(file).map_err(failed)?;
    pump(&mut source, |bytes| upload.write_all(bytes)).map_err(failed)?;
    upload.commit().map_err(failed)
}

fn put_and_read_back(vault: &dyn Vault, file: &str, bytes: &[u8]) -> Result<(), String> {
    vault::put(vault, file, bytes).map_err(|error| format!("{file} cannot be written: {error}"))?;
    let found = vault::get(vault, file, MANIFEST_BYTES_MAX)
        .map_err(|error| format!("{file} cannot be read back: {error}"))?;
    if found == bytes { Ok(()) } else { Err(format!("{file} does not have the bytes that were written")) }
}
