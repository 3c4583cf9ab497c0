//! The thread that makes feeds, on a reading connection of its own: a merge never waits for a feed, and
//! a large feed holds up only other feeds.

use super::DaemonError;
use super::event::Event;
use crate::engine::LinkId;
use crate::store::{FeedReader, StoreError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc as queue;
use std::thread;
use tokio::sync::mpsc;
use tt_migrations::replica::Replica;
use tt_protocol::number::{EdgeId, Version};
use tt_protocol::session::WholeFeed;

/// One feed to make. Each link has at most one, which bounds the queue.
pub(super) struct Job {
    pub(super) link: LinkId,
    pub(super) edge: EdgeId,
    pub(super) from: Version,
    /// The tables as they were when the feed was asked for.
    pub(super) replica: Arc<Replica>,
}

/// Starts the thread. It ends when the sender is dropped.
pub(super) fn begin(path: &Path, events: mpsc::Sender<Event>) -> Result<queue::Sender<Job>, DaemonError> {
    let (jobs, inbox) = queue::channel::<Job>();
    let mut maker = Maker { path: path.to_owned(), reader: None };
    thread::Builder::new()
        .name("feeds".into())
        .spawn(move || {
            for job in inbox {
                let link = job.link;
                let made = maker.make(&job);
                if events.blocking_send(Event::Feed(link, made)).is_err() {
                    return;
                }
            }
        })
        .map_err(|source| DaemonError::System { what: "threads", source })?;
    Ok(jobs)
}

struct Maker {
    path: PathBuf,
    reader: Option<FeedReader>,
}

impl Maker {
    fn make(&mut self, job: &Job) -> Result<WholeFeed, StoreError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => FeedReader::open(&self.path)?,
        };
        // After an error the next feed begins with a fresh connection.
        let feed = reader.feed(&job.replica, job.edge, job.from)?;
        self.reader = Some(reader);
        Ok(WholeFeed { from: feed.from, to: feed.to, merged: feed.merged, pieces: feed.pieces })
    }
}
