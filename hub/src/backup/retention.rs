//! Which backups stay and which go, with a reason for each: a pure function over what the manifests say.
//!
//! * Of every slot the newest verified backup counts, and of those the newest `keep` slots of a tier stay.
//! * Clocks can be wrong, versions cannot: the newest is asked for by the clock, by the version of the database, and by
//!   version with the slots of each life of the clock for themselves, and what is among the newest by any of them stays.
//!   As long as no clock went back all are the same.
//! * By the clock a slot belongs to the first life that filled it: a clock that is behind fills it again, much later.
//! * What is not verified never counts: no damaged file can push a good one out.
//! * What lies in the future (the clock was wrong once) does not count by the clock, and stays until time catches up,
//!   but no more than `keep` slots of it.
//! * The newest verified backup of all, by clock and by version, stays whatever the settings say. So does what was made
//!   in the slot of now, up to a bound: a clock may come to the same day again and again.

#[cfg(test)]
mod years;

use super::tier::{Tier, TierPlan};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Of the slot of now so many stay, the newest by version.
const OF_NOW_MAX: usize = 24;

/// How far the database was. It grows whatever a clock says, also by a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) epoch: u64,
    pub(crate) version: u64,
}

/// One backup, as far as retention is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) tier: Tier,
    pub(crate) slot: String,
    /// Text in UTC, which is in order when the times are.
    pub(crate) taken_at: String,
    /// How often the clock had gone back before.
    pub(crate) life: u64,
    pub(crate) point: Point,
    /// At least one vault has a copy that was read back whole.
    pub(crate) verified: bool,
}

/// What becomes of one backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) id: String,
    pub(crate) keep: bool,
    pub(crate) why: String,
}

/// Decides about every entry, in the order given. `slot_now` names the slot of a tier in which we are.
pub(crate) fn decide(
    entries: &[Entry],
    plans: &[TierPlan],
    slot_now: impl Fn(&TierPlan) -> String,
) -> Vec<Decision> {
    let verified = || entries.iter().filter(|entry| entry.verified);
    let newest =
        [verified().max_by_key(|entry| (&entry.taken_at, &entry.id)), verified().max_by_key(by_version)];
    let ranks: BTreeMap<Tier, Ranks<'_>> =
        plans.iter().map(|plan| (plan.tier, Ranks::new(entries, plan, slot_now(plan)))).collect();
    let one = |entry: &Entry| {
        let (keep, why) = match ranks.get(&entry.tier) {
            None => (true, "nothing is said about its tier".to_owned()),
            Some(_) if newest.contains(&Some(entry)) => {
                (true, "the newest verified backup of all".to_owned())
            }
            Some(ranks) => ranks.judge(entry),
        };
        Decision { id: entry.id.clone(), keep, why }
    };
    entries.iter().map(one).collect()
}

type ByClock<'e> = (&'e str, Reverse<u64>, &'e str, Point, &'e str);
type ByVersion<'e> = (Point, &'e str, &'e str);

/// In one tier: by the slot, which the same clock has named, and in it by the time, in the first life that filled it.
fn by_clock<'e>(entry: &&'e Entry) -> ByClock<'e> {
    (&entry.slot, Reverse(entry.life), &entry.taken_at, entry.point, &entry.id)
}

fn by_version<'e>(entry: &&'e Entry) -> ByVersion<'e> {
    (entry.point, &entry.taken_at, &entry.id)
}

/// The best of each slot, the newest first.
fn ranked<'e, S: Ord, K: Ord>(
    entries: impl Iterator<Item = &'e Entry>,
    slot: impl Fn(&'e Entry) -> S,
    key: impl Fn(&&'e Entry) -> K,
) -> Vec<&'e Entry> {
    let mut best: BTreeMap<S, &Entry> = BTreeMap::new();
    for entry in entries {
        let of_slot = best.entry(slot(entry)).or_insert(entry);
        if key(&entry) > key(of_slot) {
            *of_slot = entry;
        }
    }
    let mut best: Vec<&Entry> = best.into_values().collect();
    best.sort_by_key(|entry| Reverse(key(entry)));
    best
}

/// The filled slots of one tier, each with its best backup, the newest first.
struct Ranks<'e> {
    keep: usize,
    slot_now: String,
    /// Up to now, by the clock.
    past: Vec<&'e Entry>,
    /// What lies in the future, by version: its clock was wrong.
    future: Vec<&'e Entry>,
    /// All, by version.
    all: Vec<&'e Entry>,
    /// The same where each life of the clock has slots of its own.
    lives: Vec<&'e Entry>,
    /// Those of the slot of now, by version.
    of_now: Vec<&'e Entry>,
}

impl<'e> Ranks<'e> {
    fn new(entries: &'e [Entry], plan: &TierPlan, slot_now: String) -> Self {
        let good = || entries.iter().filter(|entry| entry.verified && entry.tier == plan.tier);
        let is_past = |entry: &&Entry| entry.slot <= slot_now;
        let slot = |entry: &'e Entry| entry.slot.as_str();
        let past = ranked(good().filter(is_past), slot, by_clock);
        let future = ranked(good().filter(|entry| !is_past(entry)), slot, by_version);
        let all = ranked(good(), slot, by_version);
        let lives = ranked(good(), |entry| (entry.life, slot(entry)), by_version);
        let mut of_now: Vec<&Entry> = good().filter(|entry| entry.slot == slot_now).collect();
        of_now.sort_by_key(|entry| Reverse(by_version(entry)));
        Self { keep: plan.keep, past, future, all, lives, of_now, slot_now }
    }

    /// Among the last of the slot of now.
    fn is_of_now(&self, entry: &Entry) -> bool {
        let last = self.of_now.get(OF_NOW_MAX - 1);
        entry.slot == self.slot_now && last.is_none_or(|last| by_version(&entry) >= by_version(last))
    }

    fn judge(&self, entry: &Entry) -> (bool, String) {
        let Entry { tier, slot, .. } = entry;
        let keep = self.keep;
        if self.is_of_now(entry) {
            return (true, format!("made in {slot}, the slot of now"));
        }
        let is_future = *slot > self.slot_now;
        let ranked = if is_future { &self.future } else { &self.past };
        let place = |ranked: &[&Entry]| ranked.iter().take(keep).position(|best| best.id == entry.id);
        match place(ranked) {
            Some(_) if is_future => {
                return (true, format!("{slot} lies in the future: the clock was wrong, then or now"));
            }
            Some(place) => return (true, format!("{tier} slot {} of {keep}, {slot}", place + 1)),
            None => {}
        }
        if let Some(place) = place(&self.all).or_else(|| place(&self.lives)) {
            let why = format!("{tier} slot {} of {keep} by version, {slot}: a clock was wrong", place + 1);
            return (true, why);
        }
        let is_newer = |other: &&&Entry| match is_future {
            true => other.slot != *slot && by_version(other) > by_version(&entry),
            false => other.slot > *slot,
        };
        let newer = ranked.iter().filter(is_newer).count();
        if newer >= keep {
            return (false, format!("{keep} {tier} slots are kept, and {newer} newer ones are filled"));
        }
        match ranked.iter().find(|best| best.slot == *slot) {
            Some(best) if entry.verified || best.taken_at > entry.taken_at => {
                (false, format!("{} is newer and of the same slot {slot}", best.id))
            }
            Some(best) => (false, format!("not verified, and {} is of the same slot {slot}", best.id)),
            None => (true, format!("not verified, but there is no other of {slot}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::calendar::{self, DAY, days, utc};
    use crate::backup::due::due;
    use crate::backup::tier::{self, TIERS};
    use crate::backup::zone::Zone;

    fn entry(tier: Tier, slot: &str, number: i64, verified: bool) -> Entry {
        let point = Point { epoch: 1, version: number.unsigned_abs() };
        made_at(tier, slot, number, point, verified)
    }

    fn made_at(tier: Tier, slot: &str, number: i64, point: Point, verified: bool) -> Entry {
        let taken_at = utc(number * 60);
        let (id, slot) = (format!("{tier}_{number}"), slot.to_owned());
        Entry { id, tier, slot, taken_at, life: 0, point, verified }
    }

    fn kept(entries: &[Entry], slot_now: &str) -> Vec<String> {
        let decisions = decide(entries, &TIERS, |_| slot_now.to_owned());
        assert_eq!(decisions.len(), entries.len());
        assert!(decisions.iter().all(|decision| !decision.why.is_empty()));
        decisions.into_iter().filter(|decision| decision.keep).map(|decision| decision.id).collect()
    }

    #[test]
    fn of_a_slot_that_is_over_the_newest_verified_one_stays() {
        let of_slot = [
            entry(Tier::Daily, "2026-01-01", 1, true),
            entry(Tier::Daily, "2026-01-01", 2, true),
            entry(Tier::Daily, "2026-01-01", 3, false),
            entry(Tier::Daily, "2026-01-02", 4, false),
            entry(Tier::Daily, "2026-01-03", 5, true),
        ];
        assert_eq!(kept(&of_slot, "2026-01-04"), ["daily_2", "daily_4", "daily_5"]);
        let all: Vec<_> = of_slot.iter().take(3).map(|entry| entry.id.clone()).collect();
        assert_eq!(kept(&of_slot[..3], "2026-01-01"), all, "in its own slot nothing goes");
    }

    #[test]
    fn damaged_ones_never_push_a_good_one_out() {
        let mut entries = vec![entry(Tier::Hourly, "2026-01-01T00Z", 0, true)];
        entries.extend((1..24).map(|at| entry(Tier::Hourly, &format!("2026-01-01T{at:02}Z"), at, false)));
        entries
            .extend((0..24).map(|at| entry(Tier::Hourly, &format!("2026-01-02T{at:02}Z"), 24 + at, false)));
        let kept = kept(&entries, "2026-01-03T00Z");
        assert_eq!((kept.len(), kept[0].as_str()), (48, "hourly_0"));
    }

    #[test]
    fn the_last_verified_one_stays_whatever_the_settings_say() {
        let plans = TIERS.map(|plan| TierPlan { keep: 0, ..plan });
        let entries = [entry(Tier::Daily, "2026-01-01", 1, true), entry(Tier::Daily, "2026-01-02", 2, true)];
        let decisions = decide(&entries, &plans, |_| "2026-02-01".to_owned());
        assert_eq!(decisions.iter().map(|decision| decision.keep).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn what_lies_in_the_future_pushes_nothing_out_and_stays_as_far_as_its_tier_keeps() {
        let mut entries: Vec<_> = (0..30)
            .map(|at| entry(Tier::Hourly, &format!("2031-01-{:02}T00Z", at + 1), 99 + at, true))
            .collect();
        entries.push(entry(Tier::Hourly, "2026-01-01T00Z", 1, true));
        let kept = kept(&entries, "2026-01-01T05Z");
        assert_eq!((kept.len(), kept[0].as_str(), kept[24].as_str()), (25, "hourly_105", "hourly_1"));
    }

    #[test]
    fn a_clock_of_1970_at_the_start_pushes_nothing_out() {
        let real = |day: i64| entry(Tier::Daily, &format!("2026-01-{:02}", day + 1), 1_000 + day, true);
        let mut entries: Vec<_> = (0..30).map(real).collect();
        // Forty days go by before somebody sets the clock.
        let lost = |day: i64| {
            let slot = calendar::Civil::of(day * DAY).date();
            made_at(Tier::Daily, &slot, day, Point { epoch: 1, version: 5_000 + day.unsigned_abs() }, true)
        };
        entries.extend((0..40).map(lost));
        let of_1970 = kept(&entries, "1970-02-09");
        assert_eq!(of_1970.iter().filter(|id| id.len() == "daily_1000".len()).count(), 30, "all that was");
        let set_again = kept(&entries, "2026-01-31");
        assert_eq!(set_again.iter().filter(|id| id.len() == "daily_1000".len()).count(), 30);
        assert_eq!(set_again.len(), 60, "and what was counted meanwhile, by version");
    }

    #[test]
    fn a_backup_with_a_time_that_came_to_pass_pushes_out_none_of_a_newer_version() {
        // 30 hours were made by a clock that was a year ahead, and the year has gone by.
        let version = |version| Point { epoch: 1, version };
        let hour = |day: &str, hour: i64| format!("{day}T{hour:02}Z");
        let ahead = |at: i64| made_at(Tier::Hourly, &hour("2027-01-02", at), 9_000 + at, version(9), true);
        let real = |at: i64| {
            let version = version(500 + at.unsigned_abs());
            made_at(Tier::Hourly, &hour("2027-01-01", at), 1_000 + at, version, true)
        };
        let entries: Vec<_> = (0..24).map(ahead).chain((0..24).map(real)).collect();
        let kept = kept(&entries, "2027-01-03T00Z");
        assert_eq!(kept.len(), 48, "{kept:?}");
        // In one slot, the newest by clock and the newest by version.
        let two = [
            made_at(Tier::Daily, "2027-01-02", 9_000, version(9), true),
            made_at(Tier::Daily, "2027-01-02", 8_000, version(500), true),
            made_at(Tier::Daily, "2027-01-02", 7_000, version(499), true),
            made_at(Tier::Daily, "2027-01-03", 9_999, version(501), true),
        ];
        assert_eq!(self::kept(&two, "2027-01-04"), ["daily_9000", "daily_8000", "daily_9999"]);
    }

    /// Runs a hub for some time: every half hour it makes what is due, unless it sleeps, and prunes.
    fn years(zone: &str, from: i64, to: i64, sleeps: impl Fn(i64) -> bool) -> [usize; 5] {
        let zone = Zone::named(zone).unwrap();
        let mut entries: Vec<Entry> = Vec::new();
        let mut now = from;
        while now < to {
            let tiers = if sleeps(now) { Vec::new() } else { due(&TIERS, &entries, None, now, &zone) };
            for plan in TIERS.iter().filter(|plan| tiers.contains(&plan.tier)) {
                entries.push(entry(plan.tier, &tier::slot(plan, now, &zone), now / 60, true));
            }
            if !tiers.is_empty() {
                let decisions = decide(&entries, &TIERS, |plan| tier::slot(plan, now, &zone));
                let mut decisions = decisions.iter();
                entries.retain(|_| decisions.next().unwrap().keep);
            }
            now += 1_800;
        }
        let mut counts = [0; 5];
        for entry in &entries {
            counts[entry.tier as usize] += 1;
        }
        counts
    }

    #[test]
    fn years_of_runs_leave_what_the_tiers_promise() {
        let first = days(2024, 1, 1) * DAY + 12 * 3_600;
        let zones = ["UTC", "EST5EDT,M3.2.0,M11.1.0", "CET-1CEST,M3.5.0,M10.5.0/3"];
        for zone in zones {
            assert_eq!(years(zone, first, first + DAY, |_| false), [24, 2, 1, 1, 1], "{zone}, a day");
            assert_eq!(
                years(zone, first, first + 100 * DAY, |_| false),
                [24, 30, 12, 4, 1],
                "{zone}, 100 days"
            );
            let three =
                years(zone, first, first + 3 * 366 * DAY, |now| !(6..8).contains(&(now / 3_600 % 24)));
            assert_eq!(three, [24, 30, 12, 24, 4], "{zone}, three years, two hours a day");
            // Off at night and on Sundays: what was missed is made up in the morning.
            let night = |now: i64| !(6..18).contains(&(now / 3_600 % 24)) || (now / DAY + 4) % 7 == 0;
            let gaps = years(zone, first, first + 366 * DAY, night);
            assert_eq!(gaps, [24, 30, 12, 13, 2], "{zone}, with nights and Sundays off");
        }
        let twelve = years("UTC", first, first + 12 * 366 * DAY, |now| now / 3_600 % 24 != 6);
        assert_eq!(twelve, [24, 30, 12, 24, 10], "twelve years, awake for an hour a day");
    }
}
