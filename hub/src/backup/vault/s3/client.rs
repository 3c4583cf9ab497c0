//! Requests to one bucket: signed, with a limit on the time of each, and tried again where that can help.
//!
//! * Every request can be made twice: none of them adds to what is there.
//! * A body is never larger than one part of a file, so that it can be sent again and a slow line has a chance.
//! * A store that could not be reached is left alone for a moment, and then tried only once at a time until it
//!   answers: whoever works on several vaults does not wait for a dead one again and again. One that takes a request
//!   and is silent was waited for long enough: it is not tried again at once, and left alone for longer.
//! * No error shows a key, a signature or a header.

use super::answer;
use super::credentials::Origin;
use super::sign::{self, Moment, encoded};
use crate::backup::calendar;
use crate::backup::settings::{S3Settings, is_loopback};
use crate::clock;
use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use std::{fs, thread};
use tt_protocol::number::Millis;
use ureq::http;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};

/// An answer that is no file is never longer: a page of a list has at most a thousand keys of at most 1 KiB each,
/// which are six times as long when every letter is escaped.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Where Linux and the BSDs have the certificates that the machine trusts.
const TRUSTED: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How long it is waited, and how often it is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) connect: Duration,
    /// From the end of the request to the beginning of the answer.
    pub(super) answer: Duration,
    /// For the bytes of one body.
    pub(super) body: Duration,
    pub(super) tries: u32,
    /// Before the second try; three times as long before each one after that.
    pub(super) pause: Duration,
    /// So long nobody asks a store that could not be reached.
    pub(super) rest: Duration,
    /// And so long one that was silent.
    pub(super) rest_silent: Duration,
}

/// A part of 8 MiB passes in `body` at 560 kbit/s.
pub(super) const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(4),
    answer: Duration::from_secs(20),
    body: Duration::from_secs(120),
    tries: 3,
    pause: Duration::from_millis(300),
    rest: Duration::from_secs(5),
    rest_silent: Duration::from_secs(60),
};

/// One bucket.
pub(super) struct Client {
    settings: S3Settings,
    credentials: Origin,
    patience: Patience,
    host: String,
    down: Mutex<Option<Down>>,
    agent: OnceLock<ureq::Agent>,
}

/// The store could not be reached when it was last tried.
#[derive(Clone)]
struct Down {
    at: Millis,
    kind: io::ErrorKind,
    what: String,
}

/// A request before it is signed.
pub(super) struct Ask<'a> {
    pub(super) method: http::Method,
    /// Without the bucket; empty for the bucket itself.
    pub(super) key: &'a str,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: &'a [u8],
    /// A longer answer is an error.
    pub(super) bytes_max: usize,
}

/// An answer that says that it was done.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) headers: http::HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Why one try failed.
struct Failure {
    kind: io::ErrorKind,
    what: String,
    again: bool,
    /// Nothing answered.
    down: bool,
}

impl<'a> Ask<'a> {
    pub(super) fn new(method: http::Method, key: &'a str) -> Self {
        Self { method, key, query: Vec::new(), headers: Vec::new(), body: &[], bytes_max: ANSWER_BYTES_MAX }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Takes no longer answer.
    pub(super) fn at_most(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }

    /// Sends these bytes with a checksum that the store compares and keeps.
    pub(super) fn sending(mut self, body: &'a [u8]) -> Self {
        self.body = body;
        self.header("x-amz-sdk-checksum-algorithm", "SHA256").header("x-amz-checksum-sha256", checksum(body))
    }
}

/// As stores write it.
pub(super) fn checksum(bytes: &[u8]) -> String {
    BASE64.encode(&Sha256::digest(bytes))
}

impl Answer {
    pub(super) fn text(&self) -> io::Result<&str> {
        std::str::from_utf8(&self.body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Client {
    pub(super) fn new(settings: S3Settings, credentials: Origin, patience: Patience) -> Self {
        let authority = settings.authority().map_or("", |(_, authority)| authority);
        let host = if settings.path_style {
            authority.to_owned()
        } else {
            format!("{}.{authority}", settings.bucket)
        };
        Self { credentials, patience, host, down: Mutex::default(), agent: OnceLock::new(), settings }
    }

    /// Asks until it is done, or until asking again cannot help.
    pub(super) fn ask(&self, ask: &Ask<'_>) -> io::Result<Answer> {
        let failed =
            |kind, what: &str| io::Error::new(kind, format!("{} {}: {what}", ask.method, self.url(ask.key)));
        let was_down = self.down();
        if let Some(down) = was_down.as_ref().filter(|down| self.rests(down)) {
            return Err(failed(down.kind, &down.what));
        }
        let (mut tries, mut pause) = (1, self.patience.pause);
        loop {
            let failure = match self.try_once(ask) {
                Ok(answer) => {
                    self.note(None);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            let Failure { kind, what, again, down } = failure;
            let is_silent = kind == io::ErrorKind::TimedOut;
            if tries >= self.patience.tries || !again || (down && (is_silent || was_down.is_some())) {
                self.note(down.then(|| Down { at: clock::now(), kind, what: what.clone() }));
                return Err(failed(kind, &what));
            }
            thread::sleep(pause);
            (tries, pause) = (tries + 1, pause * 3);
        }
    }

    fn down(&self) -> Option<Down> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, down: Option<Down>) {
        *self.down.lock().unwrap_or_else(PoisonError::into_inner) = down;
    }

    /// A clock that was set back must not leave us waiting.
    fn rests(&self, down: &Down) -> bool {
        let Patience { rest, rest_silent, .. } = self.patience;
        let rest = if down.kind == io::ErrorKind::TimedOut { rest_silent } else { rest };
        let rest = i64::try_from(rest.as_millis()).unwrap_or(i64::MAX);
        (0..rest).contains(&clock::now().0.saturating_sub(down.at.0))
    }

    fn url(&self, key: &str) -> String {
        let scheme = if self.settings.authority().is_some_and(|(tls, _)| tls) { "https" } else { "http" };
        format!("{scheme}://{}{}", self.host, self.path(key))
    }

    fn path(&self, key: &str) -> String {
        let key = encoded(key, true);
        if self.settings.path_style { format!("/{}/{key}", self.settings.bucket) } else { format!("/{key}") }
    }

    fn try_once(&self, ask: &Ask<'_>) -> Result<Answer, Failure> {
        let (request, agent) = self.request(ask).map_err(Failure::not_again)?;
        let sent = if ask.method == http::Method::PUT || ask.method == http::Method::POST {
            agent.run(request.map(|()| ask.body))
        } else {
            agent.run(request)
        };
        let mut answer = sent.map_err(|error| Failure::of_line(&error))?;
        let status = answer.status();
        let most = if status.is_success() { ask.bytes_max } else { ANSWER_BYTES_MAX };
        let body =
            if ask.method == http::Method::HEAD { Ok(Vec::new()) } else { read(answer.body_mut(), most) };
        let body = body.map_err(|error| Failure::of_line(&ureq::Error::Io(error)))?;
        let code =
            std::str::from_utf8(&body).ok().filter(|_| body.len() < 64 << 10).and_then(answer::error_code);
        // A few answers begin as a success and turn out to be none.
        if status.is_success() && (code.is_none() || ask.method != http::Method::POST) {
            return Ok(Answer { headers: answer.headers().clone(), body });
        }
        Err(Failure::of_store(status, &code.unwrap_or_default(), ask.method == http::Method::DELETE))
    }

    fn request(&self, ask: &Ask<'_>) -> io::Result<(http::Request<()>, &ureq::Agent)> {
        let credentials = self.credentials.read()?;
        let (path, mut query) = (self.path(ask.key), ask.query.clone());
        query.sort();
        let query: Vec<_> =
            query.iter().map(|(name, value)| format!("{name}={}", encoded(value, false))).collect();
        let query = query.join("&");
        let body = sign::sha256(ask.body);
        let at = calendar::utc(clock::now().0.div_euclid(1_000)).replace(['-', ':'], "");
        let request = sign::Request {
            method: ask.method.as_str(),
            host: &self.host,
            path: &path,
            query: &query,
            headers: &ask.headers,
            body: &body,
        };
        let headers = sign::headers(&request, &self.settings.region, &credentials, &Moment(at));
        let url = if query.is_empty() { self.url(ask.key) } else { format!("{}?{query}", self.url(ask.key)) };
        let mut built = http::Request::builder().method(&ask.method).uri(url).header("host", &self.host);
        for (name, value) in headers {
            built = built.header(name, value);
        }
        Ok((built.body(()).map_err(io::Error::other)?, self.agent()?))
    }

    /// The connections. Certificates are read when the first one is needed.
    fn agent(&self) -> io::Result<&ureq::Agent> {
        if let Some(agent) = self.agent.get() {
            return Ok(agent);
        }
        let made = self.make_agent()?;
        Ok(self.agent.get_or_init(|| made))
    }

    fn make_agent(&self) -> io::Result<ureq::Agent> {
        let Patience { connect, answer, body, .. } = self.patience;
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("tt-hub/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .timeout_send_request(Some(answer))
            .timeout_send_body(Some(body))
            .timeout_recv_response(Some(answer))
            .timeout_recv_body(Some(body));
        if is_loopback(&self.host) {
            config = config.proxy(None);
        }
        if self.settings.authority().is_some_and(|(tls, _)| tls) {
            // Passed explicitly: what another crate of the program chooses does not matter here.
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let tls = TlsConfig::builder()
                .unversioned_rustls_crypto_provider(provider)
                .root_certs(trusted(self.settings.ca.as_deref())?);
            config = config.tls_config(tls.build());
        }
        Ok(config.build().new_agent())
    }
}

fn read(body: &mut ureq::Body, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    body.with_config().limit(u64::MAX).reader().take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is longer than was asked for"));
    }
    Ok(bytes)
}

/// The certificates of a file, or those that the machine trusts.
fn trusted(file: Option<&Path>) -> io::Result<RootCerts> {
    let known = || TRUSTED.iter().map(Path::new).find(|path| path.exists());
    let path = file.or_else(known).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "no certificates are trusted here: install ca-certificates, or name a file with `ca`",
        )
    })?;
    let failed = |error: String| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the certificates in {}: {error}", path.display()),
        )
    };
    let pem = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let certificates: Vec<Certificate<'static>> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        Err(failed("there are none".to_owned()))
    } else {
        Ok(RootCerts::new_with_certs(&certificates))
    }
}

impl Failure {
    fn not_again(error: io::Error) -> Self {
        Self { kind: error.kind(), what: error.to_string(), again: false, down: false }
    }

    /// Nothing came, or not all of it.
    fn of_line(error: &ureq::Error) -> Self {
        let (kind, again) = match error {
            ureq::Error::Timeout(_) => (io::ErrorKind::TimedOut, true),
            ureq::Error::Io(error) => (error.kind(), error.kind() != io::ErrorKind::InvalidData),
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => (io::ErrorKind::NotConnected, true),
            ureq::Error::Protocol(_) | ureq::Error::BodyStalled => (io::ErrorKind::InvalidData, true),
            _ => (io::ErrorKind::Other, false),
        };
        // A name that is not found here must never be taken for a file that is not there.
        let kind = if kind == io::ErrorKind::NotFound { io::ErrorKind::NotConnected } else { kind };
        let what = format!("{error}; check that the store runs and that this machine reaches it");
        Self { kind, what, again, down: true }
    }

    /// The store said no.
    fn of_store(status: http::StatusCode, code: &str, removes: bool) -> Self {
        let number = status.as_u16();
        let kind = match (number, code) {
            (_, "NoSuchBucket") => io::ErrorKind::Other,
            (404, _) => io::ErrorKind::NotFound,
            // A range of a file that has nothing there.
            (416, _) => io::ErrorKind::UnexpectedEof,
            (501, _) => io::ErrorKind::Unsupported,
            (403, _) => io::ErrorKind::PermissionDenied,
            (412, _) => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        let advice = match (number, code) {
            (_, "NoSuchBucket") => "make the bucket, or correct `bucket` in hub.toml",
            (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidClientTokenId") => {
                "check the credentials and the region of this vault"
            }
            (_, "RequestTimeTooSkewed") => "set the clock of this machine",
            (301 | 307, _) | (_, "AuthorizationHeaderMalformed") => {
                "correct `region` and `endpoint` in hub.toml"
            }
            (_, "QuotaExceeded" | "EntityTooLarge") => "make room in the store",
            (403, _) if removes => {
                "the store lets nothing be removed: give these credentials the right to, or let the store's own rules remove it"
            }
            (403, _) => "give these credentials the right to list, read, write and remove in this bucket",
            (412, _) => "it was replaced while it was read; read it again",
            _ => "the store's own log says more",
        };
        let again = number >= 500 && number != 501
            || number == 408
            || number == 429
            || ["RequestTimeout", "SlowDown", "InternalError"].contains(&code);
        Self { kind, what: format!("the store answered {number} {code}: {advice}"), again, down: false }
    }
}
