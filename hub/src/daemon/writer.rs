//! The thread that owns the engine: every write to the canonical database happens here.
//!
//! * It drains what waits, takes one step (one commit for all), and only then lets answers leave.
//! * When a step fails (a full disk), nothing of it is acknowledged: the engine with all its sessions is
//!   thrown away, devices are told to come back, and the database is opened anew until that works.
//! * It must never wait for a link: a device whose queue is full is cut off.

mod admission;
mod history;
mod pause;
mod rescue;
#[cfg(test)]
mod tests;
mod upkeep;

use super::DaemonError;
use super::audits;
use super::event::{Event, Goodbye, Outlet, Shared};
use super::feeds::Job;
use super::recorder::Recorder;
use crate::ca::Authority;
use crate::clock;
use crate::control::Host;
use crate::engine::{Action, Engine, LinkId};
use crate::journal::ship::Course;
use crate::journal::watermark::Watermark;
use crate::store::history::Keep;
use crate::store::{HubStore, StoreError};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc as queue;
use std::thread::{self, JoinHandle};
use tokio::sync::{mpsc, oneshot};
use tt_protocol::frame::HubFrame;
use tt_protocol::number::{EdgeId, Millis};
use tt_protocol::policy::Policy;
use upkeep::Upkeep;

/// Events that one commit may take together.
const EVENTS_PER_STEP_MAX: usize = 1_024;
/// Pages of the log above which it is moved into the file: far below the 1,000 at which a program does it.
const WAL_PAGES_MAX: i64 = 200;
/// First and longest wait before the database is opened anew.
const RETRY_MS: (i64, i64) = (1_000, 30_000);
/// After so long without trouble, the next one is news again.
const CALM_MS: i64 = 60_000;

/// What the writer works with.
pub(super) struct Parts {
    pub(super) store: HubStore,
    pub(super) path: PathBuf,
    pub(super) host: Host,
    pub(super) authority: Arc<Authority>,
    pub(super) feeds: queue::Sender<Job>,
    pub(super) audits: queue::Sender<audits::Job>,
    pub(super) shared: Arc<Shared>,
    pub(super) course: Arc<Course>,
    pub(super) watermark: Watermark,
    pub(super) keep: Keep,
    pub(super) maintenance: crate::upkeep::Settings,
}

/// Starts the thread. `dead` is dropped when it ends, however that happens.
pub(super) fn begin(
    parts: Parts,
    inbox: mpsc::Receiver<Event>,
    dead: oneshot::Sender<()>,
) -> Result<JoinHandle<()>, DaemonError> {
    let writer = Writer::new(parts);
    thread::Builder::new()
        .name("writer".into())
        .spawn(move || {
            let _dead = dead;
            writer.run(inbox);
        })
        .map_err(|source| DaemonError::System { what: "threads", source })
}

struct Writer {
    engine: Option<Engine>,
    policy: Policy,
    path: PathBuf,
    host: Host,
    authority: Arc<Authority>,
    feeds: queue::Sender<Job>,
    audits: queue::Sender<audits::Job>,
    shared: Arc<Shared>,
    course: Arc<Course>,
    watermark: Watermark,
    links: HashMap<LinkId, (EdgeId, Outlet)>,
    recorder: Recorder,
    cuts: Vec<oneshot::Sender<()>>,
    trouble: Trouble,
    /// A command has the database to itself.
    paused: bool,
    wal_pages_tried: i64,
    keep: Keep,
    /// When the history was last looked at.
    forgot_at: Millis,
    upkeep: Upkeep,
}

/// When the database failed, and when to try again.
struct Trouble {
    failed_at: Millis,
    wait_ms: i64,
}

impl Writer {
    fn new(parts: Parts) -> Self {
        let Parts {
            store,
            path,
            host,
            authority,
            feeds,
            audits,
            shared,
            course,
            watermark,
            keep,
            maintenance,
        } = parts;
        Self {
            policy: store.policy().as_ref().clone(),
            engine: Some(Engine::new(store)),
            path,
            host,
            authority,
            feeds,
            audits,
            shared,
            course,
            watermark,
            links: HashMap::new(),
            recorder: Recorder::default(),
            cuts: Vec::new(),
            trouble: Trouble { failed_at: Millis(0), wait_ms: RETRY_MS.0 },
            paused: false,
            wal_pages_tried: 0,
            keep,
            forgot_at: Millis(0),
            upkeep: Upkeep::new(maintenance),
        }
    }

    fn run(mut self, mut inbox: mpsc::Receiver<Event>) {
        let mut stopping = false;
        while !stopping && let Some(event) = inbox.blocking_recv() {
            stopping = self.hear(event);
            for _ in 1..EVENTS_PER_STEP_MAX {
                match inbox.try_recv() {
                    Ok(event) => stopping |= self.hear(event),
                    Err(_) => break,
                }
            }
            self.step();
        }
        self.finish();
    }

    /// Takes one event. True when it is the last.
    fn hear(&mut self, event: Event) -> bool {
        match event {
            Event::Up(newcomer) => self.up(*newcomer),
            Event::Frame(link, frame) => self.with(|engine| engine.frame(link, clock::now(), frame)),
            Event::Down(link) => self.down(link),
            Event::Feed(link, Ok(feed)) => self.with(|engine| engine.feed_made(link, feed)),
            Event::Feed(link, Err(error)) => {
                tracing::error!(%error, "a feed cannot be made; the device will ask again");
                self.close(link, Goodbye::Later(format!("the hub cannot read: {error}")));
            }
            Event::Compared(link, compared) => self.with(|engine| engine.compared(link, compared)),
            Event::Enrol(request, answer) => {
                // Whoever asked may be gone; a device repeats its request.
                let _ = answer.send(self.enrol(&request));
            }
            Event::Ask(request, answer) => {
                let _ = answer.send(self.answer(request));
            }
            Event::Pause(answer) => {
                // Whoever asked and is gone ends the pause, too.
                let _ = answer.send(self.pause());
            }
            Event::GoOn(answer) => {
                let _ = answer.send(self.go_on());
            }
            Event::Written => {
                self.shared.written_is_heard();
                self.with(Engine::dirty);
            }
            Event::Cut(answer) => {
                self.with(Engine::dirty);
                self.cuts.push(answer);
            }
            Event::Tick => self.tick(),
            Event::Stop => return true,
        }
        false
    }

    fn with(&mut self, work: impl FnOnce(&mut Engine)) {
        if let Some(engine) = &mut self.engine {
            work(engine);
        }
    }

    /// Tells those who watch which devices are linked now.
    fn tell_linked(&self) {
        self.shared.set_linked(self.links.values().map(|(edge, _)| edge.0).collect());
    }

    fn down(&mut self, link: LinkId) {
        if let Some((edge, _)) = self.links.remove(&link) {
            self.recorder.unlinked(edge);
        }
        self.with(|engine| engine.link_down(link));
        self.tell_linked();
    }

    fn close(&mut self, link: LinkId, goodbye: Goodbye) {
        self.with(|engine| engine.link_down(link));
        if let Some((edge, outlet)) = self.links.remove(&link) {
            self.recorder.unlinked(edge);
            // A link that has ended needs no goodbye.
            let _ = outlet.close.send(goodbye);
        }
        self.tell_linked();
    }

    fn step(&mut self) {
        let Some(engine) = &mut self.engine else {
            self.cuts.clear();
            return;
        };
        match engine.step(clock::now()) {
            Ok(actions) => {
                self.shared.set_version(engine.store().version());
                self.shared.merged_rows.store(engine.store().merged_rows(), Ordering::Relaxed);
                if let Some(tail) = engine.store().tail() {
                    self.course.go_on(tail, engine.store().epoch());
                }
                let has_left = actions.iter().any(|action| matches!(action, Action::Leave(_)));
                for action in actions {
                    self.act(action);
                }
                for answer in self.cuts.drain(..) {
                    // Whoever wanted a snapshot may be gone.
                    let _ = answer.send(());
                }
                self.checkpoint_when_due();
                // It is told at once.
                if has_left {
                    self.step();
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send(link, frame) => self.send(link, frame),
            Action::Close(link, reason) => {
                if let Some((edge, _)) = self.links.get(&link) {
                    tracing::warn!(device = %edge, %reason, "a device was refused");
                    self.recorder.blocked(*edge, &reason);
                }
                self.close(link, Goodbye::Refused(reason));
            }
            Action::MakeFeed(link, edge, from) => {
                if let Some(engine) = &self.engine {
                    let replica = Arc::clone(engine.store().replica());
                    let job = Job { link, edge, from, replica };
                    if self.feeds.send(job).is_err() {
                        self.close(link, Goodbye::Later("the hub makes no feeds any more".into()));
                    }
                }
            }
            Action::Compare(link, compare) => {
                if let Some(engine) = &self.engine {
                    let replica = Arc::clone(engine.store().replica());
                    if self.audits.send(audits::Job { link, compare, replica }).is_err() {
                        self.close(link, Goodbye::Later("the hub compares no tables any more".into()));
                    }
                }
            }
            Action::Report(edge, cursor, report) => self.report(edge, cursor, report),
            Action::Leave(edge) => self.leave(edge),
        }
    }

    fn send(&mut self, link: LinkId, frame: HubFrame) {
        let Some((edge, outlet)) = self.links.get(&link) else {
            return;
        };
        if matches!(frame, HubFrame::Welcome(_)) {
            self.recorder.welcomed(*edge);
        }
        if let Err(mpsc::error::TrySendError::Full(_)) = outlet.frames.try_send(frame) {
            let reason = "the device takes its frames too slowly; it may come back";
            self.close(link, Goodbye::Later(reason.into()));
        }
    }

    fn tick(&mut self) {
        if self.engine.is_none()
            && !self.paused
            && clock::now().0 >= self.trouble.failed_at.0 + self.trouble.wait_ms
        {
            self.try_again();
        }
        self.forget_old();
        self.look_after();
        self.with(Engine::dirty);
        if self.recorder.is_due(clock::now()) {
            self.record();
        }
    }

    fn checkpoint_when_due(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let store = engine.store_mut();
        match wal_pages(store) {
            Ok((pages, moved)) if pages - moved >= WAL_PAGES_MAX => {
                // A reader may hold pages back; then it is tried again when there are as many more.
                if pages < self.wal_pages_tried || pages >= self.wal_pages_tried + WAL_PAGES_MAX {
                    self.wal_pages_tried = pages;
                    if let Err(error) = store.checkpoint() {
                        tracing::warn!(%error, "the log was not moved into the database");
                    }
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the length of the log is unknown"),
        }
    }

    /// Nothing of the step counts. Devices send again what was not acknowledged.
    fn fail(&mut self, error: &StoreError) {
        let now = clock::now();
        let reason = format!("the hub cannot write its database ({error}); it tries again by itself");
        if now.0 - self.trouble.failed_at.0 > CALM_MS + self.trouble.wait_ms {
            self.trouble.wait_ms = RETRY_MS.0;
            tracing::error!(%error, path = %self.path.display(), "the database cannot be written; trying again until it can");
        } else {
            tracing::debug!(%error, "the database still cannot be written");
            self.trouble.wait_ms = (self.trouble.wait_ms * 2).min(RETRY_MS.1);
        }
        self.trouble.failed_at = now;
        self.let_go(&reason);
    }

    /// Lets go of the database and of all links, which may come back.
    fn let_go(&mut self, reason: &str) {
        self.engine = None;
        self.cuts.clear();
        self.shared.set_failing(Some(reason.to_owned()));
        for (_, (edge, outlet)) in std::mem::take(&mut self.links) {
            self.recorder.unlinked(edge);
            // A link that has ended needs no goodbye.
            let _ = outlet.close.send(Goodbye::Later(reason.to_owned()));
        }
        self.tell_linked();
    }

    fn try_again(&mut self) {
        let journal = self.path.with_file_name("journal");
        match HubStore::open_journaled(&self.path, self.policy.clone(), &journal) {
            Ok(mut store) => {
                store.follow_watermark(self.watermark.clone());
                tracing::info!("the database can be written again");
                self.shared.set_version(store.version());
                self.shared.set_failing(None);
                self.engine = Some(Engine::new(store));
            }
            Err(error) => self.fail(&error),
        }
    }

    fn finish(mut self) {
        self.record();
        if let Some(engine) = &self.engine
            && let Err(error) = engine.store().checkpoint()
        {
            tracing::warn!(%error, "the log was not moved into the database");
        }
    }
}

/// Pages in the log, and how many of them are in the database already. Looks only.
fn wal_pages(store: &mut HubStore) -> rusqlite::Result<(i64, i64)> {
    store.connection().query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| Ok((row.get(1)?, row.get(2)?)))
}
