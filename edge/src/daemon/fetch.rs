//! Fetches what a reseed needs, on the connection that the frames use: the head of a snapshot and the rows that differ,
//! or the whole snapshot.
//!
//! * A transfer that was cut off goes on with the next link, and what is here and was not written yet is not fetched
//!   again.
//! * A hub that cannot give a snapshot now is no refusal of the device: the link ends with the reason and comes again.

use super::worker::Event;
use crate::engine::Fetch;
use crate::link::{self, LinkError, Questions, fetch_head, fetch_seed};
use crate::store::Seed;
use crate::store::difference::{self, Compared, Ground};
use flate2::read::MultiGzDecoder;
use quinn::Connection;
use rusqlite::OpenFlags;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tt_migrations::progress::{Progress, Told, Unit};
use tt_migrations::state;

/// Where the parts of a reseed come.
struct Paths {
    folder: PathBuf,
}

/// The link on which a snapshot is fetched.
struct Fetching<'f> {
    connection: &'f Connection,
    paths: Paths,
    fetch: Fetch,
    events: &'f mpsc::Sender<Event>,
    progress: &'f Arc<dyn Progress>,
}

/// Tells the thread that compares that nobody waits for it any more.
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Serves the file's thread until it asks no more.
///
/// # Errors
/// When a snapshot cannot be fetched or unpacked: the link is of no use then.
pub(super) async fn serve(
    connection: &Connection,
    (folder, progress): (&Path, &Arc<dyn Progress>),
    mut wanted: mpsc::Receiver<Fetch>,
    events: &mpsc::Sender<Event>,
) -> Result<bool, LinkError> {
    while let Some(fetch) = wanted.recv().await {
        let fetching = Fetching { connection, paths: Paths::in_folder(folder), fetch, events, progress };
        let seed = fetching.run().await.map_err(|error| match error {
            LinkError::Refused(reason) => LinkError::Lost(format!("the hub gives no snapshot: {reason}")),
            other => other,
        })?;
        let Some(seed) = seed else { continue };
        progress.step("writing the rows");
        if events.send(Event::Fetched(seed)).await.is_err() {
            return Ok(true);
        }
    }
    std::future::pending().await
}

/// Removes what a reseed has left in the folder.
pub(super) fn clean(folder: &Path) {
    let paths = Paths::in_folder(folder);
    for path in [paths.packed(), paths.unpacked(), paths.packed_head(), paths.head(), paths.rows()] {
        // What stays is overwritten by the next one.
        let _ = fs::remove_file(path);
    }
}

impl Paths {
    fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn packed(&self) -> PathBuf {
        self.folder.join("seed.db.gz")
    }

    fn unpacked(&self) -> PathBuf {
        self.folder.join("seed.db")
    }

    fn packed_head(&self) -> PathBuf {
        self.folder.join("seed.head.db.gz")
    }

    fn head(&self) -> PathBuf {
        self.folder.join("seed.head.db")
    }

    fn rows(&self) -> PathBuf {
        self.folder.join("seed.rows")
    }
}

impl Fetching<'_> {
    /// What the file's thread is to write; None when it has other plans by now.
    async fn run(&self) -> Result<Option<Seed>, LinkError> {
        // A whole one that is here, or on its way, is brought to its end.
        let is_begun =
            self.paths.unpacked().exists() || self.paths.packed().with_extension("gz.part").exists();
        if is_begun {
            return self.whole().await.map(Some);
        }
        // The hub may have let go of the snapshot whose head is here: then another one is asked about.
        for _ in 0..2 {
            match self.rows().await? {
                Some(Compared::Rows) => {
                    return Ok(Some(self.seed(self.paths.head(), Some(self.paths.rows()))));
                }
                Some(Compared::Over) => self.forget_head(),
                Some(Compared::Whole(why)) => {
                    tracing::info!(%why, "the whole snapshot is fetched");
                    break;
                }
                Some(Compared::Cut) => {
                    return Err(LinkError::Lost("it ended while rows were fetched".to_owned()));
                }
                None => return Ok(None),
            }
        }
        self.whole().await.map(Some)
    }

    const fn seed(&self, path: PathBuf, rows: Option<PathBuf>) -> Seed {
        Seed { path, rows, epoch: self.fetch.epoch, order: self.fetch.order }
    }

    async fn unpacked(&self, packed: PathBuf, path: PathBuf) -> Result<(), LinkError> {
        let (to, progress) = (path.clone(), Arc::clone(self.progress));
        let done = spawn_blocking(move || unpack(&packed, &to, progress.as_ref()));
        let done = done.await.map_err(io::Error::other);
        done.and_then(|done| done).map_err(|source| LinkError::File { path, source })
    }

    fn forget_head(&self) {
        // One that stays is found out again.
        let _ = fs::remove_file(self.paths.head());
    }

    async fn whole(&self) -> Result<Seed, LinkError> {
        let (packed, path) = (self.paths.packed(), self.paths.unpacked());
        let seed = self.seed(path.clone(), None);
        if fits(&path, self.fetch) {
            return Ok(seed);
        }
        let mut told = 0;
        let mut watched = link::told("fetching the hub's rows", self.progress.as_ref());
        let header =
            fetch_seed(self.connection, &packed, self.fetch.epoch, self.fetch.at_least, |progress| {
                watched(progress);
                let percent = progress.received * 100 / progress.total.max(1);
                if percent >= told + 10 {
                    told = percent;
                    tracing::info!(percent, bytes = progress.total, "a snapshot is coming");
                }
            })
            .await?;
        tracing::info!(bytes = header.bytes, version = %header.version, "a snapshot of the hub is here");
        self.unpacked(packed, path).await?;
        Ok(seed)
    }

    /// The head of a snapshot. False when the hub is of an earlier version and has none.
    async fn has_head(&self) -> Result<bool, LinkError> {
        if fits(&self.paths.head(), self.fetch) {
            return Ok(true);
        }
        let (packed, path) = (self.paths.packed_head(), self.paths.head());
        match fetch_head(self.connection, &packed, self.fetch.epoch, self.fetch.at_least).await {
            Err(LinkError::NoAnswer) => return Ok(false),
            fetched => fetched?,
        };
        self.unpacked(packed, path).await.map(|()| true)
    }

    /// Fetches the rows that differ. None when the file cannot be compared as it is.
    async fn rows(&self) -> Result<Option<Compared>, LinkError> {
        if !self.has_head().await? {
            return Ok(Some(Compared::Whole("the hub is of an earlier version".to_owned())));
        }
        let (answer, ground) = oneshot::channel();
        // When the file's thread is gone, so is the answer's sender.
        let _ = self.events.send(Event::Head(self.seed(self.paths.head(), None), answer)).await;
        let Ok(Some(ground)) = ground.await else { return Ok(None) };
        let questions = Questions::open(self.connection, ground.identity().to_owned()).await?;
        self.compare(ground, questions).await.map(Some)
    }

    async fn compare(&self, ground: Ground, mut questions: Questions) -> Result<Compared, LinkError> {
        let (head, rows) = (self.paths.head(), self.paths.rows());
        let (link, stop) = (Handle::current(), Arc::new(AtomicBool::new(false)));
        let progress = Arc::clone(self.progress);
        let _stop_when_dropped = StopWhenDropped(Arc::clone(&stop));
        let compared = spawn_blocking(move || {
            let mut lost = None;
            let mut ask = |question: &_| match link.block_on(questions.ask(question)) {
                Ok(answer) => Some(answer),
                Err(error) => {
                    lost = Some(error);
                    None
                }
            };
            let compared = difference::compare((&head, &rows), &ground, &mut ask, (&stop, progress.as_ref()));
            (compared, lost)
        });
        let (compared, lost) = compared.await.map_err(|error| LinkError::Lost(error.to_string()))?;
        match (lost, compared) {
            (Some(error), _) => Err(error),
            (None, Ok(compared)) => Ok(compared),
            (None, Err(error)) => {
                tracing::warn!(%error, "rows could not be compared");
                Ok(Compared::Whole(error.to_string()))
            }
        }
    }
}

/// True when there is an unpacked snapshot, or head of one, that is as good as what the hub would send.
fn fits(path: &Path, fetch: Fetch) -> bool {
    let read = || -> rusqlite::Result<bool> {
        let conn = rusqlite::Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let number = |name| Ok::<_, rusqlite::Error>(state::get(&conn, name)?.unwrap_or(0).unsigned_abs());
        Ok(number(state::EPOCH)? == fetch.epoch.0 && number(state::VERSION)? >= fetch.at_least.0)
    };
    read().unwrap_or(false)
}

/// The name is given last: half of a snapshot is never taken for one.
#[expect(
    clippy::disallowed_methods,
    reason = "the file is synced before, and a name that is lost is given again"
)]
fn unpack(packed: &Path, path: &Path, progress: &dyn Progress) -> io::Result<()> {
    let growing = path.with_extension("db.unpacking");
    let mut target = File::create(&growing)?;
    let source = File::open(packed)?;
    progress.phase("unpacking the hub's rows", Some(source.metadata()?.len()), Unit::Bytes);
    io::copy(&mut MultiGzDecoder::new(Told::new(source, progress)), &mut target)?;
    target.sync_all()?;
    fs::rename(&growing, path)?;
    fs::remove_file(packed)
}
