//! Notices that a program has committed: the folder is watched, not the file, because in WAL mode only
//! the `-wal` file changes, and it comes and goes. `PRAGMA data_version` then says whether it matters.
//!
//! The last write to the `-wal` file comes *before* the commit is visible: SQLite then still syncs and
//! publishes it through shared memory, which nobody is told of. So after a change we look again.

use super::DaemonError;
use super::worker::Event;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// Pauses between the looks after a change: a sync of a slow card may take that long.
const AFTER_CHANGE: [Duration; 4] = [
    Duration::from_millis(2),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
];
/// The safety net for file systems that tell nobody (network shares): six looks a minute.
const POLL: Duration = Duration::from_secs(10);

/// Watches the folder of the database. Dropping the watcher ends it.
///
/// # Errors
/// When the system refuses (too many watches, no such folder).
pub fn start(
    db: &Path,
    events: mpsc::Sender<Event>,
    changed: Arc<Notify>,
) -> Result<RecommendedWatcher, DaemonError> {
    let failed = |source| DaemonError::Watch { path: db.to_owned(), source };
    let name: OsString = db.file_name().unwrap_or_default().to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let ours = event.map_or(true, |event| {
            !event.kind.is_access()
                && (event.need_rescan() || event.paths.iter().any(|path| belongs(path, &name)))
        });
        if ours {
            // A full queue wakes the thread anyway, and each event makes it look.
            let _ = events.try_send(Event::Wake);
            changed.notify_one();
        }
    })
    .map_err(failed)?;
    let folder = db.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    watcher.watch(folder, RecursiveMode::NonRecursive).map_err(failed)?;
    Ok(watcher)
}

/// The database, its `-wal` or its `-journal`; not `-shm`, which changes with every read.
fn belongs(path: &Path, name: &OsString) -> bool {
    let Some(file) = path.file_name() else {
        return false;
    };
    let (file, name) = (file.as_encoded_bytes(), name.as_encoded_bytes());
    file.strip_prefix(name).is_some_and(|rest| matches!(rest, b"" | b"-wal" | b"-journal"))
}

/// Looks now and then, and some more times after a change, until `stop`.
pub async fn poll(events: mpsc::Sender<Event>, changed: Arc<Notify>, stop: CancellationToken) {
    loop {
        let delays: &[Duration] = tokio::select! {
            () = tokio::time::sleep(POLL) => &[Duration::ZERO],
            () = changed.notified() => &AFTER_CHANGE,
            () = stop.cancelled() => return,
        };
        for delay in delays {
            tokio::time::sleep(*delay).await;
            if events.send(Event::Wake).await.is_err() {
                return;
            }
        }
    }
}
