//! Notices that a program has committed: the folder is watched, not the file, because in WAL mode only
//! the `-wal` file changes, and it comes and goes. `PRAGMA data_version` then says whether it matters.
//!
//! The last write to the `-wal` file comes *before* the commit is visible: SQLite then still syncs and
//! publishes it through shared memory, which nobody is told of. So after a change we look again.
//!
//! Where nothing changes, nothing is done but one look in a while, and what the file's thread wants sooner.

use super::DaemonError;
use super::worker::Event;
use crate::inbox::config;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Pauses between the looks after a change: a sync of a slow card may take that long.
const AFTER_CHANGE: [Duration; 4] = [
    Duration::from_millis(2),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
];
/// The safety net, for what nobody has thought of.
pub const NET: Duration = Duration::from_secs(60);
/// The same where another machine may write, of which nobody here is told.
const NET_SHARED: Duration = Duration::from_secs(10);
/// File systems of which that is so, by the numbers of statfs(2): NFS, SMB and CIFS in three ages, 9P, Ceph, FUSE,
/// and the shared folders of two kinds of virtual machines.
const SHARED: [i128; 9] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x0102_1997,
    0x00c3_6400,
    0x6573_5546,
    0x786f_4256,
    0xbacb_acbc,
];

/// What is told of changes, each on its own.
#[derive(Debug, Default)]
pub struct Signs {
    /// The database, or what SQLite keeps beside it.
    pub database: Notify,
    /// How the inbox is configured.
    pub inbox: Notify,
}

/// Watches the folder of the database and the daemon's own. Dropping the watcher ends it.
///
/// # Errors
/// When the system refuses (too many watches, no such folder).
pub fn start(
    (db, dir): (&Path, &Path),
    events: mpsc::Sender<Event>,
    signs: Arc<Signs>,
) -> Result<RecommendedWatcher, DaemonError> {
    let failed = |source| DaemonError::Watch { path: db.to_owned(), source };
    let name: OsString = db.file_name().unwrap_or_default().to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let is_of = |what: &dyn Fn(&Path) -> bool| match &event {
            Ok(event) if event.kind.is_access() => false,
            Ok(event) => event.need_rescan() || event.paths.iter().any(|path| what(path)),
            Err(_) => true,
        };
        if is_of(&|path| belongs(path, &name)) {
            // A full queue wakes the thread anyway, and each event makes it look.
            let _ = events.try_send(Event::Changed);
            signs.database.notify_one();
        }
        if is_of(&|path| path.file_name().is_some_and(|file| file == config::NAME)) {
            signs.inbox.notify_one();
        }
    })
    .map_err(failed)?;
    watcher.watch(folder(db), RecursiveMode::NonRecursive).map_err(failed)?;
    if dir != folder(db) {
        watcher.watch(dir, RecursiveMode::NonRecursive).map_err(failed)?;
    }
    Ok(watcher)
}

/// The folder that a file lies in.
fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The database, its `-wal` or its `-journal`; not `-shm`, which changes with every read.
fn belongs(path: &Path, name: &OsString) -> bool {
    let Some(file) = path.file_name() else {
        return false;
    };
    let (file, name) = (file.as_encoded_bytes(), name.as_encoded_bytes());
    file.strip_prefix(name).is_some_and(|rest| matches!(rest, b"" | b"-wal" | b"-journal"))
}

/// How long a file or folder may go without a look when nobody tells of a change.
#[must_use]
pub fn net(path: &Path) -> Duration {
    match rustix::fs::statfs(path) {
        Ok(found) if !SHARED.contains(&i128::from(found.f_type)) => NET,
        _ => NET_SHARED,
    }
}

/// Looks some times after a change, when the file's thread wants it, and in any case after `net`, until `stop`.
pub async fn poll(
    events: mpsc::Sender<Event>,
    signs: Arc<Signs>,
    mut wanted: watch::Receiver<Option<Duration>>,
    net: Duration,
    stop: CancellationToken,
) {
    let mut rest = net;
    loop {
        tokio::select! {
            () = tokio::time::sleep(rest) => {
                rest = net;
                if events.send(Event::Look).await.is_err() {
                    return;
                }
            }
            () = signs.database.notified() => {
                for pause in AFTER_CHANGE {
                    tokio::time::sleep(pause).await;
                    if events.send(Event::Changed).await.is_err() {
                        return;
                    }
                }
            }
            told = wanted.changed() => {
                if told.is_err() {
                    return;
                }
                rest = wanted.borrow_and_update().map_or(net, |wanted| wanted.min(net));
            }
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_of_the_database_or_of_what_sqlite_keeps_beside_it() {
        let name = OsString::from("a.db");
        for ours in ["a.db", "a.db-wal", "x/a.db-journal"] {
            assert!(belongs(Path::new(ours), &name), "{ours}");
        }
        for other in ["a.db-shm", "a.db.lock", "b.db", "/"] {
            assert!(!belongs(Path::new(other), &name), "{other}");
        }
    }

    #[test]
    fn a_file_on_this_machine_is_looked_at_rarely_and_one_that_cannot_be_judged_often() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(net(dir.path()), NET);
        assert_eq!(net(&dir.path().join("not there")), NET_SHARED);
    }

    #[test]
    fn what_the_thread_wants_sooner_comes_sooner_and_once() {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let (events, mut queue) = mpsc::channel(8);
            let (want, wanted) = watch::channel(None);
            let stop = CancellationToken::new();
            let poll = tokio::spawn(poll(events, Arc::default(), wanted, NET, stop.clone()));
            want.send_replace(Some(Duration::from_millis(1)));
            assert!(matches!(queue.recv().await, Some(Event::Look)));
            stop.cancel();
            poll.await.unwrap();
            assert!(queue.recv().await.is_none(), "the rest is as long as ever");
        });
    }
}
