//! The edge's end of a link.
//!
//! * `handle_frame`, `handle_dirty`, `handle_cut`, `handle_waiting`, `handle_piece_sent`,
//!   `handle_verdict`, `handle_try_again`, `handle_time`, `handle_clock_set` say what happened; `poll_output` says
//!   what to do; `in_step` says whether anything is left to do.
//! * One changeset is in flight at a time; a new cut is made only when all earlier ones are acknowledged.
//! * One pull is outstanding at a time. A feed that was made before the hub had merged the last cut is
//!   dropped, and until the next one is applied no cut is made: so both directions advance every round,
//!   also under continuous writes.
//! * A feed that the file refuses is not asked for again before somebody says so. Cuts go on meanwhile.
//! * Where feeds cannot bring the edge to the hub's rows (the hub was restored, the edge was away for too
//!   long, somebody wants it), the edge is reseeded (`seeding`): it hands in all that it has, and then takes
//!   a snapshot.

mod seeding;
mod timing;

use super::{Assembly, WholeFeed};
use crate::audit::Compared;
use crate::frame::{Ack, EdgeFrame, FeedPiece, Hello, HubFrame, PROTOCOL, Pull, Welcome};
use crate::number::{Epoch, Millis, Seq, Version};
use seeding::Seeding;
use std::collections::VecDeque;
use timing::Timing;

/// What the rim must do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send a frame.
    Send(EdgeFrame),
    /// Make a cut; answer with [`EdgeSession::handle_cut`].
    Cut,
    /// Look for the first changeset above this one; answer with [`EdgeSession::handle_waiting`].
    Look(Seq),
    /// Read and send one piece; answer with [`EdgeSession::handle_piece_sent`].
    SendPiece(Seq, u32),
    /// Take an acknowledgement into the outbox.
    Acknowledge(Ack),
    /// Acknowledged changesets up to this version need not be kept.
    Forget(Version),
    /// Apply a feed; answer with [`EdgeSession::handle_verdict`].
    Apply(WholeFeed),
    /// The hub is in another epoch, and has changesets up to this one: those above are not acknowledged any
    /// more. Before any acknowledgement of the new epoch is taken in.
    Reopen(Seq),
    /// Fetch a snapshot of this epoch that is at least of this version, and write it into the file; answer
    /// with [`EdgeSession::handle_seeded`].
    Fetch {
        /// The hub's incarnation.
        epoch: Epoch,
        /// The version that holds the last changeset of this edge.
        at_least: Version,
        /// The operator's order that is carried out with it.
        order: u64,
    },
    /// The clock's offset to the hub was measured, in milliseconds.
    ClockOffset(i64),
    /// The hub has compared a table: ask on, or put right what differs.
    Compared(Compared),
    /// The hub refuses, and why. The link is of no use any more.
    Refused(String),
}

/// What became of a feed that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedVerdict {
    /// The cursor is at its end.
    Applied,
    /// It did not start at the cursor.
    Stale,
    /// It clashes with changes that are not cut yet.
    CutFirst,
    /// The file refuses it, and no cut will change that.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// The outbox must be looked at.
    Unknown,
    /// The outbox is being looked at.
    Looking,
    /// Nothing waits.
    Nothing,
    /// A changeset is being sent or waits for its acknowledgement.
    Changeset { seq: Seq, count: u32, next: u32 },
}

/// The state machine.
#[derive(Debug)]
pub struct EdgeSession {
    up: bool,
    timing: Timing,
    hello: Hello,
    cursor: Version,
    last_cut: Seq,
    merged: Seq,
    pieces_held: u32,
    hub_version: Version,
    sending: Sending,
    dirty: bool,
    cutting: bool,
    pulled: bool,
    applying: bool,
    feed_wanted: bool,
    refused: bool,
    wait: bool,
    answered: bool,
    feed: Option<(FeedPiece, Assembly)>,
    seeding: Seeding,
    /// A snapshot that an earlier link did not bring to its end.
    part: Option<(Epoch, Version)>,
    outputs: VecDeque<Output>,
}

impl EdgeSession {
    /// A session that says `hello`. With `wait`, the hub is asked to answer when there is something new
    /// (a daemon); without, at once (one round of `sync`).
    #[must_use]
    pub fn new(hello: Hello, wait: bool) -> Self {
        Self {
            up: false,
            timing: Timing::new(hello.now),
            cursor: hello.cursor,
            last_cut: hello.last_seq,
            merged: Seq(0),
            pieces_held: 0,
            hub_version: Version(0),
            sending: Sending::Unknown,
            dirty: true,
            cutting: false,
            pulled: false,
            applying: false,
            feed_wanted: false,
            refused: false,
            wait,
            answered: false,
            feed: None,
            seeding: Seeding::No,
            part: None,
            outputs: VecDeque::from([Output::Send(EdgeFrame::Hello(hello.clone()))]),
            hello,
        }
    }

    /// True when the hub has accepted this link.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.up
    }

    /// True when nothing is unsent and nothing unread, as far as both ends know.
    #[must_use]
    pub fn in_step(&self) -> bool {
        self.up
            && self.answered
            && !self.dirty
            && !self.cutting
            && !self.applying
            && !self.refused
            && self.feed.is_none()
            && !self.is_seeding()
            && self.sending == Sending::Nothing
            && self.cursor >= self.hub_version
    }

    /// True when all that is left to do is a feed that the file refuses: whatever was written here is sent.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.up && self.refused && !self.dirty && !self.cutting && self.sending == Sending::Nothing
    }

    /// Versions that this edge has not applied, as far as it knows.
    #[must_use]
    pub const fn unread(&self) -> u64 {
        self.hub_version.0.saturating_sub(self.cursor.0)
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Programs have written.
    pub fn handle_dirty(&mut self) {
        self.dirty = true;
        self.advance();
    }

    /// Somebody wants to know that all is in step *now*: cuts, and asks the hub without waiting for news.
    pub fn handle_ask(&mut self) {
        self.dirty = true;
        self.answered = false;
        self.refused = false;
        if self.up && self.pulled && self.feed.is_none() && !self.applying {
            let pull = Pull { cursor: self.cursor, wait: false };
            self.outputs.push_back(Output::Send(EdgeFrame::Pull(pull)));
        }
        self.advance();
    }

    /// A frame came from the hub at `now`.
    pub fn handle_frame(&mut self, now: Millis, frame: HubFrame) {
        match frame {
            HubFrame::Welcome(welcome) => self.welcome(now, &welcome),
            HubFrame::Refused(reason) => {
                self.up = false;
                self.outputs.push_back(Output::Refused(reason));
            }
            HubFrame::Ack(ack) => self.acknowledged(ack),
            HubFrame::Feed(piece) => self.feed_piece(piece),
            HubFrame::Safe(watermark) => self.outputs.push_back(Output::Forget(watermark)),
            HubFrame::Compared(compared) => self.outputs.push_back(Output::Compared(compared)),
            HubFrame::Pong(pong) => {
                let offset = self.timing.answered(now, &pong);
                self.outputs.extend(offset.map(Output::ClockOffset));
            }
        }
        self.advance();
    }

    /// A cut was made: its number, or None when programs had changed nothing.
    pub fn handle_cut(&mut self, cut: Option<Seq>) {
        self.cutting = false;
        if let Some(seq) = cut {
            self.last_cut = seq;
            self.sending = Sending::Unknown;
        }
        self.advance();
    }

    /// The outbox was looked at: the first changeset that waits, with its number of pieces.
    pub fn handle_waiting(&mut self, waiting: Option<(Seq, u32)>) {
        self.sending = match waiting {
            None => Sending::Nothing,
            Some((seq, count)) => {
                let next = if seq == self.merged.next() { self.pieces_held.min(count - 1) } else { 0 };
                self.pieces_held = 0;
                self.outputs.push_back(Output::SendPiece(seq, next));
                Sending::Changeset { seq, count, next }
            }
        };
        self.advance();
    }

    /// The piece last asked for is on its way.
    pub fn handle_piece_sent(&mut self) {
        if let Sending::Changeset { seq, count, next } = self.sending
            && next + 1 < count
        {
            self.sending = Sending::Changeset { seq, count, next: next + 1 };
            self.outputs.push_back(Output::SendPiece(seq, next + 1));
        }
    }

    /// A feed was applied, or not; `cursor` is where the file now stands.
    pub fn handle_verdict(&mut self, verdict: FeedVerdict, cursor: Version) {
        self.applying = false;
        self.cursor = cursor;
        match verdict {
            FeedVerdict::Applied => self.feed_wanted = false,
            FeedVerdict::Stale => {}
            FeedVerdict::CutFirst => {
                self.feed_wanted = false;
                self.dirty = true;
                self.answered = false;
            }
            FeedVerdict::Refused => {
                self.feed_wanted = false;
                self.refused = true;
            }
        }
        self.advance();
    }

    /// What the file refused may go in now: the hub is asked for it once more.
    pub fn handle_try_again(&mut self) {
        if self.refused {
            self.refused = false;
            self.answered = false;
            self.advance();
        }
    }

    /// Time passes: the offset of the clock is measured again when that is due.
    pub fn handle_time(&mut self, now: Millis) {
        if self.up && self.timing.is_due(now) {
            self.ping(now);
        }
    }

    /// Somebody has set the clock, which shows `now`: its offset is measured anew.
    pub fn handle_clock_set(&mut self, now: Millis) {
        self.timing.forget();
        if self.up {
            self.ping(now);
        }
    }

    fn ping(&mut self, now: Millis) {
        let ping = self.timing.ask(now);
        self.outputs.push_back(Output::Send(ping));
    }

    fn welcome(&mut self, now: Millis, welcome: &Welcome) {
        if welcome.protocol != PROTOCOL || (welcome.epoch != self.hello.epoch && !welcome.seed) {
            let reason = "the hub speaks another version, or has begun a new epoch and does not reseed this device: \
                          update the older one";
            self.outputs.push_back(Output::Refused(reason.to_owned()));
            return;
        }
        self.up = true;
        self.seeding_welcomed(welcome);
        self.merged = welcome.merged;
        self.pieces_held = welcome.pieces_held;
        self.hub_version = welcome.version;
        let offset = self.timing.welcomed(now, welcome.now);
        self.outputs.extend(offset.map(Output::ClockOffset));
        // The hub may have been busy before it welcomed this device: a ping can be quicker.
        self.ping(now);
        if welcome.merged > Seq(0) {
            // What the hub merged and whose acknowledgement was lost need not be sent again.
            let (seq, version, watermark) = (welcome.merged, welcome.merged_as, welcome.watermark);
            self.outputs.push_back(Output::Acknowledge(Ack { seq, version, caught_up: false, watermark }));
        }
    }

    fn acknowledged(&mut self, ack: Ack) {
        self.merged = self.merged.max(ack.seq);
        self.hub_version = self.hub_version.max(ack.version);
        self.seeding_acknowledged(ack.version);
        if ack.caught_up && ack.seq == self.last_cut && !self.applying && !self.is_seeding() {
            self.cursor = self.cursor.max(ack.version);
        }
        if matches!(self.sending, Sending::Changeset { seq, .. } if seq <= ack.seq) {
            self.sending = Sending::Unknown;
        }
        self.outputs.push_back(Output::Acknowledge(ack));
    }

    fn feed_piece(&mut self, piece: FeedPiece) {
        let (head, mut assembly) = match self.feed.take() {
            Some((head, assembly)) if piece.index > 0 => (head, assembly),
            _ => (FeedPiece { bytes: Vec::new(), ..piece.clone() }, Assembly::default()),
        };
        match assembly.add(piece.index, head.count, piece.bytes) {
            Ok(false) => self.feed = Some((head, assembly)),
            Ok(true) => self.whole_feed(&head, assembly),
            Err(error) => self.outputs.push_back(Output::Refused(format!("the hub's feed: {error}"))),
        }
    }

    fn whole_feed(&mut self, head: &FeedPiece, assembly: Assembly) {
        self.pulled = false;
        self.hub_version = self.hub_version.max(head.to);
        if head.merged != self.last_cut || head.from != self.cursor || self.cutting {
            self.feed_wanted = true;
            return;
        }
        self.answered = true;
        if head.to == self.cursor {
            self.feed_wanted = false;
            return;
        }
        self.applying = true;
        let pieces = assembly.into_pieces().into_iter().filter(|bytes| !bytes.is_empty()).collect();
        let (from, to, merged) = (head.from, head.to, head.merged);
        self.outputs.push_back(Output::Apply(WholeFeed { from, to, merged, pieces }));
    }

    fn advance(&mut self) {
        if !self.up || self.applying || self.cutting {
            return;
        }
        if self.sending == Sending::Unknown {
            self.sending = Sending::Looking;
            self.outputs.push_back(Output::Look(self.merged));
            return;
        }
        if self.advance_seeding() {
            return;
        }
        if self.sending == Sending::Nothing && self.dirty && !self.feed_wanted {
            self.cutting = true;
            // What programs write from here on makes it dirty again.
            self.dirty = false;
            self.outputs.push_back(Output::Cut);
            return;
        }
        // While a wanted feed waits for the outbox, asking earlier would only bring another stale one.
        let ready = !self.feed_wanted || self.sending == Sending::Nothing;
        let useful = self.wait || !self.answered || self.cursor < self.hub_version;
        if !self.pulled && !self.refused && self.feed.is_none() && ready && useful {
            self.pulled = true;
            let wait = self.wait && self.answered && !self.feed_wanted;
            self.outputs.push_back(Output::Send(EdgeFrame::Pull(Pull { cursor: self.cursor, wait })));
        }
    }
}
