//! The thread that compares tables with devices', on a reading connection of its own: it reads whole
//! tables, and neither a merge nor a feed may wait for that.

use super::DaemonError;
use super::event::Event;
use crate::engine::LinkId;
use crate::store::StoreError;
use crate::store::audit::AuditReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc as queue;
use std::thread;
use tokio::sync::mpsc;
use tt_migrations::replica::Replica;
use tt_protocol::audit::{Compare, Compared, Finding};

/// One compare to make. Each link has at most one, which bounds the queue.
pub(super) struct Job {
    pub(super) link: LinkId,
    pub(super) compare: Compare,
    /// The tables as they were when it was asked for.
    pub(super) replica: Arc<Replica>,
}

/// Starts the thread. It ends when the sender is dropped.
pub(super) fn begin(path: &Path, events: mpsc::Sender<Event>) -> Result<queue::Sender<Job>, DaemonError> {
    let (jobs, inbox) = queue::channel::<Job>();
    let mut auditor = Auditor { path: path.to_owned(), reader: None };
    thread::Builder::new()
        .name("audits".into())
        .spawn(move || {
            for job in inbox {
                let compared = auditor.answer(&job);
                if events.blocking_send(Event::Compared(job.link, compared)).is_err() {
                    return;
                }
            }
        })
        .map_err(|source| DaemonError::System { what: "threads", source })?;
    Ok(jobs)
}

struct Auditor {
    path: PathBuf,
    reader: Option<AuditReader>,
}

impl Auditor {
    fn answer(&mut self, job: &Job) -> Compared {
        self.compare(job).unwrap_or_else(|error| {
            tracing::error!(%error, table = %job.compare.table, "a table cannot be compared; the device will ask again");
            let (table, version) = (job.compare.table.clone(), job.compare.version);
            Compared { table, version, finding: Finding::NotNow }
        })
    }

    /// After an error the next compare begins with a fresh connection.
    fn compare(&mut self, job: &Job) -> Result<Compared, StoreError> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => AuditReader::open(&self.path)?,
        };
        let compared = reader.compare(&job.replica, &job.compare)?;
        self.reader = Some(reader);
        Ok(compared)
    }
}
