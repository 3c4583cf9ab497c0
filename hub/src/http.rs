//! What the hub says over HTTP: the operator's page, the same as JSON under `/api`, metrics, and whether it lives.
//!
//! * `routes` is the list of all that can be asked, and the router is made from that list.
//! * `gate` decides who may ask; `serve` bounds connections, heads and time.
//! * Reads use connections of their own, a few at a time, so that no merge waits. What writes goes to the writer
//!   through the [`Line`], as a command's request does, or takes the lock of the backups as a command does.

mod act;
mod answer;
mod events;
mod gate;
mod metrics;
mod overview;
mod page;
mod read;
mod renewal;
mod routes;
mod serve;
mod status;
mod tls;
mod token;
mod traffic;

use crate::backup::{Backups, Settings};
use crate::config::HttpTls;
use crate::daemon::Line;
use crate::folder::Folder;
use crate::restore::Restores;
use answer::Refusal;
use overview::Slow;
pub(crate) use renewal::{Renewal, fit};
use rusqlite::Connection;
pub(crate) use serve::serve;
use std::sync::Arc;
pub(crate) use tls::{TlsError, life};
pub(crate) use token::{Access, TokenError};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::spawn_blocking;
pub(crate) use traffic::Traffic;

/// Reads at a time; others wait.
const READS_MAX: usize = 4;

/// What every answer is made from.
pub(crate) struct Web {
    folder: Folder,
    settings: Settings,
    https: Option<HttpTls>,
    line: Line,
    access: Access,
    reads: Semaphore,
    /// Reads of whole vaults, journals and tables take turns.
    heavy: Semaphore,
    slow: Mutex<Option<Arc<Slow>>>,
    tables: Mutex<Option<Arc<status::Kept>>>,
    snapshots: watch::Sender<Arc<str>>,
    traffic: traffic::History,
    listeners: Arc<Semaphore>,
}

impl Web {
    pub(crate) fn new(
        folder: Folder,
        (settings, https): (Settings, Option<HttpTls>),
        line: Line,
        access: Access,
    ) -> Arc<Self> {
        Arc::new(Self {
            folder,
            settings,
            https,
            line,
            access,
            reads: Semaphore::new(READS_MAX),
            heavy: Semaphore::new(1),
            slow: Mutex::default(),
            tables: Mutex::default(),
            snapshots: watch::Sender::new(Arc::from("")),
            traffic: traffic::History::default(),
            listeners: Arc::new(Semaphore::new(events::LISTENERS_MAX)),
        })
    }

    /// Reads on a connection of its own.
    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self, &Connection) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let _place = self.reads.acquire().await;
        self.blocking(move |web| {
            let conn = crate::database::open(&web.folder.database()).map_err(Refusal::trouble)?;
            work(web, &conn)
        })
        .await
    }

    /// Work on backups or the whole journal, one at a time.
    async fn heavy<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let _place = self.heavy.acquire().await;
        self.blocking(work).await
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let web = Arc::clone(self);
        let done = spawn_blocking(move || work(&web)).await;
        done.map_err(Refusal::trouble)?
    }

    fn backups(&self) -> Result<Backups, Refusal> {
        Backups::open(&self.folder, &self.settings).map_err(Refusal::trouble)
    }

    fn restores(&self) -> Result<Restores, Refusal> {
        Restores::open(&self.folder, &self.settings).map_err(Refusal::trouble)
    }
}
