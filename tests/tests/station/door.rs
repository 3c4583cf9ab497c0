//! Who and what is not let in: strangers' pages, other hosts, hostile input, wrong tokens.

use crate::http::{JSON, OURS, get, packaged, post, send};
use crate::warehouse::{Done, Warehouse};
use anyhow::{Context as _, ensure};
use serde_json::json;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use tt_tests::inspect;
use tt_tests::node::Daemon;

const COUNTED: &str = "SELECT COUNT(*) FROM warehouse_submissions WHERE receipt_number LIKE 'DOOR-%'";

#[test]
fn only_the_page_itself_may_count() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let page = edge.page()?;
    let (host, own) = (format!("host: {page}"), format!("origin: http://{page}"));
    let strangers: [&[&str]; 7] = [
        &[&host, JSON],
        &[&host, OURS, JSON, "origin: http://evil.example"],
        &[&host, OURS, JSON, "origin: null"],
        &[&host, OURS, JSON, &own, "sec-fetch-site: cross-site"],
        &[&host, OURS, JSON, &own, "sec-fetch-site: same-site"],
        &[&host, OURS, &own, "content-type: text/plain"],
        &["host: evil.example:8788", OURS, JSON],
    ];
    for lines in strangers {
        let said = send(&page, "POST /api/entries/key-00000001", lines, &packaged("DOOR-1", 1).to_string())?;
        ensure!(said.status == 403, "{lines:?}: {} {}", said.status, said.body);
    }
    let rebound = send(&page, "GET /api/now", &["host: evil.example"], "")?;
    ensure!(rebound.status == 403, "another name that leads here is refused: {}", rebound.body);
    ensure!(inspect::number(&edge.db(), COUNTED)? == 0);
    let head = get(&page, "/")?.head;
    for line in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "nosniff"] {
        ensure!(head.contains(line), "{line} is missing: {head}");
    }
    ensure!(!get(&page, "/")?.body.contains("<script>"), "no script stands in the page itself");
    Ok(())
}

#[test]
fn hostile_input_is_refused_and_writes_nothing() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let page = edge.page()?;
    let good = packaged("DOOR-2", 1);
    let with = |field: &str, value: serde_json::Value| {
        let mut entry = good.clone();
        entry["count"][field] = value;
        entry
    };
    let cases = [
        (with("displays", json!(-1)), 422, "invalid"),
        (with("displays", json!(5_012_345_678_900_i64)), 422, "invalid"),
        (with("displays", json!("3")), 400, "entry"),
        (with("displays", json!(1.5)), 400, "entry"),
        (with("product", json!("'; DROP TABLE bags; --")), 422, "unknown"),
        (with("receipt", json!("DOOR-\u{0}")), 422, "invalid"),
        (with("receipt", json!("9".repeat(65))), 422, "invalid"),
        (with("surprise", json!(1)), 400, "entry"),
        (json!({ "employee": " ", "count": good["count"] }), 422, "invalid"),
        (json!({ "employee": "Ana", "day": "tomorrow", "count": good["count"] }), 422, "invalid"),
        (json!([]), 400, "entry"),
    ];
    for (entry, status, error) in cases {
        let said = post(&page, "/api/entries/key-00000001", &entry)?;
        ensure!(
            said.status == status && said.json()?["error"] == error,
            "{entry}: {} {}",
            said.status,
            said.body
        );
    }
    for key in ["short", "key-with-a-dot.1", &"k".repeat(65)] {
        ensure!(post(&page, &format!("/api/entries/{key}"), &good)?.status == 422, "{key}");
    }
    ensure!(post(&page, "/api/entries/key-00000001", &json!("x".repeat(20_000)))?.status == 413);
    ensure!(post(&page, "/api/entries/key-unknown1/amend", &good)?.status == 410);
    ensure!(inspect::number(&edge.db(), COUNTED)? == 0);
    ensure!(post(&page, "/api/entries/key-00000001", &good)?.status == 200, "the key is as good as new");
    Ok(())
}

#[test]
fn silent_connections_are_few_and_are_let_go_of() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let page = edge.page()?;
    let pid = edge.daemon.as_ref().map(Daemon::pid).context("the daemon runs")?;
    let sockets = || -> anyhow::Result<usize> {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd"))?;
        let links = files.filter_map(|file| file.ok()?.path().read_link().ok());
        Ok(links.filter(|link| link.to_string_lossy().starts_with("socket:")).count())
    };
    let before = sockets()?;
    let mut silent = (0..60).map(|_| TcpStream::connect(&page)).collect::<Result<Vec<_>, _>>()?;
    let mut at_once = 0;
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        at_once = at_once.max(sockets()?.saturating_sub(before));
        ensure!(stream.read(&mut [0])? == 0, "it is let go of without a word");
    }
    ensure!((1..=32).contains(&at_once), "{at_once} connections at a time");
    ensure!(get(&page, "/healthz")?.status == 200, "and whoever asks is answered");
    Ok(())
}

#[test]
fn from_elsewhere_the_page_wants_its_token() -> Done {
    let warehouse = Warehouse::open()?;
    let mut edge = warehouse.device("packing-1")?;
    edge.run_at("0.0.0.0:0")?;
    let page = edge.page()?.replace("0.0.0.0", "127.0.0.1");
    let file = edge.dir.join("station.token");
    let token = std::fs::read_to_string(&file)?.trim().to_owned();
    ensure!(std::fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600);
    for path in ["/", "/api/now", "/metrics", "/?token=wrong", "/readyz"] {
        ensure!(get(&page, path)?.status == 401, "{path}");
    }
    ensure!(get(&page, "/healthz")?.status == 200);
    let entered = get(&page, &format!("/?token={token}"))?;
    ensure!(entered.status == 303 && entered.head.contains("location: /\r\n"), "{}", entered.head);
    let cookie =
        entered.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).context("a cookie")?;
    ensure!(cookie.contains("httponly") && cookie.contains("samesite=strict"), "{cookie}");
    let cookie = format!("cookie: other=1; tt_station={token}");
    let host = "host: 192.0.2.7:8788";
    ensure!(send(&page, "GET /", &[host, &cookie], "")?.status == 200);
    ensure!(
        send(&page, "GET /metrics", &[host, &format!("authorization: Bearer {token}")], "")?.status == 200
    );
    let foreign = [host, &cookie, OURS, JSON, "origin: http://evil.example"];
    ensure!(
        send(&page, "POST /api/entries/key-00000001", &foreign, &packaged("DOOR-3", 1).to_string())?.status
            == 403
    );
    Ok(())
}
