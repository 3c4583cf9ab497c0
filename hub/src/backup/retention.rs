//! Which backups stay and which go, with a reason for each: a pure function over what the manifests say.
//!
//! * Of every slot the newest verified backup counts, and of those the newest `keep` slots of a tier stay.
//! * What is not verified never counts: no damaged file can push a good one out.
//! * What lies in the future (the clock was wrong once) neither counts nor goes.
//! * The newest verified backup of all stays, whatever the settings say.

#[cfg(test)]
mod years;

use super::tier::{Tier, TierPlan};
use std::collections::BTreeSet;

/// One backup, as far as retention is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) tier: Tier,
    pub(crate) slot: String,
    /// Text in UTC, which is in order when the times are.
    pub(crate) taken_at: String,
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
    let verified = entries.iter().filter(|entry| entry.verified);
    let newest = verified.max_by_key(|entry| (&entry.taken_at, &entry.id)).map(|entry| entry.id.as_str());
    let mut decisions = Vec::with_capacity(entries.len());
    for entry in entries {
        let (keep, why) = match plans.iter().find(|plan| plan.tier == entry.tier) {
            None => (true, "nothing is said about its tier".to_owned()),
            Some(_) if newest == Some(entry.id.as_str()) => {
                (true, "the newest verified backup of all".to_owned())
            }
            Some(plan) => one(entry, entries, plan, &slot_now(plan)),
        };
        decisions.push(Decision { id: entry.id.clone(), keep, why });
    }
    decisions
}

fn one(entry: &Entry, entries: &[Entry], plan: &TierPlan, slot_now: &str) -> (bool, String) {
    let Entry { tier, slot, .. } = entry;
    if slot.as_str() > slot_now {
        return (true, format!("{slot} lies in the future: the clock was wrong, then or now"));
    }
    if slot == slot_now {
        return (true, format!("made in {slot}, the slot of now"));
    }
    let past = |other: &&Entry| other.verified && other.tier == *tier && other.slot.as_str() <= slot_now;
    let slots: BTreeSet<&str> = entries.iter().filter(past).map(|other| other.slot.as_str()).collect();
    let newer = slots.range(slot.as_str()..).filter(|other| **other != slot.as_str()).count();
    let better = entries
        .iter()
        .filter(past)
        .find(|other| other.slot == *slot && (&other.taken_at, &other.id) > (&entry.taken_at, &entry.id));
    let keep = plan.keep;
    if newer >= keep {
        return (false, format!("{keep} {tier} slots are kept, and {newer} newer ones are filled"));
    }
    if let Some(better) = better {
        return (false, format!("{} is newer and of the same slot {slot}", better.id));
    }
    if !entry.verified {
        let other = entries.iter().filter(past).find(|other| other.slot == *slot);
        return match other {
            Some(other) => (false, format!("not verified, and {} is of the same slot {slot}", other.id)),
            None => (true, format!("not verified, but there is no other of {slot}")),
        };
    }
    (true, format!("{tier} slot {} of {keep}, {slot}", newer + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::calendar::{DAY, days, utc};
    use crate::backup::tier::{self, TIERS};
    use crate::backup::zone::Zone;

    fn entry(tier: Tier, slot: &str, number: i64, verified: bool) -> Entry {
        let taken_at = utc(number * 60);
        Entry { id: format!("{tier}_{number}"), tier, slot: slot.to_owned(), taken_at, verified }
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
    fn what_lies_in_the_future_neither_counts_nor_goes() {
        let mut entries: Vec<_> = (0..30)
            .map(|at| entry(Tier::Hourly, &format!("2031-01-{:02}T00Z", at + 1), 99 + at, true))
            .collect();
        entries.push(entry(Tier::Hourly, "2026-01-01T00Z", 1, true));
        assert_eq!(kept(&entries, "2026-01-01T05Z").len(), 31);
    }

    /// Runs a hub for some time: every half hour it makes what is due, unless it sleeps, and prunes.
    fn years(zone: &str, from: i64, to: i64, sleeps: impl Fn(i64) -> bool) -> [usize; 5] {
        let zone = Zone::named(zone).unwrap();
        let mut entries: Vec<Entry> = Vec::new();
        let mut now = from;
        while now < to {
            let filled = entries.iter().map(|entry| (entry.tier, entry.slot.as_str()));
            let tiers = if sleeps(now) { Vec::new() } else { tier::due(&TIERS, filled, now, &zone) };
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
