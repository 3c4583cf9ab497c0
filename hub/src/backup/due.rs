//! Which tiers should have a backup by now and have none: a pure function over what the manifests say.
//!
//! * A slot is filled by a verified backup that was made in it. However many slots went by while nobody was awake,
//!   each tier is made up once: the database of then is gone.
//! * A clock may have been wrong, then or now. What is dated in the future fills nothing, and neither does a backup
//!   that is *overtaken*: another of a newer version has an earlier date. One of the two dates is false, nobody can
//!   say which, and one backup more than needed costs less than days without any.
//! * A clock that goes back begins another *life* of it, which every manifest tells. Only backups of the life of now
//!   fill slots: the hours of this morning are not those of yesterday where both are told as the same day of 1970.

use super::retention::{Entry, Point};
use super::tier::{Tier, TierPlan, slot};
use super::{calendar, zone::Zone};

/// Clocks are put right by seconds all the time; what is dated no further ahead was made now.
pub(crate) const AHEAD_MAX: i64 = 10 * 60;

/// The life of the clock at `now`: it begins anew where a backup of the last one lies in the future.
pub(crate) fn life(entries: &[Entry], present: Option<Point>, now: i64) -> u64 {
    let latest = calendar::utc(now + AHEAD_MAX);
    let ours = || entries.iter().filter(|entry| present.is_none_or(|present| entry.point <= present));
    let last = ours().map(|entry| entry.life).max().unwrap_or(0);
    let is_over = ours().any(|entry| entry.life == last && entry.taken_at > latest);
    last + u64::from(is_over)
}

/// The verified backups whose dates can be true at `now` (seconds since 1970). `present` is how far the database is
/// by now: what is beyond it comes from another life of this hub, and overtakes nothing.
pub(crate) fn credible(entries: &[Entry], present: Option<Point>, now: i64) -> Vec<&Entry> {
    let latest = calendar::utc(now + AHEAD_MAX);
    let life = life(entries, present, now);
    let is_of_now = |entry: &&Entry| entry.verified && entry.life == life && entry.taken_at <= latest;
    let verified = || entries.iter().filter(is_of_now);
    let overtakes = |other: &Entry, entry: &Entry| {
        other.point > entry.point
            && other.taken_at < entry.taken_at
            && present.is_none_or(|present| other.point <= present)
    };
    verified().filter(|entry| !verified().any(|other| overtakes(other, entry))).collect()
}

/// The tiers whose slot of now has no credible backup yet, finest first.
pub(crate) fn due(
    plans: &[TierPlan],
    entries: &[Entry],
    present: Option<Point>,
    now: i64,
    zone: &Zone,
) -> Vec<Tier> {
    let credible = credible(entries, present, now);
    let finest = plans.iter().find(|plan| plan.keep > 0).map(|plan| plan.tier);
    let is_due = |plan: &&TierPlan| {
        let slot = slot(plan, now, zone);
        // After a restore the journal leads on from the first backup of its epoch, and nothing is safe before.
        let is_of_epoch = |entry: &Entry| {
            finest != Some(plan.tier) || present.is_none_or(|present| entry.point.epoch >= present.epoch)
        };
        let fills = |entry: &&Entry| entry.tier == plan.tier && entry.slot == slot && is_of_epoch(entry);
        plan.keep > 0 && !credible.iter().any(fills)
    };
    plans.iter().filter(is_due).map(|plan| plan.tier).collect()
}

#[cfg(test)]
mod tests {
    use super::super::calendar::{DAY, days, utc};
    use super::super::tier::TIERS;
    use super::*;

    const ALL: [Tier; 5] = [Tier::Hourly, Tier::Daily, Tier::Weekly, Tier::Monthly, Tier::Yearly];

    fn noon() -> i64 {
        days(2026, 11, 22) * DAY + 12 * 3_600 + 30 * 60
    }

    fn utc_zone() -> Zone {
        Zone::named("UTC").unwrap()
    }

    const fn point(version: u64) -> Point {
        Point { epoch: 1, version }
    }

    /// One of each tier, made by a clock that said `now` and has gone back before in one of its lives.
    fn made_in(life: u64, now: i64, version: u64) -> Vec<Entry> {
        let one = |plan: &TierPlan| Entry {
            id: format!("{}_{now}", plan.tier),
            tier: plan.tier,
            slot: slot(plan, now, &utc_zone()),
            taken_at: utc(now),
            life,
            point: point(version),
            verified: true,
        };
        TIERS.iter().map(one).collect()
    }

    fn made(now: i64, version: u64) -> Vec<Entry> {
        made_in(0, now, version)
    }

    fn at(entries: &[Entry], now: i64) -> Vec<Tier> {
        due(&TIERS, entries, None, now, &utc_zone())
    }

    #[test]
    fn what_was_missed_is_made_up_once() {
        assert_eq!(at(&[], noon()), ALL, "a new hub");
        let made = made(noon(), 1);
        assert_eq!(at(&made, noon()), []);
        assert_eq!(at(&made, noon() + 30 * 60), [Tier::Hourly]);
        // Nine days asleep: one of each tier that went by, whatever their number.
        let late = [Tier::Hourly, Tier::Daily, Tier::Weekly, Tier::Monthly];
        assert_eq!(at(&made, noon() + 9 * DAY), late);
        let mut plans = TIERS;
        plans[0].keep = 0;
        assert_eq!(due(&plans, &made, None, noon() + 9 * DAY, &utc_zone()), late[1..]);
        let unread: Vec<Entry> =
            made.iter().map(|entry| Entry { verified: false, ..entry.clone() }).collect();
        assert_eq!(at(&unread, noon()), ALL);
    }

    #[test]
    fn a_clock_that_is_put_right_by_minutes_makes_nothing_due_and_one_by_hours_does() {
        assert_eq!(at(&made(noon(), 1), noon() - AHEAD_MAX), []);
        assert_eq!(at(&made(noon(), 1), noon() - 7_200), ALL, "nobody knows which is right");
    }

    #[test]
    fn what_a_clock_ahead_has_made_fills_no_slot_when_time_catches_up() {
        let ahead = noon() + 400 * DAY;
        let mut entries = made(ahead, 10);
        assert_eq!(at(&entries, noon()), ALL, "it lies in the future");
        entries.extend(made_in(1, noon(), 11));
        assert_eq!(at(&entries, noon()), []);
        assert_eq!(at(&entries, ahead), ALL, "it is of another life");
        entries.extend(made_in(1, ahead, 12));
        assert_eq!(at(&entries, ahead), []);
    }

    #[test]
    fn a_clock_of_1970_costs_one_backup_of_each_tier_when_it_is_set() {
        let mut entries = made(noon(), 10);
        assert_eq!(at(&entries, 100), ALL);
        entries.extend(made_in(1, 100, 11));
        assert_eq!(at(&entries, 200), []);
        assert_eq!(at(&entries, noon() + 60), ALL, "which of the two clocks was wrong?");
        entries.extend(made_in(1, noon() + 60, 12));
        assert_eq!(at(&entries, noon() + 120), []);
    }

    #[test]
    fn a_clock_that_begins_at_the_same_day_each_morning_fills_the_same_hours_again() {
        let mut entries = Vec::new();
        for morning in 0..3 {
            for hour in 0..9 {
                let now = noon() + hour * 3_600;
                assert_eq!(life(&entries, None, now), morning, "hour {hour}");
                let due = at(&entries, now);
                assert!(due.contains(&Tier::Hourly), "morning {morning}, hour {hour}: {due:?}");
                assert_eq!(due.contains(&Tier::Daily), hour == 0, "morning {morning}, hour {hour}");
                let made = made_in(morning, now, 1 + morning * 10 + hour.unsigned_abs());
                entries.extend(made.into_iter().filter(|entry| due.contains(&entry.tier)));
            }
        }
    }

    #[test]
    fn after_a_restore_the_finest_tier_is_due_at_once() {
        let mut entries = made(noon(), 10);
        let restored = Point { epoch: 2, version: 20 };
        let due = |entries: &[Entry]| due(&TIERS, entries, Some(restored), noon() + 60, &utc_zone());
        assert_eq!(due(&entries), [Tier::Hourly]);
        let first = made(noon() + 60, 20).remove(0);
        entries.push(Entry { point: restored, ..first });
        assert_eq!(due(&entries), []);
    }

    #[test]
    fn backups_of_another_life_of_the_hub_overtake_nothing() {
        let mut entries = made(noon() - 30 * DAY, 9_000);
        entries.extend(made(noon(), 1));
        let due = |present| due(&TIERS, &entries, present, noon(), &utc_zone());
        assert_eq!(due(Some(point(2))), [], "a new hub in old vaults");
        assert_eq!(due(Some(point(9_001))), ALL[..4], "the same hub, whose clock is behind or was ahead");
    }
}
