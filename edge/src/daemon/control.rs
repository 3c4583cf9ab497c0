//! The daemon's ear: a socket in its folder, on which the commands ask while it runs.
//!
//! One JSON line in, one JSON line out; who wants to hear how far it is gets more lines before that. Only the owner of the folder can reach it.

use super::DaemonError;
use super::broadcast::{Broadcast, Standing};
use super::worker::{Event, Numbers, State};
use crate::place::Place;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A request is one short line.
const REQUEST_BYTES_MAX: u64 = 4096;

/// How often the file's thread looks for tables to compare while a command waits for it.
const COMPARE_LOOK: Duration = Duration::from_millis(500);

/// Between two lines of progress.
const TELL: Duration = Duration::from_millis(200);

/// The parts of the daemon that commands reach.
#[derive(Clone)]
pub struct Daemon {
    /// The queue of the file's thread.
    pub events: mpsc::Sender<Event>,
    /// What that thread publishes.
    pub state: watch::Receiver<State>,
    /// Has a waiting link tried at once.
    pub knock: Arc<Notify>,
    /// How far long work is.
    pub progress: Arc<Broadcast>,
}

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
        /// The caller wants to hear how far it is, in lines before the answer.
        #[serde(default)]
        progress: bool,
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
    /// How far it is, for who wants to hear it; the answer is still to come.
    Progress(Standing),
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
pub fn listen(place: &Place, daemon: Daemon, stop: CancellationToken) -> Result<JoinHandle<()>, DaemonError> {
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
                    tokio::spawn(serve(stream, daemon.clone()));
                }
                Err(error) => tracing::warn!(%error, "a command could not be heard"),
            }
        }
    }))
}

async fn serve(stream: UnixStream, daemon: Daemon) {
    let Daemon { events, state, knock, progress } = daemon;
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
        Ok(Request::Reseed { timeout_ms, progress: wanted }) => {
            knock.notify_waiters();
            let reseed = ask(&events, &state, Duration::from_millis(timeout_ms), Event::Reseed);
            if wanted { telling(reseed, progress.listen(), &mut write).await } else { reseed.await }
        }
        Ok(Request::Compare { timeout_ms }) => {
            knock.notify_waiters();
            compare(&events, &state, Duration::from_millis(timeout_ms)).await
        }
        Err(error) => Reply::Failed(format!("the daemon does not understand this command: {error}")),
    };
    // Whoever asked may have gone away.
    let _ = say(&reply, &mut write).await;
}

async fn say(reply: &Reply, write: &mut OwnedWriteHalf) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(reply).expect("plain data");
    bytes.push(b'\n');
    write.write_all(&bytes).await
}

/// Waits for the answer, and says meanwhile how far the work is: each phase, and its pieces a few times a second.
async fn telling(
    answer: impl Future<Output = Reply>,
    mut progress: watch::Receiver<Option<Standing>>,
    write: &mut OwnedWriteHalf,
) -> Reply {
    let tell = async {
        progress.mark_changed();
        while progress.changed().await.is_ok() {
            let standing = progress.borrow_and_update().clone();
            let Some(standing) = standing else { continue };
            if say(&Reply::Progress(standing.clone()), write).await.is_err() {
                break;
            }
            let is_over = |now: &Option<Standing>| now.as_ref().is_none_or(|now| !now.is_of_phase(&standing));
            let is_next = matches!(timeout(TELL, progress.wait_for(is_over)).await, Ok(Ok(_)));
            if is_next {
                progress.mark_changed();
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        answer = answer => answer,
        never = tell => never,
    }
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
    match timeout(wait, answered).await {
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
            if events.send(Event::Look).await.is_err() {
                return;
            }
        }
    };
    let answer = tokio::select! {
        answer = timeout(wait, answered) => answer,
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

#[cfg(test)]
mod tests {
    use super::*;
    use tt_migrations::progress::{Progress as _, Unit};

    #[tokio::test]
    async fn who_waits_hears_of_every_phase_and_then_the_answer() {
        let (here, there) = UnixStream::pair().unwrap();
        let (_reading, mut write) = here.into_split();
        let (progress, (answer, answered)) = (Arc::new(Broadcast::default()), oneshot::channel());
        let listening = progress.listen();
        let told =
            tokio::spawn(
                async move { telling(async { answered.await.unwrap() }, listening, &mut write).await },
            );
        let mut lines = BufReader::new(there).lines();
        let mut heard = Vec::new();
        for (what, total) in [("fetching", Some(10)), ("writing", None)] {
            progress.phase(what, total, Unit::Bytes);
            // What is told was told after that: nobody waits for the time between two lines.
            heard.push(lines.next_line().await.unwrap().unwrap());
        }
        assert_eq!(
            heard,
            [
                r#"{"progress":{"what":"fetching","done":0,"total":10,"unit":"bytes"}}"#,
                r#"{"progress":{"what":"writing","done":0,"total":null,"unit":"bytes"}}"#
            ]
        );
        progress.end();
        answer.send(Reply::InStep).unwrap();
        assert_eq!(told.await.unwrap(), Reply::InStep);
    }
}
