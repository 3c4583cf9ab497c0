//! Fetches the snapshots that a reseed needs, on the connection that the frames use, and unpacks them.
//!
//! * A transfer that was cut off goes on with the next link, and an unpacked snapshot that was not written
//!   yet is not fetched again.
//! * A hub that cannot give one now is no refusal of the device: the link ends with the reason and comes again.

use super::worker::Event;
use crate::engine::Fetch;
use crate::link::{LinkError, fetch_seed};
use crate::store::Seed;
use flate2::read::MultiGzDecoder;
use quinn::Connection;
use rusqlite::OpenFlags;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tt_migrations::state;

/// Serves the file's thread until it asks no more.
///
/// # Errors
/// When a snapshot cannot be fetched or unpacked: the link is of no use then.
pub(super) async fn serve(
    connection: &Connection,
    folder: &Path,
    mut wanted: mpsc::Receiver<Fetch>,
    events: &mpsc::Sender<Event>,
) -> Result<bool, LinkError> {
    while let Some(fetch) = wanted.recv().await {
        let seed = one(connection, folder, fetch).await.map_err(|error| match error {
            LinkError::Refused(reason) => LinkError::Lost(format!("the hub gives no snapshot: {reason}")),
            other => other,
        })?;
        if events.send(Event::Fetched(seed)).await.is_err() {
            return Ok(true);
        }
    }
    std::future::pending().await
}

/// Removes what a reseed has left in the folder.
pub(super) fn clean(folder: &Path) {
    for path in [packed(folder), unpacked(folder)] {
        // What stays is overwritten by the next one.
        let _ = fs::remove_file(path);
    }
}

fn packed(folder: &Path) -> PathBuf {
    folder.join("seed.db.gz")
}

fn unpacked(folder: &Path) -> PathBuf {
    folder.join("seed.db")
}

async fn one(connection: &Connection, folder: &Path, fetch: Fetch) -> Result<Seed, LinkError> {
    let (packed, path) = (packed(folder), unpacked(folder));
    let seed = Seed { path: path.clone(), epoch: fetch.epoch, order: fetch.order };
    if fits(&path, fetch) {
        return Ok(seed);
    }
    let mut told = 0;
    let header = fetch_seed(connection, &packed, fetch.epoch, fetch.at_least, |progress| {
        let percent = progress.received * 100 / progress.total.max(1);
        if percent >= told + 10 {
            told = percent;
            tracing::info!(percent, bytes = progress.total, "a snapshot is coming");
        }
    })
    .await?;
    tracing::info!(bytes = header.bytes, version = %header.version, "a snapshot of the hub is here");
    let done = spawn_blocking(move || unpack(&packed, &path)).await.map_err(io::Error::other);
    done.and_then(|done| done).map_err(|source| LinkError::File { path: seed.path.clone(), source })?;
    Ok(seed)
}

/// True when there is an unpacked snapshot that is as good as what the hub would send.
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
fn unpack(packed: &Path, path: &Path) -> io::Result<()> {
    let growing = path.with_extension("db.unpacking");
    let mut target = File::create(&growing)?;
    io::copy(&mut MultiGzDecoder::new(File::open(packed)?), &mut target)?;
    target.sync_all()?;
    fs::rename(&growing, path)?;
    fs::remove_file(packed)
}
