//! The page's files, part of the program: no build chain, no network, nothing from elsewhere.

use super::Station;
use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::routing::get;
use std::sync::Arc;

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, type, contents.
const FILES: [(&str, &str, &str); 10] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/station.css", "text/css; charset=utf-8", include_str!("page/station.css")),
    ("/station.js", SCRIPT, include_str!("page/station.js")),
    ("/forms.js", SCRIPT, include_str!("page/forms.js")),
    ("/list.js", SCRIPT, include_str!("page/list.js")),
    ("/queue.js", SCRIPT, include_str!("page/queue.js")),
    ("/scan.js", SCRIPT, include_str!("page/scan.js")),
    ("/words.js", SCRIPT, include_str!("page/words.js")),
    ("/offline.js", SCRIPT, include_str!("page/offline.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// A route for each file.
pub(super) fn routes() -> Router<Arc<Station>> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        router.route(
            path,
            get(move || async move { ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text) }),
        )
    })
}
