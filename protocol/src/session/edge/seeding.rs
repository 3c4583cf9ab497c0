//! Reseeding on a link: all that the edge has is handed in, then a snapshot takes the place of feeds.
//!
//! * While the snapshot is under way no cut is made, as while any feed is: it must hold all that the edge has
//!   cut. What programs write meanwhile stays noted and is rebased.
//! * A link that comes after one that was cut off in the middle of a snapshot goes on with that one.

use super::{EdgeSession, FeedVerdict, Output, Sending};
use crate::frame::Welcome;
use crate::number::{Epoch, Version};

/// How far a reseed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seeding {
    /// None is due.
    No,
    /// What the edge has is being handed in.
    HandIn(Seed),
    /// The snapshot is being fetched or written.
    Fetching(Seed),
}

/// What the snapshot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed {
    epoch: Epoch,
    /// The version of this edge's last changeset.
    at_least: Version,
    order: u64,
}

impl EdgeSession {
    /// An earlier link was cut off while it fetched a snapshot of this epoch that is at least of this version:
    /// to be said before the hub has answered.
    pub fn resume_fetch(&mut self, epoch: Epoch, at_least: Version) {
        self.part = Some((epoch, at_least));
    }

    /// True while a reseed is due or under way.
    #[must_use]
    pub fn is_seeding(&self) -> bool {
        self.seeding != Seeding::No
    }

    /// What became of the snapshot; `cursor` is where the file now stands.
    pub fn handle_seeded(&mut self, verdict: FeedVerdict, cursor: Version) {
        let Seeding::Fetching(seed) = self.seeding else { return };
        self.cursor = cursor;
        self.dirty = true;
        self.answered = false;
        self.seeding = Seeding::HandIn(seed);
        match verdict {
            FeedVerdict::Applied => {
                self.hello.epoch = seed.epoch;
                self.seeding = Seeding::No;
                self.feed_wanted = false;
                self.refused = false;
            }
            FeedVerdict::Refused => self.refused = true,
            // All is cut and handed in once more, and another snapshot is asked for.
            FeedVerdict::Stale | FeedVerdict::CutFirst => {}
        }
        self.advance();
    }

    pub(super) fn seeding_welcomed(&mut self, welcome: &Welcome) {
        if welcome.epoch != self.hello.epoch {
            self.outputs.push_back(Output::Reopen(welcome.merged));
        }
        if !welcome.seed {
            return;
        }
        let seed = Seed { epoch: welcome.epoch, at_least: welcome.merged_as, order: welcome.order };
        let goes_on = self.part.take().filter(|(epoch, at_least)| {
            *epoch == seed.epoch && *at_least >= seed.at_least && welcome.merged == self.last_cut
        });
        self.seeding = Seeding::HandIn(seed);
        if let Some((_, at_least)) = goes_on {
            self.fetch(Seed { at_least, ..seed });
        }
    }

    pub(super) fn seeding_acknowledged(&mut self, version: Version) {
        if let Seeding::HandIn(seed) = &mut self.seeding {
            seed.at_least = seed.at_least.max(version);
        }
    }

    /// What is next, when the outbox was looked at. True when no feed may be asked for.
    pub(super) fn advance_seeding(&mut self) -> bool {
        match self.seeding {
            Seeding::No => return false,
            Seeding::HandIn(_) if self.sending == Sending::Nothing && self.dirty => {
                self.cutting = true;
                self.dirty = false;
                self.outputs.push_back(Output::Cut);
            }
            Seeding::HandIn(seed) if self.sending == Sending::Nothing && !self.refused => self.fetch(seed),
            Seeding::HandIn(_) | Seeding::Fetching(_) => {}
        }
        true
    }

    fn fetch(&mut self, seed: Seed) {
        let Seed { epoch, at_least, order } = seed;
        self.seeding = Seeding::Fetching(seed);
        self.outputs.push_back(Output::Fetch { epoch, at_least, order });
    }
}
