//! What the station answers: JSON, or a refusal with a name for programs and a sentence for people.

use crate::record::RecordError;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

/// Why something was not done.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    error: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    /// The same entry is taken once it says `confirmed`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    question: bool,
}

impl Refusal {
    pub(super) fn new(error: &'static str, message: &str) -> Self {
        Self { error, message: message.to_owned(), field: None, question: false }
    }
}

/// An answer.
pub(super) fn json<T: Serialize>(value: &T) -> Response {
    let text = serde_json::to_string(value).expect("plain data");
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

/// A refusal.
pub(super) fn refuse(status: StatusCode, refusal: Refusal) -> Response {
    let mut response = json(&refusal);
    *response.status_mut() = status;
    response
}

/// Why a count was not recorded. What can be tried again as it is, is 503.
pub(super) fn not_recorded(error: &RecordError) -> Response {
    let status = match error {
        RecordError::Sqlite(_) | RecordError::Damaged(..) => {
            tracing::warn!(%error, "the station could not use the database");
            StatusCode::SERVICE_UNAVAILABLE
        }
        RecordError::Question(_) => StatusCode::CONFLICT,
        RecordError::NotToday(_) | RecordError::Gone(_) => StatusCode::GONE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let question = matches!(error, RecordError::Question(_));
    refuse(
        status,
        Refusal { error: error.code(), message: error.to_string(), field: error.field(), question },
    )
}
