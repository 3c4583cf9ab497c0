//! `restore`: it shows, checks and asks before it changes anything; afterwards the file is the restored one, whole,
//! for every program that has it open.

use crate::program::{Daemon, Folder, names};
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[path = "restore/kills.rs"]
mod kills;
#[path = "restore/old.rs"]
mod old;

/// A hub with a backup that has one of our rows, and a file that has two.
struct Bench {
    folder: Folder,
    id: String,
}

impl Bench {
    fn new() -> Self {
        let folder = Folder::with_hub();
        add(&folder, "kept");
        let made = folder.json(&["backup", "--tier", "daily"]);
        let id = made["id"].as_str().unwrap().to_owned();
        add(&folder, "later");
        Self { folder, id }
    }

    fn copy(&self, vault: &str) -> PathBuf {
        self.folder.data().join("backups").join(vault).join(format!("{}.db.gz", self.id))
    }

    fn last(&self) -> Json {
        self.folder.json(&["status"])["last_restore"].clone()
    }

    fn restored(&self) -> Json {
        self.folder.json(&["restore", &self.id, "--force"])
    }
}

fn program(folder: &Folder) -> Connection {
    let conn = Connection::open(folder.database()).unwrap();
    conn.busy_timeout(Duration::from_secs(30)).unwrap();
    conn
}

fn add(folder: &Folder, name: &str) {
    let sql = "INSERT INTO employees(username, full_name, password_hash) VALUES (?1, 'ours', '')";
    program(folder).execute(sql, [name]).unwrap();
}

fn ours(conn: &Connection) -> Vec<String> {
    let mut statement =
        conn.prepare("SELECT username FROM employees WHERE full_name = 'ours' ORDER BY id").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// All that a file says, row by row.
fn everything(path: &Path) -> String {
    let conn = Connection::open(path).unwrap();
    let mut tables =
        conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let tables: Vec<String> =
        tables.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap();
    let mut text = String::new();
    for table in tables {
        let mut statement = conn.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let cells: Vec<_> =
                (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at).unwrap()).collect();
            text.push_str(&format!("{table} {cells:?}\n"));
        }
    }
    text
}

#[test]
fn a_program_that_keeps_the_file_open_has_the_restored_state_and_writes_on() {
    let bench = Bench::new();
    let open = program(&bench.folder);
    assert_eq!(ours(&open), ["kept", "later"]);
    let done = bench.restored();
    assert_eq!((&done["outcome"], &done["epoch"]), (&json!("restored"), &json!(2)));
    assert_eq!(done["plan"]["tables"]["employees"]["removed"], 1);
    assert_eq!(ours(&open), ["kept"]);
    open.execute("UPDATE employees SET username = 'renamed' WHERE username = 'kept'", []).unwrap();
    add(&bench.folder, "new");
    assert_eq!(ours(&open), ["renamed", "new"]);
    let status = bench.folder.json(&["status"]);
    assert_eq!(status["epoch"], 2);
    let last = &status["last_restore"];
    assert_eq!(
        (&last["id"], &last["outcome"], &last["epoch"]),
        (&json!(bench.id), &json!("restored"), &json!(2))
    );
    let log = fs::read_to_string(bench.folder.data().join("backups/backup.log")).unwrap();
    assert!(
        log.lines().last().unwrap().contains(&format!("restore: {} is the database now", bench.id)),
        "{log}"
    );
    assert!(!bench.folder.data().join("backups/.restore").exists());
    assert!(!bench.folder.data().join("backups/backup_alerts.log").exists());
}

#[test]
fn a_dry_run_shows_and_changes_nothing() {
    let bench = Bench::new();
    let before = everything(&bench.folder.database());
    let said = bench.folder.hub(&["restore", &bench.id, "--dry-run"]).fine();
    assert!(said.stdout.contains("employees") && said.stdout.contains("epoch 1"), "{}", said.stdout);
    let json = bench.folder.json(&["restore", &bench.id, "--dry-run"]);
    assert_eq!(json["dry_run"], true);
    assert_eq!(
        json["plan"]["tables"],
        json!({ "employees": { "added": 0, "removed": 1, "changed": 0, "shape": false } })
    );
    assert_eq!(everything(&bench.folder.database()), before);
    assert!(!bench.folder.data().join("backups/before_restore").exists());
    assert_eq!(bench.last(), Json::Null);
}

#[test]
fn undo_puts_back_what_was_there_and_can_itself_be_undone() {
    let bench = Bench::new();
    assert!(bench.folder.hub(&["restore", "undo", "--force"]).failure().contains("no restore to undo"));
    let done = bench.restored();
    let open = program(&bench.folder);
    let undone = bench.folder.json(&["restore", "undo", "--force"]);
    assert_eq!((&undone["id"], &undone["epoch"]), (&done["safety_copy"], &json!(3)));
    assert_eq!(ours(&open), ["kept", "later"]);
    bench.folder.json(&["restore", "undo", "--force"]);
    assert_eq!(ours(&open), ["kept"]);
    // A safety copy is a backup like any other: by its id, and as a file.
    let id = done["safety_copy"].as_str().unwrap();
    bench.folder.hub(&["restore", id, "--force"]).fine();
    assert_eq!(ours(&open), ["kept", "later"]);
    let file = bench.folder.data().join(format!("backups/before_restore/{id}.db.gz"));
    bench.folder.hub(&["restore", &bench.id, "--force"]).fine();
    let said = bench.folder.hub(&["restore", file.to_str().unwrap(), "--force"]).fine();
    assert!(!said.stderr.contains("compared with nothing"), "its manifest is beside it: {}", said.stderr);
    assert_eq!(ours(&open), ["kept", "later"]);
    assert_eq!(bench.folder.json(&["status"])["epoch"], 7);
}

#[test]
fn what_cannot_be_restored_says_why_and_the_live_file_stays_as_it_is() {
    let bench = Bench::new();
    let (folder, copy) = (&bench.folder, bench.copy("primary"));
    let before = everything(&folder.database());
    let whole = fs::read(&copy).unwrap();
    let path = |name: &str, bytes: &[u8]| {
        let path = folder.beside(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let cut_off = path("cut.db.gz", &whole[..whole.len() / 2]);
    let text = path("text.db", b"this is a letter and not a database at all");
    let text_gz = path("text.db.gz", b"this is no gzip");
    let mut packed = Vec::new();
    let mut encoder = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, b"a letter in a gzip").unwrap();
    encoder.finish().unwrap();
    let letter = path("letter.db.gz", &packed);
    let summed = path("summed.db.gz", &whole);
    path("summed.db.gz.sha256", b"0123456789abcdef  summed.db.gz\n");
    let newer = folder.beside("newer.db");
    unpack(&whole, &newer);
    Connection::open(&newer).unwrap().execute_batch("ALTER TABLE _sync_edge ADD COLUMN mood TEXT").unwrap();
    let damaged = folder.beside("damaged.db");
    unpack(&whole, &damaged);
    // An index that is not of the column that it names: nothing but the check itself sees it.
    let wrong = "INSERT INTO app_settings (setting_key, setting_value) VALUES ('a', 'b');
        CREATE INDEX wrong ON app_settings (setting_key);
        PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET sql = 'CREATE INDEX wrong ON app_settings (setting_value)' WHERE name = 'wrong';";
    Connection::open(&damaged).unwrap().execute_batch(wrong).unwrap();
    for (what, words) in [
        ("nonsense", "no backup and no file nonsense"),
        ("before_restore_20200101_000000", "no backup and no file"),
        ("/nowhere/at/all.db", "no backup and no file"),
        (cut_off.as_str(), "cut off"),
        (text.as_str(), "not a SQLite database"),
        (text_gz.as_str(), "no gzip"),
        (letter.as_str(), "not a SQLite database"),
        (summed.as_str(), "SHA-256"),
        (newer.to_str().unwrap(), "newer tt-hub"),
        (damaged.to_str().unwrap(), "integrity_check"),
    ] {
        let said = folder.hub(&["restore", what, "--force"]);
        assert_eq!(said.code, 1, "{what}: {}", said.stderr);
        let line = said.stderr.lines().last().unwrap();
        assert!(line.contains(words), "{what}: {line}");
        assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
        assert_eq!(everything(&folder.database()), before, "{what}");
    }
    assert!(folder.hub(&["restore", &bench.id]).failure().contains("--force"), "nobody can be asked");
    for usage in [&["restore"][..], &["restore", "--force"], &["restore", "a", "--at", "7"]] {
        assert_eq!(folder.hub(usage).code, 2, "{usage:?}");
    }
    assert!(folder.hub(&["restore"]).stderr.contains("tt-hub backups"));
    assert_eq!(everything(&folder.database()), before);
    folder.hub(&["restore", &bench.id, "--force"]).fine();
}

fn unpack(packed: &[u8], to: &Path) {
    std::io::copy(&mut flate2::read::MultiGzDecoder::new(packed), &mut fs::File::create(to).unwrap())
        .unwrap();
}

#[test]
fn force_skips_the_question_and_never_the_check() {
    let bench = Bench::new();
    let before = everything(&bench.folder.database());
    for vault in ["primary", "secondary"] {
        let mut bytes = fs::read(bench.copy(vault)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(bench.copy(vault), bytes).unwrap();
    }
    let said = bench.folder.hub(&["restore", &bench.id, "--force"]).failure();
    assert!(
        said.contains("primary") && said.contains("secondary") && said.contains("nothing was changed"),
        "{said}"
    );
    assert_eq!(everything(&bench.folder.database()), before);
}

#[test]
fn a_damaged_copy_is_left_aside_and_said() {
    let bench = Bench::new();
    fs::write(bench.copy("primary"), b"rot").unwrap();
    let said = bench.folder.hub(&["restore", &bench.id, "--force"]).fine();
    assert!(said.stderr.contains("primary was not used"), "{}", said.stderr);
    assert_eq!(ours(&program(&bench.folder)), ["kept"]);
}

#[test]
fn interactive_lists_lets_pick_and_wants_the_word() {
    let bench = Bench::new();
    for (answers, code, says) in
        [("q\n", 0, "daily"), ("", 1, "BACKUP"), ("1\nyes\n", 1, "TABLE"), ("9\nx\n1\n", 1, "employees")]
    {
        let said = bench.folder.hub_hears(&["restore", "--interactive"], answers);
        assert_eq!(said.code, code, "{answers:?}: {}", said.stderr);
        assert!(said.stdout.contains(says), "{answers:?}: {}", said.stdout);
        assert_eq!(ours(&program(&bench.folder)), ["kept", "later"], "{answers:?}");
    }
    let said = bench.folder.hub_hears(&["restore", "--interactive"], "1\nRESTORE\n").fine();
    assert!(said.stdout.contains("restore undo") || said.stdout.contains("undo"), "{}", said.stdout);
    assert_eq!(ours(&program(&bench.folder)), ["kept"]);
}

#[test]
fn a_running_hub_lets_go_restores_and_goes_on() {
    let bench = Bench::new();
    let folder = &bench.folder;
    let daemon = folder.serve();
    let open = program(folder);
    let done = bench.restored();
    assert_eq!(done["notes"], json!([]));
    assert_eq!(ours(&open), ["kept"]);
    let status = folder.json(&["status"]);
    assert_eq!(
        (&status["pid"], &status["failing"], &status["epoch"]),
        (&json!(daemon.pid()), &Json::Null, &json!(2))
    );
    // It works with the new file: it invites, and what programs write becomes a version.
    folder.json(&["invite", "a"]);
    let version = || folder.json(&["status"])["version"].as_u64().unwrap();
    let before = version();
    add(folder, "after");
    crate::daemon::until("the row is cut", || version() > before);
    folder.hub(&["restore", "undo", "--force"]).fine();
    assert_eq!(ours(&open), ["kept", "later"]);
    daemon.signal("TERM");
    assert_eq!(daemon.end().0, Some(0));
}

#[test]
fn a_restore_that_fails_lets_the_running_hub_go_on() {
    let bench = Bench::new();
    let daemon: Daemon = bench.folder.serve();
    let blocked = bench.folder.data().join("backups/before_restore");
    fs::write(&blocked, "a file").unwrap();
    let said = bench.folder.hub(&["restore", &bench.id, "--force"]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("cannot be kept safe"), "{}", said.stderr);
    let status = bench.folder.json(&["status"]);
    assert_eq!(
        (&status["failing"], &status["epoch"], &status["pid"]),
        (&Json::Null, &json!(1), &json!(daemon.pid()))
    );
    assert_eq!(status["last_restore"]["outcome"], "failed");
    let alerts = fs::read_to_string(bench.folder.data().join("backups/backup_alerts.log")).unwrap();
    assert!(alerts.contains("RESTORE_FAILED") && alerts.contains(&bench.id), "{alerts}");
    fs::remove_file(blocked).unwrap();
    bench.restored();
}

#[test]
fn a_version_that_has_a_backup_is_found_and_a_moment_without_one_is_said() {
    let bench = Bench::new();
    let folder = &bench.folder;
    drop(folder.serve());
    let version = folder.json(&["backups"])[0]["version"].as_u64().unwrap().to_string();
    let said = folder.hub(&["restore", "--at", "yesterday", "--force"]);
    assert!(said.code == 2 && said.stderr.contains("no time and no version"), "{}", said.stderr);
    for (at, words) in
        [("2001-01-01 00:00:00", "no verified backup is as old"), ("999999", "the journal does not reach")]
    {
        let said = folder.hub(&["restore", "--at", at, "--force"]).failure();
        assert!(said.contains(words), "{at}: {said}");
    }
    folder.hub(&["restore", "--at", &version, "--force"]).fine();
    assert_eq!(ours(&program(folder)), ["kept"]);
}

#[test]
fn a_moment_between_two_backups_is_replayed_from_the_journal() {
    let bench = Bench::new();
    let folder = &bench.folder;
    let daemon = folder.serve();
    let version = || folder.json(&["status"])["version"].as_u64().unwrap();
    let mut versions = Vec::new();
    for name in ["one", "two", "three"] {
        let before = version();
        add(folder, name);
        crate::daemon::until("the row is cut", || version() > before);
        versions.push(version().to_string());
    }
    let open = program(folder);
    let names = |last: usize| ["kept", "later", "one", "two", "three"][..last].to_vec();
    for (at, last) in [(1, 4), (0, 3)] {
        folder.hub(&["restore", "--at", &versions[at], "--force"]).fine();
        assert_eq!(ours(&open), names(last), "version {}", versions[at]);
    }
    // Versions of the history that these restores have left are still there, also without the hub's own journal.
    daemon.signal("TERM");
    assert_eq!(daemon.end().0, Some(0), "the vaults have the last of the journal");
    fs::remove_dir_all(folder.data().join("journal")).unwrap();
    let said = folder.hub(&["restore", "--at", &versions[2], "--force"]).fine();
    assert!(said.stderr.contains("journal of the hub was not used"), "{}", said.stderr);
    assert_eq!(ours(&open), names(5));
    let _daemon = folder.serve();
    let before = version();
    add(folder, "after");
    crate::daemon::until("the hub goes on", || version() > before);
    let last = folder.json(&["status"])["last_restore"]["id"].as_str().unwrap().to_owned();
    assert!(last.contains(&format!("version {}", versions[2])), "{last}");
}

#[test]
fn a_migration_that_came_after_the_backup_waits_again() {
    let bench = Bench::new();
    let folder = &bench.folder;
    let scripts = folder.data().join("migrations");
    fs::create_dir_all(&scripts).unwrap();
    fs::write(scripts.join("0003_colour.sql"), "ALTER TABLE tablet_types ADD COLUMN colour TEXT;").unwrap();
    folder.hub(&["migrate", "up"]).fine();
    assert_eq!(folder.json(&["migrate"])["waiting"], 0);
    bench.restored();
    assert_eq!(folder.json(&["migrate"])["waiting"], 1);
    assert!(program(folder).prepare("SELECT colour FROM tablet_types").is_err());
    folder.hub(&["migrate", "up"]).fine();
    program(folder).prepare("SELECT colour FROM tablet_types").unwrap();
}

#[test]
fn the_newest_safety_copies_stay() {
    let bench = Bench::new();
    for _ in 0..5 {
        bench.restored();
    }
    let kept = names(&bench.folder.data().join("backups/before_restore"));
    assert_eq!(kept.len(), 15, "all five are young: {kept:?}");
    let config = bench.folder.data().join("hub.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("keep = 3, days = 30", "keep = 2, days = -1")).unwrap();
    bench.restored();
    assert_eq!(names(&bench.folder.data().join("backups/before_restore")).len(), 6);
}
