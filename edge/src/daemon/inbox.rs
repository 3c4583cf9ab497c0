//! Watches the inbox: looks when something in the folder changed, and now and then, because network folders tell
//! nobody. A look works on a thread of its own, as a program would.
//!
//! The configuration is read at each look, and there is a look when it changes, so that it can be changed, or made,
//! while the daemon runs.

use super::watch::{self, Signs};
use crate::inbox::config::Config;
use crate::inbox::folder::{Inbox, Looked};
use crate::inbox::{self, InboxError};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How soon an inbox that cannot be used is looked at again.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// How many times rarer than a database one looks for a configuration that is not there: somebody makes one once.
const FOR_CONFIG: u32 = 10;

/// Keeps the inbox of `dir` until `stop`. It never ends because of a file or a folder.
pub(super) async fn keep(dir: PathBuf, db: PathBuf, signs: Arc<Signs>, stop: CancellationToken) {
    let changed = Arc::new(Notify::new());
    let mut inbox = Inbox::default();
    let mut watched: Option<(PathBuf, RecommendedWatcher)> = None;
    let mut told = None;
    while !stop.is_cancelled() {
        let (rest, settle) = match prepared(&dir) {
            Ok(None) => (watch::net(&dir) * FOR_CONFIG, None),
            Ok(Some(config)) => {
                watch_folder(&config.folder, &changed, &mut watched);
                let (looked, back) = look(inbox, db.clone(), config.clone(), stop.clone()).await;
                inbox = back;
                match looked {
                    Ok(looked) => {
                        told = None;
                        let rest = if looked.unsettled { config.settle } else { config.rescan };
                        (rest, Some(config.settle).filter(|_| !looked.unsettled))
                    }
                    Err(error) => (tell(&mut told, &error, config.rescan), None),
                }
            }
            Err(error) => (tell(&mut told, &error, TRY_AGAIN), None),
        };
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = noticed(&changed, settle) => {}
            () = signs.inbox.notified() => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Something changed, and the time after which it may be finished is over. Without that time, only the other
/// waits end.
async fn noticed(changed: &Notify, settle: Option<Duration>) {
    match settle {
        Some(settle) => {
            changed.notified().await;
            tokio::time::sleep(settle).await;
        }
        None => std::future::pending().await,
    }
}

/// The configuration, and its folder, which is made when it is not there.
fn prepared(dir: &Path) -> Result<Option<Config>, InboxError> {
    let Some(config) = Config::load(dir)? else { return Ok(None) };
    inbox::make(&config.folder)?;
    Ok(Some(config))
}

fn tell(told: &mut Option<String>, error: &InboxError, rest: Duration) -> Duration {
    let text = error.to_string();
    if told.as_ref() != Some(&text) {
        tracing::error!(%error, "the inbox cannot be used");
        *told = Some(text);
    }
    rest
}

/// Looks on a thread of its own.
async fn look(
    mut inbox: Inbox,
    db: PathBuf,
    config: Config,
    stop: CancellationToken,
) -> (Result<Looked, InboxError>, Inbox) {
    let work = move || {
        let looked = inbox.look(&db, &config, &|| stop.is_cancelled());
        (looked, inbox)
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let source = std::io::Error::other(error);
        (
            Err(InboxError::Io { what: "look into", path: PathBuf::from("the inbox"), source }),
            Inbox::default(),
        )
    })
}

/// Watches this folder, and no other. Where that cannot be, the slow looks are left.
fn watch_folder(folder: &Path, changed: &Arc<Notify>, watched: &mut Option<(PathBuf, RecommendedWatcher)>) {
    if watched.as_ref().is_some_and(|(known, _)| known == folder) {
        return;
    }
    let changed = Arc::clone(changed);
    let begun = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.map_or(true, |event| !event.kind.is_access()) {
            changed.notify_one();
        }
    })
    .and_then(|mut watcher| watcher.watch(folder, RecursiveMode::NonRecursive).map(|()| watcher));
    match begun {
        Ok(watcher) => *watched = Some((folder.to_owned(), watcher)),
        Err(error) => {
            tracing::warn!(%error, folder = %folder.display(), "the inbox is only looked at now and then")
        }
    }
}
