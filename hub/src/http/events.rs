//! The overview at every change, for pages that watch.
//!
//! One task makes snapshots, a few a second at most and only while somebody listens. A listener sees the newest; what
//! it was too slow for, it never sees. One that takes nothing at all is let go of with its connection.

use super::answer::{Refusal, text};
use super::{Web, overview, traffic};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::watch::Receiver;
use tokio::time::{sleep, timeout};

pub(super) const LISTENERS_MAX: usize = 64;
/// Shortest time between two snapshots, and longest without a look.
const PAUSE: Duration = Duration::from_millis(300);
const LOOK_EVERY: Duration = Duration::from_secs(5);
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Starts the tasks that make snapshots and sample the traffic.
pub(super) fn begin(web: &Arc<Web>) {
    let sampling = Arc::clone(web);
    tokio::spawn(async move {
        loop {
            sleep(traffic::EVERY).await;
            sampling.traffic.sample(sampling.line.traffic());
        }
    });
    tokio::spawn(watch(Arc::clone(web)));
}

async fn watch(web: Arc<Web>) {
    let mut changes = web.line.changes();
    loop {
        // Time passing is a change, too: ages grow.
        let _ = timeout(LOOK_EVERY, changes.changed()).await;
        sleep(PAUSE).await;
        changes.mark_unchanged();
        if web.snapshots.receiver_count() == 0 {
            continue;
        }
        match overview::make(&web).await {
            Ok(overview) => drop(web.snapshots.send_replace(Arc::from(overview.to_string()))),
            Err(refusal) => tracing::debug!(reason = refusal.reason(), "no snapshot for those who watch"),
        }
    }
}

struct Listener {
    snapshots: Receiver<Arc<str>>,
    first: Option<String>,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn listen(State(web): State<Arc<Web>>) -> Result<Response, Refusal> {
    let too_many =
        |_| Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many pages watch this hub: close some");
    let place = Arc::clone(&web.listeners).try_acquire_owned().map_err(too_many)?;
    let snapshots = web.snapshots.subscribe();
    let first = Some(overview::make(&web).await?.to_string());
    let listener = Listener { snapshots, first, _place: place };
    let events = stream::unfold(listener, async |mut listener| {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(event)), listener))
    });
    Ok(text("text/event-stream", Body::from_stream(events)))
}

impl Listener {
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(format!("event: overview\ndata: {first}\n\n"));
        }
        match timeout(HEARTBEAT, self.snapshots.changed()).await {
            Ok(Ok(())) => {
                let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
                Some(format!("event: overview\ndata: {snapshot}\n\n"))
            }
            Ok(Err(_)) => None,
            Err(_) => Some("event: heartbeat\ndata: {}\n\n".to_owned()),
        }
    }
}
