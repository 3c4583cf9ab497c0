//! The thread that owns the database file. Everything that touches the file happens here, in order.
//!
//! It takes events from a bounded queue, lets the engine do what is due, and hands frames to the link's
//! bounded queue. What others may know of it, it publishes as one small [`State`].

use super::DaemonError;
use crate::clock;
use crate::engine::{Engine, Step};
use crate::store::{EdgeStore, StoreError};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tt_migrations::{policy, state};
use tt_protocol::frame::{EdgeFrame, HubFrame, Report};
use tt_protocol::number::Millis;

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
    /// A link is there; frames for the hub go into this queue.
    LinkUp(mpsc::Sender<EdgeFrame>, bool),
    /// A frame from the hub.
    Frame(HubFrame),
    /// The hub refuses this device, and why. The link is gone.
    Refused(String),
    /// The link is gone, for this reason.
    LinkDown(String),
    /// Something in the folder changed, or it is time to look.
    Wake,
    /// Somebody wants to know when all is in step: answered then, or with the reason why not.
    Ask(oneshot::Sender<Result<(), String>>),
    /// Somebody wants the numbers of `status`.
    Status(oneshot::Sender<Result<Numbers, String>>),
    /// The end.
    Stop,
}

/// What `status` says, apart from what needs no file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    /// Rows that differ from what the hub has acknowledged.
    pub unsent: u64,
    /// Versions that are known and not applied; None when nobody knows.
    pub unread: Option<u64>,
    /// Age of the oldest unsent row in seconds.
    pub oldest_unsent_s: Option<u64>,
    /// The version applied.
    pub version: u64,
    /// The hub's incarnation.
    pub epoch: u64,
    /// Why the device cannot go on.
    pub blocked: Option<String>,
    /// Share of the id space that is used, 0 to 1.
    pub id_space_used: f64,
    /// Tables that cannot be replicated because they have no primary key.
    pub keyless: Vec<String>,
    /// What a person should know about this device's clock.
    pub clock: Option<String>,
    /// Triggers of the program that do not fire when rows arrive, although something depends on them.
    pub left_out: Vec<String>,
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
}

struct Thread {
    engine: Engine,
    wal: PathBuf,
    link: Option<mpsc::Sender<EdgeFrame>>,
    asks: Vec<oneshot::Sender<Result<(), String>>>,
    state: watch::Sender<State>,
    reported: Option<Report>,
}

impl Worker {
    /// Opens the file and starts the thread.
    ///
    /// # Errors
    /// When the file cannot be opened or belongs to no hub, or the system refuses a thread.
    pub fn start(db: &Path, mut queue: mpsc::Receiver<Event>) -> Result<Self, DaemonError> {
        let store = open(db)?;
        let (publish, state) = watch::channel(State::default());
        let mut wal = db.as_os_str().to_owned();
        wal.push("-wal");
        let mut thread = Thread {
            engine: Engine::new(store),
            wal: PathBuf::from(wal),
            link: None,
            asks: Vec::new(),
            state: publish,
            reported: None,
        };
        let named = std::thread::Builder::new().name("store".to_owned());
        let thread = named.spawn(move || {
            while let Some(event) = queue.blocking_recv() {
                if matches!(event, Event::Stop) {
                    break;
                }
                let woken = matches!(event, Event::Wake);
                thread.event(event);
                if woken {
                    thread.look_again(&queue);
                }
            }
        })?;
        Ok(Self { thread, state })
    }

    /// What the thread publishes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
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
    let policy = match text {
        Some(text) => {
            policy::parse("the hub's policy", &text).map_err(|error| StoreError::Policy(error.to_string()))?
        }
        None => policy::shipped(),
    };
    EdgeStore::open(db, policy)
}

impl Thread {
    fn event(&mut self, event: Event) {
        self.look_at_clock();
        match event {
            Event::Connecting(addresses) => self.connecting(&addresses),
            Event::Refused(reason) => return self.refused(reason),
            Event::LinkUp(link, wait) => self.link_up(link, wait),
            Event::Frame(frame) => self.engine.frame(clock::now(), frame),
            Event::LinkDown(reason) => self.link_down(&reason),
            Event::Wake => {}
            Event::Ask(answer) => {
                self.engine.ask();
                self.asks.push(answer);
            }
            Event::Status(answer) => {
                let numbers = numbers(&self.engine).map_err(|error| error.to_string());
                // Whoever asked may have gone away.
                let _ = answer.send(numbers);
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

    fn link_up(&mut self, link: mpsc::Sender<EdgeFrame>, wait: bool) {
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
                    if self.link.as_ref().is_none_or(|link| link.blocking_send(frame).is_err()) {
                        self.engine.end();
                        self.link = None;
                        break;
                    }
                    // The link may have been slow to take it.
                    self.look_at_clock();
                }
                Ok(Step::Refused(reason)) => return self.refused(reason),
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
        let large = std::fs::metadata(&self.wal).is_ok_and(|wal| wal.len() > WAL_BYTES_MAX);
        if large && let Err(error) = self.engine.store().checkpoint() {
            tracing::warn!(%error, "the log could not be moved into the database file; trying again later");
        }
    }

    fn welcomed(&mut self) {
        if let Err(error) = self.engine.store().set_blocked(None) {
            return self.failed(&error);
        }
        self.state.send_modify(|state| {
            state.connected = true;
            state.refused = None;
            state.waiting_for = None;
        });
        tracing::info!("the hub has accepted this device");
    }

    fn in_step(&mut self) {
        let now = clock::now().0;
        for ask in self.asks.drain(..) {
            // Whoever asked may have gone away.
            let _ = ask.send(Ok(()));
        }
        self.state.send_modify(|state| state.last_sync = Some(now));
        self.report();
    }

    /// Tells the hub how this device is doing, when that has changed.
    fn report(&mut self) {
        let Ok(clock_offset_ms) = self.engine.store().clock_offset() else {
            return;
        };
        let schema = self.engine.store().schema_name();
        let report = Report { clock_offset_ms, schema, ..Report::default() };
        if self.reported.as_ref() == Some(&report) {
            return;
        }
        if let Some(link) = &self.link
            && link.try_send(EdgeFrame::Report(report.clone())).is_ok()
        {
            self.reported = Some(report);
        }
    }

    fn refused(&mut self, reason: String) {
        // It may be told twice, in a frame and by the end of the link.
        if self.state.borrow().refused.as_ref() != Some(&reason) {
            tracing::error!(%reason, "the hub refuses this device");
        }
        if let Err(error) = self.engine.store().set_blocked(Some(&reason)) {
            tracing::error!(%error, "the reason could not be kept");
        }
        for ask in self.asks.drain(..) {
            let _ = ask.send(Err(format!("the hub refuses: {reason}")));
        }
        self.engine.end();
        self.link = None;
        self.state.send_modify(|state| {
            state.connected = false;
            state.refused = Some(reason);
        });
    }

    /// The file could not be read or written: the link is given up, and the next one tries again.
    fn failed(&mut self, error: &StoreError) {
        tracing::error!(%error, "the database could not be used; trying again with the next link");
        for ask in self.asks.drain(..) {
            let _ = ask.send(Err(error.to_string()));
        }
        self.link = None;
        self.link_down(&error.to_string());
    }
}

/// Reads what `status` says from the file.
///
/// # Errors
/// When the file cannot be read.
pub fn numbers(engine: &Engine) -> Result<Numbers, StoreError> {
    let store = engine.store();
    let now = clock::now();
    let (uncut, touched) = store.uncut(now)?;
    let (cut, cut_at) = store.unacknowledged()?;
    let oldest = touched.into_iter().chain(cut_at).min();
    Ok(Numbers {
        unsent: uncut + cut,
        unread: engine.unread(),
        oldest_unsent_s: oldest.map(|at| age_s(now, at)),
        version: store.cursor()?.0,
        epoch: store.epoch()?.0,
        blocked: store.blocked()?,
        id_space_used: store.id_space_used()?,
        keyless: store.replica().keyless.clone(),
        clock: store.clock_trouble()?,
        left_out: store.left_out()?.iter().map(ToString::to_string).collect(),
    })
}

fn age_s(now: Millis, at: i64) -> u64 {
    u64::try_from((now.0 - at) / 1000).unwrap_or(0)
}
