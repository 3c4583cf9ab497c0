//! Tells somebody elsewhere: posts the problems of a run as JSON to the site's own address.
//!
//! * The post is `{"program", "folder", "at", "kind", "run", "problems": [{"kind", "what"}], "text"}`: `at` is UTC,
//!   `kind` is the worst of them, `text` is all of them as lines, which is what chat programs show.
//! * It goes on a thread of its own, so that no backup waits for it. Each try has five seconds; there are three, with
//!   growing pauses. A refusal (4xx) is not tried again.
//! * When nobody could be told, that is one more line in `backup_alerts.log`. The address itself is not in it: whoever
//!   has it can post.

use super::calendar;
use super::record::{self, Kind, Problem};
use serde_json::json;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Posts under way at a time.
const POSTS_MAX: usize = 8;

/// Where it is posted to.
#[derive(Debug)]
pub(crate) struct Webhook {
    address: Uri,
    patience: Patience,
    under_way: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Of one try, all in all.
    try_for: Duration,
    /// Between two tries.
    pauses: [Duration; 2],
}

impl Patience {
    const USUAL: Self =
        Self { try_for: Duration::from_secs(5), pauses: [Duration::from_secs(1), Duration::from_secs(4)] };
}

/// Why a try came to nothing.
struct Failed {
    what: String,
    /// Another one may come to more.
    again: bool,
}

/// The address, if it can be used. Without TLS only this machine, unless `plain` allows others.
pub(super) fn address(text: &str, plain: bool) -> Result<Uri, String> {
    let refused = |why: &str| Err(format!("alert_webhook: {why}"));
    let Ok(address) = text.parse::<Uri>() else { return refused("it is no address") };
    let Some(host) = address.host().filter(|host| !host.is_empty()) else {
        return refused("it names no host: write \"https://HOST/...\"");
    };
    match address.scheme_str() {
        Some("https") => Ok(address),
        Some("http") if plain || is_here(host) => Ok(address),
        Some("http") => refused(
            "http is read by whoever is on the way: use https, or say `alert_webhook_plain = true` as well",
        ),
        _ => refused("it must begin with https://"),
    }
}

fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}

impl Webhook {
    pub(super) fn new(address: Uri) -> Self {
        Self::with(address, Patience::USUAL)
    }

    fn with(address: Uri, patience: Patience) -> Self {
        Self { address, patience, under_way: Mutex::default() }
    }

    /// Posts the problems of a run, if there are any. `folder` is that of the backups; `now` is in seconds since 1970.
    pub(super) fn tell(&self, folder: &Path, now: i64, run: &str, problems: &[Problem]) {
        let Some(worst) = problems.iter().map(|problem| problem.kind).max() else { return };
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let told = |problem: &Problem| json!({ "kind": problem.kind.word(), "what": problem.what });
        let post = json!({
            "program": "tt-hub",
            "folder": folder.parent().unwrap_or(folder),
            "at": calendar::utc(now),
            "kind": Kind::word(worst),
            "run": run,
            "problems": problems.iter().map(told).collect::<Vec<_>>(),
            "text": lines.join("\n"),
        });
        let (address, patience, root) = (self.address.clone(), self.patience, folder.to_owned());
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|post| !post.is_finished());
        if under_way.len() >= POSTS_MAX {
            return not_told(&self.address, folder, now, &format!("{POSTS_MAX} are still under way"));
        }
        let begun = thread::Builder::new().name("alert".to_owned()).spawn(move || {
            if let Err(why) = deliver(&address, post.to_string().as_bytes(), patience) {
                not_told(&address, &root, now, &why);
            }
        });
        match begun {
            Ok(post) => under_way.push(post),
            Err(error) => not_told(&self.address, folder, now, &error.to_string()),
        }
    }
}

fn not_told(address: &Uri, folder: &Path, now: i64, why: &str) {
    let host = address.host().unwrap_or_default();
    let what = format!("the alert was not posted to {host}: {why}; see to it, nobody may have been told");
    // Where not even that can be written, the run itself has said so.
    let _ = record::alert(folder, now, &Problem::warning(what));
}

impl Drop for Webhook {
    /// A command that ends would take its posts with it. Each ends within its tries.
    fn drop(&mut self) {
        let under_way = self.under_way.get_mut().unwrap_or_else(PoisonError::into_inner);
        for post in under_way.drain(..) {
            // One that panicked has said so.
            let _ = post.join();
        }
    }
}

fn deliver(address: &Uri, body: &[u8], patience: Patience) -> Result<(), String> {
    let agent = agent(address, patience);
    let mut pauses = patience.pauses.into_iter();
    loop {
        match attempt(&agent, address, body) {
            Ok(()) => return Ok(()),
            Err(Failed { what, again }) => match pauses.next().filter(|_| again) {
                Some(pause) => thread::sleep(pause),
                None => return Err(what),
            },
        }
    }
}

fn attempt(agent: &ureq::Agent, address: &Uri, body: &[u8]) -> Result<(), Failed> {
    let answer = agent.post(address).content_type("application/json").send(body);
    let status = answer.map_err(|error| Failed { what: error.to_string(), again: true })?.status();
    if status.is_success() {
        return Ok(());
    }
    let again = status.is_server_error() || status.as_u16() == 429;
    Err(Failed { what: format!("it answers {status}"), again })
}

/// It goes straight to the host: no proxy, no redirection. Trusted is whom this machine trusts.
fn agent(address: &Uri, patience: Patience) -> ureq::Agent {
    let mut tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    if address.scheme_str() == Some("https") {
        // What cannot be read of them is missing, and the host is not trusted then: the try says it.
        let found = rustls_native_certs::load_native_certs().certs;
        let found: Vec<_> =
            found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
        tls = tls.root_certs(RootCerts::new_with_certs(&found));
    }
    ureq::Agent::config_builder()
        .timeout_global(Some(patience.try_for))
        .max_redirects(0)
        .http_status_as_error(false)
        .proxy(None)
        .user_agent(concat!("tt-hub/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls.build())
        .build()
        .into()
}

#[cfg(test)]
mod tests;
