//! The thread that reads whole tables for compares with the hub, on a reading connection of its own: the
//! file's thread goes on with cuts and feeds meanwhile, and programs notice nothing.

use super::DaemonError;
use super::worker::Event;
use crate::store::{ReadDone, Reading};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::mpsc as queue;
use tokio::sync::mpsc;

/// Starts the thread. It ends when the sender is dropped, or nobody takes its answers.
///
/// # Errors
/// When the system refuses a thread.
pub(super) fn begin(
    db: &Path,
    events: mpsc::WeakSender<Event>,
) -> Result<queue::Sender<Reading>, DaemonError> {
    let (jobs, inbox) = queue::channel::<Reading>();
    let mut reader = Reader { path: db.to_owned(), conn: None };
    std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
        for reading in inbox {
            let done = reader.read(&reading);
            let Some(events) = events.upgrade() else { return };
            if events.blocking_send(Event::Read(done)).is_err() {
                return;
            }
        }
    })?;
    Ok(jobs)
}

struct Reader {
    path: PathBuf,
    conn: Option<Connection>,
}

impl Reader {
    /// After an error the next reading begins with a fresh connection.
    fn read(&mut self, reading: &Reading) -> ReadDone {
        match self.conn.take().map_or_else(|| open(&self.path), Ok) {
            Ok(conn) => {
                let done = reading.perform(&conn);
                self.conn = done.found.is_ok().then_some(conn);
                done
            }
            Err(error) => reading.failed(error),
        }
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let conn = tt_migrations::connection::open(path)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}
