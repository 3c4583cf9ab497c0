//! How the HTTP server reaches the writer, and what it may know of the daemon without asking it.

use super::control::ask;
use super::event::{Event, Shared};
use crate::control::{Reply, Request};
use crate::http::Traffic;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// How long the writer may take to say that it is there.
const ANSWER: Duration = Duration::from_secs(5);

/// The line to the daemon.
pub(crate) struct Line(Arc<Shared>);

impl Line {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Asks the writer, as a command does.
    pub(crate) async fn ask(&self, request: Request) -> Reply {
        ask(&self.0.events, |answer| Event::Ask(request, answer)).await
    }

    /// Whether the writer finishes a step in time.
    pub(crate) async fn answers(&self) -> bool {
        let (answer, done) = oneshot::channel();
        let asked = async { self.0.events.send(Event::Cut(answer)).await.is_ok() && done.await.is_ok() };
        timeout(ANSWER, asked).await.unwrap_or(false)
    }

    /// Why the hub cannot work at the moment.
    pub(crate) fn failing(&self) -> Option<String> {
        self.0.failing()
    }

    /// The version that two vaults have safe.
    pub(crate) fn watermark(&self) -> u64 {
        self.0.watermark().0
    }

    /// Devices that are linked now, by number.
    pub(crate) fn linked(&self) -> Vec<u16> {
        self.0.linked()
    }

    /// Changes whenever something has changed that people see.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    /// Rows of devices that were merged since the start.
    pub(crate) fn merged_rows(&self) -> u64 {
        self.0.merged_rows.load(Ordering::Relaxed)
    }

    pub(crate) fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }
}
