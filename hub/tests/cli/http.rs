//! The HTTP server of a running hub: what it tells, what it does, and whom it refuses.

use crate::daemon::{addresses, until};
use crate::program::{DEADLINE, Folder};
use rusqlite::{Connection, params};
use serde_json::{Value as Json, json};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use tt_protocol::frame::to_bytes;
use tt_protocol::merge::Clash;
use tt_protocol::value::Value;

const OURS: &str = "X-TT-Hub: 1\r\n";

/// One request with these head lines; the whole answer.
fn ask(http: &str, request: &str, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(http).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let length = body.len();
    let host = if head.contains("Host: ") { "" } else { "Host: localhost\r\n" };
    write!(
        stream,
        "{request} HTTP/1.1\r\n{host}{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

fn http(folder: &Folder) -> String {
    addresses(folder)["http"].as_str().unwrap().to_owned()
}

fn get(http: &str, path: &str) -> Json {
    let (status, answer) = ask(http, &format!("GET {path}"), "", "");
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn post(http: &str, path: &str, body: &Json) -> (u16, String) {
    ask(http, &format!("POST {path}"), OURS, &body.to_string())
}

#[test]
fn it_lives_and_is_ready_and_says_what_can_be_asked() {
    let folder = Folder::with_hub();
    let _daemon = folder.serve();
    let http = http(&folder);
    let (status, answer) = ask(&http, "GET /healthz", "Host: anything\r\n", "");
    assert!(status == 200 && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    for guard in ["default-src 'none'", "nosniff", "DENY"] {
        assert!(answer.contains(guard), "{guard} in {answer}");
    }
    assert_eq!(ask(&http, "GET /readyz", "", "").0, 200);
    assert_eq!(ask(&http, "GET /else", "", "").0, 404);
    assert_eq!(ask(&http, "POST /healthz", OURS, "").0, 405);
    let list = get(&http, "/api");
    for route in list.as_array().unwrap().iter().filter(|route| route["method"] == "GET") {
        let path = route["path"].as_str().unwrap();
        if !path.contains('{') && !["/api/events", "/api/history"].contains(&path) {
            assert_eq!(ask(&http, &format!("GET {path}"), "", "").0, 200, "{path}");
        }
    }
    let (_, metrics) = ask(&http, "GET /metrics", "", "");
    for line in ["# UNIT tt_hub_vault_free_bytes bytes", "tt_hub_devices{state=\"connected\"} 0", "# EOF"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[test]
fn strangers_and_other_sites_are_refused() {
    let folder = Folder::with_hub();
    let _daemon = folder.serve();
    let http = http(&folder);
    assert_eq!(ask(&http, "GET /api/overview", "Host: evil.example.com\r\n", "").0, 421);
    assert_eq!(ask(&http, "GET /api/overview", "Sec-Fetch-Site: cross-site\r\n", "").0, 403);
    let invite = |head: &str| ask(&http, "POST /api/invite", head, "{\"name\": \"a\"}").0;
    assert_eq!(invite(""), 403, "without our header");
    assert_eq!(invite(&format!("{OURS}Origin: http://evil.example.com\r\n")), 403);
    assert_eq!(invite(&format!("{OURS}Origin: null\r\n")), 403);
    assert_eq!(invite(&format!("{OURS}Sec-Fetch-Site: same-site\r\n")), 403);
    assert_eq!(invite(&format!("{OURS}Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n")), 200);
    let long = "x".repeat(70_000);
    assert_eq!(ask(&http, "POST /api/invite", OURS, &long).0, 413);
    assert_eq!(post(&http, "/api/invite", &json!({ "nme": "a" })).0, 400);
}

#[test]
fn under_another_name_the_token_is_asked_for() {
    let folder = Folder::with_hub();
    fs::write(folder.data().join("hub.toml"), "http_names = [\"hub.example.com\"]\n").unwrap();
    let daemon = folder.serve();
    let http = http(&folder);
    let token = fs::read_to_string(folder.data().join("http.token")).unwrap();
    let with = |path: &str, head: &str| ask(&http, &format!("GET {path}"), head, "").0;
    assert_eq!((with("/healthz", ""), with("/", "")), (200, 200));
    for path in ["/api", "/metrics", "/readyz", "/api/events"] {
        assert_eq!(with(path, ""), 401, "{path}");
    }
    let bearer = format!("Authorization: Bearer {}\r\n", token.trim());
    assert_eq!((with("/metrics", &bearer), with("/api", "Authorization: Bearer x\r\n")), (200, 401));
    assert_eq!(post(&http, "/login", &json!({ "token": "x" })).0, 401);
    let (status, answer) = post(&http, "/login", &json!({ "token": token }));
    assert_eq!(status, 200, "{answer}");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(with("/api/overview", &cookie), 200);
    drop(daemon);
}

#[test]
fn actions_do_what_the_commands_do() {
    let folder = Folder::with_hub();
    let _daemon = folder.serve();
    let http = http(&folder);
    let (status, answer) = post(&http, "/api/backup", &json!({}));
    assert_eq!(status, 200, "{answer}");
    let backups = get(&http, "/api/backups");
    assert_eq!(backups, folder.json(&["backups"]));
    let id = backups[0]["id"].as_str().unwrap();
    assert_eq!(post(&http, "/api/verify", &json!({ "id": id })).0, 200);
    assert_eq!(post(&http, "/api/verify", &json!({ "id": "none" })).0, 404);
    assert!(post(&http, "/api/restore/preview", &json!({ "what": id })).1.contains("\"dry_run\":true"));
    assert_eq!(
        post(&http, "/api/restore/preview", &json!({ "what": "/etc/passwd" })).0,
        404,
        "no file from here"
    );
    assert!(get(&http, "/api/calendar?days=2")["cells"][0]["state"] == "proven");
    // The disk that the tests run on may be nearly full: all but its check is this hub's own.
    let overview = get(&http, "/api/overview");
    let mine = |check: &&Json| check["name"] != "space";
    let mut checks = overview["checks"].as_array().unwrap().iter().filter(mine);
    assert!(checks.all(|check| check["state"] == "healthy"), "{overview}");
    assert_eq!(post(&http, "/api/reseed", &json!({ "name": "a" })).0, 409);
    assert_eq!(post(&http, "/api/invite", &json!({ "name": "a", "role": "scanner" })).0, 200);
    assert_eq!(post(&http, "/api/revoke", &json!({ "name": "a" })).0, 200);
}

#[test]
fn it_tells_rows_and_digests_as_the_command_does() {
    let folder = Folder::with_hub();
    let _daemon = folder.serve();
    let http = http(&folder);
    let agrees = |told: &Json| {
        let printed = folder.json(&["status"]);
        let same = |key: &&str| told[key] == printed[key];
        let keys = [
            "version",
            "epoch",
            "digest",
            "tables",
            "keyless",
            "triggers_left_out",
            "id_space_used",
            "devices",
        ];
        for key in printed.as_object().unwrap().keys() {
            assert!(told.get(key).is_some(), "{key} is missing in {told}");
        }
        keys.iter().all(same)
    };
    let before = get(&http, "/api/status");
    assert!(agrees(&before), "{before}");
    let program = Connection::open(folder.database()).unwrap();
    program.busy_timeout(DEADLINE).unwrap();
    program
        .execute("INSERT INTO employees(username, full_name, password_hash) VALUES ('a', 'A', '')", [])
        .unwrap();
    until("the new row is in the digest", || {
        let told = get(&http, "/api/status");
        let rows = |told: &Json| told["tables"]["employees"]["rows"].as_u64().unwrap();
        told["tables_of"]["unsent"] == false && rows(&told) == rows(&before) + 1 && agrees(&told)
    });
}

#[test]
fn a_hundred_thousand_conflicts_come_in_pages() {
    let folder = Folder::with_hub();
    let _daemon = folder.serve();
    let http = http(&folder);
    let conn = Connection::open(folder.database()).unwrap();
    conn.busy_timeout(DEADLINE).unwrap();
    let named = to_bytes(&vec![("id".to_owned(), Value::Integer(7))]);
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
               INSERT INTO _sync_conflict(id, version, kind, tab, key, named_key, clashes, lost_from, lost_at, action)
               SELECT i, 0, 'column', 'po_lines', x'', ?1, ?2, 0, 0, 'kept' FROM n";
    conn.execute(sql, params![named, to_bytes(&Vec::<Clash>::new())]).unwrap();
    let (mut after, mut seen, mut pages) = (0, 0, 0);
    loop {
        let page = get(&http, &format!("/api/conflicts?limit=200&after={after}&device=hub"));
        let found = page["conflicts"].as_array().unwrap();
        assert!(found.len() <= 200 && found.iter().all(|entry| entry["id"].as_i64().unwrap() > after));
        (seen, pages) = (seen + found.len(), pages + 1);
        match page["next"].as_i64() {
            Some(next) if pages < 20 => after = next,
            _ => break,
        }
    }
    assert_eq!((seen, pages), (4_000, 20));
    assert_eq!(get(&http, "/api/conflicts?limit=1&after=99999")["conflicts"][0]["id"], 100_000);
    let ids: Vec<i64> = (1..=200).collect();
    let (status, answer) = post(&http, "/api/decide", &json!({ "ids": ids, "decision": "dismiss" }));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(get(&http, "/api/conflicts?limit=1")["conflicts"][0]["id"], 201);
    assert_eq!(
        post(&http, "/api/decide", &json!({ "ids": (0..201).collect::<Vec<_>>(), "decision": "dismiss" })).0,
        400
    );
}

#[test]
fn who_watches_sees_every_change_and_who_does_not_read_harms_nobody() {
    let folder = Folder::with_hub();
    let _daemon = folder.serve();
    let http = http(&folder);
    let watch = || {
        let mut stream = TcpStream::connect(&http).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    };
    let _silent: Vec<TcpStream> = (0..20).map(|_| watch()).collect();
    let mut lines = BufReader::new(watch()).lines().map(Result::unwrap);
    let mut next = || -> Json {
        let line = lines.find_map(|line| Some(line.strip_prefix("data: ")?.to_owned())).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let before = next()["version"].as_i64().unwrap();
    let program = Connection::open(folder.database()).unwrap();
    program.busy_timeout(DEADLINE).unwrap();
    program
        .execute("INSERT INTO employees(username, full_name, password_hash) VALUES ('a', 'A', '')", [])
        .unwrap();
    until("the change is told", || next()["version"].as_i64().is_some_and(|version| version > before));
    let more: Vec<TcpStream> = (0..64).map(|_| watch()).collect();
    let refused = |stream: &TcpStream| {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.starts_with("HTTP/1.1 429 ")
    };
    assert!(more.iter().any(refused), "listeners are bounded");
}
