//! Sessions only, without files: a model of outbox, log and rows that fits in a few lists, so that many
//! thousand worlds run in a second.
//!
//! * A change is a number that is never used again; a node's rows are the set of changes that it has.
//! * Exactly once: the hub never merges a change twice, an edge never gets one twice that it applied.
//! * Progress: in a world without further loss every change reaches every node.

use super::random::Random;
use std::collections::{BTreeSet, VecDeque};
use tt_protocol::frame::{EdgeFrame, Hello, HubFrame, PROTOCOL, Piece};
use tt_protocol::number::{EdgeId, Epoch, Millis, Seq, Version};
use tt_protocol::session::WholeFeed;
use tt_protocol::session::edge::{self, EdgeSession, FeedVerdict};
use tt_protocol::session::hub::{self, HubSession, MergeResult, Staged, Standing};

type Change = u32;

/// A changeset: its changes, one per piece.
type Changeset = Vec<Change>;

#[derive(Default)]
struct Edge {
    outbox: Vec<Changeset>,
    acknowledged: usize,
    uncut: Vec<Change>,
    has: BTreeSet<Change>,
    cursor: Version,
    session: Option<EdgeSession>,
    up: VecDeque<EdgeFrame>,
    down: VecDeque<HubFrame>,
}

struct Merged {
    edge: usize,
    changes: Changeset,
}

#[derive(Default)]
struct Link {
    session: Option<HubSession>,
    staged: Staged,
    feed_due: Option<Version>,
}

struct World {
    edges: Vec<Edge>,
    links: Vec<Link>,
    log: Vec<Merged>,
    next: Change,
}

const NOW: Millis = Millis(0);

fn hash(changes: &[Change]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&changes[0].to_le_bytes());
    bytes[4] = 1;
    bytes
}

fn pieces(changes: &[Change]) -> Vec<Vec<u8>> {
    changes.iter().map(|change| change.to_le_bytes().to_vec()).collect()
}

fn changes(pieces: &[Vec<u8>]) -> Changeset {
    let number = |bytes: &Vec<u8>| Change::from_le_bytes(bytes.as_slice().try_into().expect("four bytes"));
    pieces.iter().map(number).collect()
}

/// Runs the world of one seed.
///
/// # Panics
/// When a change is lost or applied twice, or the world does not come to rest.
pub fn world(seed: u64) {
    let mut random = Random::new(seed);
    let edges = 1 + usize::try_from(random.below(3)).expect("few");
    let mut world = World {
        edges: (0..edges).map(|_| Edge::default()).collect(),
        links: (0..edges).map(|_| Link::default()).collect(),
        log: Vec::new(),
        next: 1,
    };
    for _ in 0..random.below(300) {
        world.chance(&mut random);
    }
    world.settle(&mut random);
    let all: BTreeSet<Change> = (1..world.next).collect();
    for edge in &world.edges {
        assert_eq!(edge.has, all, "an edge lacks changes");
        assert_eq!(edge.acknowledged, edge.outbox.len(), "an edge waits for an acknowledgement");
    }
}

impl World {
    fn chance(&mut self, random: &mut Random) {
        let edge = usize::try_from(random.below(self.edges.len() as u64)).expect("few");
        match random.below(32) {
            0 => self.unlink(edge),
            1 | 2 if self.edges[edge].session.is_none() => self.link(edge, !random.once_in(4)),
            3 if random.once_in(6) => self.crash_hub(),
            4..=8 => self.write(edge, random),
            9..=16 => drop(self.step_edge(edge, random)),
            17..=22 => drop(self.deliver_up(edge)),
            23..=28 => drop(self.step_hub(edge)),
            29 => self.make_feed(edge),
            30 if random.once_in(2) => self.try_again(edge),
            _ => drop(self.deliver_down(edge)),
        }
    }

    fn write(&mut self, edge: usize, random: &mut Random) {
        for _ in 0..=random.below(4) {
            self.edges[edge].uncut.push(self.next);
            self.edges[edge].has.insert(self.next);
            self.next += 1;
        }
        if let Some(session) = &mut self.edges[edge].session {
            session.handle_dirty();
        }
    }

    fn link(&mut self, edge: usize, wait: bool) {
        self.unlink(edge);
        let node = &mut self.edges[edge];
        let hello = Hello {
            protocol: PROTOCOL,
            edge: EdgeId(u16::try_from(edge + 1).expect("few")),
            epoch: Epoch(1),
            cursor: node.cursor,
            last_seq: Seq(node.outbox.len() as u64),
            last_hash: node.outbox.last().map(|changes| hash(changes)).unwrap_or_default(),
            first_held: Seq(1),
            seed_wanted: false,
            order_done: 0,
            now: NOW,
        };
        self.links[edge].session =
            Some(HubSession::new(hello.edge, std::mem::take(&mut self.links[edge].staged)));
        node.session = Some(EdgeSession::new(hello, wait));
    }

    fn unlink(&mut self, edge: usize) {
        let (node, link) = (&mut self.edges[edge], &mut self.links[edge]);
        node.session = None;
        node.up.clear();
        node.down.clear();
        link.feed_due = None;
        if let Some(session) = link.session.take() {
            link.staged = session.into_staged();
        }
    }

    fn crash_hub(&mut self) {
        for edge in 0..self.edges.len() {
            self.unlink(edge);
            self.links[edge].staged = Staged::default();
        }
    }

    /// What a file refused may go in by now.
    fn try_again(&mut self, edge: usize) {
        if let Some(session) = &mut self.edges[edge].session {
            session.handle_try_again();
        }
    }

    fn deliver_up(&mut self, edge: usize) -> bool {
        let frame = self.edges[edge].up.pop_front();
        let (Some(session), Some(frame)) = (&mut self.links[edge].session, frame) else {
            return false;
        };
        session.handle_frame(NOW, frame);
        true
    }

    fn deliver_down(&mut self, edge: usize) -> bool {
        let node = &mut self.edges[edge];
        let (Some(session), Some(frame)) = (&mut node.session, node.down.pop_front()) else {
            return false;
        };
        session.handle_frame(NOW, frame);
        true
    }

    /// Performs one output of an edge.
    fn step_edge(&mut self, edge: usize, random: &mut Random) -> bool {
        let node = &mut self.edges[edge];
        let Some(output) = node.session.as_mut().and_then(EdgeSession::poll_output) else {
            return false;
        };
        node.perform(output, random);
        true
    }

    /// Performs one output of the hub for an edge.
    fn step_hub(&mut self, edge: usize) -> bool {
        let Some(output) = self.links[edge].session.as_mut().and_then(HubSession::poll_output) else {
            return false;
        };
        match output {
            hub::Output::Send(frame) => self.edges[edge].down.push_back(frame),
            hub::Output::Greet(hello) => {
                let standing = self.standing(edge, &hello);
                self.answer(edge, |session| session.handle_standing(&hello, &standing));
            }
            hub::Output::Merge { seq, hash, pieces, cursor } => self.merge(edge, seq, hash, &pieces, cursor),
            hub::Output::MakeFeed(from) => self.links[edge].feed_due = Some(from),
            hub::Output::Report(_) | hub::Output::Compare(_) | hub::Output::Leave => {}
            hub::Output::Skip { .. } => panic!("nothing is lost here"),
            hub::Output::Close(reason) => panic!("the hub closes: {reason}"),
        }
        true
    }

    fn answer(&mut self, edge: usize, with: impl FnOnce(&mut HubSession)) {
        if let Some(session) = &mut self.links[edge].session {
            with(session);
        }
    }

    fn merged(&self, edge: usize) -> Vec<usize> {
        (0..self.log.len()).filter(|at| self.log[*at].edge == edge).collect()
    }

    fn standing(&self, edge: usize, hello: &Hello) -> Standing {
        let merged = self.merged(edge);
        let of_last =
            usize::try_from(hello.last_seq.0).ok().and_then(|last| merged.get(last.checked_sub(1)?));
        Standing {
            epoch: Epoch(1),
            version: Version(self.log.len() as u64),
            merged: Seq(merged.len() as u64),
            merged_as: merged.last().map_or(Version(0), |at| Version(*at as u64 + 1)),
            hash_of_last: of_last.map(|at| hash(&self.log[*at].changes)),
            watermark: Version(0),
            forgotten: Version(0),
            order: 0,
            now: NOW,
        }
    }

    fn merge(&mut self, edge: usize, seq: Seq, named: [u8; 32], pieces: &[Vec<u8>], cursor: Version) {
        let merged = self.merged(edge);
        let place = usize::try_from(seq.0).expect("small") - 1;
        let at = match merged.get(place) {
            Some(at) => *at,
            None => {
                assert_eq!(merged.len(), place, "a gap");
                let changes = changes(pieces);
                assert_eq!(hash(&changes), named, "pieces of two changesets were mixed");
                let twice =
                    self.log.iter().flat_map(|merged| &merged.changes).any(|known| changes.contains(known));
                assert!(!twice, "merged twice");
                self.log.push(Merged { edge, changes });
                self.log.len() - 1
            }
        };
        let version = Version(at as u64 + 1);
        let from = usize::try_from(cursor.0).expect("small");
        let caught_up =
            self.log.get(from..=at).is_none_or(|between| between.iter().all(|merged| merged.edge == edge));
        let watermark = Version(0);
        self.answer(edge, |session| {
            session.handle_merged(seq, MergeResult::Merged { version, caught_up, watermark })
        });
        let newest = Version(self.log.len() as u64);
        for other in 0..self.links.len() {
            self.answer(other, |session| session.handle_version(newest));
        }
    }

    fn make_feed(&mut self, edge: usize) {
        let Some(from) = self.links[edge].feed_due.take() else {
            return;
        };
        let start = usize::try_from(from.0).expect("small");
        let rows: Changeset = self.log[start..]
            .iter()
            .filter(|merged| merged.edge != edge)
            .flat_map(|merged| merged.changes.clone())
            .collect();
        let feed = WholeFeed {
            from,
            to: Version(self.log.len() as u64),
            merged: Seq(self.merged(edge).len() as u64),
            pieces: pieces(&rows),
        };
        self.answer(edge, |session| session.handle_feed(feed));
    }

    fn settle(&mut self, random: &mut Random) {
        for edge in 0..self.edges.len() {
            if self.edges[edge].session.is_none() {
                self.link(edge, true);
            }
        }
        for _ in 0..20_000 {
            let mut moved = false;
            for edge in 0..self.edges.len() {
                moved |= self.step_edge(edge, random) | self.deliver_up(edge) | self.step_hub(edge);
                moved |= self.links[edge].feed_due.is_some();
                self.make_feed(edge);
                moved |= self.deliver_down(edge);
            }
            if moved {
                continue;
            }
            // A round of `sync` ends when it is in step; others write after it, so it begins again.
            let behind = |edge: &Edge| edge.cursor.0 < self.log.len() as u64;
            match (0..self.edges.len()).find(|edge| behind(&self.edges[*edge])) {
                Some(edge) if self.edges[edge].session.as_ref().is_some_and(EdgeSession::is_stuck) => {
                    let stuck = &self.edges[edge];
                    assert!(stuck.uncut.is_empty(), "a feed that is refused stops cuts");
                    assert_eq!(stuck.acknowledged, stuck.outbox.len(), "a feed that is refused stops pushes");
                    self.try_again(edge);
                }
                Some(edge) => self.link(edge, true),
                None => {
                    let in_step =
                        self.edges.iter().all(|edge| edge.session.as_ref().is_some_and(EdgeSession::in_step));
                    assert!(in_step, "at rest, but not in step");
                    return;
                }
            }
        }
        panic!("the world does not come to rest");
    }
}

impl Edge {
    fn perform(&mut self, output: edge::Output, random: &mut Random) {
        let Some(session) = &mut self.session else { return };
        match output {
            edge::Output::Send(frame) => self.up.push_back(frame),
            edge::Output::Cut => {
                let cut = std::mem::take(&mut self.uncut);
                if !cut.is_empty() {
                    self.outbox.push(cut.clone());
                }
                session.handle_cut((!cut.is_empty()).then_some(Seq(self.outbox.len() as u64)));
            }
            edge::Output::Look(after) => {
                let found = usize::try_from(after.0).ok().and_then(|after| self.outbox.get(after));
                session.handle_waiting(
                    found.map(|changes| (after.next(), u32::try_from(changes.len()).expect("few"))),
                );
            }
            edge::Output::SendPiece(seq, index) => {
                let changes = &self.outbox[usize::try_from(seq.0).expect("small") - 1];
                let bytes = pieces(changes)[index as usize].clone();
                let count = u32::try_from(changes.len()).expect("few");
                let (hash, cursor) = (hash(changes), self.cursor);
                self.up.push_back(EdgeFrame::Piece(Piece { seq, hash, index, count, cursor, bytes }));
                session.handle_piece_sent();
            }
            edge::Output::Acknowledge(ack) => {
                self.acknowledged = self.acknowledged.max(usize::try_from(ack.seq.0).expect("small"));
                if ack.caught_up && ack.seq.0 == self.outbox.len() as u64 {
                    self.cursor = self.cursor.max(ack.version);
                }
            }
            edge::Output::Apply(feed) => self.apply(feed, random),
            edge::Output::ClockOffset(_) | edge::Output::Compared(_) | edge::Output::Forget(_) => {}
            edge::Output::Reopen(_) | edge::Output::Fetch { .. } => panic!("no hub is restored here"),
            edge::Output::Refused(reason) => panic!("refused: {reason}"),
        }
    }

    fn apply(&mut self, feed: WholeFeed, random: &mut Random) {
        let verdict = if feed.from != self.cursor || feed.merged.0 != self.outbox.len() as u64 {
            FeedVerdict::Stale
        } else if !self.uncut.is_empty() && random.once_in(3) {
            FeedVerdict::CutFirst
        } else if random.once_in(8) {
            FeedVerdict::Refused
        } else {
            for change in changes(&feed.pieces) {
                assert!(self.has.insert(change), "applied twice");
            }
            self.cursor = feed.to;
            FeedVerdict::Applied
        };
        if let Some(session) = &mut self.session {
            session.handle_verdict(verdict, self.cursor);
        }
    }
}
