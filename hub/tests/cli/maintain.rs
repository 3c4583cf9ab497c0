//! `maintain`: statistics and free pages, beside a daemon and alone, and what `status` says is due.

use crate::program::Folder;
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::fs;

const MIB: u64 = 1 << 20;

/// A program makes and drops a table of 16 MB, so that its pages are free.
fn leave_free_pages(folder: &Folder) {
    let program = Connection::open(folder.database()).unwrap();
    program
        .execute_batch(
            "CREATE TABLE stuff(a INTEGER PRIMARY KEY, b BLOB);
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 4096)
               INSERT INTO stuff SELECT i, randomblob(4000) FROM n;
             DROP TABLE stuff;",
        )
        .unwrap();
}

/// As an earlier program made the file: free pages cannot be given back in steps.
fn as_made_earlier(folder: &Folder) {
    let program = Connection::open(folder.database()).unwrap();
    program.execute_batch("PRAGMA auto_vacuum = NONE; VACUUM").unwrap();
}

fn look(folder: &Folder) -> Json {
    folder.json(&["maintain", "--dry-run"])
}

fn number(json: &Json, name: &str) -> u64 {
    json[name].as_u64().unwrap()
}

/// What is due, as texts.
fn due(json: &Json) -> Vec<String> {
    json["due"].as_array().unwrap().iter().map(|due| due.as_str().unwrap().to_owned()).collect()
}

/// Also when the last of the log is in the file.
fn size_on_disk(folder: &Folder) -> u64 {
    let program = Connection::open(folder.database()).unwrap();
    program.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    fs::metadata(folder.database()).unwrap().len()
}

fn digest(folder: &Folder) -> Json {
    folder.json(&["status"])["digest"].clone()
}

#[test]
fn what_is_due_is_said_and_done_without_a_daemon() {
    let folder = Folder::with_hub();
    let fresh = look(&folder);
    assert_eq!((&fresh["in_steps"], due(&fresh)), (&json!(true), vec!["statistics: never done".to_owned()]));
    leave_free_pages(&folder);
    // `init` has just given back what there was, so that it is due in a month.
    assert_eq!(due(&look(&folder)).len(), 1);
    let config = folder.data().join("hub.toml");
    let settings = fs::read_to_string(&config).unwrap();
    fs::write(config, settings.replace("vacuum_days = 30", "vacuum_days = 0")).unwrap();
    let (before, digest_before) = (look(&folder), digest(&folder));
    assert!(number(&before, "free_bytes") > 15 * MIB, "{before}");
    assert!(due(&before).iter().any(|due| due.starts_with("free pages: ")), "{before}");
    let told = folder.json(&["status"])["maintenance"].clone();
    assert_eq!(
        (&told["bytes"], &told["free_bytes"]),
        (&before["bytes"], &before["free_bytes"]),
        "one look at it"
    );
    let text = folder.hub(&["status"]).fine().stdout;
    assert!(text.contains("due         free pages: ") && text.contains("due         statistics"), "{text}");
    let text = folder.hub(&["maintain", "--dry-run"]).fine().stdout;
    assert!(text.starts_with("due: ") && text.contains("beside the daemon"), "{text}");
    assert_eq!(look(&folder)["free_bytes"], before["free_bytes"], "a dry run changes nothing");

    let done = folder.json(&["maintain"]);
    assert_eq!((&done["not_freed"], &done["versions"], &done["images"]), (&Json::Null, &json!(0), &json!(0)));
    assert!(number(&done, "freed_bytes") > 15 * MIB, "{done}");
    let after = look(&folder);
    assert_eq!((number(&after, "free_bytes"), due(&after)), (0, Vec::new()), "{after}");
    assert_eq!(size_on_disk(&folder), number(&after, "bytes"));
    assert_eq!(digest(&folder), digest_before);
    let text = folder.hub(&["maintain"]).fine().stdout;
    assert!(text.contains("statistics were made; ") && text.contains(" were given back"), "{text}");
    assert!(folder.hub(&["maintain", "--dry-run"]).fine().stdout.starts_with("nothing is due\n"));
}

#[test]
fn beside_a_daemon_pages_go_in_steps_and_it_goes_on() {
    let folder = Folder::with_hub();
    leave_free_pages(&folder);
    let _daemon = folder.serve();
    let done = folder.json(&["maintain"]);
    assert_eq!(done["not_freed"], Json::Null);
    assert!(number(&done, "freed_bytes") > 15 * MIB, "{done}");
    let status = folder.json(&["status"]);
    assert_eq!((&status["daemon"], &status["failing"]), (&json!(true), &Json::Null));
    assert_eq!(status["maintenance"], look(&folder));
    assert_eq!((number(&status["maintenance"], "free_bytes"), due(&status["maintenance"])), (0, Vec::new()));
    folder.json(&["invite", "a"]);
}

#[test]
fn a_file_that_was_made_earlier_is_written_anew_only_without_a_daemon() {
    let folder = Folder::with_hub();
    as_made_earlier(&folder);
    leave_free_pages(&folder);
    let daemon = folder.serve();
    let before = look(&folder);
    assert_eq!(before["in_steps"], false);
    let text = folder.hub(&["maintain", "--dry-run"]).fine().stdout;
    assert!(text.contains("while no daemon runs"), "{text}");
    let said = folder.json(&["maintain"]);
    assert!(said["not_freed"].as_str().unwrap().contains("stop the hub"), "{said}");
    let kept = look(&folder);
    assert!(kept["in_steps"] == false && number(&kept, "free_bytes") > 15 * MIB, "{kept}");
    assert!(kept["analysed_at"].is_i64(), "statistics need no rewrite: {kept}");

    daemon.signal("TERM");
    daemon.end();
    let digest_before = digest(&folder);
    let said = folder.json(&["maintain"]);
    assert_eq!(said["not_freed"], Json::Null);
    assert!(number(&said, "freed_bytes") > 15 * MIB, "{said}");
    let after = look(&folder);
    assert_eq!((&after["in_steps"], &after["free_bytes"]), (&json!(true), &json!(0)));
    assert_eq!((size_on_disk(&folder), digest(&folder)), (number(&after, "bytes"), digest_before));
    let health = folder.hub(&["health", "--json"]);
    let health: Json = serde_json::from_str(&health.stdout).unwrap();
    assert_eq!(
        (&health["checks"][0]["name"], &health["checks"][0]["state"]),
        (&json!("database"), &json!("healthy"))
    );
}
