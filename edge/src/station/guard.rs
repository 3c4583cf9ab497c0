//! Who may ask. A browser at this device shows pages of strangers too, and none of them may count here.
//!
//! * `Host` must name this machine: a stranger's name that was made to lead here (DNS rebinding) is refused.
//! * What changes something must come from our own page: its `Origin`, `Sec-Fetch-Site` and a header that
//!   no form and no image can send.
//! * Who may ask says the whole of it in time, and not more than an entry can be.
//! * Bound elsewhere than loopback, everything but `/healthz` wants the token: as `Authorization: Bearer`,
//!   or once in the address (`/?token=…`), which leaves a cookie.

use super::Station;
use super::answer::{Refusal, refuse};
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const OURS: HeaderName = HeaderName::from_static("x-tablettracker");
const COOKIE_NAME: &str = "tt_station=";
/// An entry with its notes fits several times.
const BODY_BYTES_MAX: usize = 16 * 1024;
const BODY_DEADLINE: Duration = Duration::from_secs(10);

const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("x-frame-options", "DENY"),
];

/// What is asked for at the door.
pub(super) struct Guard {
    /// None on loopback.
    pub(super) token: Option<String>,
}

/// Lets a request through or refuses it; every answer carries the headers that keep the page to itself.
pub(super) async fn check(State(station): State<Arc<Station>>, request: Request, next: Next) -> Response {
    let mut response = match station.guard.judge(&request) {
        Ok(()) => match whole(request).await {
            Ok(request) => next.run(request).await,
            Err(answer) => *answer,
        },
        Err(answer) => *answer,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response.headers_mut().entry("cache-control").or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The request with its body, which must come in time and be small.
async fn whole(request: Request) -> Result<Request, Box<Response>> {
    let (parts, body) = request.into_parts();
    let no = |status, reason| Err(Box::new(refuse(status, Refusal::new("request", reason))));
    match timeout(BODY_DEADLINE, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(parts, Body::from(bytes))),
        Ok(Err(_)) => no(StatusCode::PAYLOAD_TOO_LARGE, "an entry has at most 16 KiB"),
        Err(_) => no(StatusCode::REQUEST_TIMEOUT, "the entry did not come in time"),
    }
}

impl Guard {
    fn judge(&self, request: &Request) -> Result<(), Box<Response>> {
        let headers = request.headers();
        let host = text(headers, &HOST).ok_or_else(|| no("host", "a request must name its host"))?;
        if let Some(token) = &self.token {
            if request.uri().path() != "/healthz" {
                admit(request, token)?;
            }
        } else if !is_loopback(host) {
            return Err(no("host", "this page is only for the device itself: open it as http://localhost"));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            from_our_page(headers, host)?;
        }
        Ok(())
    }
}

fn from_our_page(headers: &HeaderMap, host: &str) -> Result<(), Box<Response>> {
    let foreign = || no("origin", "only the station page itself may record counts");
    if text(headers, &ORIGIN).is_some_and(|origin| origin != format!("http://{host}")) {
        return Err(foreign());
    }
    let site = headers.get("sec-fetch-site").map(|site| site == "same-origin");
    if site == Some(false) || !headers.contains_key(OURS) {
        return Err(foreign());
    }
    let json =
        headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if json { Ok(()) } else { Err(no("content-type", "entries are sent as application/json")) }
}

/// By header, by cookie, or by the address: the last is answered with the cookie and an address without it.
fn admit(request: &Request, token: &str) -> Result<(), Box<Response>> {
    let headers = request.headers();
    let bearer = text(headers, &AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let cookies = text(headers, &COOKIE).unwrap_or_default();
    let cookie = cookies.split("; ").find_map(|cookie| cookie.strip_prefix(COOKIE_NAME));
    if [bearer, cookie].into_iter().flatten().any(|given| is_same(given, token)) {
        return Ok(());
    }
    let query = request.uri().query().unwrap_or_default();
    let given = query.split('&').find_map(|part| part.strip_prefix("token="));
    if request.uri().path() == "/" && given.is_some_and(|given| is_same(given, token)) {
        let cookie = format!("{COOKIE_NAME}{token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000");
        return Err(Box::new(
            (StatusCode::SEE_OTHER, [(LOCATION, "/".to_owned()), (SET_COOKIE, cookie)]).into_response(),
        ));
    }
    let reason =
        "open this page once with ?token= and the token from the file station.token in the daemon's folder";
    Err(Box::new(refuse(StatusCode::UNAUTHORIZED, Refusal::new("token", reason))))
}

/// Takes as long for a wrong token as for a right one.
fn is_same(given: &str, token: &str) -> bool {
    given.len() == token.len() && given.bytes().zip(token.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn no(code: &'static str, reason: &str) -> Box<Response> {
    Box::new(refuse(StatusCode::FORBIDDEN, Refusal::new(code, reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_hosts() {
        for host in ["localhost", "localhost:8788", "127.0.0.1:1", "[::1]:8788", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example:8788", "127.0.0.1.evil.example", "", "10.0.0.1:8788"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(is_same("abc", "abc"));
        assert!(!is_same("abd", "abc") && !is_same("ab", "abc") && !is_same("", "abc"));
    }
}
