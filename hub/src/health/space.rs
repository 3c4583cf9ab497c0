//! Room on the disks of the database and of every vault.

use super::{Check, State};
use crate::backup::{Backups, Catalog};
use crate::folder::Folder;
use crate::space::{Space, readable};
use std::collections::BTreeMap;

/// Below this a disk is nearly full, whatever its size.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// Parts of a disk that should stay free: one in so many.
const FREE_SHARE: u64 = 10;

/// A vault that did not answer the catalog is not asked again.
pub(super) fn disks(folder: &Folder, backups: &Backups, catalog: &Catalog) -> Check {
    let mut found = Vec::new();
    let mut seen: BTreeMap<String, Space> = BTreeMap::new();
    let mut look = |place: String, space: std::io::Result<Option<Space>>| match space {
        Ok(Some(space)) => {
            found.extend(judged(&place, space));
            seen.insert(place, space);
        }
        Ok(None) => {}
        Err(error) => found.push((State::Warning, format!("the space of {place} is not known: {error}"))),
    };
    look("the database".to_owned(), Space::of(folder.path()).map(Some));
    let heard = |number: &usize| !catalog.silent.contains(number);
    for number in (0..backups.vaults.len()).filter(heard) {
        let placed = &backups.vaults[number];
        look(format!("the vault {}", placed.vault.name()), placed.vault.space());
    }
    let fine = seen.iter().map(|(place, space)| format!("{place}: {} free", readable(space.free)));
    let fine = fine.collect::<Vec<_>>().join(", ");
    Check::of("space", found, fine)
}

fn judged(place: &str, space: Space) -> Option<(State, String)> {
    let free = readable(space.free);
    if space.free < FREE_BYTES_MIN {
        let what = format!(
            "only {free} left on the disk of {place}: make room now, nothing can be kept on a full disk"
        );
        return Some((State::Critical, what));
    }
    (space.free < space.total / FREE_SHARE).then(|| {
        (State::Warning, format!("{free} left on the disk of {place}, less than a tenth: make room"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_nearly_full_by_bytes_and_by_share() {
        let gib = |gib: u64| gib << 30;
        let state = |free, total| judged("x", Space { free, total }).map(|(state, _)| state);
        assert_eq!(state(gib(1) - 1, gib(4)), Some(State::Critical));
        assert_eq!(state(gib(9), gib(100)), Some(State::Warning));
        assert_eq!(state(gib(10), gib(100)), None);
    }
}
