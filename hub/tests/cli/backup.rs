//! `backup`, `backups`, `verify`, `prune`: what is listed restores, with and without the daemon and while
//! programs write.

use crate::program::{Folder, names};
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

#[path = "backup/full.rs"]
mod full;
#[path = "backup/kills.rs"]
mod kills;
#[path = "backup/order.rs"]
mod order;
#[path = "backup/own.rs"]
mod own;
#[path = "backup/shared.rs"]
mod shared;

fn keys(value: &Json) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Every copy of a backup, as its JSON says.
fn copies(backup: &Json) -> Vec<PathBuf> {
    let file = backup["file"].as_str().unwrap();
    let vaults = backup["vaults"].as_array().unwrap();
    vaults.iter().map(|vault| Path::new(vault["path"].as_str().unwrap()).join(file)).collect()
}

fn states(backup: &Json) -> Vec<(&str, &str)> {
    let vaults = backup["vaults"].as_array().unwrap();
    vaults.iter().map(|vault| (vault["name"].as_str().unwrap(), vault["state"].as_str().unwrap())).collect()
}

/// Runs a tool as an operator would; false when this machine does not have it.
fn tool(program: &str, arguments: &[&str], folder: &Path) -> bool {
    match Command::new(program).args(arguments).current_dir(folder).stdout(Stdio::null()).status() {
        Ok(status) => {
            assert!(status.success(), "{program} {arguments:?} in {}", folder.display());
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{program}: {error}");
            eprintln!("{program} is missing: not asked");
            false
        }
    }
}

/// Unpacks a copy with nothing of ours.
fn unpacked(copy: &Path) -> Connection {
    let bytes = fs::read(copy).unwrap();
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(bytes.as_slice()), &mut plain).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), plain).unwrap();
    let conn = Connection::open(file.path()).unwrap();
    let sound: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    conn
}

fn count(conn: &Connection, table: &str) -> i64 {
    conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

fn add_employees(conn: &Connection, name: &str, count: usize) {
    for number in 0..count {
        let sql = "INSERT INTO employees(username, full_name, password_hash) VALUES (?1, ?1, 'x')";
        conn.execute(sql, [format!("{name}-{number}")]).unwrap();
    }
}

/// Every copy that is listed as good restores to the rows that its backup names. Gives the number of backups.
fn assert_all_restore(folder: &Folder) -> usize {
    let listed = folder.hub(&["backups", "--json"]).stdout;
    let listed: Json = serde_json::from_str(&listed).unwrap();
    let backups = listed.as_array().unwrap();
    for backup in backups {
        let file = backup["file"].as_str().unwrap();
        for vault in backup["vaults"].as_array().unwrap().iter().filter(|vault| vault["state"] == "verified")
        {
            let copy = Path::new(vault["path"].as_str().unwrap()).join(file);
            assert_eq!(
                backup["rows"]["employees"],
                count(&unpacked(&copy), "employees"),
                "{}",
                copy.display()
            );
        }
    }
    backups.len()
}

/// Whatever is below the folder of backups and has a name of what is not finished.
fn litter(folder: &Folder) -> Vec<String> {
    let root = folder.data().join("backups");
    below(&root, "")
        .filter(|name| name.starts_with('.') || name.contains("/.") || name.ends_with(".new"))
        .collect()
}

/// Every file and folder below one, with its path from there.
fn below(folder: &Path, path: &str) -> impl Iterator<Item = String> {
    let deeper = |name: String| {
        let (inner, path) = (folder.join(&name), format!("{path}{name}"));
        let more: Vec<_> = match inner.is_dir() {
            true => below(&inner, &format!("{path}/")).collect(),
            false => Vec::new(),
        };
        std::iter::once(path).chain(more)
    };
    names(folder).into_iter().flat_map(deeper).collect::<Vec<_>>().into_iter()
}

#[test]
fn a_backup_has_the_shape_that_scripts_read_and_is_complete_in_every_vault() {
    let folder = Folder::with_hub();
    add_employees(&Connection::open(folder.database()).unwrap(), "a", 3);
    let made = folder.json(&["backup", "--tier", "monthly"]);
    let shape = ["id", "tier", "file", "sha256", "bytes", "version", "epoch", "rows", "vaults"];
    assert_eq!(keys(&made), shape);
    assert_eq!(keys(&made["vaults"][0]), ["name", "path", "state"]);
    let id = made["id"].as_str().unwrap();
    assert!(id.starts_with("tablet_counter_monthly_") && made["file"] == format!("{id}.db.gz"), "{made}");
    assert_eq!((&made["tier"], &made["epoch"]), (&json!("monthly"), &json!(1)));
    assert_eq!(made["rows"]["employees"], count(&unpacked(&copies(&made)[0]), "employees"));
    assert!(made["rows"].as_object().unwrap().keys().all(|name| !name.starts_with("_sync_")));
    assert_eq!(states(&made), [("primary", "verified"), ("secondary", "verified"), ("archive", "verified")]);
    for copy in copies(&made) {
        assert_eq!(fs::metadata(&copy).unwrap().len(), made["bytes"]);
        let vault = copy.parent().unwrap();
        let files = ["db.gz", "db.gz.sha256", "json"].map(|ending| format!("{id}.{ending}"));
        let whose = "tt-hub.id".to_owned();
        assert_eq!(names(vault), [&files[..], &[whose]].concat(), "and nothing else");
        let line = fs::read_to_string(vault.join(&files[1])).unwrap();
        assert_eq!(line, format!("{}  {id}.db.gz\n", made["sha256"].as_str().unwrap()));
        let manifest: Json = serde_json::from_slice(&fs::read(vault.join(&files[2])).unwrap()).unwrap();
        assert!(manifest["verified"]["how"].as_str().unwrap().contains("integrity_check"));
        assert!(
            manifest["contents"]["tables"]["_sync_state"]["rows"].as_u64() > Some(0),
            "ours are in it, too"
        );
    }
    assert_eq!(folder.json(&["backups"]), json!([made]));
    assert!(folder.hub(&["backups"]).fine().stdout.contains(id));
    let log = fs::read_to_string(folder.data().join("backups/backup.log")).unwrap();
    assert!(log.contains(id) && log.contains("no problems"), "{log}");
    assert!(!folder.data().join("backups/backup_alerts.log").exists());
    assert!(!folder.data().join("backups/.work").exists());
}

#[test]
fn without_a_tier_coarser_ones_that_are_due_get_the_same_bytes() {
    let folder = Folder::with_hub();
    assert_eq!(folder.json(&["backups"]), json!([]));
    assert!(folder.hub(&["backups"]).fine().stdout.contains("no backups yet"));
    let made = folder.json(&["backup"]);
    assert_eq!(made["tier"], "hourly");
    let all = folder.json(&["backups"]);
    let of = |field: &str| all.as_array().unwrap().iter().map(|one| one[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("tier"), ["hourly", "daily", "weekly", "monthly", "yearly"].map(Json::from));
    assert!(of("sha256").iter().all(|sha256| *sha256 == made["sha256"]));
    assert_eq!(
        names(&folder.data().join("backups/archive")).len(),
        7,
        "monthly and yearly only, and whose it is"
    );
    folder.hub(&["backup"]).fine();
    let tiers =
        folder.json(&["backups"]).as_array().unwrap().iter().filter(|one| one["tier"] == "daily").count();
    assert_eq!(tiers, 1, "a daily one was there");
}

#[test]
fn copies_made_while_three_programs_write_are_each_whole() {
    let folder = Folder::with_hub();
    let _daemon = folder.serve();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..3 {
            let (path, stop) = (folder.database(), &stop);
            scope.spawn(move || {
                let conn = Connection::open(path).unwrap();
                conn.busy_timeout(Duration::from_secs(30)).unwrap();
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // Both rows or none: a backup between them would show an odd number.
                    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
                    add_employees(&conn, &format!("{writer}-{round}"), 2);
                    conn.execute_batch("COMMIT").unwrap();
                }
            });
        }
        let made: Vec<Json> = (0..4).map(|_| folder.json(&["backup", "--tier", "hourly"])).collect();
        stop.store(true, Ordering::Relaxed);
        let mut last = -1;
        for backup in &made {
            assert_eq!(states(backup), [("primary", "verified"), ("secondary", "verified")]);
            for copy in copies(backup) {
                let vault = copy.parent().unwrap();
                let file = backup["file"].as_str().unwrap();
                tool("gunzip", &["-t", file], vault);
                tool("sha256sum", &["-c", &format!("{file}.sha256")], vault);
                let sql = "SELECT count(*) FROM employees WHERE username GLOB '[0-2]-*'";
                let rows: i64 = unpacked(&copy).query_row(sql, [], |row| row.get(0)).unwrap();
                assert_eq!(rows % 2, 0, "half a transaction");
                assert_eq!(count(&unpacked(&copy), "employees"), backup["rows"]["employees"]);
                assert!(rows >= last);
                last = rows;
            }
        }
        assert!(last > 0, "somebody wrote meanwhile");
    });
    folder.hub(&["verify"]).fine();
}

#[test]
fn a_bad_copy_is_made_again_and_one_without_a_good_one_is_said() {
    let folder = Folder::with_hub();
    let made = folder.json(&["backup", "--tier", "daily"]);
    let id = made["id"].as_str().unwrap();
    let whole = fs::read(&copies(&made)[0]).unwrap();
    let mut rotten = whole.clone();
    rotten[whole.len() / 2] ^= 1;
    fs::write(&copies(&made)[0], &rotten).unwrap();
    let verified = folder.hub(&["verify", id, "--json"]).fine();
    assert!(
        verified.stderr.contains("primary") && verified.stderr.contains("made again"),
        "{}",
        verified.stderr
    );
    let list: Json = serde_json::from_str(&verified.stdout).unwrap();
    assert_eq!(states(&list[0]), [("primary", "repaired"), ("secondary", "verified")]);
    assert_eq!(fs::read(&copies(&made)[0]).unwrap(), whole);
    let alerts = || fs::read_to_string(folder.data().join("backups/backup_alerts.log")).unwrap();
    assert!(alerts().contains("WARNING: ") && alerts().contains(id));
    for copy in copies(&made) {
        fs::write(&copy, &rotten).unwrap();
    }
    let said = folder.hub(&["verify"]).failure();
    assert!(said.contains(id) && said.contains("lost"), "{said}");
    assert!(alerts().contains("CRITICAL: "), "{}", alerts());
    assert_eq!(states(&folder.json(&["backups"])[0]), [("primary", "damaged"), ("secondary", "damaged")]);
    assert!(folder.hub(&["verify", "nonsense"]).failure().contains("nonsense"));
}

#[test]
fn a_vault_that_is_not_there_fails_the_run_and_the_other_copy_is_good() {
    let folder = Folder::with_hub();
    let config = folder.data().join("hub.toml");
    let disk = folder.beside("disk");
    let text = fs::read_to_string(&config).unwrap();
    let path = format!("path = {:?}", disk.to_str().unwrap());
    fs::write(&config, text.replace("path = \"backups/secondary\"", &path)).unwrap();
    let said = folder.hub(&["backup", "--tier", "hourly", "--json"]);
    assert_eq!(said.code, 1, "{}", said.stderr);
    let made: Json = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(states(&made), [("primary", "verified"), ("secondary", "failed")]);
    assert!(said.stderr.contains("secondary"), "{}", said.stderr);
    assert!(!disk.exists(), "a disk that is not mounted is not made");
    fs::create_dir(&disk).unwrap();
    let list: Json = serde_json::from_str(&folder.hub(&["verify", "--json"]).fine().stdout).unwrap();
    assert_eq!(states(&list[0]), [("primary", "verified"), ("secondary", "repaired")]);
    fs::write(&config, text.replace("\"02:00\"", "\"2 o'clock\"")).unwrap();
    let said = folder.hub(&["backups"]).failure();
    assert!(said.contains("hub.toml") && said.contains("daily"), "{said}");
}

#[test]
fn prune_gives_a_reason_for_each_and_a_dry_run_removes_nothing() {
    let folder = Folder::with_hub();
    let first = folder.json(&["backup", "--tier", "daily"]);
    let second = folder.json(&["backup", "--tier", "daily"]);
    assert_ne!(first["id"], second["id"], "two in one second have two names");
    for dry in [&["prune", "--dry-run"][..], &["prune"]] {
        let pruned = folder.json(dry);
        assert_eq!(pruned["dry_run"], dry.len() == 2);
        assert_eq!((pruned["keep"].as_array().unwrap().len(), &pruned["drop"]), (2, &json!([])));
        assert!(pruned["keep"][0]["why"].as_str().unwrap().contains("slot of now"), "{pruned}");
    }
    assert!(folder.hub(&["prune", "--dry-run"]).fine().stdout.contains("newest verified"));
    assert_eq!(folder.json(&["backups"]).as_array().unwrap().len(), 2);
}

#[test]
fn two_do_not_work_on_backups_at_once_and_listing_goes_on() {
    let folder = Folder::with_hub();
    folder.hub(&["backup"]).fine();
    let lock = fs::OpenOptions::new().write(true).open(folder.data().join("backups/backup.lock")).unwrap();
    lock.lock().unwrap();
    for command in [&["backup"][..], &["verify"], &["prune"]] {
        assert!(folder.hub(command).failure().contains("another tt-hub"), "{command:?}");
    }
    folder.hub(&["backups"]).fine();
    folder.hub(&["prune", "--dry-run"]).fine();
}
