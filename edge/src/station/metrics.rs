//! `/healthz`, `/readyz` and `/metrics`, for whoever watches the devices. Numbers are read when asked for.

use super::Station;
use super::answer::{Refusal, json, refuse};
use crate::daemon::worker::{Event, Numbers};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Longer than the file's thread is ever held up by a healthy disk.
const PATIENCE: Duration = Duration::from_secs(10);
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Shared = State<Arc<Station>>;

/// The daemon and the thread of the file are alive.
pub(super) async fn health(State(station): Shared) -> Response {
    match station.numbers().await {
        Ok(_) => json(&json!({ "healthy": true })),
        Err(reason) => refuse(StatusCode::SERVICE_UNAVAILABLE, Refusal::new("unhealthy", &reason)),
    }
}

/// Counts can be recorded and would reach the hub: nothing blocks the device. Offline is ready.
pub(super) async fn ready(State(station): Shared) -> Response {
    let reason = match station.numbers().await {
        Ok(numbers) => numbers.blocked.or(numbers.feed_refused),
        Err(reason) => Some(reason),
    };
    match reason {
        None => json(&json!({ "ready": true })),
        Some(reason) => refuse(StatusCode::SERVICE_UNAVAILABLE, Refusal::new("blocked", &reason)),
    }
}

pub(super) async fn metrics(State(station): Shared) -> Response {
    let numbers = match station.numbers().await {
        Ok(numbers) => numbers,
        Err(reason) => return refuse(StatusCode::SERVICE_UNAVAILABLE, Refusal::new("unhealthy", &reason)),
    };
    let (connected, last_sync) = {
        let state = station.state.borrow();
        (state.connected, state.last_sync)
    };
    let mut text = String::new();
    match encode(&mut text, &registry(&numbers, connected, last_sync)) {
        Ok(()) => ([(CONTENT_TYPE, TEXT)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn registry(numbers: &Numbers, connected: bool, last_sync_ms: Option<i64>) -> Registry {
    let mut all = Registry::with_prefix("tt_edge");
    let blocked = numbers.blocked.is_some() || numbers.feed_refused.is_some();
    let counts = [
        ("unsent_rows", "Rows that differ from what the hub has acknowledged", whole(numbers.unsent)),
        ("connected", "1 while the hub has accepted the link", i64::from(connected)),
        ("version", "Version of the hub that is applied", whole(numbers.version)),
        ("epoch", "Incarnation of the hub that the version belongs to", whole(numbers.epoch)),
        ("blocked", "1 when the device cannot go on without a person", i64::from(blocked)),
    ];
    for (name, help, value) in counts {
        all.register(name, help, ConstGauge::new(value));
    }
    let seconds = |all: &mut Registry, name, help, value: f64| {
        all.register_with_unit(name, help, Unit::Seconds, ConstGauge::new(value));
    };
    let oldest = whole(numbers.oldest_unsent_s.unwrap_or(0)) as f64;
    seconds(&mut all, "oldest_unsent", "Age of the oldest unsent row, 0 when nothing is unsent", oldest);
    seconds(
        &mut all,
        "clock_offset",
        "The device's clock minus the hub's",
        numbers.clock_offset_ms as f64 / 1e3,
    );
    if let Some(at) = last_sync_ms {
        let help = "When both ends last agreed that nothing is unsent or unread, since 1970";
        seconds(&mut all, "last_sync_timestamp", help, at as f64 / 1e3);
    }
    let help = "Share of the id space that is used";
    all.register_with_unit(
        "id_space_used",
        help,
        Unit::Other("ratio".to_owned()),
        ConstGauge::new(numbers.id_space_used),
    );
    all.register("cuts", "Changesets cut since the device joined", ConstCounter::new(numbers.cuts));
    let help = "Feeds applied since the daemon started";
    all.register("applied_feeds", help, ConstCounter::new(numbers.applied_feeds));
    all
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Station {
    async fn numbers(&self) -> Result<Numbers, String> {
        let (answer, answered) = oneshot::channel();
        let ask = async {
            self.events.send(Event::Status(answer)).await.ok()?;
            answered.await.ok()
        };
        match tokio::time::timeout(PATIENCE, ask).await {
            Ok(Some(numbers)) => numbers,
            Ok(None) => Err("the daemon is stopping".to_owned()),
            Err(_) => Err(format!("the database has not answered for {} s", PATIENCE.as_secs())),
        }
    }
}
