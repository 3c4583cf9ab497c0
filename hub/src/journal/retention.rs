//! Which segments stay and which go, with a reason for each: a pure function over what their headers say.
//!
//! * Any moment of the last `keep_days` can be brought back: so the newest verified backup from before that time
//!   stays of use, and with it every segment from there on.
//! * Without such a backup nothing goes. A segment that somebody still has to ship stays, and so does the last.
//! * No file's time is ever asked.

use super::record::Lsn;
use super::segment::Header;
use tt_protocol::number::{Millis, Version};

const DAY_MS: i64 = 86_400_000;

/// What retention goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) keep_days: u32,
    pub(crate) now: Millis,
    /// Versions of the verified backups, with when they were made.
    pub(crate) backups: Vec<(Version, Millis)>,
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
    let days = i64::from(rule.keep_days);
    let since = Millis(rule.now.0.saturating_sub(days * DAY_MS));
    let before = rule.backups.iter().filter(|(_, at)| *at <= since);
    let needed = before.max_by_key(|(version, _)| *version).map(|(version, _)| *version);
    let one = |(place, header): (usize, &Header)| {
        let (keep, why) = match (segments.get(place + 1), needed) {
            (None, _) => (true, "the last one".to_owned()),
            (Some(next), _) if next.at > since => (true, format!("made in the last {days} days")),
            (Some(next), _) if next.first > rule.shipped.next() => {
                (true, "a vault does not have it yet".to_owned())
            }
            (_, None) => (true, format!("no verified backup is older than {days} days")),
            (Some(next), Some(needed)) if next.version >= needed => {
                (true, format!("the backup of version {needed} is brought on with it"))
            }
            (Some(_), Some(needed)) => {
                (false, format!("older than {days} days, and than the backup of version {needed}"))
            }
        };
        Decision { first: header.first, keep, why }
    };
    segments.iter().enumerate().map(one).collect()
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
        decide(&segments(6), rule)
            .into_iter()
            .map(|one| format!("{} {}: {}", one.first, if one.keep { "stays" } else { "goes" }, one.why))
            .collect()
    }

    fn rule(backups: &[(u64, i64)]) -> Rule {
        let backups =
            backups.iter().map(|(version, day)| (Version(*version), Millis(day * DAY_MS))).collect();
        Rule { keep_days: 2, now: Millis(6 * DAY_MS), backups, shipped: Lsn(99) }
    }

    #[test]
    fn what_the_newest_backup_before_the_kept_days_needs_stays() {
        assert_eq!(
            decided(&rule(&[(5, 1), (25, 3), (45, 5)])),
            [
                "1 goes: older than 2 days, and than the backup of version 25",
                "11 goes: older than 2 days, and than the backup of version 25",
                "21 stays: the backup of version 25 is brought on with it",
                "31 stays: the backup of version 25 is brought on with it",
                "41 stays: made in the last 2 days",
                "51 stays: the last one",
            ]
        );
    }

    #[test]
    fn without_an_old_backup_nothing_goes() {
        for backups in [&[][..], &[(45, 5)]] {
            assert!(decide(&segments(6), &rule(backups)).iter().all(|one| one.keep));
        }
    }

    #[test]
    fn what_a_vault_does_not_have_stays() {
        let rule = Rule { shipped: Lsn(15), ..rule(&[(25, 3)]) };
        let kept: Vec<bool> = decide(&segments(6), &rule).iter().map(|one| one.keep).collect();
        assert_eq!(kept, [false, true, true, true, true, true]);
    }

    #[test]
    fn a_backup_that_lies_at_the_beginning_of_a_segment_needs_the_one_before_for_what_made_no_version() {
        let decisions = decide(&segments(6), &rule(&[(20, 3)]));
        assert!(decisions[1].keep && !decisions[0].keep, "{decisions:?}");
    }
}
