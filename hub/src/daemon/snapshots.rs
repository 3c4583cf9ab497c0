//! Snapshots for devices: made when one is wanted, shared while fresh, deleted when nobody takes them.
//!
//! * A new device gets all of a snapshot; one that is reseeded gets its head, and asks which rows differ
//!   (`store::difference`). What is wanted of a snapshot is made when it is first wanted.
//! * A device whose transfer was cut off gets the same snapshot again for a while, so that a slow link
//!   comes to an end, too.

mod one;

use super::DaemonError;
use super::event::{Event, Shared};
use crate::clock;
use crate::folder::Folder;
use crate::link::{FrameReceiver, FrameSender, LinkError, Prepared, Questions, requested, send_prepared};
use crate::store::difference::{Answerer, Compared};
use one::{Snapshot, SnapshotError};
use quinn::{RecvStream, SendStream};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tt_protocol::difference::{Answer, Question};
use tt_protocol::download::{DownloadRequest, Held, Wanted};
use tt_protocol::number::EdgeId;

/// A snapshot this young serves the next device, too; the feed brings what is newer.
const FRESH_MS: i64 = 60_000;
/// How long a transfer that was cut off may go on with the same snapshot, and how long one is kept at all.
const RESUME_MS: i64 = 30 * 60_000;
/// Devices whose cut-off transfers are remembered, and so the number of files that they can pin.
const RESUMES_MAX: usize = 8;
/// Questions that are answered at the same time; each may read some megabytes of a snapshot.
const ANSWERS_MAX: usize = 2;

/// The snapshots of a running hub.
pub(super) struct Snapshots {
    database: PathBuf,
    folder: PathBuf,
    shared: Arc<Shared>,
    state: Mutex<Made>,
    answering: Semaphore,
}

#[derive(Default)]
struct Made {
    newest: Option<Arc<Snapshot>>,
    cut_off: HashMap<EdgeId, Arc<Snapshot>>,
}

impl Snapshots {
    /// Begins without any; those of an earlier run are deleted.
    pub(super) fn new(folder: &Folder, shared: Arc<Shared>) -> Result<Arc<Self>, DaemonError> {
        let snapshots = folder.snapshots()?;
        let failed = |source| DaemonError::File { what: "empty", path: snapshots.clone(), source };
        for entry in fs::read_dir(&snapshots).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(failed)?;
        }
        let (state, answering) = (Mutex::default(), Semaphore::new(ANSWERS_MAX));
        Ok(Arc::new(Self { database: folder.database(), folder: snapshots, shared, state, answering }))
    }

    /// Serves one stream that a device has opened beside its frames.
    pub(super) async fn serve(self: Arc<Self>, edge: EdgeId, stream: (SendStream, RecvStream)) {
        let mut taken: Option<Arc<Snapshot>> = None;
        let served = match requested(stream).await {
            Ok((request, sender, receiver)) => {
                self.serve_request(edge, request, (sender, receiver), &mut taken).await
            }
            Err(error) => Err(error),
        };
        match served {
            Ok(()) => drop(self.state.lock().await.cut_off.remove(&edge)),
            Err(error) => tracing::info!(device = %edge, %error, "a snapshot was cut off"),
        }
        // After a head, questions come.
        if let Some(snapshot) = taken {
            self.remember(edge, snapshot).await;
        }
    }

    /// What is left in `taken` is to be remembered for the device.
    async fn serve_request(
        self: &Arc<Self>,
        edge: EdgeId,
        request: DownloadRequest,
        (sender, receiver): (FrameSender, FrameReceiver),
        taken: &mut Option<Arc<Snapshot>>,
    ) -> Result<(), LinkError> {
        let (held, wanted, is_head) = match request {
            DownloadRequest::V1(held) => (held, Wanted::default(), false),
            DownloadRequest::V2 { held, epoch, at_least } => {
                (held, Wanted { epoch: Some(epoch), at_least }, false)
            }
            DownloadRequest::Head { held, epoch, at_least } => {
                (held, Wanted { epoch: Some(epoch), at_least }, true)
            }
            DownloadRequest::Ask { identity } => {
                *taken = self.find(edge, &identity).await;
                self.answer_questions(taken.as_ref(), Questions::new(sender, receiver)).await?;
                tracing::info!(device = %edge, "a device took the rows that differ");
                *taken = None;
                return Ok(());
            }
        };
        let prepared = self.prepared(edge, wanted, is_head, taken).await;
        let bytes = self.send(sender, &held, prepared).await?;
        tracing::info!(device = %edge, bytes, is_head, "a device took a snapshot");
        if !is_head {
            *taken = None;
        }
        Ok(())
    }

    async fn send(
        &self,
        sender: FrameSender,
        held: &Held,
        prepared: Result<Prepared, SnapshotError>,
    ) -> Result<u64, LinkError> {
        let prepared = prepared.map_err(|error| {
            tracing::error!(%error, "there is no snapshot for a device");
            error.to_string()
        });
        send_prepared(sender, held, prepared).await
    }

    async fn prepared(
        self: &Arc<Self>,
        edge: EdgeId,
        wanted: Wanted,
        is_head: bool,
        taken: &mut Option<Arc<Snapshot>>,
    ) -> Result<Prepared, SnapshotError> {
        let snapshot = Arc::clone(taken.insert(self.get(edge, wanted).await?));
        if is_head { snapshot.head().await } else { snapshot.packed().await }
    }

    async fn answer_questions(
        &self,
        snapshot: Option<&Arc<Snapshot>>,
        mut questions: Questions,
    ) -> Result<(), LinkError> {
        let mut answerer: Option<Answerer> = None;
        while let Some(question) = questions.next().await? {
            let answer = match snapshot {
                None => Answer::Over,
                Some(snapshot) => {
                    let _turn = self.answering.acquire().await.expect("the semaphore is never closed");
                    let (compared, ready) = (snapshot.compared(), answerer.take());
                    let asked = spawn_blocking(move || answer(ready, compared, &question)).await;
                    let (ready, answer) =
                        asked.unwrap_or_else(|error| (None, Answer::Refused(error.to_string())));
                    answerer = ready;
                    answer
                }
            };
            questions.answer(&answer).await?;
        }
        Ok(())
    }

    async fn find(&self, edge: EdgeId, identity: &str) -> Option<Arc<Snapshot>> {
        let state = self.state.lock().await;
        let pauses = self.shared.pauses();
        let known = state.cut_off.get(&edge).into_iter().chain(&state.newest);
        let mut known = known.filter(|snapshot| snapshot.pauses() == pauses);
        known.find(|snapshot| snapshot.identity() == identity).map(Arc::clone)
    }

    async fn remember(&self, edge: EdgeId, snapshot: Arc<Snapshot>) {
        let mut state = self.state.lock().await;
        let now = clock::now().0;
        state.cut_off.retain(|_, snapshot| snapshot.is_younger(now, RESUME_MS));
        if state.cut_off.len() < RESUMES_MAX {
            state.cut_off.insert(edge, snapshot);
        }
    }

    /// The snapshot for a device. One is made at a time; others who want one wait and share it.
    async fn get(self: &Arc<Self>, edge: EdgeId, wanted: Wanted) -> Result<Arc<Snapshot>, SnapshotError> {
        let mut state = self.state.lock().await;
        let now = clock::now().0;
        let pauses = self.shared.pauses();
        let cut_off = state.cut_off.get(&edge);
        let goes_on = |snapshot: &&Arc<Snapshot>| {
            snapshot.pauses() == pauses && snapshot.is_younger(now, RESUME_MS) && snapshot.fits(wanted)
        };
        if let Some(snapshot) = cut_off.filter(goes_on) {
            return Ok(Arc::clone(snapshot));
        }
        let (answer, cut) = oneshot::channel();
        // When the writer is gone or in trouble, so is the answer's sender.
        let _ = self.shared.events.send(Event::Cut(answer)).await;
        cut.await.map_err(|_| SnapshotError::Stopping)?;
        let (version, pauses) = (self.shared.version(), self.shared.pauses());
        let fresh = |snapshot: &&Arc<Snapshot>| {
            let fresh = snapshot.version() == version || snapshot.is_younger(now, FRESH_MS);
            fresh && snapshot.pauses() == pauses && snapshot.fits(wanted)
        };
        if let Some(snapshot) = state.newest.as_ref().filter(fresh) {
            return Ok(Arc::clone(snapshot));
        }
        let (database, folder) = (self.database.clone(), self.folder.clone());
        let made = spawn_blocking(move || Snapshot::make(&database, &folder, pauses)).await;
        let snapshot = Arc::new(made.map_err(io::Error::other)??);
        state.newest = Some(Arc::clone(&snapshot));
        tokio::spawn(let_go(Arc::downgrade(self), Arc::downgrade(&snapshot)));
        Ok(snapshot)
    }
}

/// A snapshot is as large as the database: it is not kept for the next device for ever.
async fn let_go(snapshots: Weak<Snapshots>, snapshot: Weak<Snapshot>) {
    tokio::time::sleep(Duration::from_millis(RESUME_MS.unsigned_abs())).await;
    if let Some(snapshots) = snapshots.upgrade() {
        let mut state = snapshots.state.lock().await;
        let is_it = |newest: &Arc<Snapshot>| std::ptr::eq(Arc::as_ptr(newest), snapshot.as_ptr());
        if state.newest.as_ref().is_some_and(is_it) {
            state.newest = None;
        }
        let now = clock::now().0;
        state.cut_off.retain(|_, snapshot| snapshot.is_younger(now, RESUME_MS));
    }
}

/// Answers on a thread that may wait for a disk. The connection is kept for the next question.
fn answer(
    ready: Option<Answerer>,
    compared: Arc<Compared>,
    question: &Question,
) -> (Option<Answerer>, Answer) {
    match ready.map_or_else(|| Answerer::open(compared), Ok) {
        Ok(answerer) => {
            let answer = answerer.answer(question);
            (Some(answerer), answer)
        }
        Err(error) => (None, Answer::Refused(error.to_string())),
    }
}
