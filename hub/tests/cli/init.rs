//! `init`: a hub is there whole or not at all, and what it adopts stays as it was.

use crate::program::{Folder, names};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn adopt(folder: &Folder, file: &Path) -> crate::program::Said {
    folder.hub(&["init", "--adopt", file.to_str().unwrap()])
}

#[test]
fn a_new_hub_is_whole_and_private() {
    let folder = Folder::with_hub();
    assert_eq!(folder.contents(), ["ca", "hub.toml", "tablet_counter.db"]);
    assert_eq!(mode(&folder.data()), 0o700);
    assert_eq!(mode(&folder.database()), 0o600);
    assert_eq!(mode(&folder.data().join("ca/ca.key")), 0o600);
    let conn = Connection::open(folder.database()).unwrap();
    let count = |sql: &str| -> i64 { conn.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(count("SELECT count(*) FROM purchase_orders"), 0);
    assert_eq!(count("SELECT count(*) FROM _sync_text WHERE name = 'policy'"), 1);
    assert!(count("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'") > 0, "capture");
}

#[test]
fn a_second_init_harms_nothing() {
    let folder = Folder::with_hub();
    let (database, key) = (folder.database(), folder.data().join("ca/ca.key"));
    let before = (fs::read(&database).unwrap(), fs::read(&key).unwrap());
    let said = folder.hub(&["init"]).failure();
    assert!(said.contains("there is a hub") && said.contains("serve"), "{said}");
    assert_eq!((fs::read(&database).unwrap(), fs::read(&key).unwrap()), before);
    fs::remove_file(&database).unwrap();
    let said = folder.hub(&["init"]).fine();
    assert!(said.stdout.contains("authority"), "an authority is never replaced: {}", said.stdout);
    assert_eq!(fs::read(&key).unwrap(), before.1);
}

#[test]
fn files_of_the_real_program_are_adopted_with_every_row() {
    for (name, tables) in [("tablettracker_2025.db", 13), ("tablettracker_2026.db", 25)] {
        let folder = Folder::new();
        let source = folder.beside("source.db");
        fs::copy(fixture(name), &source).unwrap();
        let before = fs::read(&source).unwrap();
        let said = folder.json(&["init", "--adopt", source.to_str().unwrap()]);
        assert_eq!(fs::read(&source).unwrap(), before, "{name} is left as it is");
        assert_eq!(names(source.parent().unwrap()), ["hub", "source.db"]);
        let rows = said["rows"].as_object().unwrap();
        assert_eq!(rows.len(), tables, "{name}: all tables but those of the program's own migrations");
        let (old, new) = (Connection::open(&source).unwrap(), Connection::open(folder.database()).unwrap());
        for (table, told) in rows {
            let sql = format!("SELECT count(*) FROM {table}");
            let count = |conn: &Connection| -> i64 { conn.query_row(&sql, [], |row| row.get(0)).unwrap() };
            assert_eq!(count(&new), count(&old), "{name} {table}");
            assert_eq!(told.as_i64(), Some(count(&old)), "{name} {table}");
        }
        let said = folder.json(&["status"]);
        assert_eq!(said["tables"].as_object().unwrap().len(), rows.len());
    }
}

#[test]
fn a_file_in_use_is_adopted_with_what_is_only_in_its_log() {
    let folder = Folder::new();
    let source = folder.beside("source.db");
    let program = Connection::open(&source).unwrap();
    program
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE boxes(id INTEGER PRIMARY KEY, n INTEGER); CREATE TABLE notes(text TEXT);
             INSERT INTO boxes(n) VALUES (1), (2), (3);",
        )
        .unwrap();
    let said = adopt(&folder, &source).fine();
    assert!(said.stdout.contains("boxes: 3 rows"), "{}", said.stdout);
    assert!(said.stderr.contains("\"notes\" has no primary key"), "said loudly: {}", said.stderr);
    program.execute("INSERT INTO boxes(n) VALUES (4)", []).unwrap();
    assert_eq!(folder.json(&["status"])["keyless"][0], "notes");
    let said = folder.hub(&["status"]).fine().stdout;
    assert!(said.contains("NOT REPLICATED: \"notes\""), "{said}");
}

#[test]
fn what_cannot_be_adopted_is_named_and_leaves_nothing() {
    let folder = Folder::new();
    let file = folder.beside("file.db");
    let refused = |words: &str| {
        let said = adopt(&folder, &file).failure();
        assert!(said.contains("file.db") && said.contains(words), "{said}");
        assert!(!folder.data().exists(), "nothing is left after: {said}");
    };
    refused("no such file");
    fs::write(&file, "name,count\nfifty-five,55\n").unwrap();
    refused("not a SQLite database");
    fs::write(&file, "").unwrap();
    refused("not a SQLite database");
    let mut bytes = fs::read(fixture("tablettracker_2025.db")).unwrap();
    let middle = bytes.len() / 2;
    bytes[4096..middle].fill(0x5a);
    fs::write(&file, &bytes).unwrap();
    refused("damaged");
    bytes.truncate(20_000);
    fs::write(&file, &bytes).unwrap();
    refused("damaged");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    refused("cannot adopt");
}

#[test]
fn a_bad_policy_names_its_line_and_leaves_nothing() {
    let folder = Folder::new();
    let file = folder.beside("policy.toml");
    let init = || folder.hub(&["init", "--policy", file.to_str().unwrap()]);
    assert!(init().failure().contains("policy.toml"));
    fs::write(&file, "[table.po_lines]\ncounter = [\"good_count\"]\n").unwrap();
    let said = init().failure();
    assert!(said.contains("policy.toml:2") && said.contains("counter"), "{said}");
    assert!(!folder.data().exists());
    fs::write(&file, "[table.elsewhere]\ncounters = [\"n\"]\n").unwrap();
    let said = init().fine();
    assert!(said.stderr.contains("\"elsewhere\""), "{}", said.stderr);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = Folder::new();
    fs::write(folder.data(), "a file").unwrap();
    let said = folder.hub(&["init"]).failure();
    assert!(said.contains(folder.data().to_str().unwrap()), "{said}");
    fs::remove_file(folder.data()).unwrap();
    fs::create_dir(folder.data()).unwrap();
    fs::set_permissions(folder.data(), fs::Permissions::from_mode(0o500)).unwrap();
    // The superuser may write everywhere.
    if fs::write(folder.data().join("probe"), "").is_err() {
        let said = folder.hub(&["init"]).failure();
        assert!(said.contains("owner and mode"), "{said}");
    }
    fs::set_permissions(folder.data(), fs::Permissions::from_mode(0o700)).unwrap();
}
