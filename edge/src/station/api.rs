//! What the page asks and posts. Files are read and written on threads of their own, a few at a time.

use super::Station;
use super::answer::{Refusal, json, not_recorded, refuse};
use crate::record::{self, Entry, RecordError};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::sync::Arc;

type Shared = State<Arc<Station>>;

pub(super) async fn catalog(State(station): Shared) -> Response {
    match station.with_file(|conn| record::catalog(conn)).await {
        Ok(catalog) => json(&catalog),
        Err(error) => not_recorded(&error),
    }
}

pub(super) async fn now(State(station): Shared) -> Response {
    match station.now().await {
        Ok(now) => json(&now),
        Err(error) => not_recorded(&error),
    }
}

pub(super) async fn enter(State(station): Shared, Path(key): Path<String>, body: Bytes) -> Response {
    let entry = match read(&body) {
        Ok(entry) => entry,
        Err(refusal) => return *refusal,
    };
    match station.with_file(move |conn| record::enter(conn, &key, &entry)).await {
        Ok(saved) => {
            station.recorded();
            json(&json!({ "saved": true, "again": saved.again, "id": saved.id }))
        }
        Err(error) => not_recorded(&error),
    }
}

pub(super) async fn amend(State(station): Shared, Path(key): Path<String>, body: Bytes) -> Response {
    let entry = match read(&body) {
        Ok(entry) => entry,
        Err(refusal) => return *refusal,
    };
    station.changed(station.with_file(move |conn| record::amend(conn, &key, &entry)).await)
}

pub(super) async fn void(State(station): Shared, Path(key): Path<String>) -> Response {
    station.changed(station.with_file(move |conn| record::void(conn, &key)).await)
}

fn read(body: &Bytes) -> Result<Entry, Box<Response>> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("this is no entry: {error}");
        Box::new(refuse(StatusCode::BAD_REQUEST, Refusal::new("entry", &message)))
    })
}

impl Station {
    /// Works on the file as a program does, without holding anybody up.
    async fn with_file<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, RecordError> + Send + 'static,
    ) -> Result<T, RecordError> {
        // The semaphore is never closed.
        let _permit = self.readers.acquire().await;
        let db = self.db.clone();
        let done = tokio::task::spawn_blocking(move || work(&mut record::open(&db)?)).await;
        done.unwrap_or_else(|_| Err(RecordError::Sqlite(rusqlite::Error::UnwindingPanic)))
    }

    /// All that a page shows of now: the link, what waits, today's entries.
    pub(super) async fn now(&self) -> Result<Value, RecordError> {
        let (entries, waiting) =
            self.with_file(|conn| Ok((record::today(conn)?, record::waiting(conn)?))).await?;
        let state = self.state.borrow().clone();
        Ok(json!({
            "device": self.name,
            "connected": state.connected,
            "refused": state.refused,
            "waiting": waiting,
            "entries": entries,
        }))
    }

    fn recorded(&self) {
        self.recorded.send_modify(|count| *count += 1);
    }

    fn changed(&self, outcome: Result<(), RecordError>) -> Response {
        match outcome {
            Ok(()) => {
                self.recorded();
                json(&json!({ "saved": true }))
            }
            Err(error) => not_recorded(&error),
        }
    }
}
