//! Keeps a link to the hub, for ever: connects, pumps frames, waits with backoff, connects again.
//!
//! A device that the hub refuses goes on asking, slowly: the operator may have changed their mind.

use super::fetch;
use super::worker::{Event, Uplink};
use crate::identity::Identity;
use crate::link::{FrameReceiver, Link, LinkError, connect};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tt_migrations::progress::Progress;
use tt_protocol::backoff::{Backoff, WAIT_MAX};
use tt_protocol::frame::{EdgeFrame, HubFrame, from_bytes, to_bytes};

/// Long enough for a handshake over a bad wireless with its retries.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Frames for the hub that may wait: a few pieces of a large changeset.
const FRAMES_MAX: usize = 4;

/// Keeps a link until `stop`; snapshots come into `folder`, and `progress` hears how far they are. A `knock` ends the wait before the next attempt.
pub async fn keep(
    identity: Identity,
    addresses: Vec<String>,
    folder: PathBuf,
    events: mpsc::Sender<Event>,
    knock: Arc<Notify>,
    progress: Arc<dyn Progress>,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new();
    if events.send(Event::Connecting(addresses.join(", "))).await.is_err() {
        return;
    }
    while !stop.is_cancelled() {
        let ended = tokio::select! {
            ended = once((&identity, &addresses), (&folder, &progress), &events, true) => ended,
            () = stop.cancelled() => break,
        };
        progress.end();
        let (reason, wait) = match &ended {
            Ok(lived) => {
                if *lived {
                    backoff.succeeded();
                }
                ("the hub has closed the link".to_owned(), backoff.failed(fraction()))
            }
            Err(error) if error.is_passing() => (error.to_string(), backoff.failed(fraction())),
            Err(error) => (error.to_string(), WAIT_MAX),
        };
        tracing::info!(%reason, wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "no link; trying again");
        let event = match ended {
            Err(LinkError::Refused(reason)) => Event::Refused(reason),
            _ => Event::LinkDown(reason),
        };
        if events.send(event).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = knock.notified() => {}
            () = stop.cancelled() => {}
        }
    }
}

/// One link from its beginning to its end. True when the hub spoke on it.
///
/// # Errors
/// When there was no link, or it ended for a reason.
pub async fn once(
    (identity, addresses): (&Identity, &[String]),
    (folder, progress): (&Path, &Arc<dyn Progress>),
    events: &mpsc::Sender<Event>,
    wait: bool,
) -> Result<bool, LinkError> {
    let Link { connection, endpoint, mut sender, receiver, address } =
        connect(identity, addresses, CONNECT_DEADLINE).await?;
    tracing::debug!(%address, "connected");
    let (frames, mut queue) = mpsc::channel::<EdgeFrame>(FRAMES_MAX);
    let (fetches, wanted) = mpsc::channel(1);
    if events.send(Event::LinkUp(Uplink { frames, fetches, wait })).await.is_err() {
        return Ok(false);
    }
    let write = async {
        while let Some(frame) = queue.recv().await {
            sender.send(&to_bytes(&frame)).await?;
        }
        sender.finish();
        Ok::<(), LinkError>(())
    };
    let outcome = tokio::select! {
        read = read(receiver, events) => read,
        written = write => written.map(|()| true),
        fetched = fetch::serve(&connection, (folder, progress), wanted, events) => fetched,
    };
    connection.close(tt_protocol::link::CLOSE_DONE.into(), b"the device ends the link");
    // A goodbye that is lost is found out by the hub's idle timeout.
    let _ = tokio::time::timeout(Duration::from_millis(200), endpoint.wait_idle()).await;
    outcome
}

async fn read(mut receiver: FrameReceiver, events: &mpsc::Sender<Event>) -> Result<bool, LinkError> {
    let mut spoke = false;
    while let Some(bytes) = receiver.recv().await? {
        let frame: HubFrame = from_bytes(&bytes)?;
        spoke = true;
        if events.send(Event::Frame(frame)).await.is_err() {
            break;
        }
    }
    Ok(spoke)
}

/// A random number from 0 to 1, so that devices that lost a hub together do not return together.
fn fraction() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}
