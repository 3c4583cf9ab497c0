//! Years of backups under clocks that are wrong: what stays at the end is written down in `years/`, a table for
//! each policy, and what must hold is checked after every run.
//!
//! `TT_TABLES=write` writes the tables anew; read what has changed before it is committed.

use super::super::calendar::{self, DAY, days, utc};
use super::super::tier::{TIERS, due, slot};
use super::super::zone::Zone;
use super::*;
use crate::dice::Dice;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const HOUR: i64 = 3_600;

/// A site: what it keeps, where it is, and what happens to its clock.
struct Site {
    name: &'static str,
    zone: &'static str,
    keep: [usize; 5],
    /// From so many hours after the start on, the clock is wrong by so many seconds.
    clock: &'static [(i64, i64)],
    years: i64,
}

struct Hub {
    site: Site,
    zone: Zone,
    plans: [TierPlan; 5],
    entries: Vec<Entry>,
    gone: Vec<Decision>,
    /// The verified backup that was made last, whatever the clock said.
    last: Option<String>,
    dice: Dice,
}

impl Hub {
    fn new(site: Site) -> Self {
        let zone = Zone::named(site.zone).unwrap();
        let mut plans = TIERS;
        plans.iter_mut().zip(site.keep).for_each(|(plan, keep)| plan.keep = keep);
        Self { site, zone, plans, entries: Vec::new(), gone: Vec::new(), last: None, dice: Dice(7) }
    }

    /// All the years: some hours and some weeks without a run, and a run in fifty without a good copy.
    fn live(&mut self) -> i64 {
        let start = days(2025, 1, 1) * DAY;
        let (mut hour, mut clock) = (0, start);
        while hour < self.site.years * 365 * 24 {
            hour += match self.dice.roll(400) {
                0 => 24 * 20,
                1..20 => 5,
                _ => 1,
            };
            let wrong = self.site.clock.iter().rev().find(|(from, _)| *from <= hour).map_or(0, |(_, by)| *by);
            clock = start + hour * HOUR + wrong;
            self.run(clock);
        }
        clock
    }

    fn run(&mut self, now: i64) {
        let filled = self.entries.iter().filter(|entry| entry.verified);
        let filled: Vec<(Tier, String)> = filled.map(|entry| (entry.tier, entry.slot.clone())).collect();
        let filled = filled.iter().map(|(tier, slot)| (*tier, slot.as_str()));
        for tier in due(&self.plans, filled, now, &self.zone) {
            let plan = self.plans.iter().find(|plan| plan.tier == tier).unwrap();
            let verified = self.dice.roll(50) > 0;
            let id = format!("{tier}_{}", calendar::Civil::of(self.zone.local(now)).stamp());
            // The hour that comes twice must not take a name that is taken.
            let taken = self.entries.iter().filter(|entry| entry.id.starts_with(&id)).count();
            let id = format!("{id}{}", "+".repeat(taken));
            if verified {
                self.last = Some(id.clone());
            }
            let (slot, taken_at) = (slot(plan, now, &self.zone), utc(now));
            self.entries.push(Entry { id, tier, slot, taken_at, verified });
        }
        let decisions = self.decide(now);
        self.hold(&decisions, now);
        let stays = |id: &str| decisions.iter().any(|decision| decision.id == id && decision.keep);
        self.entries.retain(|entry| stays(&entry.id));
        assert!(self.decide(now).iter().all(|decision| decision.keep), "{}: a second time", utc(now));
        self.gone.extend(decisions.into_iter().filter(|decision| !decision.keep));
    }

    fn decide(&self, now: i64) -> Vec<Decision> {
        decide(&self.entries, &self.plans, |plan| slot(plan, now, &self.zone))
    }

    /// What must hold of every decision.
    fn hold(&self, decisions: &[Decision], now: i64) {
        let at = utc(now);
        assert!(decisions.iter().all(|decision| decision.why.len() > 10), "{at}: a reason for each");
        let kept = |entry: &&Entry| decisions.iter().any(|decision| decision.id == entry.id && decision.keep);
        let last = self.entries.iter().filter(kept).find(|entry| Some(&entry.id) == self.last.as_ref());
        assert_eq!(last.is_some(), self.last.is_some(), "{at}: the last good one stays");
        let newest = self.entries.iter().filter(|entry| entry.verified).max_by_key(|entry| &entry.taken_at);
        assert!(newest.iter().all(kept), "{at}: the newest verified one stays");
        for plan in &self.plans {
            let slot_now = slot(plan, now, &self.zone);
            let counts = |entry: &&Entry| entry.tier == plan.tier && entry.verified && entry.slot <= slot_now;
            let all: BTreeSet<&str> = self.entries.iter().filter(counts).map(|entry| &*entry.slot).collect();
            let stay: BTreeSet<&str> =
                self.entries.iter().filter(counts).filter(kept).map(|entry| &*entry.slot).collect();
            let newest: BTreeSet<&str> = all.iter().rev().take(plan.keep).copied().collect();
            assert!(newest.is_subset(&stay), "{at}: of {} the newest slots stay", plan.tier);
            // The newest backup of all stays beside them.
            assert!(stay.len() <= plan.keep + 1, "{at}: {} of {}", stay.len(), plan.tier);
        }
    }

    /// What is there at the end, and the last that went of each tier.
    fn table(&self, now: i64) -> String {
        let Site { name, zone, keep, clock, years } = &self.site;
        let plans: Vec<String> =
            self.plans.iter().zip(keep).map(|(plan, keep)| format!("{keep} {}", plan.tier)).collect();
        let mut text = format!("{name}: {}\n{years} years in the zone {zone}\n", plans.join(", "));
        for (hour, by) in *clock {
            let from = utc(days(2025, 1, 1) * DAY + hour * HOUR);
            writeln!(text, "from {from} on the clock is wrong by {} h", *by as f64 / 3_600.0).unwrap();
        }
        writeln!(text, "the clock says {}\n", utc(now)).unwrap();
        for plan in &self.plans {
            let ours = |id: &str| id.starts_with(plan.tier.word());
            let went = self.gone.iter().rev().find(|decision| ours(&decision.id));
            let decisions = self.decide(now);
            for Decision { id, keep, why } in
                went.into_iter().chain(decisions.iter().filter(|one| ours(&one.id)))
            {
                writeln!(text, "{id:<24}  {}  {why}", if *keep { "stays" } else { "goes " }).unwrap();
            }
        }
        text
    }
}

fn lives(site: Site) {
    let mut hub = Hub::new(site);
    let now = hub.live();
    let found = hub.table(now);
    let name = format!("src/backup/retention/years/{}.txt", hub.site.name.replace(' ', "_"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("TT_TABLES").is_some_and(|what| what == "write") {
        fs::write(&path, &found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{}", path.display());
}

const FEW: [usize; 5] = [4, 5, 3, 4, 2];

#[test]
fn a_clock_that_is_right_in_a_zone_with_two_changes_a_year() {
    let zone = "CET-1CEST,M3.5.0,M10.5.0/3";
    lives(Site { name: "few of each", zone, keep: FEW, clock: &[], years: 4 });
}

#[test]
fn a_zone_that_changes_by_half_an_hour() {
    let zone = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0";
    lives(Site { name: "few of each by half an hour", zone, keep: FEW, clock: &[], years: 3 });
}

#[test]
fn a_zone_whose_change_skips_midnight() {
    let zone = "<-04>4<-03>,M9.1.6/24,M4.1.6/24";
    lives(Site { name: "few of each without a midnight", zone, keep: FEW, clock: &[], years: 3 });
}

#[test]
fn a_tier_that_is_not_wanted_and_one_of_each_other() {
    lives(Site {
        name: "no hourly and one of each other",
        zone: "UTC",
        keep: [0, 1, 1, 1, 1],
        clock: &[],
        years: 2,
    });
}

#[test]
fn what_holds_unless_the_settings_say_otherwise() {
    let keep = TIERS.map(|plan| plan.keep);
    lives(Site { name: "default", zone: "EST5EDT,M3.2.0,M11.1.0", keep, clock: &[], years: 3 });
}
