//! The hub's end of a link with one edge.
//!
//! * `handle_frame`, `handle_merged`, `handle_version`, `handle_feed`, `handle_compared` say what
//!   happened; `poll_output` says what to do.
//! * Pieces of a changeset are kept across links: [`HubSession::into_staged`] hands them to the next one,
//!   so that a large changeset goes on where it was cut off.
//! * A feed leaves only against a pull, one at a time: a slow edge never makes the hub queue.

use super::{Assembly, WholeFeed, feed_frames};
use crate::audit::{Compare, Compared};
use crate::frame::{Ack, EdgeFrame, Hello, HubFrame, PROTOCOL, Piece, Pong, Pull, Report, Welcome};
use crate::number::{EdgeId, Epoch, Millis, Seq, Version};
use std::collections::VecDeque;

/// What the rim must do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send a frame.
    Send(HubFrame),
    /// Look up what the hub has of this edge; answer with [`HubSession::handle_standing`].
    Greet(Hello),
    /// The hub lacks changesets of this edge up to this one, and the edge does not have them any more either:
    /// what follows them is to be merged nevertheless. To be told loudly. Then answer to the same hello with
    /// [`HubSession::handle_standing`] again.
    Skip {
        /// What the edge said.
        hello: Hello,
        /// The first that is missing.
        from: Seq,
        /// The last that is missing.
        to: Seq,
    },
    /// Merge a changeset; answer with [`HubSession::handle_merged`].
    Merge {
        /// Its number.
        seq: Seq,
        /// SHA-256 over its pieces.
        hash: [u8; 32],
        /// All of its pieces.
        pieces: Vec<Vec<u8>>,
        /// The version that the changeset builds on.
        cursor: Version,
    },
    /// Make a feed from this cursor; answer with [`HubSession::handle_feed`].
    MakeFeed(Version),
    /// Compare a table with the edge's; answer with [`HubSession::handle_compared`].
    Compare(Compare),
    /// How the edge is doing.
    Report(Report),
    /// The edge leaves for good: cut it off.
    Leave,
    /// Close the link after all that was sent; the reason was sent already.
    Close(String),
}

/// What the hub knows of an edge that says hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The hub's incarnation.
    pub epoch: Epoch,
    /// The hub's version.
    pub version: Version,
    /// Last changeset of this edge that is merged.
    pub merged: Seq,
    /// The version that it became.
    pub merged_as: Version,
    /// Hash under which the hub merged the changeset that the edge calls its last; None when it did not.
    pub hash_of_last: Option<[u8; 32]>,
    /// Version that is safe in two places.
    pub watermark: Version,
    /// Versions up to this one are not in the history any more.
    pub forgotten: Version,
    /// The operator's newest order to this edge to take a snapshot; 0 when there is none.
    pub order: u64,
    /// The hub's clock.
    pub now: Millis,
}

/// What became of a changeset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeResult {
    /// Merged and on disk.
    Merged {
        /// The version that it became.
        version: Version,
        /// Nothing else happened for this edge since its cursor.
        caught_up: bool,
        /// Version that is safe in two places.
        watermark: Version,
    },
    /// It cannot be merged, and why.
    Refused(String),
}

/// Pieces of one changeset that arrived before the link was cut.
#[derive(Clone, Debug, Default)]
pub struct Staged {
    seq: Seq,
    hash: [u8; 32],
    assembly: Assembly,
}

/// The state machine.
#[derive(Debug)]
pub struct HubSession {
    edge: EdgeId,
    greeted: bool,
    version: Version,
    cursor: Version,
    pull: Option<Pull>,
    making_feed: bool,
    comparing: bool,
    /// The version of the edge's last changeset that is merged, and what it was told is safe.
    last_merged: Version,
    told_safe: Version,
    staged: Staged,
    outputs: VecDeque<Output>,
}

impl HubSession {
    /// A session with the edge that the link's certificate names.
    #[must_use]
    pub fn new(edge: EdgeId, staged: Staged) -> Self {
        Self {
            edge,
            greeted: false,
            version: Version(0),
            cursor: Version(0),
            pull: None,
            making_feed: false,
            comparing: false,
            last_merged: Version(0),
            told_safe: Version(0),
            staged,
            outputs: VecDeque::new(),
        }
    }

    /// The edge at the other end.
    #[must_use]
    pub const fn edge(&self) -> EdgeId {
        self.edge
    }

    /// The version that the edge has applied, as far as the hub knows.
    #[must_use]
    pub const fn cursor(&self) -> Version {
        self.cursor
    }

    /// What arrived of an unfinished changeset, for the edge's next link.
    #[must_use]
    pub fn into_staged(self) -> Staged {
        self.staged
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// A frame came from the edge; `now` is the hub's clock.
    pub fn handle_frame(&mut self, now: Millis, frame: EdgeFrame) {
        match frame {
            EdgeFrame::Hello(hello) => self.hello(hello),
            EdgeFrame::Ping(number) => self.send(HubFrame::Pong(Pong { number, now })),
            // Its file is the program's alone by now: it has no cursor to greet with.
            EdgeFrame::Leave => self.outputs.push_back(Output::Leave),
            _ if !self.greeted => self.refuse("the device spoke before it was welcomed"),
            EdgeFrame::Piece(piece) => self.piece(piece),
            EdgeFrame::Pull(pull) => {
                self.cursor = pull.cursor;
                self.pull = Some(pull);
                self.feed_if_due();
            }
            EdgeFrame::Report(report) => self.outputs.push_back(Output::Report(report)),
            // One at a time: an edge that asks faster than the hub reads is not answered twice.
            EdgeFrame::Compare(_) if self.comparing => {}
            EdgeFrame::Compare(compare) => {
                self.comparing = true;
                self.outputs.push_back(Output::Compare(compare));
            }
        }
    }

    /// The answer to [`Output::Greet`].
    pub fn handle_standing(&mut self, hello: &Hello, standing: &Standing) {
        if let Some(reason) = refusal(hello, standing) {
            self.refuse(&reason);
            return;
        }
        // What is put back becomes a version of its own, which the edge must hear of: it waits for a snapshot with it.
        if let Some((from, to)) = gap(hello, standing) {
            self.outputs.push_back(Output::Skip { hello: hello.clone(), from, to });
            return;
        }
        let merged = standing.merged;
        if self.staged.seq != merged.next() {
            self.staged = Staged { seq: merged.next(), ..Staged::default() };
        }
        self.greeted = true;
        self.version = standing.version;
        // Another epoch's versions above the hub's own say nothing about what the edge knows of these.
        self.cursor = hello.cursor.min(standing.version);
        (self.last_merged, self.told_safe) = (standing.merged_as, standing.watermark);
        self.send(HubFrame::Welcome(Welcome {
            protocol: PROTOCOL,
            epoch: standing.epoch,
            version: standing.version,
            merged,
            merged_as: standing.merged_as,
            pieces_held: self.staged.assembly.held(),
            watermark: standing.watermark,
            seed: must_seed(hello, standing),
            order: standing.order,
            now: standing.now,
        }));
    }

    /// The answer to [`Output::Merge`].
    pub fn handle_merged(&mut self, seq: Seq, result: MergeResult) {
        match result {
            MergeResult::Merged { version, caught_up, watermark } => {
                // With a feed under way, the cursor is about to move to somewhere else.
                let caught_up = caught_up && self.pull.is_some() && !self.making_feed;
                self.version = self.version.max(version);
                if caught_up {
                    self.cursor = self.cursor.max(version);
                }
                self.last_merged = self.last_merged.max(version);
                self.told_safe = self.told_safe.max(watermark);
                self.send(HubFrame::Ack(Ack { seq, version, caught_up, watermark }));
                self.feed_if_due();
            }
            MergeResult::Refused(reason) => self.refuse(&reason),
        }
    }

    /// The hub has a new version.
    pub fn handle_version(&mut self, version: Version) {
        self.version = self.version.max(version);
        self.feed_if_due();
    }

    /// What is safe has moved. The edge is told while it keeps something that it need not keep then.
    pub fn handle_watermark(&mut self, watermark: Version) {
        if self.greeted && self.told_safe < self.last_merged && self.told_safe < watermark {
            self.told_safe = watermark;
            self.send(HubFrame::Safe(watermark));
        }
    }

    /// The answer to [`Output::MakeFeed`].
    pub fn handle_feed(&mut self, feed: WholeFeed) {
        self.making_feed = false;
        self.version = self.version.max(feed.to);
        if self.pull.take().is_some() {
            for piece in feed_frames(feed) {
                self.send(HubFrame::Feed(piece));
            }
        }
    }

    /// The answer to [`Output::Compare`].
    pub fn handle_compared(&mut self, compared: Compared) {
        self.comparing = false;
        self.send(HubFrame::Compared(compared));
    }

    /// Refuses for a reason that the rim found (a revoked device).
    pub fn refuse(&mut self, reason: &str) {
        self.send(HubFrame::Refused(reason.to_owned()));
        self.outputs.push_back(Output::Close(reason.to_owned()));
    }

    fn hello(&mut self, hello: Hello) {
        if hello.edge == self.edge && hello.protocol == PROTOCOL {
            self.outputs.push_back(Output::Greet(hello));
        } else if hello.protocol == PROTOCOL {
            let (claimed, own) = (hello.edge, self.edge);
            self.refuse(&format!(
                "this file belongs to device {claimed}, but the certificate is of device {own}"
            ));
        } else {
            let theirs = hello.protocol;
            self.refuse(&format!(
                "the hub speaks version {PROTOCOL} and this device {theirs}: update the older one"
            ));
        }
    }

    fn piece(&mut self, piece: Piece) {
        if piece.seq != self.staged.seq {
            // Sent again although it is merged: the acknowledgement was lost. The hub's answer is the same.
            if piece.seq.0 > self.staged.seq.0 {
                self.refuse("a changeset came before the one that it follows");
            } else if piece.index + 1 == piece.count {
                self.merge(piece.seq, piece.hash, vec![piece.bytes], piece.cursor);
            }
            return;
        }
        if piece.index == 0 || piece.hash != self.staged.hash {
            self.staged = Staged { seq: piece.seq, hash: piece.hash, assembly: Assembly::default() };
        }
        match self.staged.assembly.add(piece.index, piece.count, piece.bytes) {
            Ok(false) => {}
            Ok(true) => {
                let next = Staged { seq: piece.seq.next(), ..Staged::default() };
                let whole = std::mem::replace(&mut self.staged, next);
                self.merge(whole.seq, whole.hash, whole.assembly.into_pieces(), piece.cursor);
            }
            Err(error) => self.refuse(&format!("changeset {}: {error}", piece.seq)),
        }
    }

    fn merge(&mut self, seq: Seq, hash: [u8; 32], pieces: Vec<Vec<u8>>, cursor: Version) {
        self.outputs.push_back(Output::Merge { seq, hash, pieces, cursor });
    }

    fn feed_if_due(&mut self) {
        let due = |pull: &Pull| !pull.wait || self.version > self.cursor;
        if !self.making_feed && self.pull.as_ref().is_some_and(due) {
            self.making_feed = true;
            self.outputs.push_back(Output::MakeFeed(self.cursor));
        }
    }

    fn send(&mut self, frame: HubFrame) {
        self.outputs.push_back(Output::Send(frame));
    }
}

/// The first and the last changeset that the edge was told to be safe and has forgotten, and that the hub lacks.
fn gap(hello: &Hello, standing: &Standing) -> Option<(Seq, Seq)> {
    let (from, to) = (standing.merged.next(), Seq(hello.first_held.0.saturating_sub(1)));
    (from <= to && to <= hello.last_seq).then_some((from, to))
}

/// True when feeds cannot bring the edge to the hub's rows, or somebody wants a snapshot.
fn must_seed(hello: &Hello, standing: &Standing) -> bool {
    hello.seed_wanted
        || hello.epoch < standing.epoch
        || hello.cursor < standing.forgotten
        || hello.order_done < standing.order
}

/// Why an edge cannot go on with this hub, for the person in front of it.
fn refusal(hello: &Hello, standing: &Standing) -> Option<String> {
    if hello.epoch > standing.epoch {
        return Some(format!(
            "this device was in epoch {} of the hub, whose file is of epoch {}: an older file was put back by hand; \
             put it back with `tt-hub restore`, which begins a new epoch",
            hello.epoch, standing.epoch
        ));
    }
    let same_epoch = hello.epoch == standing.epoch;
    if same_epoch && !hello.seed_wanted && hello.cursor > standing.version {
        return Some(
            "this device has seen rows that the hub does not have: an older file of the hub was put back by hand; put \
             it back with `tt-hub restore`, which begins a new epoch"
                .to_owned(),
        );
    }
    if same_epoch && hello.first_held > standing.merged.next() && hello.last_seq > standing.merged {
        return Some(format!(
            "the hub has changesets of this device up to {} only, but has said of those before {} that they are safe: \
             an older file of the hub was put back by hand; put it back with `tt-hub restore`, which begins a new epoch",
            standing.merged, hello.first_held
        ));
    }
    if standing.merged > hello.last_seq {
        return Some(format!(
            "the hub has changeset {} of this device, whose own last one is {}: the file was put back or copied; \
             join it again with `tt-edge join TOKEN --rescue`",
            standing.merged, hello.last_seq
        ));
    }
    // Of a changeset that was skipped nobody knows the hash.
    let known = standing.hash_of_last.filter(|hash| *hash != [0; 32] && hello.last_hash != [0; 32]);
    known.filter(|hash| *hash != hello.last_hash).map(|_| {
        format!(
            "the hub has another changeset under number {}: this device was copied or put back; join it again with \
             `tt-edge join TOKEN --rescue`",
            hello.last_seq
        )
    })
}
