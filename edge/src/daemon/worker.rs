//! The thread that owns the database file. Everything that touches the file happens here, in order.
//!
//! It takes events from a bounded queue, lets the engine do what is due, and hands frames to the link's
//! bounded queue. What others may know of it, it publishes as one small [`State`].

mod reseed;
mod tell;

pub use super::numbers::{Numbers, numbers};
use super::watch::NET;
use super::{DaemonError, reader};
use crate::clock;
use crate::engine::{Engine, Fetch, Step};
use crate::store::difference::Ground;
use crate::store::{EdgeStore, ReadDone, Reading, Seed, StoreError};
use std::path::{Path, PathBuf};
use std::sync::mpsc as queue;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tt_migrations::{policy, state};
use tt_protocol::frame::{EdgeFrame, HubFrame, Report};

/// The log of a file in WAL mode is moved into the file at this size: a fifth of the 1,000 pages at which
/// a program's own SQLite, perhaps an old one, would do it.
const WAL_BYTES_MAX: u64 = 200 * 4096;

/// Looks at the file right after it changed, and the pause before each: together two milliseconds, which is
/// longer than a sync of a good disk.
const LOOKS: u32 = 40;
/// See [`LOOKS`].
const LOOK: Duration = Duration::from_micros(50);

/// What can happen to the file's thread.
#[derive(Debug)]
pub enum Event {
    /// The hub is being looked for at these addresses.
    Connecting(String),
    /// A link is there.
    LinkUp(Uplink),
    /// The head of a snapshot that was asked for is here: answered with what to compare, if that can be.
    Head(Seed, oneshot::Sender<Option<Ground>>),
    /// A snapshot that was asked for is here, unpacked, or its head and the rows that differ.
    Fetched(Seed),
    /// Somebody wants the file made anew from the hub's rows: answered when that is done.
    Reseed(oneshot::Sender<Result<(), String>>),
    /// A frame from the hub.
    Frame(HubFrame),
    /// The hub refuses this device, and why. The link is gone.
    Refused(String),
    /// The link is gone, for this reason.
    LinkDown(String),
    /// Something of the database has changed in the folder.
    Changed,
    /// It is time to look.
    Look,
    /// Somebody wants to know when all is in step: answered then, or with the reason why not.
    Ask(oneshot::Sender<Result<(), String>>),
    /// Somebody wants the numbers of `status`.
    Status(oneshot::Sender<Result<Numbers, String>>),
    /// A table was read for a compare.
    Read(ReadDone),
    /// Somebody wants every table compared with the hub's: answered when none is left.
    Compare(oneshot::Sender<Result<(), String>>),
    /// The end.
    Stop,
}

/// The link's ends for the file's thread.
#[derive(Debug)]
pub struct Uplink {
    /// Frames for the hub.
    pub frames: mpsc::Sender<EdgeFrame>,
    /// Snapshots that are wanted.
    pub fetches: mpsc::Sender<Fetch>,
    /// As in [`Engine::begin`].
    pub wait: bool,
}

/// What others may know without asking the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The hub has accepted the link.
    pub connected: bool,
    /// What it is waiting for, and since when (milliseconds since 1970).
    pub waiting_for: Option<(String, i64)>,
    /// The hub's reason, when it refused this device for good.
    pub refused: Option<String>,
    /// When both ends last agreed that nothing is unsent or unread.
    pub last_sync: Option<i64>,
}

/// A running thread.
pub struct Worker {
    thread: JoinHandle<()>,
    state: watch::Receiver<State>,
    wanted: watch::Receiver<Option<Duration>>,
}

struct Thread {
    engine: Engine,
    wal: PathBuf,
    /// Where snapshots come.
    folder: PathBuf,
    link: Option<Uplink>,
    asks: Vec<oneshot::Sender<Result<(), String>>>,
    compares: Vec<oneshot::Sender<Result<(), String>>>,
    reads: queue::Sender<Reading>,
    state: watch::Sender<State>,
    /// When to look again although nothing has happened, if that is soon.
    wanted: watch::Sender<Option<Duration>>,
    reported: Option<Report>,
    /// What everybody was told of a feed that the file does not take.
    feed_refused: Option<String>,
    /// Everybody was told that the log cannot be moved into the file.
    log_is_stuck: bool,
}

impl Worker {
    /// Opens the file and starts the thread. `events` is the other end of the queue, snapshots come into
    /// `folder`; with `audits`,
    /// tables are compared with the hub's by themselves.
    ///
    /// # Errors
    /// When the file cannot be opened or belongs to no hub, or the system refuses a thread.
    pub fn start(
        (db, folder): (&Path, &Path),
        events: &mpsc::Sender<Event>,
        mut queue: mpsc::Receiver<Event>,
        audits: bool,
    ) -> Result<Self, DaemonError> {
        let mut engine = Engine::new(open(db)?);
        if !audits {
            engine.without_audits();
        }
        let (publish, state) = watch::channel(State::default());
        let (want, wanted) = watch::channel(None);
        let mut wal = db.as_os_str().to_owned();
        wal.push("-wal");
        let mut thread = Thread {
            engine,
            wal: PathBuf::from(wal),
            folder: folder.to_owned(),
            link: None,
            asks: Vec::new(),
            compares: Vec::new(),
            reads: reader::begin(db, events.downgrade())?,
            state: publish,
            wanted: want,
            reported: None,
            feed_refused: None,
            log_is_stuck: false,
        };
        let named = std::thread::Builder::new().name("store".to_owned());
        let thread = named.spawn(move || {
            while let Some(event) = queue.blocking_recv() {
                if matches!(event, Event::Stop) {
                    break;
                }
                let changed = matches!(event, Event::Changed);
                thread.event(event);
                if changed {
                    thread.look_again(&queue);
                }
            }
        })?;
        Ok(Self { thread, state, wanted })
    }

    /// What the thread publishes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// How soon the thread wants to look although nothing has happened; None when there is no hurry.
    #[must_use]
    pub fn wanted(&self) -> watch::Receiver<Option<Duration>> {
        self.wanted.clone()
    }

    /// Waits for the thread's end.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the thread that owns the database has panicked");
        }
    }
}

/// Opens a joined file with the policy that came with it.
///
/// # Errors
/// When the file cannot be opened or belongs to no hub.
pub fn open(db: &Path) -> Result<EdgeStore, DaemonError> {
    open_store(db).map_err(|error| match error {
        StoreError::Sqlite(source) => DaemonError::Unusable { path: db.to_owned(), source },
        other => other.into(),
    })
}

fn open_store(db: &Path) -> Result<EdgeStore, StoreError> {
    if !db.exists() {
        return Err(StoreError::Missing(db.to_owned()));
    }
    let conn = tt_migrations::connection::open(db)?;
    let known: bool =
        conn.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sync_text')", [], |row| {
            row.get(0)
        })?;
    let text = if known { state::get_text(&conn, state::POLICY)? } else { None };
    drop(conn);
    let policy = policy::kept("the hub's policy", text.as_deref())
        .map_err(|error| StoreError::Policy(error.to_string()))?;
    EdgeStore::open(db, policy)
}

impl Thread {
    fn event(&mut self, event: Event) {
        self.look_at_clock();
        match event {
            Event::Connecting(addresses) => self.connecting(&addresses),
            Event::Refused(reason) => return self.refused(reason),
            Event::LinkUp(link) => self.link_up(link),
            Event::Head(head, answer) => self.head(&head, answer),
            Event::Fetched(seed) => self.fetched(&seed),
            Event::Reseed(answer) => self.reseed(answer),
            Event::Frame(frame) => self.engine.frame(clock::now(), frame),
            Event::LinkDown(reason) => self.link_down(&reason),
            Event::Changed | Event::Look => {}
            Event::Ask(answer) => {
                self.engine.ask();
                self.asks.push(answer);
            }
            Event::Status(answer) => {
                let numbers = numbers(&self.engine).map_err(|error| error.to_string());
                // Whoever asked may have gone away.
                let _ = answer.send(numbers);
            }
            Event::Read(done) => {
                if let Err(error) = self.engine.read(clock::now(), done) {
                    return self.failed(&error);
                }
            }
            Event::Compare(answer) => {
                if let Err(error) = self.engine.audit_now() {
                    let _ = answer.send(Err(error.to_string()));
                    return self.failed(&error);
                }
                self.compares.push(answer);
            }
            Event::Stop => {}
        }
        self.work();
    }

    fn look_at_clock(&mut self) {
        if let Err(error) = self.engine.look_at_clock(clock::reading()) {
            self.failed(&error);
        }
    }

    /// A program's commit becomes visible a moment after the change of its file. Waiting that moment here
    /// is what makes a count leave within a millisecond; nothing else waits meanwhile.
    fn look_again(&mut self, queue: &mpsc::Receiver<Event>) {
        for _ in 0..LOOKS {
            if !queue.is_empty() || !self.engine.is_up() {
                return;
            }
            std::thread::sleep(LOOK);
            match self.engine.store_mut().written_by_others() {
                Ok(true) => {
                    self.engine.dirty();
                    return self.work();
                }
                Ok(false) => {}
                Err(error) => return self.failed(&error),
            }
        }
    }

    /// Until the first answer or failure, this is what it waits for.
    fn connecting(&self, addresses: &str) {
        let since = clock::now().0;
        self.state.send_modify(|state| {
            state.waiting_for = Some((format!("no answer from the hub at {addresses} yet"), since));
        });
    }

    fn link_up(&mut self, link: Uplink) {
        let wait = link.wait;
        self.link = Some(link);
        if let Err(error) = self.engine.begin(clock::now(), wait) {
            self.failed(&error);
        }
    }

    fn link_down(&mut self, reason: &str) {
        self.engine.end();
        self.link = None;
        self.reported = None;
        let since = clock::now().0;
        self.state.send_modify(|state| {
            state.connected = false;
            if state.waiting_for.as_ref().is_none_or(|(what, _)| what != reason) {
                state.waiting_for = Some((reason.to_owned(), since));
            }
        });
    }

    /// Does all that is due, until there is nothing left or the link's queue is gone.
    fn work(&mut self) {
        match self.engine.store_mut().written_by_others() {
            Ok(true) => self.engine.dirty(),
            Ok(false) => {}
            Err(error) => return self.failed(&error),
        }
        loop {
            match self.engine.step(clock::now()) {
                Ok(Step::Frame(frame)) => {
                    if self.link.as_ref().is_none_or(|link| link.frames.blocking_send(frame).is_err()) {
                        self.engine.end();
                        self.link = None;
                        break;
                    }
                    // The link may have been slow to take it.
                    self.look_at_clock();
                }
                Ok(Step::Refused(reason)) => return self.refused(reason),
                Ok(Step::Read(reading)) => {
                    if self.reads.send(reading).is_err() {
                        tracing::error!("the thread that reads tables has ended; none is compared any more");
                    }
                }
                Ok(Step::Fetch(fetch)) => self.fetch(fetch),
                Ok(Step::Idle) => break,
                Err(error) => return self.failed(&error),
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        let up = self.engine.is_up();
        if up && !self.state.borrow().connected {
            self.welcomed();
        }
        if !up && let Err(error) = self.engine.store_mut().keep_ids_free() {
            return self.failed(&error);
        }
        if self.engine.in_step() {
            self.in_step();
        }
        self.tell_of_refused_feed();
        self.move_log();
        self.want_a_look();
    }

    /// Moves a large log into the file. That it cannot be moved is said once, and not at each event until it can.
    fn move_log(&mut self) {
        let large = std::fs::metadata(&self.wal).is_ok_and(|wal| wal.len() > WAL_BYTES_MAX);
        if !large {
            return;
        }
        match self.engine.store().checkpoint() {
            Ok(()) => self.log_is_stuck = false,
            Err(error) if !self.log_is_stuck => {
                self.log_is_stuck = true;
                tracing::warn!(%error, "the log could not be moved into the database file; trying again");
            }
            Err(_) => {}
        }
    }

    /// Tells when the next look is wanted, if that is sooner than there is one anyway.
    fn want_a_look(&self) {
        let wanted = self.engine.next_look(clock::now()).filter(|wanted| *wanted < NET);
        self.wanted.send_if_modified(|known| {
            let news = wanted.is_some() || known.is_some();
            *known = wanted;
            news
        });
    }

    /// The file could not be read or written: the link is given up, and the next one tries again.
    fn failed(&mut self, error: &StoreError) {
        tracing::error!(%error, "the database could not be used; trying again with the next link");
        for ask in self.asks.drain(..).chain(self.compares.drain(..)) {
            let _ = ask.send(Err(error.to_string()));
        }
        self.link = None;
        self.link_down(&error.to_string());
    }
}
