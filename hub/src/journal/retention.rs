//! Which segments stay and which go, with a reason for each: a pure function over what their headers say.
//!
//! * Any moment of the last `keep_days` can be brought back: so every segment of those days stays, and what the newest
//!   verified backup from before them needs to be brought on.
//! * A clock can be wrong, so nobody is asked what time it is. Days are counted back from the last entry, as they were
//!   told while entries came: with a right clock these are at least as many as the calendar has. What is dated against
//!   the order in which it was written counts once, as one of the days that one clock can have told.
//! * Versions say which backup comes before which segment, and never dates.
//! * Where the tiers keep no backup from before them, twice the days stay: a copy may only be away or damaged. What is
//!   older than these, and than the oldest backup, cannot be brought back by anything, and goes.
//! * Without any backup nothing goes. A segment that somebody still has to ship stays, and so does the last.

#[cfg(test)]
mod years;

use super::record::Lsn;
use super::segment::Header;
use tt_protocol::number::{Epoch, Millis, Version};

const DAY_MS: i64 = 86_400_000;
/// A clock that begins at the same day after each start tells no days at all. Then a day is what lies between two of
/// its changes, and so many of them count as one that is kept.
const CHANGES_PER_DAY: usize = 8;

/// What retention goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) keep_days: u32,
    /// How far the database was in the verified backups.
    pub(crate) backups: Vec<(Epoch, Version)>,
    /// The last entry that every reader has.
    pub(crate) shipped: Lsn,
}

/// What becomes of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) first: Lsn,
    pub(crate) keep: bool,
    pub(crate) why: String,
}

/// Decides about every segment, in the order given, which is that of their entries.
pub(crate) fn decide(segments: &[Header], rule: &Rule) -> Vec<Decision> {
    let near = begins(segments, rule.keep_days);
    let before = segments.get(near).and_then(|begin| newest_before(begin, &rule.backups));
    let twice = rule.keep_days.saturating_mul(2);
    let oldest = || rule.backups.iter().map(|(_, version)| *version).min();
    let (days, begins, needed) = match before {
        Some(_) => (rule.keep_days, near, before),
        None => (twice, begins(segments, twice), oldest()),
    };
    // Where a chain began anew versions may go back: what lies after the first that is needed stays.
    let needed_from = needed.and_then(|needed| {
        let next = |place: &usize| segments.get(place + 1).is_none_or(|next| next.version >= needed);
        (0..segments.len()).find(next)
    });
    let one = |(place, header): (usize, &Header)| {
        let next = segments.get(place + 1);
        let (keep, why) = match (next, needed, needed_from) {
            (None, ..) => (true, "the last one".to_owned()),
            _ if place >= begins => (true, format!("of the last {days} days on which something was written")),
            (Some(next), ..) if next.first > rule.shipped.next() => {
                (true, "a vault does not have it yet".to_owned())
            }
            (_, Some(needed), Some(from)) if place >= from => {
                (true, format!("the backup of version {needed} is brought on with it"))
            }
            (_, Some(needed), Some(_)) => (
                false,
                format!(
                    "older than the last {days} days on which something was written, and than the backup of version {needed}"
                ),
            ),
            _ => (true, "there is no verified backup".to_owned()),
        };
        Decision { first: header.first, keep, why }
    };
    segments.iter().enumerate().map(one).collect()
}

/// Where the days that are kept begin: the first of them may be one of which only the end is wanted. 0 when there
/// are no more days than that.
fn begins(segments: &[Header], keep_days: u32) -> usize {
    let days_max = usize::try_from(keep_days).unwrap_or(usize::MAX).saturating_add(1);
    let changes_max = days_max.saturating_mul(CHANGES_PER_DAY);
    let mut told = Told::default();
    for (place, header) in segments.iter().enumerate().rev() {
        told.back_to(header.at);
        if told.days.len() > days_max || told.changes > changes_max {
            return place + 1;
        }
    }
    0
}

/// What the clock told, from the last segment back.
#[derive(Default)]
struct Told {
    /// Its length is that of the longest row of days that fall from each to the next: what one clock can have told.
    /// Each is the latest with which a row of that length can end, so they fall as well.
    days: Vec<i64>,
    /// How often the clock came to another day, or went back.
    changes: usize,
    /// When the segment was begun that follows.
    next: Option<Millis>,
}

impl Told {
    fn back_to(&mut self, at: Millis) {
        let day = |at: Millis| at.0.div_euclid(DAY_MS);
        let follows = |next: Millis| next >= at && day(next) == day(at);
        if !self.next.is_some_and(follows) {
            self.changes += 1;
        }
        self.next = Some(at);
        let place = self.days.partition_point(|known| *known > day(at));
        match self.days.get_mut(place) {
            Some(known) => *known = day(at),
            None => self.days.push(day(at)),
        }
    }
}

/// The version of the newest backup from before this segment. One that lies exactly where it begins may have been made
/// on its day: a moment of that day before it is reached from the one before.
fn newest_before(begin: &Header, backups: &[(Epoch, Version)]) -> Option<Version> {
    let before = backups.iter().filter(|(epoch, version)| *epoch <= begin.epoch && *version < begin.version);
    before.map(|(_, version)| *version).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment of ten versions a day.
    fn segments(days: i64) -> Vec<Header> {
        let day = |day: i64| Header {
            first: Lsn(day as u64 * 10 + 1),
            version: Version(day as u64 * 10),
            at: Millis(day * DAY_MS),
            ..Header::default()
        };
        (0..days).map(day).collect()
    }

    fn decided(rule: &Rule) -> Vec<String> {
        decide(&segments(7), rule)
            .into_iter()
            .map(|one| format!("{} {}: {}", one.first, if one.keep { "stays" } else { "goes" }, one.why))
            .collect()
    }

    fn kept(segments: &[Header], rule: &Rule) -> Vec<bool> {
        decide(segments, rule).iter().map(|one| one.keep).collect()
    }

    fn rule(backups: &[u64]) -> Rule {
        let backups = backups.iter().map(|version| (Epoch(0), Version(*version))).collect();
        Rule { keep_days: 2, backups, shipped: Lsn(99) }
    }

    #[test]
    fn what_the_newest_backup_before_the_kept_days_needs_stays() {
        let goes =
            "older than the last 2 days on which something was written, and than the backup of version 25";
        assert_eq!(
            decided(&rule(&[5, 25, 45, 65])),
            [
                format!("1 goes: {goes}"),
                format!("11 goes: {goes}"),
                "21 stays: the backup of version 25 is brought on with it".to_owned(),
                "31 stays: the backup of version 25 is brought on with it".to_owned(),
                "41 stays: of the last 2 days on which something was written".to_owned(),
                "51 stays: of the last 2 days on which something was written".to_owned(),
                "61 stays: the last one".to_owned(),
            ]
        );
    }

    #[test]
    fn without_a_backup_nothing_goes_and_without_an_old_one_twice_the_days_stay() {
        assert_eq!(kept(&segments(7), &rule(&[])), [true; 7]);
        for backups in [&[45][..], &[40, 60]] {
            assert_eq!(kept(&segments(7), &rule(backups)), [false, false, true, true, true, true, true]);
        }
    }

    #[test]
    fn what_a_vault_does_not_have_stays() {
        let rule = Rule { shipped: Lsn(15), ..rule(&[25]) };
        assert_eq!(kept(&segments(7), &rule), [false, true, true, true, true, true, true]);
    }

    #[test]
    fn a_backup_that_lies_at_the_beginning_of_a_segment_needs_the_one_before_for_what_made_no_version() {
        let decisions = decide(&segments(7), &rule(&[20]));
        assert!(decisions[1].keep && !decisions[0].keep, "{decisions:?}");
    }

    #[test]
    fn a_backup_of_a_later_epoch_is_none_from_before() {
        let later = Rule { backups: vec![(Epoch(0), Version(5)), (Epoch(1), Version(35))], ..rule(&[]) };
        assert!(decide(&segments(7), &later).iter().all(|one| one.keep));
    }

    #[test]
    fn where_versions_go_back_all_from_the_first_that_is_needed_on_stays() {
        let mut segments = segments(7);
        segments[2].version = Version(5);
        assert_eq!(kept(&segments, &rule(&[7])), [true; 7], "version 7 may be one of either chain");
    }
}
