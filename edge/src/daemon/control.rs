//! The daemon's ear: a socket in its folder, on which the commands ask while it runs.
//!
//! One JSON line in, one JSON line out. Only the owner of the folder can reach it.

use super::DaemonError;
use super::worker::{Event, Numbers, State};
use crate::place::Place;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A request is one short line.
const REQUEST_BYTES_MAX: u64 = 4096;

/// How often the file's thread looks for tables to compare while a command waits for it.
const COMPARE_LOOK: Duration = Duration::from_millis(500);

/// What a command may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Request {
    /// The numbers of `status`.
    Status,
    /// One round of sync, and its end.
    Sync {
        /// How long the caller waits.
        timeout_ms: u64,
    },
    /// The file made anew from the hub's rows, and its end.
    Reseed {
        /// How long the caller waits.
        timeout_ms: u64,
    },
    /// A compare of every table with the hub's, and its end.
    Compare {
        /// How long the caller waits.
        timeout_ms: u64,
    },
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// The numbers of `status`.
    Status(Box<StatusReply>),
    /// All is in step.
    InStep,
    /// Every table was compared.
    Compared,
    /// It did not work, and why.
    Failed(String),
}

/// See [`Numbers`] and [`State`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusReply {
    pub(crate) connected: bool,
    pub(crate) unsent: u64,
    pub(crate) unread: Option<u64>,
    pub(crate) oldest_unsent_s: Option<u64>,
    pub(crate) version: u64,
    pub(crate) epoch: u64,
    pub(crate) blocked: Option<String>,
    pub(crate) last_sync: Option<i64>,
    pub(crate) id_space_used: f64,
    pub(crate) waiting_for: Option<(String, i64)>,
    pub(crate) keyless: Vec<String>,
    #[serde(default)]
    pub(crate) clock: Option<String>,
    #[serde(default)]
    pub(crate) left_out: Vec<String>,
    #[serde(default)]
    pub(crate) feed_refused: Option<String>,
    pub(crate) differing: Vec<(String, u64)>,
}

impl StatusReply {
    pub(crate) fn new(numbers: Numbers, state: &State) -> Self {
        Self {
            connected: state.connected,
            unsent: numbers.unsent,
            unread: numbers.unread,
            oldest_unsent_s: numbers.oldest_unsent_s,
            version: numbers.version,
            epoch: numbers.epoch,
            blocked: numbers.blocked,
            last_sync: state.last_sync,
            id_space_used: numbers.id_space_used,
            waiting_for: state.waiting_for.clone(),
            keyless: numbers.keyless,
            clock: numbers.clock,
            left_out: numbers.left_out,
            feed_refused: numbers.feed_refused,
            differing: numbers.differing,
        }
    }
}

/// Opens the ear. Who asks for a sync also knocks, so that a waiting link is tried at once.
///
/// # Errors
/// When the socket cannot be made.
pub fn listen(
    place: &Place,
    events: mpsc::Sender<Event>,
    state: watch::Receiver<State>,
    knock: Arc<Notify>,
    stop: CancellationToken,
) -> Result<JoinHandle<()>, DaemonError> {
    let path = place.control();
    // The lock of the database is held, so a socket that lies here is a leftover.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match stream {
                Ok((stream, _)) => {
                    tokio::spawn(serve(stream, events.clone(), state.clone(), Arc::clone(&knock)));
                }
                Err(error) => tracing::warn!(%error, "a command could not be heard"),
            }
        }
    }))
}

async fn serve(
    stream: UnixStream,
    events: mpsc::Sender<Event>,
    state: watch::Receiver<State>,
    knock: Arc<Notify>,
) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    if BufReader::new(read.take(REQUEST_BYTES_MAX)).read_line(&mut line).await.is_err() {
        return;
    }
    let reply = match serde_json::from_str(&line) {
        Ok(Request::Status) => status(&events, &state).await,
        Ok(Request::Sync { timeout_ms }) => {
            knock.notify_waiters();
            sync(&events, &state, Duration::from_millis(timeout_ms)).await
        }
        Ok(Request::Reseed { timeout_ms }) => {
            knock.notify_waiters();
            ask(&events, &state, Duration::from_millis(timeout_ms), Event::Reseed).await
        }
        Ok(Request::Compare { timeout_ms }) => {
            knock.notify_waiters();
            compare(&events, &state, Duration::from_millis(timeout_ms)).await
        }
        Err(error) => Reply::Failed(format!("the daemon does not understand this command: {error}")),
    };
    let mut bytes = serde_json::to_vec(&reply).expect("plain data");
    bytes.push(b'\n');
    // Whoever asked may have gone away.
    let _ = write.write_all(&bytes).await;
}

async fn status(events: &mpsc::Sender<Event>, state: &watch::Receiver<State>) -> Reply {
    let (answer, answered) = oneshot::channel();
    if events.send(Event::Status(answer)).await.is_err() {
        return Reply::Failed("the daemon is stopping".to_owned());
    }
    match answered.await {
        Ok(Ok(numbers)) => Reply::Status(Box::new(StatusReply::new(numbers, &state.borrow()))),
        Ok(Err(reason)) => Reply::Failed(reason),
        Err(_) => Reply::Failed("the daemon is stopping".to_owned()),
    }
}

/// Asks the file's thread, and says at the end of the wait what it is waiting for.
pub(crate) async fn sync(
    events: &mpsc::Sender<Event>,
    state: &watch::Receiver<State>,
    wait: Duration,
) -> Reply {
    ask(events, state, wait, Event::Ask).await
}

/// As [`sync`], with another question that is answered when all is in step.
pub(crate) async fn ask(
    events: &mpsc::Sender<Event>,
    state: &watch::Receiver<State>,
    wait: Duration,
    question: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Event,
) -> Reply {
    let (answer, answered) = oneshot::channel();
    if events.send(question(answer)).await.is_err() {
        return Reply::Failed("the daemon is stopping".to_owned());
    }
    match tokio::time::timeout(wait, answered).await {
        Ok(Ok(Ok(()))) => Reply::InStep,
        Ok(Ok(Err(reason))) => Reply::Failed(reason),
        Ok(Err(_)) => Reply::Failed("the daemon is stopping".to_owned()),
        Err(_) => Reply::Failed(why_not(&state.borrow(), wait)),
    }
}

/// Has every table compared with the hub's, and says at the end of the wait what it is waiting for.
pub(crate) async fn compare(
    events: &mpsc::Sender<Event>,
    state: &watch::Receiver<State>,
    wait: Duration,
) -> Reply {
    let (answer, answered) = oneshot::channel();
    if events.send(Event::Compare(answer)).await.is_err() {
        return Reply::Failed("the daemon is stopping".to_owned());
    }
    // A hub that cannot compare now is asked again: the thread must look at the time for that.
    let wake = async {
        loop {
            tokio::time::sleep(COMPARE_LOOK).await;
            if events.send(Event::Wake).await.is_err() {
                return;
            }
        }
    };
    let answer = tokio::select! {
        answer = tokio::time::timeout(wait, answered) => answer,
        () = wake => return Reply::Failed("the daemon is stopping".to_owned()),
    };
    match answer {
        Ok(Ok(Ok(()))) => Reply::Compared,
        Ok(Ok(Err(reason))) => Reply::Failed(reason),
        Ok(Err(_)) => Reply::Failed("the daemon is stopping".to_owned()),
        Err(_) => Reply::Failed(why_not(&state.borrow(), wait)),
    }
}

fn why_not(state: &State, wait: Duration) -> String {
    let seconds = wait.as_secs_f32();
    let reason = match (&state.refused, &state.waiting_for) {
        (Some(reason), _) => format!("the hub refuses: {reason}"),
        (None, Some((what, _))) => what.clone(),
        (None, None) if state.connected => {
            "the hub is slow or programs write all the time: rows are still under way".to_owned()
        }
        (None, None) => "the hub was not reached yet".to_owned(),
    };
    format!("not in step after {seconds} s: {reason}")
}
