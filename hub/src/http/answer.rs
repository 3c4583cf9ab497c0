//! Answers: JSON, text, and refusals that say what to do next.

use crate::view::ViewError;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};
use std::fmt::Display;

/// Why something was not answered or not done.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    reason: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: impl Display) -> Self {
        Self { status, reason: reason.to_string() }
    }

    /// The hub is in trouble, not the asker.
    pub(super) fn trouble(reason: impl Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    }

    /// What was asked is wrong.
    pub(super) fn wrong(reason: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    /// It cannot be done as things are.
    pub(super) fn conflict(reason: impl Display) -> Self {
        Self::new(StatusCode::CONFLICT, reason)
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }
}

impl From<ViewError> for Refusal {
    fn from(error: ViewError) -> Self {
        let status = match &error {
            ViewError::NoDevice(_) | ViewError::NoConflict(_) | ViewError::NoTable(_) => {
                StatusCode::NOT_FOUND
            }
            ViewError::ConflictWithoutTable { .. } => StatusCode::CONFLICT,
            ViewError::Key(_) | ViewError::Value(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error)
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        ViewError::from(error).into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, told(json!({ "error": self.reason }))).into_response()
    }
}

/// One JSON value as an answer.
pub(super) fn told(value: Json) -> Response {
    text("application/json", value.to_string())
}

/// A text of this kind as an answer.
pub(super) fn text(kind: &'static str, text: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, kind)], text.into()).into_response()
}
