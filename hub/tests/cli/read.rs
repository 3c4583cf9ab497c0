//! The commands that read: their JSON is a contract with scripts.

use crate::program::Folder;
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use tt_protocol::token::Token;

fn keys(value: &Json) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn invite_prints_a_token_and_what_to_type() {
    let folder = Folder::with_hub();
    let said = folder.hub(&["invite", "station-1"]).fine();
    let token = said.stdout.lines().next().unwrap().to_owned();
    assert!(said.stdout.contains(&format!("tt-edge join {token}")));
    assert!(said.stderr.contains("--advertise"), "a local address is warned of: {}", said.stderr);
    let decoded = Token::decode(&token).unwrap();
    assert_eq!(decoded.name, "station-1");
    assert_eq!(decoded.addresses, ["127.0.0.1:4747"]);
    let said = folder.json(&["invite", "station-1", "--role", "scanner", "--ttl", "30m"]);
    assert_eq!((said["name"].as_str(), said["role"].as_str()), (Some("station-1"), Some("scanner")));
    assert!(said["expires_at"].is_i64());
    assert_ne!(said["token"], json!(token), "inviting again makes another token");
}

#[test]
fn inviting_a_device_that_is_there_needs_replace() {
    let folder = Folder::with_hub();
    enrolled(&folder);
    let said = folder.hub(&["invite", "station-1"]).failure();
    assert!(said.contains("station-1") && said.contains("--replace"), "{said}");
    folder.hub(&["invite", "station-1", "--replace"]).fine();
    assert_eq!(folder.json(&["edges"])[0]["state"], "revoked");
    let said = folder.hub(&["invite", "Station 1"]).failure();
    assert!(said.contains("Station 1"), "{said}");
}

/// A device that joined long ago, as the hub remembers it.
fn enrolled(folder: &Folder) {
    let conn = Connection::open(folder.database()).unwrap();
    let sql =
        "INSERT INTO _sync_edge(device, name, role, enrolled_at, last_seen, address, unsent, oldest_unsent_s)
               VALUES (1, 'station-1', 'station', 1, 2, '10.0.0.9:1', 3, 60)";
    conn.execute(sql, []).unwrap();
}

#[test]
fn edges_have_the_shape_that_scripts_read() {
    let folder = Folder::with_hub();
    assert_eq!(folder.json(&["edges"]), json!([]));
    assert!(folder.hub(&["edges"]).fine().stdout.contains("tt-hub invite"));
    enrolled(&folder);
    let list = folder.json(&["edges"]);
    let wanted = [
        "name",
        "role",
        "device",
        "state",
        "cursor",
        "behind",
        "unsent",
        "oldest_unsent_s",
        "clock_offset_ms",
        "schema",
        "last_seen",
        "address",
        "blocked",
        "reseed_ordered",
        "file_rescued",
    ];
    assert_eq!(keys(&list[0]), wanted);
    assert_eq!((&list[0]["state"], &list[0]["device"]), (&json!("away"), &json!(1)));
    assert!(list[0]["oldest_unsent_s"].as_u64() > Some(60), "it grew since it was told");
    folder.hub(&["revoke", "station-1"]).fine();
    assert_eq!(folder.json(&["edges"])[0]["state"], "revoked");
    assert!(folder.hub(&["revoke", "station-1"]).failure().contains("already"));
    assert!(folder.hub(&["revoke", "nobody"]).failure().contains("no device"));
}

#[test]
fn a_clock_that_is_off_is_seen_in_edges_and_in_status() {
    let folder = Folder::with_hub();
    enrolled(&folder);
    assert_eq!(folder.json(&["status"])["clocks_off"], json!({}));
    assert!(!folder.hub(&["status"]).fine().stdout.contains("CLOCKS OFF"));
    let conn = Connection::open(folder.database()).unwrap();
    conn.execute("UPDATE _sync_edge SET clock_offset_ms = 86400000", []).unwrap();
    let said = folder.hub(&["edges"]).fine().stdout;
    assert!(said.contains("OFF +86400000 ms"), "{said}");
    assert!(said.contains("the clock of station-1 is 24 h ahead"), "{said}");
    assert_eq!(folder.json(&["status"])["clocks_off"], json!({ "station-1": 86_400_000 }));
    let said = folder.hub(&["status"]).fine().stdout;
    assert!(said.contains("CLOCKS OFF  1: station-1 (86400000 ms)"), "{said}");
}

#[test]
fn status_is_one_screen() {
    let folder = Folder::with_hub();
    enrolled(&folder);
    let status = folder.json(&["status"]);
    assert_eq!(
        (&status["daemon"], &status["version"], &status["epoch"]),
        (&json!(false), &json!(0), &json!(1))
    );
    assert_eq!(status["devices"]["away"], 1);
    assert_eq!(status["open_conflicts"], 0);
    assert_eq!(status["tables"]["purchase_orders"]["rows"], 0);
    assert_eq!(status["tables"]["purchase_orders"]["digest"].as_str().unwrap().len(), 32);
    assert!(status["id_space_used"].as_f64().is_some_and(|used| (0.0..0.01).contains(&used)));
    assert!(status["bytes"].as_u64() > Some(0));
    let said = folder.hub(&["status"]).fine().stdout;
    assert!(said.contains("not running") && said.contains("1 away"), "{said}");
}

#[test]
fn conflicts_are_a_list() {
    let folder = Folder::with_hub();
    assert_eq!(folder.json(&["conflicts"]), json!([]));
    assert_eq!(folder.json(&["conflicts", "--all"]), json!([]));
    assert_eq!(folder.hub(&["conflicts"]).fine().stdout, "no conflicts\n");
    assert!(folder.hub(&["conflicts", "show", "7"]).failure().contains("no conflict 7"));
}

#[test]
fn a_damaged_database_is_named() {
    let folder = Folder::with_hub();
    std::fs::write(folder.database(), "gone, and longer than the header of a database file is".repeat(9))
        .unwrap();
    for command in ["status", "edges", "conflicts", "serve"] {
        let said = folder.hub(&[command]).failure();
        assert!(said.contains("tablet_counter.db") && said.contains("backup"), "{command}: {said}");
    }
}
