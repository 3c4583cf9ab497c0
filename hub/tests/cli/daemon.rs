//! `serve`: it says where it listens, is alone in its folder, and stops cleanly.

use crate::program::{DEADLINE, Folder};
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};
use tt_protocol::token::Token;

pub(crate) fn addresses(folder: &Folder) -> Json {
    serde_json::from_str(&fs::read_to_string(folder.data().join("hub.addr.json")).unwrap()).unwrap()
}

/// Waits until something holds, or fails.
#[expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn it_says_where_it_listens_and_stops_cleanly() {
    for signal in ["TERM", "INT"] {
        let folder = Folder::with_hub();
        let daemon = folder.serve();
        let told = addresses(&folder);
        let (quic, http) = (told["quic"].as_str().unwrap(), told["http"].as_str().unwrap());
        assert_eq!(daemon.ready, format!("tt-hub ready quic={quic} http={http}"));
        assert!(!quic.ends_with(":0") && !http.ends_with(":0"));
        assert_eq!(told["pid"], daemon.pid());
        assert_eq!(folder.json(&["status"])["pid"], daemon.pid());
        daemon.signal(signal);
        let (code, _) = daemon.end();
        assert_eq!(code, Some(0));
        let mut left = folder.contents();
        // The vaults have the journal already, or will have it after the next start.
        left.retain(|name| name != "backups");
        assert_eq!(
            left,
            ["ca", "hub.lock", "hub.toml", "journal", "snapshots", "tablet_counter.db"],
            "nothing of the daemon is left, and the log is in the file"
        );
    }
}

#[test]
fn it_starts_again_after_it_was_killed() {
    let folder = Folder::with_hub();
    let daemon = folder.serve();
    daemon.signal("KILL");
    daemon.end();
    assert!(folder.data().join("hub.addr.json").exists(), "a leftover");
    assert_eq!(folder.json(&["status"])["daemon"], false, "a dead socket is no daemon");
    folder.json(&["invite", "a"]);
    let daemon = folder.serve();
    assert_eq!(addresses(&folder)["pid"], daemon.pid());
}

#[test]
fn a_second_one_hears_who_is_there() {
    let folder = Folder::with_hub();
    let daemon = folder.serve();
    let said = folder.hub(&["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]).failure();
    assert!(said.contains(&format!("pid {}", daemon.pid())), "{said}");
    assert_eq!(addresses(&folder)["pid"], daemon.pid(), "the first is not disturbed");
}

#[test]
fn a_taken_port_is_named() {
    let folder = Folder::with_hub();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = udp.local_addr().unwrap().to_string();
    let said = folder.hub(&["serve", "--listen", &taken, "--http", "127.0.0.1:0"]).failure();
    assert!(said.contains(&taken) && said.contains("--listen"), "{said}");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = tcp.local_addr().unwrap().to_string();
    let said = folder.hub(&["serve", "--listen", "127.0.0.1:0", "--http", &taken]).failure();
    assert!(said.contains(&taken) && said.contains("--http"), "{said}");
    assert!(!folder.data().join("hub.addr.json").exists());
}

#[test]
fn tokens_carry_what_was_advertised_and_it_is_kept() {
    let folder = Folder::with_hub();
    let token = |folder: &Folder| {
        let said = folder.json(&["invite", "a"]);
        Token::decode(said["token"].as_str().unwrap()).unwrap().addresses
    };
    let daemon = folder.serve();
    let quic = addresses(&folder)["quic"].as_str().unwrap().to_owned();
    assert_eq!(token(&folder), [quic], "the listening address");
    drop(daemon);
    let advertised = ["--advertise", "hub.example.com:4747", "--advertise", "[::1]:5"];
    let daemon = folder.serve_with(&advertised);
    assert_eq!(token(&folder), ["hub.example.com:4747", "[::1]:5"]);
    drop(daemon);
    let _daemon = folder.serve();
    assert_eq!(token(&folder), ["hub.example.com:4747", "[::1]:5"], "kept in hub.toml");
}

#[test]
fn commands_work_through_the_daemon() {
    let folder = Folder::with_hub();
    let _daemon = folder.serve();
    folder.json(&["invite", "a"]);
    folder.hub(&["revoke", "a"]).fine();
    assert!(folder.hub(&["revoke", "a"]).failure().contains("no device `a`"));
    assert!(folder.hub(&["invite", "Not A Name"]).failure().contains("Not A Name"));
    assert_eq!(folder.json(&["edges"]), json!([]));
    assert_eq!(folder.json(&["conflicts"]), json!([]));
}

#[test]
fn what_a_program_writes_becomes_a_version() {
    let folder = Folder::with_hub();
    let _daemon = folder.serve();
    let program = Connection::open(folder.database()).unwrap();
    program.busy_timeout(DEADLINE).unwrap();
    program
        .execute("INSERT INTO employees(username, full_name, password_hash) VALUES ('a', 'A', '')", [])
        .unwrap();
    let version = || folder.json(&["status"])["version"].as_u64().unwrap();
    until("the row is cut", || version() > 0);
    let before = version();
    program.execute("UPDATE employees SET full_name = 'B'", []).unwrap();
    until("the change is cut", || version() > before);
}

#[test]
fn bad_settings_are_named() {
    let folder = Folder::with_hub();
    fs::write(folder.data().join("hub.toml"), "listen = 4747\n").unwrap();
    let said = folder.hub(&["serve"]).failure();
    assert!(said.contains("hub.toml:1"), "{said}");
    fs::write(folder.data().join("hub.toml"), "").unwrap();
    fs::remove_dir_all(folder.data().join("ca")).unwrap();
    let said = folder.hub(&["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]).failure();
    assert!(said.contains("ca.key") && said.contains("missing"), "{said}");
}
