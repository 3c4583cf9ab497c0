//! Notices that programs wrote to the canonical file, and wakes the writer; also beats time for it.
//!
//! * The folder is watched, not the file: in WAL mode only `-wal` changes, and it comes and goes.
//! * The log is written a moment before its commit can be seen, so the writer looks again soon after.
//! * A slow poll is the safety net. That something really changed is for the writer to confirm.

use super::event::{Event, Shared};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How often the writer looks by itself.
pub(super) const TICK: Duration = Duration::from_secs(2);

/// When the writer looks again after a sign of writing: a commit becomes visible once the log is on disk.
const AGAIN: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(200)];

/// Watches until it is dropped. Without a watcher (the system may have none left) the poll remains.
pub(super) fn begin(database: &Path, shared: &Arc<Shared>, runtime: &Runtime) -> Option<RecommendedWatcher> {
    let ticking = Arc::clone(shared);
    runtime.spawn(async move {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if ticking.events.send(Event::Tick).await.is_err() {
                return;
            }
        }
    });
    let sign = Arc::new(Notify::new());
    runtime.spawn(look_again(Arc::clone(&sign), Arc::clone(shared)));
    match watcher(database, shared, sign) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "cannot watch the hub's folder; programs' writes are noticed every 2 s");
            None
        }
    }
}

async fn look_again(sign: Arc<Notify>, shared: Arc<Shared>) {
    loop {
        sign.notified().await;
        for pause in AGAIN {
            sleep(pause).await;
            shared.tell_written();
        }
    }
}

fn watcher(database: &Path, shared: &Arc<Shared>, sign: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let name = database.file_name().unwrap_or_default().to_owned();
    let folder = database.parent().unwrap_or(Path::new("."));
    let shared = Arc::clone(shared);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let is_ours = |path: &std::path::PathBuf| {
            let file = path.file_name().unwrap_or_default().as_encoded_bytes();
            file.starts_with(name.as_encoded_bytes())
        };
        if !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(is_ours) {
            shared.tell_written();
            sign.notify_one();
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
