//! The daemon: one thread that owns the file, one task that keeps a link, one ear for commands, one eye on the
//! inbox.
//!
//! * Nothing of the link ever waits for the file, and the file never waits for the link but by the
//!   bounded queue of frames between them.
//! * It always knows what it is waiting for and since when; it reconnects by itself, for ever.

pub mod broadcast;
pub mod control;
mod fetch;
mod inbox;
pub mod link;
mod manager;
mod numbers;
mod reader;
pub mod watch;
pub mod worker;

use crate::identity::Identity;
use crate::link::LinkError;
use crate::place::{Place, PlaceError};
use crate::station::{self, Http, StationError};
use crate::store::StoreError;
use broadcast::Broadcast;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use worker::{Event, Worker};

/// Events that may wait for the file's thread. A link that brings more is slowed down by it.
const EVENTS_MAX: usize = 64;

/// Why the daemon, or one round of sync, cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A folder or file of the device.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// SQLite cannot use the file.
    #[error("cannot use {path}: {source}; nothing was changed{advice}", advice = crate::salvage::advice(source))]
    Unusable {
        /// The database.
        path: PathBuf,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
    /// The link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The station page.
    #[error(transparent)]
    Station(#[from] StationError),
    /// The system refused a thread, a signal handler or a socket.
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
    /// The file's thread ended.
    #[error("the thread that owns the database has ended: see its last log line")]
    WorkerGone,
    /// The watcher could not be started.
    #[error("the folder of {path} cannot be watched: {source}")]
    Watch {
        /// The database.
        path: PathBuf,
        /// Why.
        source: notify::Error,
    },
}

/// Runs until a signal to stop, with the station page at `http`.
///
/// # Errors
/// When the file cannot be opened, is held by another process, or the system refuses.
pub async fn run(
    place: &Place,
    identity: Identity,
    addresses: Vec<String>,
    http: Http,
) -> Result<(), DaemonError> {
    // Before anybody can see that it runs: whoever asks it to stop from then on is heard.
    let stopped = Signals::listen()?;
    let db = place.db()?;
    let _lock = crate::place::lock(&db)?;
    let (events, queue) = mpsc::channel(EVENTS_MAX);
    let worker = Worker::start((&db, place.dir()), &events, queue, true)?;
    let signs = Arc::new(watch::Signs::default());
    let _watcher = watch::start((&db, place.dir()), events.clone(), Arc::clone(&signs))?;
    let stop = CancellationToken::new();
    let knock = Arc::new(Notify::new());
    let progress = Arc::new(Broadcast::default());
    let daemon = control::Daemon {
        events: events.clone(),
        state: worker.state(),
        knock: Arc::clone(&knock),
        progress: Arc::clone(&progress),
    };
    let ear = control::listen(place, daemon, stop.clone())?;
    let who = (place, identity.name.as_str());
    let page = station::start(who, http, events.clone(), worker.state(), stop.clone()).await?;
    let link = tokio::spawn(link::keep(
        identity,
        addresses,
        place.dir().to_owned(),
        events.clone(),
        knock,
        progress,
        stop.clone(),
    ));
    let inbox = inbox::keep(place.dir().to_owned(), db.clone(), Arc::clone(&signs), stop.clone());
    let inbox = tokio::spawn(inbox);
    let poll = watch::poll(events.clone(), signs, worker.wanted(), watch::net(&db), stop.clone());
    let poll = tokio::spawn(poll);
    let http = page.as_ref().map_or_else(|| "off".to_owned(), |page| page.address.to_string());
    tracing::info!(database = %db.display(), http, "tt-edge runs");
    let alive = tokio::spawn(manager::keep_alive());
    manager::ready();
    let is_asked = tokio::select! {
        () = stopped.came() => true,
        // Without the file's thread nothing is handed in any more: whoever keeps the daemon must start it again.
        () = events.closed() => false,
    };
    manager::stopping();
    alive.abort();
    stop.cancel();
    let _ = tokio::join!(link, poll, ear, inbox);
    // The queue may be full of frames; the thread takes them first and ends with this one.
    let _ = events.send(Event::Stop).await;
    worker.join();
    drop(page);
    let _ = std::fs::remove_file(place.control());
    if !is_asked {
        return Err(DaemonError::WorkerGone);
    }
    tracing::info!("tt-edge has stopped");
    Ok(())
}

/// The signals that end the daemon cleanly.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    /// Waits until one has come, perhaps long ago.
    async fn came(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
