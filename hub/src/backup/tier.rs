//! The tiers of backups as data, and the slots that they fill.
//!
//! A slot is a bucket of the calendar: the time from one due moment of a tier to the next. It is named when the
//! backup is made and stands in the manifest; the time of a file is never asked. Hours are counted in UTC, so
//! that the day of 25 hours has 25 of them; all else is by the wall clock of the site.

use super::calendar::{Civil, DAY, days, utc, weekday};
use super::zone::Zone;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How often, from the finest to the coarsest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tier {
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// One tier as the site wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TierPlan {
    pub(crate) tier: Tier,
    /// Slots whose backup is kept. 0: no backup of this tier is made by itself.
    pub(crate) keep: usize,
    /// Seconds after midnight; hourly ones are due at each full hour.
    pub(crate) at: i64,
}

/// All tiers with what holds unless the settings say otherwise.
pub(crate) const TIERS: [TierPlan; 5] = [
    TierPlan { tier: Tier::Hourly, keep: 24, at: 0 },
    TierPlan { tier: Tier::Daily, keep: 30, at: 2 * 3_600 },
    TierPlan { tier: Tier::Weekly, keep: 12, at: 3 * 3_600 },
    TierPlan { tier: Tier::Monthly, keep: 24, at: 4 * 3_600 },
    TierPlan { tier: Tier::Yearly, keep: 10, at: 5 * 3_600 },
];

impl Tier {
    /// The word in names of files, settings and manifests.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.word())
    }
}

/// The slot of a tier in which a moment (seconds since 1970) lies. Names of slots of one tier are in the
/// order of their times. Weeks begin on Sunday, months on the 1st, years on 1 January.
pub(crate) fn slot(plan: &TierPlan, now: i64, zone: &Zone) -> String {
    if plan.tier == Tier::Hourly {
        return format!("{}Z", &utc(now)[..13]);
    }
    let today = zone.local(now).div_euclid(DAY);
    let first = first_day(plan.tier, today);
    let is_begun = zone.moment(first * DAY + plan.at) <= now;
    let first = if is_begun { first } else { first_day(plan.tier, first - 1) };
    let date = Civil::of(first * DAY).date();
    match plan.tier {
        Tier::Monthly => date[..7].to_owned(),
        Tier::Yearly => date[..4].to_owned(),
        _ => date,
    }
}

/// The day on which the bucket around a day begins.
fn first_day(tier: Tier, day: i64) -> i64 {
    let date = Civil::of(day * DAY);
    match tier {
        Tier::Hourly | Tier::Daily => day,
        Tier::Weekly => day - weekday(day),
        Tier::Monthly => days(date.year, date.month, 1),
        Tier::Yearly => days(date.year, 1, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW_YORK: &str = "EST5EDT,M3.2.0,M11.1.0";
    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    fn at(year: i64, month: i64, day: i64, hour: i64, minute: i64) -> i64 {
        days(year, month, day) * DAY + hour * 3_600 + minute * 60
    }

    fn slots(zone: &str, now: i64) -> Vec<String> {
        let zone = Zone::named(zone).unwrap();
        TIERS.iter().map(|plan| slot(plan, now, &zone)).collect()
    }

    #[test]
    fn a_slot_begins_at_the_due_time_and_not_before() {
        let before = slots("UTC", at(2026, 1, 1, 1, 59));
        assert_eq!(before, ["2026-01-01T01Z", "2025-12-31", "2025-12-28", "2025-12", "2025"]);
        assert_eq!(slots("UTC", at(2026, 1, 1, 2, 0))[1], "2026-01-01");
        assert_eq!(slots("UTC", at(2026, 1, 1, 3, 59))[3], "2025-12");
        assert_eq!(slots("UTC", at(2026, 1, 1, 4, 0))[3], "2026-01");
        assert_eq!(slots("UTC", at(2026, 1, 1, 4, 59))[4], "2025");
        assert_eq!(slots("UTC", at(2026, 1, 1, 5, 0))[4], "2026");
        assert_eq!(slots("UTC", at(2026, 1, 4, 2, 59))[2], "2025-12-28");
        assert_eq!(slots("UTC", at(2026, 1, 4, 3, 0))[2], "2026-01-04", "a Sunday");
    }

    #[test]
    fn the_missing_and_the_double_hour_begin_each_slot_once() {
        // New York: 02:00 is missing on 8 March 2026; its slot begins when the clock shows 03:00.
        assert_eq!(slots(NEW_YORK, at(2026, 3, 8, 6, 59))[1], "2026-03-07");
        assert_eq!(slots(NEW_YORK, at(2026, 3, 8, 7, 0))[1], "2026-03-08");
        // Berlin: 02:00 comes twice on 25 October 2026; the first begins the slot, the second changes nothing.
        assert_eq!(slots(BERLIN, at(2026, 10, 24, 23, 59))[1], "2026-10-24");
        assert_eq!(slots(BERLIN, at(2026, 10, 25, 0, 0))[1], "2026-10-25");
        assert_eq!(slots(BERLIN, at(2026, 10, 25, 1, 0))[1], "2026-10-25");
        let hours = |from: i64, to: i64| {
            let mut hours: Vec<_> =
                (from..to).step_by(600).map(|now| slots(BERLIN, now)[0].clone()).collect();
            hours.dedup();
            hours.len()
        };
        assert_eq!(hours(at(2026, 10, 24, 22, 0), at(2026, 10, 25, 23, 0)), 25);
        assert_eq!(hours(at(2026, 3, 28, 23, 0), at(2026, 3, 29, 22, 0)), 23);
    }

    #[test]
    fn names_of_slots_grow_with_time_in_every_zone() {
        for zone in [NEW_YORK, BERLIN, "AEST-10AEDT,M10.1.0,M4.1.0/3", "<+0545>-5:45", "UTC"] {
            let mut last = slots(zone, at(2025, 12, 1, 0, 0));
            let mut begun = [0; 5];
            for step in 1..=4 * 24 * 800 {
                let next = slots(zone, at(2025, 12, 1, 0, 0) + step * 900);
                for (index, (last, next)) in last.iter().zip(&next).enumerate() {
                    assert!(last <= next, "{zone}: {last} {next}");
                    begun[index] += i64::from(last != next);
                }
                last = next;
            }
            assert_eq!(begun, [800 * 24, 800, 114, begun[3], begun[4]], "{zone}");
            assert!(
                (26..=27).contains(&begun[3]) && begun[4] == 3 - i64::from(begun[4] == 2),
                "{zone}: {begun:?}"
            );
        }
    }
}
