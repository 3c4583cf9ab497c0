//! Whether the folders of the vaults can be vaults beside each other and beside the hub's own files.
//!
//! * What is safe is what lies in two vaults. One folder under two names, by a link or by `..`, is one vault.
//! * Some folders of the hub's are emptied or pruned by others: a vault there would lose its copies.
//! * Only folders that are there can be known for what they are; where a disk is away, its path is compared as written.

use super::settings::{Place, Settings};
use super::{BEFORE_RESTORE, KNOWN, WORK};
use crate::folder::Folder;
use std::path::{Component, Path, PathBuf};

/// What is wrong with the places, if anything.
pub(super) fn check(folder: &Folder, settings: &Settings) -> Result<(), String> {
    let hub = real(folder.path());
    let taken = taken(folder);
    let mut found: Vec<(&str, PathBuf)> = Vec::new();
    for vault in settings.vaults() {
        let Place::Folder(path) = vault.place()? else { continue };
        let (name, place) = (vault.name.as_str(), real(&folder.path().join(path)));
        if hub.starts_with(&place) || taken.iter().any(|(taken, below)| collides(&place, taken, *below)) {
            return Err(format!(
                "the vault {name:?} cannot be {}: the hub keeps other files there; give it a folder of its own, such as backups/{name}",
                place.display()
            ));
        }
        if let Some((other, _)) =
            found.iter().find(|(_, other)| place.starts_with(other) || other.starts_with(&place))
        {
            return Err(format!(
                "the vaults {other:?} and {name:?} are in one folder, {}: a copy there would count as two; give each a folder of its own",
                place.display()
            ));
        }
        found.push((name, place));
    }
    Ok(())
}

/// Folders of the hub's own, and whether all below them is the hub's as well.
fn taken(folder: &Folder) -> Vec<(PathBuf, bool)> {
    let backups = folder.backups();
    let whole = [WORK, BEFORE_RESTORE, KNOWN].map(|name| backups.join(name));
    let others = [
        folder.path().join("ca"),
        folder.snapshots_path(),
        folder.journal(),
        folder.migrations(),
        folder.rescue(),
        folder.staging(),
    ];
    let whole = whole.into_iter().chain(others).map(|path| (real(&path), true));
    whole.chain([(real(&backups), false)]).collect()
}

fn collides(place: &Path, taken: &Path, below: bool) -> bool {
    place == taken || (below && place.starts_with(taken))
}

/// The path without links, as far as it is there, and without `.` and `..` beyond that.
fn real(path: &Path) -> PathBuf {
    let is_there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let Some((above, mut real)) = is_there else { return path.to_owned() };
    let rest = path.strip_prefix(above).unwrap_or(path);
    for part in rest.components() {
        match part {
            Component::ParentDir => {
                real.pop();
            }
            Component::Normal(name) => real.push(name),
            _ => {}
        }
    }
    real
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn checked(folder: &Folder, places: &[&str]) -> Result<(), String> {
        let vaults = places.iter().enumerate();
        let vaults = vaults.map(|(number, path)| format!("{{ name = \"v{number}\", path = {path:?} }}"));
        let settings = format!("vault = [{}]", vaults.collect::<Vec<_>>().join(", "));
        check(folder, &toml::from_str(&settings).unwrap())
    }

    #[test]
    fn a_folder_is_one_vault_whatever_it_is_called() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        fs::create_dir_all(dir.path().join("backups/primary")).unwrap();
        symlink(dir.path().join("backups/primary"), dir.path().join("disk")).unwrap();
        let disk = dir.path().join("disk");
        let primary = dir.path().join("backups/primary");
        for other in [
            "backups/../backups/primary",
            "backups/./primary",
            disk.to_str().unwrap(),
            primary.to_str().unwrap(),
            "backups/primary/journal",
        ] {
            let error = checked(&folder, &["backups/primary", other]).unwrap_err();
            assert!(error.contains("\"v0\" and \"v1\" are in one folder"), "{other}: {error}");
        }
        assert!(checked(&folder, &["a/not/there", "a/../a/not/there/yet"]).is_err());
        assert_eq!(checked(&folder, &["backups/primary", "backups/secondary", "vaults/more"]), Ok(()));
    }

    #[test]
    fn a_vault_is_no_folder_in_which_the_hub_keeps_other_files() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let whole = dir.path().to_str().unwrap();
        let above = dir.path().parent().unwrap().to_str().unwrap();
        for place in [
            ".",
            "",
            whole,
            above,
            "ca",
            "ca/more",
            "journal",
            "backups",
            "backups/.work",
            "backups/before_restore/x",
        ] {
            let error = checked(&folder, &[place]).unwrap_err();
            assert!(error.contains("other files"), "{place}: {error}");
        }
        let elsewhere = tempfile::tempdir().unwrap();
        assert_eq!(checked(&folder, &[elsewhere.path().to_str().unwrap(), "/not/mounted/yet"]), Ok(()));
    }
}
