//! The hub's sessions joined to its store: what the daemon's writer thread and the simulation both drive.
//!
//! The caller hands in what happened on any link, then calls [`Engine::step`] once: all changesets that
//! wait by then are merged in one commit (group commit), and only then their acknowledgements leave.

use crate::rescue::{RescueError, Rescued, Work};
use crate::store::decide::{DecideError, Decided, Decision};
use crate::store::migrate::MigrateError;
use crate::store::{Changeset, HubStore, MergeError, Outcome, StoreError};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use tt_migrations::runner::Migration;
use tt_protocol::audit::{Compare, Compared};
use tt_protocol::frame::{EdgeFrame, HubFrame, Report};
use tt_protocol::number::{EdgeId, Millis, Version};
use tt_protocol::session::WholeFeed;
use tt_protocol::session::hub::{HubSession, MergeResult, Output, Staged};

/// Said when work of a device cannot be placed in this file.
const LOST: &str = "changesets that this device had handed in are not in this file, and the device does not keep them any \
                    more: compare with the backups and the journal which rows are missing";

/// Names one link for its lifetime.
pub type LinkId = u64;

/// What the rim must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send a frame on a link.
    Send(LinkId, HubFrame),
    /// Close a link after what was sent; the reason is for a person.
    Close(LinkId, String),
    /// Make a feed for this edge from this cursor; answer with [`Engine::feed_made`].
    MakeFeed(LinkId, EdgeId, Version),
    /// Compare a table with an edge's; answer with [`Engine::compared`].
    Compare(LinkId, Compare),
    /// An edge reports how it is doing.
    Report(EdgeId, Version, Report),
    /// An edge leaves for good; answer with [`Engine::refuse`].
    Leave(EdgeId),
}

/// All links of a hub and its store.
pub struct Engine {
    store: HubStore,
    sessions: BTreeMap<LinkId, HubSession>,
    staged: HashMap<EdgeId, Staged>,
    merging: Vec<(LinkId, Changeset)>,
    local_dirty: bool,
    asks_journal: bool,
    /// What the sessions were told is safe.
    watermark: Version,
}

impl Engine {
    /// An engine without links.
    #[must_use]
    pub fn new(store: HubStore) -> Self {
        Self {
            store,
            sessions: BTreeMap::new(),
            staged: HashMap::new(),
            merging: Vec::new(),
            local_dirty: true,
            asks_journal: true,
            watermark: Version(0),
        }
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &HubStore {
        &self.store
    }

    /// The store, to write.
    pub const fn store_mut(&mut self) -> &mut HubStore {
        &mut self.store
    }

    /// An edge has linked. An older link of the same edge is closed: it is a leftover.
    pub fn link_up(&mut self, link: LinkId, edge: EdgeId) -> Vec<Action> {
        let old: Vec<LinkId> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.edge() == edge)
            .map(|(link, _)| *link)
            .collect();
        let mut actions = Vec::new();
        for link in old {
            self.link_down(link);
            actions.push(Action::Close(link, "the device has linked again".to_owned()));
        }
        let staged = self.staged.remove(&edge).unwrap_or_default();
        self.sessions.insert(link, HubSession::new(edge, staged));
        actions
    }

    /// A link is gone. Pieces that arrived are kept for the next one.
    pub fn link_down(&mut self, link: LinkId) {
        if let Some(session) = self.sessions.remove(&link) {
            self.staged.insert(session.edge(), session.into_staged());
        }
        self.merging.retain(|(waiting, _)| *waiting != link);
    }

    /// Refuses an edge that may be linked: it was revoked. What it had handed in before a restore, nobody will send.
    pub fn refuse(&mut self, edge: EdgeId, reason: &str) {
        self.asks_journal = true;
        for session in self.sessions.values_mut().filter(|session| session.edge() == edge) {
            session.refuse(reason);
        }
    }

    /// Edges that are linked now.
    pub fn linked(&self) -> impl Iterator<Item = (LinkId, EdgeId)> {
        self.sessions.iter().map(|(link, session)| (*link, session.edge()))
    }

    /// The version that each linked edge has applied, as far as the hub knows.
    pub fn cursors(&self) -> impl Iterator<Item = (EdgeId, Version)> {
        self.sessions.values().map(|session| (session.edge(), session.cursor()))
    }

    /// A frame came on a link.
    pub fn frame(&mut self, link: LinkId, now: Millis, frame: EdgeFrame) {
        if let Some(session) = self.sessions.get_mut(&link) {
            // An edge that asks must see what programs at the hub have committed by now.
            self.local_dirty |= match &frame {
                EdgeFrame::Pull(pull) => !pull.wait,
                EdgeFrame::Compare(_) => true,
                _ => false,
            };
            session.handle_frame(now, frame);
        }
    }

    /// A feed that was asked for is ready.
    pub fn feed_made(&mut self, link: LinkId, feed: WholeFeed) {
        if let Some(session) = self.sessions.get_mut(&link) {
            session.handle_feed(feed);
        }
    }

    /// Carries out the operator's decision on entries of the conflict list, in one commit. Devices hear of
    /// it at the next [`Engine::step`].
    ///
    /// # Errors
    /// When the store fails as a whole. Nothing is decided then.
    pub fn decide(
        &mut self,
        ids: &[i64],
        decision: &Decision,
        now: Millis,
    ) -> Result<Vec<Result<Decided, DecideError>>, StoreError> {
        let before = self.store.version();
        let outcomes = self.store.decide_all(ids, decision, now)?;
        if self.store.version() != before {
            self.announce();
        }
        Ok(outcomes)
    }

    /// A table that was to be compared is.
    pub fn compared(&mut self, link: LinkId, compared: Compared) {
        if let Some(session) = self.sessions.get_mut(&link) {
            session.handle_compared(compared);
        }
    }

    /// Programs may have written to the hub's file.
    pub const fn dirty(&mut self) {
        self.local_dirty = true;
    }

    /// Does what is due: merges, in one commit, and collects what must leave.
    ///
    /// # Errors
    /// When the store fails as a whole. Nothing that waits is acknowledged then; edges send again.
    pub fn step(&mut self, now: Millis) -> Result<Vec<Action>, StoreError> {
        if std::mem::take(&mut self.asks_journal) {
            let before = self.store.version();
            self.store.gone_again(now)?;
            if self.store.version() != before {
                self.announce();
            }
        }
        // Devices that joined and the like: whoever did that has no answer yet, or it does not matter to him.
        self.store.flush()?;
        if self.local_dirty {
            self.local_dirty = false;
            if self.store.written_by_others()? && self.store.cut_local(now)? {
                self.announce();
            }
        }
        let mut actions = Vec::new();
        self.collect(now, &mut actions)?;
        while !self.merging.is_empty() {
            self.merge(now)?;
            self.collect(now, &mut actions)?;
        }
        self.tell_watermark(now, &mut actions)?;
        Ok(actions)
    }

    /// Applies a migration, and tells every edge that there is something new. False when the database has
    /// it already.
    ///
    /// # Errors
    /// [`MigrateError`]; nothing of it is left then.
    pub fn migrate(&mut self, migration: &Migration, now: Millis) -> Result<bool, MigrateError> {
        let applied = self.store.migrate(migration, now)?;
        self.announce();
        Ok(applied)
    }

    /// Takes in the work of a lost device, and tells every edge that there is something new.
    pub(crate) fn rescue(
        &mut self,
        work: Work,
        of: &Path,
        how: (&[u8; 32], bool),
        now: Millis,
    ) -> Result<Rescued, RescueError> {
        let report = self.store.rescue(work, of, how, now)?;
        self.announce();
        Ok(report)
    }

    fn collect(&mut self, now: Millis, actions: &mut Vec<Action>) -> Result<(), StoreError> {
        let mut put_back = false;
        for (link, session) in &mut self.sessions {
            while let Some(output) = session.poll_output() {
                match output {
                    Output::Send(frame) => actions.push(Action::Send(*link, frame)),
                    Output::Greet(hello) => {
                        let standing = self.store.standing(&hello, now)?;
                        session.handle_standing(&hello, &standing);
                    }
                    Output::Skip { hello, from, to } => {
                        let device = session.edge();
                        let merged = self.store.hand_in_again(device, (from, to), now)?;
                        if merged < to {
                            tracing::error!(%device, from = %merged.next(), %to, "{LOST}");
                            self.store.pass_over(device, to, now)?;
                        }
                        put_back = true;
                        let standing = self.store.standing(&hello, now)?;
                        session.handle_standing(&hello, &standing);
                    }
                    Output::Merge { seq, hash, pieces, cursor } => {
                        let edge = session.edge();
                        self.merging.push((*link, Changeset { edge, seq, hash, pieces, cursor }));
                    }
                    Output::MakeFeed(cursor) => actions.push(Action::MakeFeed(*link, session.edge(), cursor)),
                    Output::Compare(compare) => {
                        actions.push(Action::Compare(*link, compare));
                    }
                    Output::Report(report) => {
                        actions.push(Action::Report(session.edge(), session.cursor(), report));
                    }
                    Output::Leave => actions.push(Action::Leave(session.edge())),
                    Output::Close(reason) => actions.push(Action::Close(*link, reason)),
                }
            }
        }
        if put_back {
            self.announce();
        }
        Ok(())
    }

    fn merge(&mut self, now: Millis) -> Result<(), StoreError> {
        let (links, changesets): (Vec<_>, Vec<_>) = std::mem::take(&mut self.merging).into_iter().unzip();
        let outcomes = self.store.merge(&changesets, now)?;
        let watermark = self.store.watermark();
        for ((link, changeset), outcome) in links.into_iter().zip(&changesets).zip(outcomes) {
            let result = result_of(changeset, outcome, watermark);
            if let Some(session) = self.sessions.get_mut(&link) {
                session.handle_merged(changeset.seq, result);
            }
        }
        self.announce();
        Ok(())
    }

    /// What is safe moves also when nothing else happens.
    fn tell_watermark(&mut self, now: Millis, actions: &mut Vec<Action>) -> Result<(), StoreError> {
        let watermark = self.store.watermark();
        if watermark == self.watermark {
            return Ok(());
        }
        self.watermark = watermark;
        for session in self.sessions.values_mut() {
            session.handle_watermark(watermark);
        }
        self.collect(now, actions)
    }

    fn announce(&mut self) {
        let version = self.store.version();
        for session in self.sessions.values_mut() {
            session.handle_version(version);
        }
    }
}

fn result_of(changeset: &Changeset, outcome: Result<Outcome, MergeError>, watermark: Version) -> MergeResult {
    let seq = changeset.seq;
    match outcome {
        Ok(Outcome::Merged { version, caught_up, .. }) => {
            MergeResult::Merged { version, caught_up, watermark }
        }
        Ok(Outcome::Fork) => MergeResult::Refused(format!(
            "the hub has another changeset under number {seq}: this device was copied or put back; join it again \
             with `tt-edge join TOKEN --rescue`"
        )),
        Ok(Outcome::Gap { merged }) => MergeResult::Refused(format!(
            "changeset {seq} came, but the hub has only {merged}: the hub's file was put back"
        )),
        Err(error) => MergeResult::Refused(format!("changeset {seq}: {error}")),
    }
}
