//! Tells open pages what is new, as server-sent events: only when something is, and a comment now and then
//! so that a page that is gone is noticed.

use super::Station;
use super::answer::{Refusal, refuse};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::poll_fn;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Comments while nothing happens.
const COMMENT_EVERY: Duration = Duration::from_secs(20);
/// What follows quickly on each other is told once.
const GATHER: Duration = Duration::from_millis(50);

pub(super) async fn live(State(station): State<Arc<Station>>) -> Response {
    let Ok(permit) = Arc::clone(&station.listeners).try_acquire_owned() else {
        let reason = "too many pages of this station are open: close some";
        return refuse(StatusCode::SERVICE_UNAVAILABLE, Refusal::new("pages", reason));
    };
    let (lines, mut queue) = mpsc::channel(1);
    tokio::spawn(tell(station, lines, permit));
    let lines = poll_fn(move |context| queue.poll_recv(context).map(|line| line.map(Ok::<_, Infallible>)));
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(lines)).into_response()
}

/// Until the page or the daemon is gone.
async fn tell(station: Arc<Station>, lines: mpsc::Sender<Bytes>, _permit: OwnedSemaphorePermit) {
    let (mut state, mut recorded) = (station.state.clone(), station.recorded.subscribe());
    let mut told = String::new();
    loop {
        state.mark_unchanged();
        recorded.mark_unchanged();
        let now = match station.now().await {
            Ok(now) => now.to_string(),
            Err(error) => {
                tracing::warn!(%error, "the station page could not be told what is new");
                String::new()
            }
        };
        let line =
            if now.is_empty() || now == told { ":\n\n".to_owned() } else { format!("data: {now}\n\n") };
        if !now.is_empty() {
            told = now;
        }
        if lines.send(line.into()).await.is_err() {
            return;
        }
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            _ = recorded.changed() => {}
            () = tokio::time::sleep(COMMENT_EVERY) => continue,
            () = lines.closed() => return,
            () = station.stop.cancelled() => return,
        }
        tokio::time::sleep(GATHER).await;
    }
}
