//! The thread that owns the engine: every write to the canonical database happens here.
//!
//! * It drains what waits, takes one step (one commit for all), and only then lets answers leave.
//! * When a step fails (a full disk), nothing of it is acknowledged: the engine with all its sessions is
//!   thrown away, devices are told to come back, and the database is opened anew until that works.
//! * It must never wait for a link: a device whose queue is full is cut off.

use super::DaemonError;
use super::event::{Event, Goodbye, Newcomer, Outlet, Shared};
use super::feeds::Job;
use super::recorder::Recorder;
use crate::ca::Authority;
use crate::clock;
use crate::control::{self, Host, Reply, Request, State};
use crate::devices::{self, Device};
use crate::engine::{Action, Engine, LinkId};
use crate::link::admit;
use crate::store::{HubStore, StoreError};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc as queue;
use std::thread::{self, JoinHandle};
use tokio::sync::{mpsc, oneshot};
use tt_protocol::enrol::{EnrolReply, EnrolRequest};
use tt_protocol::frame::HubFrame;
use tt_protocol::number::{EdgeId, Millis};
use tt_protocol::policy::Policy;

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
    pub(super) shared: Arc<Shared>,
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
        .map_err(|source| DaemonError::System {
            what: "threads",
            source,
        })
}

struct Writer {
    engine: Option<Engine>,
    policy: Policy,
    path: PathBuf,
    host: Host,
    authority: Arc<Authority>,
    feeds: queue::Sender<Job>,
    shared: Arc<Shared>,
    links: HashMap<LinkId, (EdgeId, Outlet)>,
    recorder: Recorder,
    cuts: Vec<oneshot::Sender<()>>,
    trouble: Trouble,
    wal_pages_tried: i64,
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
            shared,
        } = parts;
        Self {
            policy: store.policy().as_ref().clone(),
            engine: Some(Engine::new(store)),
            path,
            host,
            authority,
            feeds,
            shared,
            links: HashMap::new(),
            recorder: Recorder::default(),
            cuts: Vec::new(),
            trouble: Trouble {
                failed_at: Millis(0),
                wait_ms: RETRY_MS.0,
            },
            wal_pages_tried: 0,
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
            Event::Enrol(request, answer) => {
                // Whoever asked may be gone; a device repeats its request.
                let _ = answer.send(self.enrol(&request));
            }
            Event::Ask(request, answer) => {
                let _ = answer.send(self.answer(request));
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

    fn up(&mut self, newcomer: Newcomer) {
        let Newcomer {
            link,
            cert_sha256,
            address,
            outlet,
            answer,
        } = newcomer;
        let decision = self.welcome(&cert_sha256);
        if let Ok(device) = &decision {
            let edge = device.device;
            self.recorder.linked(device, &address.to_string());
            self.links.insert(link, (edge, outlet));
            let actions = self.engine.as_mut().map(|engine| engine.link_up(link, edge));
            for action in actions.into_iter().flatten() {
                if let Action::Close(old, reason) = action {
                    self.close(old, Goodbye::Later(reason));
                }
            }
            tracing::info!(device = %device.name, %address, "linked");
        }
        // A link that has gone meanwhile says so by itself.
        let _ = answer.send(decision.map(|device| device.device));
    }

    fn welcome(&mut self, cert_sha256: &[u8; 32]) -> Result<Device, Goodbye> {
        let Some(engine) = &mut self.engine else {
            let reason = self.shared.failing().unwrap_or_default();
            return Err(Goodbye::Later(reason));
        };
        match devices::by_certificate(engine.store_mut().connection(), cert_sha256) {
            Ok(Some(device)) if device.revoked_at.is_none() => Ok(device),
            Ok(Some(device)) => Err(Goodbye::Refused(revoked(&device.name))),
            Ok(None) => Err(Goodbye::Refused(
                "the hub does not know this device: enrol it anew with `tt-edge join TOKEN`".into(),
            )),
            Err(error) => {
                tracing::error!(%error, "a device cannot be looked up");
                Err(Goodbye::Later(error.to_string()))
            }
        }
    }

    fn down(&mut self, link: LinkId) {
        if let Some((edge, _)) = self.links.remove(&link) {
            self.recorder.unlinked(edge);
        }
        self.with(|engine| engine.link_down(link));
    }

    fn close(&mut self, link: LinkId, goodbye: Goodbye) {
        self.with(|engine| engine.link_down(link));
        if let Some((edge, outlet)) = self.links.remove(&link) {
            self.recorder.unlinked(edge);
            // A link that has ended needs no goodbye.
            let _ = outlet.close.send(goodbye);
        }
    }

    fn enrol(&mut self, request: &EnrolRequest) -> EnrolReply {
        let refused = |reason: String| EnrolReply::Refused { reason };
        let Some(engine) = &mut self.engine else {
            return refused(self.shared.failing().unwrap_or_default());
        };
        let conn = engine.store_mut().connection();
        match admit(conn, &self.authority, request, &self.host.addresses, clock::now()) {
            Ok(reply) => {
                match &reply {
                    EnrolReply::Enrolled(device) => {
                        tracing::info!(device = %device.name, number = %device.device, "a device has joined");
                    }
                    EnrolReply::Refused { reason } => tracing::warn!(%reason, "a device may not join"),
                }
                reply
            }
            Err(error) => {
                tracing::error!(%error, "the hub cannot decide over a device that wants to join");
                refused("the hub is in trouble and cannot decide now; try again, and ask its operator".into())
            }
        }
    }

    fn answer(&mut self, request: Request) -> Reply {
        if matches!(request, Request::State) {
            self.record();
            let mut linked: Vec<u16> = self.links.values().map(|(edge, _)| edge.0).collect();
            linked.sort_unstable();
            return Reply::State(State {
                pid: std::process::id(),
                linked,
                failing: self.shared.failing(),
            });
        }
        let Some(engine) = &mut self.engine else {
            let reason = self.shared.failing().unwrap_or_default();
            return Reply::Failed { reason };
        };
        match control::perform(engine.store_mut().connection(), &self.host, request, clock::now()) {
            Ok((reply, cut)) => {
                if let Some(edge) = cut {
                    engine.refuse(edge, REVOKED);
                }
                reply
            }
            Err(error) => Reply::Failed {
                reason: error.to_string(),
            },
        }
    }

    fn step(&mut self) {
        let Some(engine) = &mut self.engine else {
            self.cuts.clear();
            return;
        };
        match engine.step(clock::now()) {
            Ok(actions) => {
                self.shared.set_version(engine.store().version());
                for action in actions {
                    self.act(action);
                }
                for answer in self.cuts.drain(..) {
                    // Whoever wanted a snapshot may be gone.
                    let _ = answer.send(());
                }
                self.checkpoint_when_due();
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
                    let job = Job {
                        link,
                        edge,
                        from,
                        replica,
                    };
                    if self.feeds.send(job).is_err() {
                        self.close(link, Goodbye::Later("the hub makes no feeds any more".into()));
                    }
                }
            }
            Action::Report(edge, cursor, report) => self.recorder.report(edge, cursor, report),
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
        if self.engine.is_none() && clock::now().0 >= self.trouble.failed_at.0 + self.trouble.wait_ms {
            self.try_again();
        }
        self.with(Engine::dirty);
        if self.recorder.is_due(clock::now()) {
            self.record();
        }
    }

    /// Writes down how the devices are doing, and cuts off those that were revoked behind our back.
    fn record(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let linked: Vec<EdgeId> = self.links.values().map(|(edge, _)| *edge).collect();
        let conn = engine.store_mut().connection();
        let recorded = self
            .recorder
            .write(conn, &linked, clock::now())
            .and_then(|()| devices::list(conn));
        match recorded {
            Ok(devices) => {
                for device in devices {
                    if device.revoked_at.is_some() && linked.contains(&device.device) {
                        engine.refuse(device.device, REVOKED);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the state of the devices was not written down"),
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
        self.engine = None;
        self.cuts.clear();
        self.shared.set_failing(Some(reason.clone()));
        for (_, (edge, outlet)) in std::mem::take(&mut self.links) {
            self.recorder.unlinked(edge);
            // A link that has ended needs no goodbye.
            let _ = outlet.close.send(Goodbye::Later(reason.clone()));
        }
    }

    fn try_again(&mut self) {
        match HubStore::open(&self.path, self.policy.clone()) {
            Ok(store) => {
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

const REVOKED: &str = "this device was revoked at the hub; to use it again, enrol it with a new token";

fn revoked(name: &str) -> String {
    format!("the device `{name}` was revoked at the hub; to use it again, enrol it with a new token")
}

/// Pages in the log, and how many of them are in the database already. Looks only.
fn wal_pages(store: &mut HubStore) -> rusqlite::Result<(i64, i64)> {
    store
        .connection()
        .query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| {
            Ok((row.get(1)?, row.get(2)?))
        })
}
