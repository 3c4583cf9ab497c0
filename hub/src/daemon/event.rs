//! What the other threads tell the writer, and what they share with it.

use crate::control::{Reply, Request};
use crate::http::Traffic;
use crate::journal::watermark::Watermark;
use crate::store::StoreError;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};
use tt_protocol::audit::Compared;
use tt_protocol::enrol::{EnrolReply, EnrolRequest};
use tt_protocol::frame::{EdgeFrame, HubFrame};
use tt_protocol::number::{EdgeId, Version};
use tt_protocol::session::WholeFeed;

use crate::engine::LinkId;

/// Events that wait for the writer. A frame has at most 4 MB, so this bounds what links can pin;
/// whoever finds the queue full waits its turn.
pub(super) const EVENTS_MAX: usize = 128;
/// Frames that wait for one device: the largest feed, and acknowledgements beside it.
pub(super) const FRAMES_MAX: usize = 65_536 + 1_024;

/// What happened.
pub(super) enum Event {
    /// A device shook hands. The answer says whether it may stay.
    Up(Box<Newcomer>),
    /// A frame came.
    Frame(LinkId, EdgeFrame),
    /// A link is gone.
    Down(LinkId),
    /// A feed is ready, or could not be made.
    Feed(LinkId, Result<WholeFeed, StoreError>),
    /// A table was compared with a device's.
    Compared(LinkId, Compared),
    /// A device wants to enrol.
    Enrol(Box<EnrolRequest>, oneshot::Sender<EnrolReply>),
    /// A command asks.
    Ask(Request, oneshot::Sender<Reply>),
    /// Finish what is there, and let go of the database.
    Pause(oneshot::Sender<Reply>),
    /// Go on with what the database is now.
    GoOn(oneshot::Sender<Reply>),
    /// Programs may have written to the file.
    Written,
    /// Cut what programs wrote, then answer: a snapshot is about to be made.
    Cut(oneshot::Sender<()>),
    /// Time has passed.
    Tick,
    /// Finish.
    Stop,
}

/// A device that shook hands.
pub(super) struct Newcomer {
    pub(super) link: LinkId,
    pub(super) cert_sha256: [u8; 32],
    pub(super) address: SocketAddr,
    pub(super) outlet: Outlet,
    pub(super) answer: oneshot::Sender<Result<EdgeId, Goodbye>>,
}

/// How the writer reaches a link.
pub(super) struct Outlet {
    pub(super) frames: mpsc::Sender<HubFrame>,
    pub(super) close: oneshot::Sender<Goodbye>,
}

/// Why a link ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goodbye {
    /// The device is not welcome as it is. It shows the reason to a person.
    Refused(String),
    /// The hub is in trouble, or has a newer link: the device comes back by itself.
    Later(String),
}

/// What all threads see.
pub(super) struct Shared {
    /// The way to the writer.
    pub(super) events: mpsc::Sender<Event>,
    version: AtomicU64,
    written: AtomicBool,
    pauses: AtomicU64,
    failing: Mutex<Option<String>>,
    linked: Mutex<Vec<u16>>,
    watermark: Watermark,
    /// Told whenever something has changed that people see.
    pub(super) changes: watch::Sender<()>,
    pub(super) traffic: Traffic,
    /// Rows of devices that were merged since the start.
    pub(super) merged_rows: AtomicU64,
}

impl Shared {
    pub(super) fn new(events: mpsc::Sender<Event>, version: Version, watermark: Watermark) -> Arc<Self> {
        Arc::new(Self {
            events,
            version: AtomicU64::new(version.0),
            written: AtomicBool::new(false),
            pauses: AtomicU64::new(0),
            failing: Mutex::default(),
            linked: Mutex::default(),
            watermark,
            changes: watch::Sender::default(),
            traffic: Traffic::default(),
            merged_rows: AtomicU64::new(0),
        })
    }

    /// The hub's version at the last commit.
    pub(super) fn version(&self) -> Version {
        Version(self.version.load(Ordering::Acquire))
    }

    pub(super) fn set_version(&self, version: Version) {
        if self.version.swap(version.0, Ordering::AcqRel) != version.0 {
            self.tell_changed();
        }
    }

    /// How often the database was let go of: what was read before is not what it is now.
    pub(super) fn pauses(&self) -> u64 {
        self.pauses.load(Ordering::Acquire)
    }

    pub(super) fn count_pause(&self) {
        self.pauses.fetch_add(1, Ordering::AcqRel);
    }

    /// Tells the writer that programs may have written; many times before it looks count as one.
    pub(super) fn tell_written(&self) {
        if !self.written.swap(true, Ordering::AcqRel) {
            // A full queue means that the writer is awake anyway; the next tick looks again.
            if self.events.try_send(Event::Written).is_err() {
                self.written.store(false, Ordering::Release);
            }
        }
    }

    pub(super) fn written_is_heard(&self) {
        self.written.store(false, Ordering::Release);
    }

    /// Why the hub cannot work at the moment.
    pub(super) fn failing(&self) -> Option<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_failing(&self, reason: Option<String>) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        self.tell_changed();
    }

    /// Something has changed that people see.
    pub(super) fn tell_changed(&self) {
        self.changes.send_replace(());
    }

    /// Devices that are linked now, by number.
    pub(super) fn linked(&self) -> Vec<u16> {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_linked(&self, mut linked: Vec<u16>) {
        linked.sort_unstable();
        *self.linked.lock().unwrap_or_else(PoisonError::into_inner) = linked;
        self.tell_changed();
    }

    pub(super) fn watermark(&self) -> Version {
        self.watermark.version()
    }
}
