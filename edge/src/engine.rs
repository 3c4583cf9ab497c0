//! The edge's session joined to its store: what the daemon's thread and the simulation both drive.
//!
//! Nothing here knows a socket or a clock. [`Engine::step`] performs what the session asks for until
//! there is a frame to send or nothing is left; large changesets leave piece by piece, as fast as the
//! caller asks for the next frame.

mod auditor;
mod refused;

use crate::store::difference::Ground;
use crate::store::{EdgeStore, Feed, ReadDone, Reading, Seed, StoreError, Verdict, Waiting};
use auditor::{Auditor, Next};
use refused::RefusedFeed;
use std::time::Duration;
use tt_protocol::clock::Reading as ClockReading;
use tt_protocol::frame::{EdgeFrame, Hello, HubFrame, PROTOCOL};
use tt_protocol::number::{Epoch, Millis, Version};
use tt_protocol::session::WholeFeed;
use tt_protocol::session::edge::{EdgeSession, FeedVerdict, Output};

/// What [`Engine::step`] came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A frame for the hub.
    Frame(EdgeFrame),
    /// The hub refuses this device, and why. The link is over.
    Refused(String),
    /// A table is to be read, on whatever thread; answer with [`Engine::read`].
    Read(Reading),
    /// A snapshot is to be fetched and unpacked; answer with [`Engine::seed`].
    Fetch(Fetch),
    /// Nothing to do until something happens.
    Idle,
}

/// The snapshot that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The hub's incarnation.
    pub epoch: Epoch,
    /// An older one does not hold this device's last changeset.
    pub at_least: Version,
    /// The operator's order that is carried out with it.
    pub order: u64,
}

/// A store with, while there is a link, a session.
pub struct Engine {
    store: EdgeStore,
    session: Option<EdgeSession>,
    waiting: Option<Waiting>,
    auditor: Auditor,
    next: Next,
    refused: Option<RefusedFeed>,
}

impl Engine {
    /// An engine without a link.
    #[must_use]
    pub const fn new(store: EdgeStore) -> Self {
        Self {
            store,
            session: None,
            waiting: None,
            auditor: Auditor::new(),
            next: Next::Nothing,
            refused: None,
        }
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &EdgeStore {
        &self.store
    }

    /// The store, to write.
    pub const fn store_mut(&mut self) -> &mut EdgeStore {
        &mut self.store
    }

    /// A link is there: greets the hub. `wait` as in [`EdgeSession::new`].
    ///
    /// # Errors
    /// When the store fails.
    pub fn begin(&mut self, now: Millis, wait: bool) -> Result<(), StoreError> {
        // What an earlier link was about to ask must not be the first word of this one.
        self.end();
        let (last_seq, last_hash) = self.store.last_cut()?;
        let first_held = self.store.first_held()?;
        let hello = Hello {
            protocol: PROTOCOL,
            edge: self.store.device(),
            epoch: self.store.epoch()?,
            cursor: self.store.cursor()?,
            last_seq,
            last_hash,
            first_held,
            seed_wanted: self.store.is_seed_wanted()?,
            order_done: self.store.order_done()?,
            now,
        };
        let mut session = EdgeSession::new(hello, wait);
        if let Some((epoch, at_least)) = self.store.fetch_under_way(now.0)? {
            session.resume_fetch(epoch, at_least);
        }
        self.session = Some(session);
        Ok(())
    }

    /// The link is gone.
    pub fn end(&mut self) {
        self.session = None;
        self.waiting = None;
        self.auditor.end();
        self.next = Next::Nothing;
        self.refused = None;
    }

    /// No tables are compared with the hub's: this is one round of `sync`.
    pub const fn without_audits(&mut self) {
        self.auditor.disable();
    }

    /// Every table is compared with the hub's as soon as possible: somebody asks.
    ///
    /// # Errors
    /// When the store fails.
    pub fn audit_now(&mut self) -> Result<(), StoreError> {
        self.store.audit_all()?;
        self.auditor.hurry();
        Ok(())
    }

    /// A table was read. One that is not wanted any more is ignored.
    ///
    /// # Errors
    /// When the reading or the store failed.
    pub fn read(&mut self, now: Millis, done: ReadDone) -> Result<(), StoreError> {
        let next = self.auditor.found(&mut self.store, now, done)?;
        self.go_on(next);
        Ok(())
    }

    /// True when the hub has accepted the link.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.session.as_ref().is_some_and(EdgeSession::is_up)
    }

    /// True when nothing is unsent and nothing unread, as far as both ends know.
    #[must_use]
    pub fn in_step(&self) -> bool {
        self.session.as_ref().is_some_and(EdgeSession::in_step)
    }

    /// Why the file does not take what the hub sent on this link, until it has taken it.
    #[must_use]
    pub fn feed_refused(&self) -> Option<&str> {
        self.refused.as_ref().map(RefusedFeed::reason)
    }

    /// True when all that is left to do is a feed that the file refuses: whatever was written here is sent.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.session.as_ref().is_some_and(EdgeSession::is_stuck)
    }

    /// Versions that are known and not applied; None without a link.
    #[must_use]
    pub fn unread(&self) -> Option<u64> {
        self.session.as_ref().filter(|session| session.is_up()).map(EdgeSession::unread)
    }

    /// How long it is until a step has something to do although nothing has happened; None when nothing is
    /// waited for.
    #[must_use]
    pub fn next_look(&self, now: Millis) -> Option<Duration> {
        let at = match &self.refused {
            Some(refused) => Some(refused.due_at()),
            None => self.auditor.next_look(now),
        }?;
        u64::try_from(at.0.saturating_sub(now.0)).ok().map(Duration::from_millis)
    }

    /// Programs may have written: a cut is due.
    pub fn dirty(&mut self) {
        self.auditor.stirred();
        if let Some(session) = &mut self.session {
            session.handle_dirty();
        }
    }

    /// Somebody wants to know that all is in step now.
    pub fn ask(&mut self) {
        if let Some(session) = &mut self.session {
            session.handle_ask();
        }
    }

    /// Looks at the clocks: to be called before a frame is taken in, before a link begins and before a step,
    /// so that no time of another scale is used.
    ///
    /// # Errors
    /// When the store fails.
    pub fn look_at_clock(&mut self, reading: ClockReading) -> Result<(), StoreError> {
        let set = self.store.look_at_clock(reading)?;
        if let Some(session) = &mut self.session {
            if set {
                session.handle_clock_set(reading.wall);
            } else {
                session.handle_time(reading.wall);
            }
        }
        Ok(())
    }

    /// A frame came from the hub.
    pub fn frame(&mut self, now: Millis, frame: HubFrame) {
        if let Some(session) = &mut self.session {
            session.handle_frame(now, frame);
        }
    }

    /// Does what is due. After an error the link should be ended and begun again later.
    ///
    /// # Errors
    /// When the store fails.
    pub fn step(&mut self, now: Millis) -> Result<Step, StoreError> {
        loop {
            if let Some(step) = self.perform_one(now)? {
                return Ok(step);
            }
        }
    }

    /// Performs one output of the session: between any two of them the daemon may die. None when there
    /// may be more to do at once.
    ///
    /// # Errors
    /// When the store fails.
    pub fn perform_one(&mut self, now: Millis) -> Result<Option<Step>, StoreError> {
        let Some(session) = &mut self.session else {
            return Ok(Some(Step::Idle));
        };
        if let Some(refused) = &mut self.refused
            && refused.is_due(&self.store, now)?
        {
            session.handle_try_again();
        }
        let Some(output) = session.poll_output() else {
            return self.compare_when_in_step(now).map(Some);
        };
        match output {
            Output::Send(frame) => return Ok(Some(Step::Frame(frame))),
            Output::Refused(reason) => return Ok(Some(Step::Refused(reason))),
            Output::Cut => {
                let cut = self.store.cut(now)?;
                session.handle_cut(cut.map(|cut| cut.seq));
            }
            Output::Look(after) => {
                self.waiting = self.store.next_waiting(after)?;
                session.handle_waiting(self.waiting.map(|waiting| (waiting.seq, waiting.pieces)));
            }
            Output::SendPiece(_, index) => {
                let Some(waiting) = self.waiting else {
                    return Ok(None);
                };
                let piece = self.store.piece(&waiting, index)?;
                session.handle_piece_sent();
                return Ok(Some(Step::Frame(EdgeFrame::Piece(piece))));
            }
            Output::Acknowledge(ack) => self.store.acknowledge(&ack)?,
            Output::Forget(watermark) => self.store.forget_safe(watermark)?,
            Output::Reopen(merged) => self.store.reopen(merged)?,
            Output::Fetch { epoch, at_least, order } => {
                self.store.fetching(epoch, at_least, now.0)?;
                return Ok(Some(Step::Fetch(Fetch { epoch, at_least, order })));
            }
            Output::ClockOffset(offset) => self.store.set_clock_offset(offset)?,
            Output::Apply(feed) => self.apply(now, feed)?,
            Output::Compared(compared) => {
                let next = self.auditor.answered(&mut self.store, now, compared)?;
                self.go_on(next);
            }
        }
        Ok(None)
    }

    fn go_on(&mut self, next: Next) {
        if matches!(next, Next::Cut) {
            if let Some(session) = &mut self.session {
                session.handle_dirty();
            }
        } else {
            self.next = next;
        }
    }

    /// With nothing else to do, tables are compared with the hub's.
    fn compare_when_in_step(&mut self, now: Millis) -> Result<Step, StoreError> {
        let next = match std::mem::take(&mut self.next) {
            Next::Nothing if self.in_step() => self.auditor.begin(&self.store, now)?,
            next => next,
        };
        Ok(match next {
            Next::Read(reading) => Step::Read(reading),
            Next::Ask(frame) => Step::Frame(frame),
            Next::Nothing | Next::Cut => Step::Idle,
        })
    }

    fn apply(&mut self, now: Millis, feed: WholeFeed) -> Result<(), StoreError> {
        let WholeFeed { from, to, merged, pieces } = feed;
        self.auditor.fed();
        let verdict = self.store.apply(&Feed { from, to, merged, pieces })?;
        let cursor = self.store.cursor()?;
        let verdict = self.told(verdict, now)?;
        if let Some(session) = &mut self.session {
            session.handle_verdict(verdict, cursor);
        }
        Ok(())
    }

    /// The head of a snapshot that was asked for has come: brings the file to where it can be compared. None when it
    /// cannot be, and the session goes on otherwise.
    ///
    /// # Errors
    /// When the head or the store fails.
    pub fn make_ready(&mut self, now: Millis, head: &Seed) -> Result<Option<Ground>, StoreError> {
        if !self.session.as_ref().is_some_and(|session| session.is_seeding() && session.is_up()) {
            return Ok(None);
        }
        match self.store.make_ready(head)? {
            Ok(ground) => Ok(Some(ground)),
            Err(verdict) => self.seeded(now, verdict).map(|_| None),
        }
    }

    /// A snapshot that was asked for has come: writes it into the file. True when it is written.
    ///
    /// # Errors
    /// When the snapshot or the store fails.
    pub fn seed(&mut self, now: Millis, seed: &Seed) -> Result<bool, StoreError> {
        if !self.session.as_ref().is_some_and(|session| session.is_seeding() && session.is_up()) {
            return Ok(false);
        }
        self.auditor.fed();
        let verdict = self.store.reseed(seed)?;
        self.seeded(now, verdict)
    }

    fn seeded(&mut self, now: Millis, verdict: Verdict) -> Result<bool, StoreError> {
        let cursor = self.store.cursor()?;
        let verdict = self.told(verdict, now)?;
        if let Some(session) = &mut self.session {
            session.handle_seeded(verdict, cursor);
        }
        Ok(verdict == FeedVerdict::Applied)
    }

    /// True while this device is being reseeded.
    #[must_use]
    pub fn is_seeding(&self) -> bool {
        self.session.as_ref().is_some_and(EdgeSession::is_seeding)
    }

    fn told(&mut self, verdict: Verdict, now: Millis) -> Result<FeedVerdict, StoreError> {
        Ok(match verdict {
            Verdict::Applied => {
                self.refused = None;
                FeedVerdict::Applied
            }
            Verdict::Stale => FeedVerdict::Stale,
            Verdict::CutFirst => FeedVerdict::CutFirst,
            Verdict::Refused(reason) => {
                self.refused = Some(RefusedFeed::new(reason, &self.store, now)?);
                FeedVerdict::Refused
            }
        })
    }
}
