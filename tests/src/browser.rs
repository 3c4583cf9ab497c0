//! A real browser for tests of pages: headless Chromium, driven over WebDriver on the loopback address.
//!
//! The protocol is JSON over HTTP, of which we need six calls; a crate for it would bring forty others along.
//! Driver and browser end with the handle.

use crate::node::until;
use anyhow::{Context as _, bail};
use serde_json::{Value as Json, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// What keeps Chromium quiet, offline and the same everywhere.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// Longest wait for one answer of the driver.
const ANSWER: Duration = Duration::from_secs(120);

/// A browser with one window.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; `None` when there is none on this machine, which is said, and is a failure where `CI` is set.
    ///
    /// # Errors
    /// When it is there and does not come up.
    pub fn start() -> anyhow::Result<Option<Self>> {
        if !Command::new("chromedriver")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
        {
            let what = "no chromedriver: the tests of pages need `apt-get install chromium chromium-driver`";
            if std::env::var_os("CI").is_some() {
                bail!("{what}");
            }
            eprintln!("SKIPPED: {what}");
            return Ok(None);
        }
        let profile = tempfile::tempdir()?;
        let log = profile.path().join("driver.log");
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", profile.path())
            .process_group(0)
            .stdout(std::fs::File::create(&log)?)
            .stderr(Stdio::null())
            .spawn()?;
        let mut browser = Self { driver, port: 0, session: String::new(), _profile: profile };
        browser.port = until("chromedriver listens", || {
            let said = std::fs::read_to_string(&log)?;
            let (_, rest) = said.split_once("started successfully on port ").unwrap_or_default();
            Ok(rest.split('.').next().and_then(|port| port.parse().ok()))
        })?;
        let folder = format!("--user-data-dir={}", browser._profile.path().join("profile").display());
        let flags: Vec<&str> = FLAGS.into_iter().chain([folder.as_str()]).collect();
        let wanted =
            json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": flags } } } });
        let made = browser.call("POST", "", &wanted)?;
        browser.session = made["sessionId"].as_str().context("a session has an id")?.to_owned();
        Ok(Some(browser))
    }

    /// Opens a page and waits until it is loaded.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn open(&self, url: &str) -> anyhow::Result<()> {
        self.call("POST", "/url", &json!({ "url": url })).map(drop)
    }

    /// What a function body gives in the page.
    ///
    /// # Errors
    /// When the script fails.
    pub fn run(&self, script: &str) -> anyhow::Result<Json> {
        self.call("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression holds in the page.
    ///
    /// # Errors
    /// When it does not in time, with what the page shows.
    pub fn until(&self, holds: &str) -> anyhow::Result<()> {
        let asked = until(holds, || Ok((self.run(&format!("return !!({holds})"))? == true).then_some(())));
        asked.with_context(|| self.run("return document.body.innerText").unwrap_or_default().to_string())
    }

    /// Clicks on what a selector finds, where a person would.
    ///
    /// # Errors
    /// When it is not there or covered.
    pub fn click(&self, selector: &str) -> anyhow::Result<()> {
        let found = self.call("POST", "/element", &json!({ "using": "css selector", "value": selector }))?;
        let element =
            found.as_object().and_then(|found| found.values().next()?.as_str()).context("an element")?;
        self.call("POST", &format!("/element/{element}/click"), &json!({})).map(drop)
    }

    /// Presses keys, one after the other. Special keys are WebDriver's code points.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn press(&self, keys: &str) -> anyhow::Result<()> {
        let actions: Vec<Json> = keys
            .chars()
            .flat_map(|key| {
                ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
            })
            .collect();
        let keyboard = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.call("POST", "/actions", &keyboard).map(drop)
    }

    /// Makes the page so wide, as on a phone, and shows it dark or light.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn show_as(&self, width: u32, height: u32, scheme: &str) -> anyhow::Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", &size)?;
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &media)
    }

    /// Writes what the window shows into a PNG file.
    ///
    /// # Errors
    /// When the driver refuses or the file cannot be written.
    pub fn picture(&self, file: &Path) -> anyhow::Result<()> {
        let taken = self.call("GET", "/screenshot", &Json::Null)?;
        let text = taken.as_str().context("a picture is text")?;
        std::fs::write(file, data_encoding::BASE64.decode(text.as_bytes())?)?;
        Ok(())
    }

    fn devtools(&self, what: &str, params: &Json) -> anyhow::Result<()> {
        self.call("POST", "/goog/cdp/execute", &json!({ "cmd": what, "params": params })).map(drop)
    }

    fn call(&self, method: &str, path: &str, body: &Json) -> anyhow::Result<Json> {
        let session = if self.session.is_empty() { String::new() } else { format!("/{}", self.session) };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ANSWER))?;
        let body = if method == "GET" { String::new() } else { body.to_string() };
        write!(
            stream,
            "{method} /session{session}{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut told: Json = serde_json::from_slice(&body_of(stream)?)?;
        if told["value"]["error"].is_string() {
            bail!("{method} {path}: {}", told["value"]["message"]);
        }
        Ok(told["value"].take())
    }
}

/// As many bytes as the answer says: the driver may keep the connection open although it says that it closes it.
fn body_of(stream: TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while stream.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // Ends Chromium in order; the group's end below takes what does not answer.
            let _ = self.call("DELETE", "", &Json::Null);
        }
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.driver.id())]).status();
        let _ = self.driver.wait();
    }
}
