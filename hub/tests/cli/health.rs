//! `health`: each fault is named by its check, and the exit code is for scripts.

use crate::daemon::until;
use crate::program::Folder;
use serde_json::Value as Json;
use std::fs;

/// The exit code, and each check's state by name.
fn health(folder: &Folder, arguments: &[&str]) -> (i32, Json) {
    let said = folder.hub(&[&["health", "--json"], arguments].concat());
    (said.code, serde_json::from_str(&said.stdout).unwrap())
}

fn state<'r>(report: &'r Json, name: &str) -> (&'r str, &'r str) {
    let check = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap();
    (check["state"].as_str().unwrap(), check["what"].as_str().unwrap())
}

#[test]
fn a_hub_without_a_backup_is_critical_and_one_with_it_is_not() {
    let folder = Folder::with_hub();
    let (code, report) = health(&folder, &[]);
    assert_eq!((code, report["state"].as_str()), (1, Some("critical")));
    assert!(state(&report, "freshness").1.contains("tt-hub backup"), "{report}");
    assert_eq!(state(&report, "database").0, "healthy", "{report}");

    folder.hub(&["backup"]).fine();
    let (code, report) = health(&folder, &[]);
    // The disk of the machine that runs this is not ours to judge.
    let is_full = state(&report, "space").0 == "critical";
    assert_eq!(code, i32::from(is_full), "{report}");
    for name in ["database", "freshness", "counts", "copies", "vaults"] {
        assert_eq!(state(&report, name).0, "healthy", "{report}");
    }
    assert!(state(&report, "daemon").1.contains("tt-hub serve"), "{report}");
    assert_eq!(health(&folder, &["--strict"]).0, 1, "a daemon that does not run is a warning");
    let text = folder.hub(&["health"]).stdout;
    assert!(text.contains("\nwarning") || text.starts_with("healthy"), "{text}");

    let _daemon = folder.serve();
    assert_eq!(state(&health(&folder, &[]).1, "daemon").0, "healthy");
}

#[test]
fn copies_that_are_gone_and_vaults_that_are_gone_are_named() {
    let folder = Folder::with_hub();
    let made = folder.json(&["backup", "--tier", "daily"]);
    let id = made["id"].as_str().unwrap();
    let copy = |vault: &str| folder.data().join(format!("backups/{vault}/{id}.db.gz"));
    fs::remove_file(copy("secondary")).unwrap();
    let (_, report) = health(&folder, &[]);
    let (is, what) = state(&report, "copies");
    assert!(is == "warning" && what.contains(id) && what.contains("secondary"), "{report}");

    fs::write(copy("primary"), b"rotten").unwrap();
    folder.hub(&["verify"]);
    let (code, report) = health(&folder, &[]);
    let (is, what) = state(&report, "copies");
    assert!(code == 1 && is == "critical" && what.contains(id), "{report}");
    assert_eq!(state(&report, "freshness").0, "critical", "a backup that is lost is none: {report}");

    let config = fs::read_to_string(folder.data().join("hub.toml")).unwrap();
    let away = folder.beside("usb").display().to_string();
    fs::write(folder.data().join("hub.toml"), config.replace("\"backups/secondary\"", &format!("{away:?}")))
        .unwrap();
    let (_, report) = health(&folder, &[]);
    let (is, what) = state(&report, "vaults");
    assert!(is == "warning" && what.contains(&away), "{report}");
}

#[test]
fn a_damaged_database_is_critical() {
    let folder = Folder::with_hub();
    folder.hub(&["backup"]).fine();
    let mut bytes = fs::read(folder.database()).unwrap();
    let length = bytes.len();
    bytes[length / 2..length / 2 + 4_096].fill(0x5a);
    fs::write(folder.database(), bytes).unwrap();
    let (code, report) = health(&folder, &[]);
    assert!(code == 1 && state(&report, "database").0 == "critical", "{report}");
}

#[test]
fn a_drill_restores_the_newest_and_brings_an_older_one_on() {
    let folder = Folder::with_hub();
    assert!(folder.hub(&["drill"]).failure().contains("tt-hub backup"));
    let older = folder.json(&["backup", "--tier", "hourly"]);
    let alone = folder.json(&["drill"]);
    assert_eq!((&alone["newest"], &alone["older"]), (&older["id"], &Json::Null));
    let daemon = folder.serve();
    let add = "INSERT INTO tablet_types(tablet_type_name) VALUES ('drilled')";
    rusqlite::Connection::open(folder.database()).unwrap().execute(add, []).unwrap();
    // New versions, which the journal tells of.
    let begun = older["version"].as_u64().unwrap();
    let version = || folder.json(&["status"])["version"].as_u64().unwrap();
    until("the row is cut", || version() > begun);
    let between = version();
    rusqlite::Connection::open(folder.database())
        .unwrap()
        .execute(&add.replace("drilled", "again"), [])
        .unwrap();
    until("the next row is cut", || version() > between);
    let newest = folder.json(&["backup", "--tier", "daily"]);
    let both = folder.json(&["drill"]);
    assert_eq!(
        (&both["newest"], &both["older"], &both["failed"]),
        (&newest["id"], &older["id"], &Json::Null)
    );
    let moment = &both["moment"];
    let stopped = moment["version"].as_u64().unwrap();
    assert!(begun < stopped && stopped < newest["version"].as_u64().unwrap(), "{both}");
    assert_eq!(
        (&moment["rows"], &both["notes"]),
        (&Json::from(1), &Json::from(Vec::<Json>::new())),
        "{both}"
    );
    assert_eq!(folder.json(&["status"])["last_drill"], both);
    let text = folder.hub(&["drill"]).fine().stdout;
    assert!(text.contains("by way of version") && text.contains("holds the same rows"), "{text}");
    assert_eq!(state(&health(&folder, &[]).1, "drill").0, "healthy");
    drop(daemon);

    // Every journal is lost: what only they know cannot be rehearsed, and nobody says that all is well.
    for journal in
        ["journal", "backups/primary/journal", "backups/secondary/journal", "backups/archive/journal"]
    {
        for file in fs::read_dir(folder.data().join(journal)).into_iter().flatten() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
    assert!(folder.hub(&["drill"]).failure().contains("journal"));
    assert_eq!(state(&health(&folder, &[]).1, "drill").0, "critical");
    let alerts = fs::read_to_string(folder.data().join("backups/backup_alerts.log")).unwrap();
    assert!(alerts.contains("CRITICAL: the drill failed"), "{alerts}");
}
