//! Brings a compressed snapshot into vaults: the file first, then its checksum, then it is read back, and the
//! manifest last.

use super::Backups;
use super::check::{Checker, HOW};
use super::manifest::{MANIFEST_BYTES_MAX, Manifest, Verified, checksum_file, manifest_file};
use super::pack::pump;
use super::vault::{self, Upload, Vault};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// No line of ours is longer.
const CHECKSUM_BYTES_MAX: u64 = 4_096;

impl Backups {
    /// Writes the file into every vault that takes its tier, from one read. Gives how it went by vault.
    pub(super) fn spread(&self, manifest: &Manifest, packed: &Path) -> Vec<(usize, Result<(), String>)> {
        let takes =
            self.vaults.iter().enumerate().filter(|(_, placed)| placed.takes.contains(&manifest.tier));
        let mut uploads: Vec<(usize, io::Result<Box<dyn Upload + '_>>)> =
            takes.map(|(number, placed)| (number, placed.vault.begin(&manifest.file))).collect();
        let read = File::open(packed).and_then(|mut file| feed(&mut file, &mut uploads));
        let commit = |upload: io::Result<Box<dyn Upload + '_>>| {
            let upload = upload.map_err(|error| format!("{} cannot be written: {error}", manifest.file))?;
            if let Err(error) = &read {
                return Err(format!("the compressed snapshot cannot be read: {error}"));
            }
            upload.commit().map_err(|error| format!("{} cannot be written: {error}", manifest.file))
        };
        uploads.into_iter().map(|(number, upload)| (number, commit(upload))).collect()
    }

    /// Reads a copy back, and makes it part of the backup: its checksum beside it, and the manifest that says
    /// that it is there. Gives whether the checksum had to be written.
    pub(super) fn confirm(
        &self,
        number: usize,
        manifest: &Manifest,
        checker: &mut Checker,
        at: &str,
    ) -> Result<bool, String> {
        let vault = self.vaults[number].vault.as_ref();
        checker.check(vault, manifest)?;
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

/// Hands everything to all uploads; one that fails gets no more, and the others go on.
fn feed(file: &mut dyn Read, uploads: &mut [(usize, io::Result<Box<dyn Upload + '_>>)]) -> io::Result<()> {
    pump(file, |bytes| {
        for (_, upload) in &mut *uploads {
            if let Ok(open) = upload
                && let Err(error) = open.write_all(bytes)
            {
                *upload = Err(error);
            }
        }
        Ok(())
    })
}

fn put_and_read_back(vault: &dyn Vault, file: &str, bytes: &[u8]) -> Result<(), String> {
    vault::put(vault, file, bytes).map_err(|error| format!("{file} cannot be written: {error}"))?;
    let found = vault::get(vault, file, MANIFEST_BYTES_MAX)
        .map_err(|error| format!("{file} cannot be read back: {error}"))?;
    if found == bytes { Ok(()) } else { Err(format!("{file} does not have the bytes that were written")) }
}
