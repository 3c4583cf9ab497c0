//! One request and its answer, on a plain socket: what the tests send is what the server gets.

use anyhow::Context as _;
use serde_json::{Value as Json, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> anyhow::Result<Json> {
        serde_json::from_str(&self.body).with_context(|| format!("{}: {}", self.status, self.body))
    }
}

/// Sends a request with exactly these header lines; the connection is closed after the answer.
pub(crate) fn send(at: &str, first: &str, lines: &[&str], body: &str) -> anyhow::Result<Answer> {
    let mut stream = begin(at, first, lines, body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").context("an answer has a head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("a status")?;
    Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// Sends a request and leaves its answer unread.
pub(crate) fn begin(at: &str, first: &str, lines: &[&str], body: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let more: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    write!(stream, "{first} HTTP/1.1\r\n{more}connection: close\r\ncontent-length: {length}\r\n\r\n{body}")?;
    Ok(stream)
}

pub(crate) fn get(at: &str, path: &str) -> anyhow::Result<Answer> {
    send(at, &format!("GET {path}"), &[&format!("host: {at}")], "")
}

/// As the page posts.
pub(crate) fn post(at: &str, path: &str, body: &Json) -> anyhow::Result<Answer> {
    let (host, origin) = (format!("host: {at}"), format!("origin: http://{at}"));
    send(
        at,
        &format!("POST {path}"),
        &[&host, &origin, OURS, "sec-fetch-site: same-origin", JSON],
        &body.to_string(),
    )
}

pub(crate) const OURS: &str = "x-tablettracker: 1";
pub(crate) const JSON: &str = "content-type: application/json";

/// A count of packaged product that nothing is wrong with in the newer fixture.
pub(crate) fn packaged(receipt: &str, displays: i64) -> Json {
    json!({
        "employee": "Ana",
        "count": { "kind": "packaged", "product": "ACC Blue 4ct", "receipt": receipt, "box": 1, "bag": 2, "displays": displays },
    })
}

/// A machine count in the newer fixture: a sealer with 3 cards a turn, and a blister machine.
pub(crate) fn machine(receipt: &str, counters: &[(i64, i64)]) -> Json {
    let machines: Vec<_> =
        counters.iter().map(|(id, counter)| json!({ "machine": id, "counter": counter })).collect();
    json!({
        "employee": "Ana",
        "count": { "kind": "machine", "product": "ACC Blue 4ct", "receipt": receipt, "box": 1, "bag": 2, "machines": machines },
    })
}
