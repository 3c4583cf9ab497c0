//! The journal of a hub that lost its disk: brought back from the vault that has most of it, before anything is
//! restored.
//!
//! The restored hub goes on with that journal: its numbers are given only once, what devices no longer keep is in
//! it, and what the hub writes next follows in the vaults on what they have.

use super::{RestoreError, Restores};
use crate::backup::vault::Vault;
use crate::journal::parts::{self, Stored};
use crate::journal::reader::{Reach, Reader};
use crate::journal::record::Lsn;
use crate::journal::segment;
use crate::journal::ship::PART;
use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tt_migrations::durable;

/// A journal and where it is.
pub(super) struct Found {
    pub(super) place: String,
    pub(super) reader: Reader,
    /// Number of the vault; None for the hub's own.
    vault: Option<usize>,
    /// How far it goes, where that can be read.
    pub(super) reach: Option<Reach>,
    /// Its last entry, as far as it can be read.
    last: Lsn,
}

impl Found {
    /// What a person should know when this one is used before the hub's own.
    pub(super) fn passes_over(&self, all: &[Self]) -> Option<String> {
        let own = all.iter().find(|journal| journal.vault.is_none())?;
        (own.last < self.last).then(|| {
            format!(
                "the journal of {} was not used: it can be read up to entry {}, and that of {} up to {}",
                own.place, own.last, self.place, self.last
            )
        })
    }
}

/// The hub's own journal and those in the vaults, the one that goes furthest first, the hub's own among equals.
pub(super) fn all(restores: &Restores) -> Vec<Found> {
    let found = |place, vault, reader: Reader| {
        let reach = reader.reach().ok().flatten();
        Found { place, reader, vault, reach, last: reach.map(|reach| reach.last).unwrap_or_default() }
    };
    let own = found("the hub".to_owned(), None, Reader::of_folder(&restores.journal));
    let vaults = restores.backups.vaults.iter().enumerate().map(|(number, placed)| {
        let vault = placed.vault.as_ref();
        found(format!("the vault {}", vault.name()), Some(number), Reader::of_vault(vault.part(PART)))
    });
    let mut all: Vec<Found> = std::iter::once(own).chain(vaults).collect();
    all.sort_by_key(|journal| Reverse(journal.last));
    all
}

/// Takes the journal of a vault when it goes further than the hub's own: this disk is another one, or an older
/// state of it was put back. The hub's own is kept beside it. Gives what a person should know.
pub(super) fn bring_back(restores: &Restores) -> Result<Option<String>, RestoreError> {
    let all = all(restores);
    let (Some(furthest), Some(own)) = (all.first(), all.iter().find(|journal| journal.vault.is_none()))
    else {
        return Ok(None);
    };
    let Some(number) = furthest.vault.filter(|_| furthest.last > own.last) else { return Ok(None) };
    let journal = &restores.journal;
    let failed = |source| RestoreError::File { path: journal.clone(), source };
    let vault = restores.backups.vaults[number].vault.part(PART);
    let brought = journal.with_extension("new");
    fetch(vault.as_ref(), &brought).map_err(failed)?;
    put_aside(journal).map_err(failed)?;
    durable::put_in_place(&brought, journal).map_err(failed)?;
    Ok(Some(format!(
        "the hub's own journal ends with entry {}: that of {} was taken, which ends with {}",
        own.last, furthest.place, furthest.last
    )))
}

/// Every segment of it into a new folder.
fn fetch(vault: &dyn Vault, to: &Path) -> io::Result<()> {
    match fs::remove_dir_all(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => durable::make_folder(to)?,
    }
    for first in Stored::of(&vault.list()?).into_keys() {
        let bytes = parts::read(vault, first, u64::MAX)?;
        durable::write(&to.join(segment::name(first)), &bytes)?;
    }
    Ok(())
}

fn put_aside(journal: &Path) -> io::Result<()> {
    let is_empty = fs::read_dir(journal).map_or(true, |mut entries| entries.next().is_none());
    if is_empty {
        return Ok(());
    }
    let name = |number: u32| PathBuf::from(format!("{}.former.{number}", journal.display()));
    let free = (1..).map(name).find(|path| !path.exists());
    free.map_or(Ok(()), |free| durable::put_in_place(journal, &free))
}
