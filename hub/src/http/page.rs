//! The operator's page, which is part of the program: no other server is asked for anything.

use super::answer::text;
use axum::response::Response;

pub(super) async fn html() -> Response {
    text("text/html; charset=utf-8", include_str!("page/index.html"))
}

pub(super) async fn css() -> Response {
    text("text/css; charset=utf-8", include_str!("page/page.css"))
}

pub(super) async fn js() -> Response {
    text("text/javascript; charset=utf-8", include_str!("page/page.js"))
}
