//! Vaults that are not what they seem: of another hub, without their disk, one folder under two names.

use crate::program::{Folder, names};
use serde_json::Value as Json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tt_migrations::durable;

fn states(made: &Json) -> Vec<&str> {
    made["vaults"].as_array().unwrap().iter().map(|vault| vault["state"].as_str().unwrap()).collect()
}

/// A hub with one vault of its own and one elsewhere.
fn hub_with(elsewhere: &Path) -> Folder {
    let folder = Folder::with_hub();
    configure(&folder, elsewhere);
    folder
}

fn configure(folder: &Folder, elsewhere: &Path) {
    let own = "{ name = \"primary\", path = \"backups/primary\" }";
    let text = format!("[backup]\nvault = [{own}, {{ name = \"disk\", path = {elsewhere:?} }}]\n");
    fs::write(folder.data().join("hub.toml"), text).unwrap();
}

fn made(folder: &Folder) -> (Vec<String>, String) {
    let said = folder.hub(&["backup", "--tier", "hourly", "--json"]);
    let made: Json = serde_json::from_str(&said.stdout).unwrap();
    (states(&made).into_iter().map(str::to_owned).collect(), said.stderr)
}

#[test]
fn a_vault_of_another_hub_is_refused_and_stays_as_it_is() {
    let disk = tempfile::tempdir().unwrap();
    let (one, two) = (hub_with(disk.path()), hub_with(disk.path()));
    assert_eq!(made(&one).0, ["verified", "verified"]);
    let before = names(disk.path());
    let (states, said) = made(&two);
    assert_eq!(states, ["verified", "failed"]);
    assert!(said.contains("belongs to another hub") && said.contains("tt-hub.id"), "{said}");
    let list = two.hub(&["backups", "--json"]);
    let list: Json = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1, "only its own: {list}");
    assert!(two.hub(&["health"]).stdout.contains("belongs to another hub"));
    assert_eq!(names(disk.path()), before);
    assert_eq!(made(&one).0, ["verified", "verified"]);
    fs::remove_file(disk.path().join("tt-hub.id")).unwrap();
    assert_eq!(made(&two).0, ["verified", "verified"], "the other is gone for good");
}

#[test]
fn a_mount_point_without_its_disk_is_no_vault() {
    let mounts = tempfile::tempdir().unwrap();
    let (point, away) = (mounts.path().join("disk"), mounts.path().join("away"));
    fs::create_dir(&point).unwrap();
    let folder = hub_with(&point);
    assert_eq!(made(&folder).0, ["verified", "verified"]);
    durable::put_in_place(&point, &away).unwrap();
    fs::create_dir(&point).unwrap();
    let (states, said) = made(&folder);
    assert_eq!(states, ["verified", "failed"]);
    assert!(said.contains("not the disk that was"), "{said}");
    assert_eq!(names(&point), [""; 0], "nothing is written below the mount point");
    fs::remove_dir(&point).unwrap();
    durable::put_in_place(&away, &point).unwrap();
    assert_eq!(made(&folder).0, ["verified", "verified"]);
}

#[test]
fn the_backups_of_the_program_before_stay_where_they_are() {
    let folder = Folder::with_hub();
    let primary = folder.data().join("backups/primary");
    fs::create_dir_all(&primary).unwrap();
    let old = "tablet_counter_daily_20241206_020000.db.gz";
    for ending in ["", ".sha256", ".meta.json"] {
        fs::write(primary.join(format!("{old}{ending}")), "of before").unwrap();
    }
    for _ in 0..2 {
        folder.hub(&["backup"]).fine();
        folder.hub(&["prune"]).fine();
    }
    let left = names(&primary);
    assert_eq!(left.iter().filter(|name| name.starts_with(old)).count(), 3, "{left:?}");
}

#[test]
fn one_folder_under_two_names_is_not_two_vaults() {
    let folder = Folder::with_hub();
    folder.hub(&["backup"]).fine();
    let link = folder.beside("link");
    symlink(folder.data().join("backups/primary"), &link).unwrap();
    configure(&folder, &link);
    let said = folder.hub(&["backup"]).failure();
    assert!(said.contains("would count as two"), "{said}");
}
