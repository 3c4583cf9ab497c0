//! The daemon's end of the control socket: one JSON line in, one out, each connection with a deadline.

use super::DaemonError;
use super::event::Event;
use crate::control::pause::GO_ON;
use crate::control::{LINE_BYTES_MAX, Reply, Request};
use crate::folder::Folder;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// Commands that are served at the same time; others wait.
const COMMANDS_MAX: usize = 16;
/// How long a command may take to ask and to read its answer.
const TURN: Duration = Duration::from_secs(10);
/// A pause after the system refused a connection (too many open files).
const PAUSE: Duration = Duration::from_millis(100);

/// The socket; it goes away with the daemon.
pub(super) struct Socket {
    listener: UnixListener,
    _file: SocketFile,
}

struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A socket that is left behind refuses connections, and the next start replaces it.
        let _ = fs::remove_file(&self.0);
    }
}

impl Socket {
    /// Binds the socket. The caller holds the folder's lock, so one that is there is a leftover.
    pub(super) fn bind(folder: &Folder) -> Result<Self, DaemonError> {
        let socket = folder.control();
        let file = SocketFile(folder.path().join("control.sock"));
        let _ = fs::remove_file(&file.0);
        let bound = UnixListener::bind(&socket.path).and_then(|listener| {
            fs::set_permissions(&socket.path, fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        });
        match bound {
            Ok(listener) => Ok(Self { listener, _file: file }),
            Err(source) => Err(DaemonError::File { what: "make the socket", path: file.0.clone(), source }),
        }
    }

    pub(super) async fn serve(self, events: mpsc::Sender<Event>) {
        let places = Arc::new(Semaphore::new(COMMANDS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let events = events.clone();
                    tokio::spawn(async move {
                        if let Err(error) = answer(stream, &events).await {
                            tracing::debug!(%error, "a command went away");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a command did not get in");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn answer(mut stream: UnixStream, events: &mpsc::Sender<Event>) -> io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut line = String::new();
    let mut reader = BufReader::new(reading.take(LINE_BYTES_MAX));
    timeout(TURN, reader.read_line(&mut line)).await??;
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(Request::Pause) => return pause(reader, writing, events).await,
        Ok(request) => ask(events, |answer| Event::Ask(request, answer)).await,
        Err(error) => Reply::Failed {
            reason: format!("the running hub does not know this request ({error}): restart it"),
        },
    };
    say(&mut writing, &reply).await
}

async fn say(writing: &mut (impl AsyncWrite + Unpin), reply: &Reply) -> io::Result<()> {
    let mut text = serde_json::to_vec(reply)?;
    text.push(b'\n');
    timeout(TURN, writing.write_all(&text)).await?
}

/// The database is let go of until the command says so or is gone, however it went.
async fn pause(
    mut reader: impl AsyncBufRead + Unpin,
    mut writing: impl AsyncWrite + Unpin,
    events: &mpsc::Sender<Event>,
) -> io::Result<()> {
    let reply = ask(events, Event::Pause).await;
    let paused = matches!(reply, Reply::Paused);
    let mut told = say(&mut writing, &reply).await;
    if !paused {
        return told;
    }
    let mut line = String::new();
    while told.is_ok() && matches!(reader.read_line(&mut line).await, Ok(1..)) && line.trim_end() != GO_ON {
        line.clear();
        told = say(&mut writing, &Reply::Paused).await;
    }
    let reply = ask(events, Event::GoOn).await;
    say(&mut writing, &reply).await
}

pub(super) async fn ask(
    events: &mpsc::Sender<Event>,
    event: impl FnOnce(oneshot::Sender<Reply>) -> Event,
) -> Reply {
    let (answer, reply) = oneshot::channel();
    // When the writer is gone, so is the answer's sender.
    let _ = events.send(event(answer)).await;
    reply
        .await
        .unwrap_or_else(|_| Reply::Failed { reason: "the hub is stopping; try again in a moment".into() })
}
