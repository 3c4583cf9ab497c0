//! Decides who may ask, before anything is looked up.
//!
//! * A name that is not this hub's is refused: a page elsewhere could make its own name lead here.
//! * Where a token is needed, all but `/healthz` and the way to log in asks for it, or for a certificate in its place.
//! * What changes something needs a header that no other site's page can send, and must not come from one.
//! * Every answer forbids scripts, frames and guesses of types that are not ours.

use super::Web;
use super::answer::Refusal;
use super::serve::Certified;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The header without which nothing is changed.
const OURS: &str = "x-tt-hub";
const BODY_BYTES_MAX: usize = 64 * 1024;
const BODY_DEADLINE: Duration = Duration::from_secs(10);

const ALWAYS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

pub(super) async fn guard(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let mut response = match allowed(&web, &request) {
        Ok(()) => match whole(request).await {
            Ok(request) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        },
        Err(refusal) => refusal.into_response(),
    };
    for (name, value) in ALWAYS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn allowed(web: &Web, request: &Request) -> Result<(), Refusal> {
    let (path, headers) = (request.uri().path(), request.headers());
    if path == "/healthz" {
        return Ok(());
    }
    let host = text(headers, header::HOST).unwrap_or_default();
    if !web.access.knows_host(host) {
        let reason = "this hub is not asked under this name: use http://127.0.0.1 or http://localhost, or name it in \
                      `http_names` of hub.toml";
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, reason));
    }
    let is_page = ["/", "/page.css", "/page.js", "/login"].contains(&path);
    let is_certified = request.extensions().get::<Certified>().is_some();
    if !is_page && !is_certified && !web.access.lets_in(headers) {
        let reason =
            "log in, or send the token of http.token in the hub's folder as `Authorization: Bearer …`";
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, reason));
    }
    let site = text(headers, HeaderName::from_static("sec-fetch-site"));
    let is_foreign = site.is_some_and(|site| !["same-origin", "none"].contains(&site));
    if is_foreign && path.starts_with("/api") {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "another site's page may not ask this hub"));
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) { Ok(()) } else { ours(headers, host) }
}

/// Whether a request that changes something comes from our page or from a program.
fn ours(headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
    let origin = text(headers, header::ORIGIN);
    let is_own = origin.is_none_or(|origin| origin.split_once("://").is_some_and(|(_, from)| from == host));
    if is_own && headers.contains_key(OURS) {
        return Ok(());
    }
    let reason = "what changes something needs the header `X-TT-Hub: 1` and must not come from another site";
    Err(Refusal::new(StatusCode::FORBIDDEN, reason))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// The request with its body, which must come in time and be small.
async fn whole(request: Request) -> Result<Request, Refusal> {
    let (parts, body) = request.into_parts();
    match timeout(BODY_DEADLINE, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(parts, Body::from(bytes))),
        Ok(Err(_)) => Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "a request has at most 64 KiB")),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request did not come in time")),
    }
}
