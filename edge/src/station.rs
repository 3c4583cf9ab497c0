//! The station page and what watches the daemon: one small HTTP server on the daemon's own thread.
//!
//! * It only reads the file, and records counts as any program does, on connections of its own: it never
//!   waits for the thread that owns the file but to ask for the numbers of `status`.
//! * Without a page open it does nothing: no timer, no polling.
//! * On loopback it answers every person at the device; bound elsewhere it wants the token of `station.token`.

mod answer;
mod api;
mod guard;
mod live;
mod metrics;
mod pages;
mod serve;
mod token;

use crate::daemon::worker::{Event, State};
use crate::place::Place;
use axum::Router;
use axum::routing::{get, post};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tt_migrations::durable;

/// Where the page is when nobody says otherwise.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8788);
/// Pages that may listen at the same time.
const LISTENERS_MAX: usize = 16;
/// Connections of a browser to the file at the same time.
const READERS_MAX: usize = 4;

/// Where a person wants the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http {
    /// At port 8788 of loopback; without a page if that is taken, because counts must go on.
    #[default]
    Usual,
    /// There and nowhere else.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

/// Why the page cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    /// The address is in use, or not this machine's.
    #[error(
        "the station page cannot listen on {address}: {source}; choose another with --http, or --http off"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A file in the daemon's folder.
    #[error("cannot write {path}: {source}; check that this user may write there")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
}

/// What every request can see.
struct Station {
    db: PathBuf,
    name: String,
    events: mpsc::Sender<Event>,
    state: watch::Receiver<State>,
    /// Moves on with every count that was recorded here.
    recorded: watch::Sender<u64>,
    listeners: Arc<Semaphore>,
    readers: Semaphore,
    guard: guard::Guard,
    stop: CancellationToken,
}

/// A station that listens. `edge.addr.json` names where until it is dropped.
pub(crate) struct Listening {
    file: PathBuf,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// Begins to listen and to answer, until `stop`. None when there is no page.
///
/// # Errors
/// When the address that was asked for cannot be had, or a file cannot be written.
pub(crate) async fn start(
    (place, name): (&Place, &str),
    http: Http,
    events: mpsc::Sender<Event>,
    state: watch::Receiver<State>,
    stop: CancellationToken,
) -> Result<Option<Listening>, StationError> {
    let wanted = match http {
        Http::Usual => DEFAULT_ADDRESS,
        Http::At(wanted) => wanted,
        Http::Off => return Ok(None),
    };
    match listen((place, name), wanted, events, state, stop).await {
        Err(error @ StationError::Listen { .. }) if http == Http::Usual => {
            tracing::warn!(%error, "there is no station page; everything else goes on");
            Ok(None)
        }
        outcome => outcome.map(Some),
    }
}

async fn listen(
    (place, name): (&Place, &str),
    wanted: SocketAddr,
    events: mpsc::Sender<Event>,
    state: watch::Receiver<State>,
    stop: CancellationToken,
) -> Result<Listening, StationError> {
    let failed = |source| StationError::Listen { address: wanted, source };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let token = if address.ip().is_loopback() { None } else { Some(token::of(place)?) };
    let db = place.db().unwrap_or_default();
    let station = Arc::new(Station {
        db,
        name: name.to_owned(),
        events,
        state,
        recorded: watch::Sender::new(0),
        listeners: Arc::new(Semaphore::new(LISTENERS_MAX)),
        readers: Semaphore::new(READERS_MAX),
        guard: guard::Guard { token },
        stop: stop.clone(),
    });
    let file = place.dir().join("edge.addr.json");
    let text = json!({ "http": address.to_string(), "pid": std::process::id() });
    durable::write(&file, format!("{text}\n").as_bytes())
        .map_err(|source| StationError::File { path: file.clone(), source })?;
    tokio::spawn(async move {
        tokio::select! {
            () = serve::serve(router(station), listener) => {}
            () = stop.cancelled() => {}
        }
    });
    Ok(Listening { file, address })
}

impl Drop for Listening {
    fn drop(&mut self) {
        // What is left behind names a process that is gone; the next start replaces it.
        let _ = std::fs::remove_file(&self.file);
    }
}

fn router(station: Arc<Station>) -> Router {
    Router::new()
        .merge(pages::routes())
        .route("/healthz", get(metrics::health))
        .route("/readyz", get(metrics::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/api/catalog", get(api::catalog))
        .route("/api/now", get(api::now))
        .route("/api/live", get(live::live))
        .route("/api/entries/{key}", post(api::enter))
        .route("/api/entries/{key}/amend", post(api::amend))
        .route("/api/entries/{key}/void", post(api::void))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&station), guard::check))
        .with_state(station)
}
