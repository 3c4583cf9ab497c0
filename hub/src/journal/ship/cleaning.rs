//! Removes segments that nothing needs any more: from a vault by what that vault has, here by what all have.

use super::Shipper;
use crate::journal::parts::{self, Stored};
use crate::journal::record::Lsn;
use crate::journal::retention::{Rule, decide};
use crate::journal::segment::{self, Header};
use std::collections::BTreeMap;
use std::{fs, io};
use tt_protocol::number::Millis;

/// How often it is looked what can go.
const EVERY_MS: i64 = 3_600_000;
/// A header fits into so many bytes.
const HEAD_BYTES: u64 = 2_048;

impl Shipper<'_> {
    /// Looks once an hour. `all` is the last entry that every vault has, for the one who cleans up here as well.
    /// What cannot be removed goes another time, and so does what a death in the middle of an upload has left.
    pub(super) fn clean_up(&mut self, keep_days: u32, all: Option<Lsn>, now: Millis) {
        if self.cleaned_at.is_some_and(|at| (at.0..at.0 + EVERY_MS).contains(&now.0)) {
            return;
        }
        self.cleaned_at = Some(now);
        let backups = self.backups.1.iter().map(|backup| (backup.epoch, backup.version)).collect();
        let rule = Rule { keep_days, backups, shipped: Lsn(u64::MAX - 1) };
        if let Err(error) = self.clean_vault(&rule) {
            tracing::warn!(%error, vault = self.root.name(), "old segments of the journal stay in the vault");
        }
        if let Some(shipped) = all
            && let Err(error) = self.clean_here(&Rule { shipped, ..rule })
        {
            tracing::warn!(%error, "old segments of the journal stay in the hub's folder");
        }
    }

    fn clean_vault(&mut self, rule: &Rule) -> io::Result<()> {
        let stored = Stored::of(&self.vault.list()?);
        let mut headers = BTreeMap::new();
        for first in stored.keys() {
            if let Ok((header, _)) = Header::read(&parts::read(self.vault.as_ref(), *first, HEAD_BYTES)?) {
                headers.insert(*first, header);
            }
        }
        for first in gone(&headers, rule) {
            let Some(stored) = stored.get(&first) else { continue };
            self.gone.insert(first);
            if stored.whole {
                self.vault.remove(&segment::name(first))?;
            }
            stored.parts.iter().try_for_each(|part| self.vault.remove(&part.name()))?;
        }
        self.stored = None;
        // Nobody else writes to this part, and no upload is under way between two rounds.
        self.vault.tidy()
    }

    fn clean_here(&self, rule: &Rule) -> io::Result<()> {
        for first in gone(&self.headers, rule) {
            fs::remove_file(self.folder.join(segment::name(first)))?;
        }
        Ok(())
    }
}

/// Segments that go. Each is told with its reason.
fn gone(headers: &BTreeMap<Lsn, Header>, rule: &Rule) -> Vec<Lsn> {
    let headers: Vec<Header> = headers.values().copied().collect();
    let decisions = decide(&headers, rule).into_iter().filter(|decision| !decision.keep);
    decisions
        .inspect(
            |gone| tracing::info!(segment = %gone.first, why = gone.why, "a segment of the journal goes"),
        )
        .map(|gone| gone.first)
        .collect()
}
