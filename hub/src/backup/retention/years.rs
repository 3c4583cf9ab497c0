//! Years of backups under clocks that are wrong: what stays at the end is written down in `years/`, a table for
//! each policy, and what must hold is checked after every run.
//!
//! `TT_TABLES=write` writes the tables anew; read what has changed before it is committed.

use super::super::calendar::{self, DAY, days, utc};
use super::super::due::{due, life};
use super::super::tier::{TIERS, slot};
use super::super::zone::Zone;
use super::*;
use crate::dice::Dice;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const HOUR: i64 = 3_600;
/// 2025-01-01.
const START: i64 = 20_089 * DAY;
/// Runs by which a clock of these sites is ahead without being found out, at most.
const AHEAD_UNSEEN: u64 = 31;

/// A site: what it keeps, where it is, and what happens to its clock.
struct Site {
    name: &'static str,
    zone: &'static str,
    keep: [usize; 5],
    /// From so many hours after the start on, the clock is wrong by so many seconds.
    clock: &'static [(i64, i64)],
    /// The hub is on for ten hours a day. Its clock begins at this moment each morning, and is set after so many hours.
    mornings: Option<(i64, i64)>,
    years: i64,
}

const SITE: Site = Site { name: "few of each", zone: "UTC", keep: FEW, clock: &[], mornings: None, years: 3 };

struct Hub {
    site: Site,
    zone: Zone,
    plans: [TierPlan; 5],
    entries: Vec<Entry>,
    gone: Vec<Decision>,
    /// Grows by one with each run, whatever the clock says.
    version: u64,
    /// The verified backup that was made last, whatever the clock said.
    last: Option<String>,
    /// What the clock said at the last run.
    ran: i64,
    dice: Dice,
}

impl Site {
    /// By how much the clock is wrong in this hour; None when the hub is off.
    fn wrong(&self, hour: i64) -> Option<i64> {
        let Some((begin, set_after)) = self.mornings else {
            return Some(self.clock.iter().rev().find(|(from, _)| *from <= hour).map_or(0, |(_, by)| *by));
        };
        let since = hour.rem_euclid(24) - 6;
        let morning = START + (hour - since) * HOUR;
        let wrong = if since < set_after { begin - morning } else { 0 };
        (0..10).contains(&since).then_some(wrong)
    }
}

impl Hub {
    fn new(site: Site) -> Self {
        let zone = Zone::named(site.zone).unwrap();
        let mut plans = TIERS;
        plans.iter_mut().zip(site.keep).for_each(|(plan, keep)| plan.keep = keep);
        Self {
            site,
            zone,
            plans,
            entries: Vec::new(),
            gone: Vec::new(),
            version: 0,
            last: None,
            ran: 0,
            dice: Dice(7),
        }
    }

    /// All the years: some hours and some weeks without a run, and a run in fifty without a good copy.
    fn live(&mut self) -> i64 {
        let (mut hour, mut clock) = (0, START);
        while hour < self.site.years * 365 * 24 {
            hour += match self.dice.roll(400) {
                0 => 24 * 20,
                1..20 => 5,
                _ => 1,
            };
            let Some(wrong) = self.site.wrong(hour) else { continue };
            clock = START + hour * HOUR + wrong;
            self.run(clock);
            if wrong == 0 {
                self.is_made_up(clock);
            }
        }
        clock
    }

    /// With a clock that is right, each tier has a backup that was made within its time, which no more runs fit in. A
    /// clock that was ahead by less time than it ran so has made what nobody can tell from what is right.
    fn is_made_up(&self, now: i64) {
        let failed = due(&self.plans, &self.entries, None, now, &self.zone);
        let runs = [1, 24, 7 * 24, 31 * 24, 366 * 24];
        for (plan, runs) in self.plans.iter().zip(runs) {
            let ours = self.entries.iter().filter(|entry| entry.tier == plan.tier && entry.verified);
            let last = ours.map(|entry| entry.point.version).max().unwrap_or(0);
            let is_late = self.version > last + runs + AHEAD_UNSEEN;
            let is_wanted = plan.keep > 0 && !failed.contains(&plan.tier);
            assert!(!is_wanted || !is_late, "{}: the last {} backup is too old", utc(now), plan.tier);
        }
    }

    fn run(&mut self, now: i64) {
        let tiers = due(&self.plans, &self.entries, None, now, &self.zone);
        let life = life(&self.entries, None, now);
        let is_same_hour = self.ran.div_euclid(HOUR) == now.div_euclid(HOUR);
        let is_made = is_same_hour || self.site.keep[0] == 0 || tiers.contains(&Tier::Hourly);
        assert!(is_made, "{}: no hour goes by without a backup", utc(now));
        self.ran = now;
        self.version += 1;
        for tier in tiers {
            let plan = self.plans.iter().find(|plan| plan.tier == tier).unwrap();
            let verified = self.dice.roll(50) > 0;
            let id = format!("{tier}_{}", calendar::Civil::of(self.zone.local(now)).stamp());
            // The hour that comes twice must not take a name that is taken.
            let again = (1..).map(|again| format!("{id}+{again}"));
            let mut names = std::iter::once(id.clone()).chain(again);
            let free = names.find(|name| self.entries.iter().all(|entry| entry.id != *name));
            let id = free.unwrap();
            if verified {
                self.last = Some(id.clone());
            }
            let (slot, taken_at) = (slot(plan, now, &self.zone), utc(now));
            let point = Point { epoch: 1, version: self.version };
            self.entries.push(Entry { id, tier, slot, taken_at, life, point, verified });
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
        let verified = self.entries.iter().filter(|entry| entry.verified);
        let newest = verified.max_by_key(|entry| (&entry.taken_at, &entry.id));
        assert!(newest.iter().all(kept), "{at}: the newest verified one stays");
        for plan in &self.plans {
            let slot_now = slot(plan, now, &self.zone);
            let ours = |entry: &&Entry| entry.tier == plan.tier && entry.verified;
            let mut really: Vec<&Entry> = self.entries.iter().filter(ours).collect();
            really.sort_by_key(|entry| std::cmp::Reverse(entry.point));
            let last = really.first().iter().all(|entry| plan.keep == 0 || kept(entry));
            assert!(last, "{at}: the {} one that was really made last stays", plan.tier);
            let stay = really.iter().filter(|entry| kept(entry)).count();
            // By the clock, by version, by life, from the future, in the slot of now, and the newest of all.
            let most =
                if self.site.mornings.is_some() { 4 * plan.keep + 4 + OF_NOW_MAX } else { 3 * plan.keep + 4 };
            assert!(stay <= most, "{at}: {stay} of {} with all that is in doubt", plan.tier);
            let counts = |entry: &&Entry| ours(entry) && entry.slot <= slot_now;
            let all: BTreeSet<&str> = self.entries.iter().filter(counts).map(|entry| &*entry.slot).collect();
            let stay: BTreeSet<&str> =
                self.entries.iter().filter(counts).filter(kept).map(|entry| &*entry.slot).collect();
            let newest: BTreeSet<&str> = all.iter().rev().take(plan.keep).copied().collect();
            assert!(newest.is_subset(&stay), "{at}: of {} the newest slots stay", plan.tier);
            // The newest backup of all stays beside them.
            let right = self.site.clock.is_empty() && self.site.mornings.is_none();
            assert!(!right || stay.len() <= plan.keep + 1, "{at}: {} of {}", stay.len(), plan.tier);
        }
    }

    /// What is there at the end, and the last that went of each tier.
    fn table(&self, now: i64) -> String {
        let Site { name, zone, keep, clock, mornings, years } = &self.site;
        let plans: Vec<String> =
            self.plans.iter().zip(keep).map(|(plan, keep)| format!("{keep} {}", plan.tier)).collect();
        let mut text = format!("{name}: {}\n{years} years in the zone {zone}\n", plans.join(", "));
        for (hour, by) in *clock {
            let from = utc(START + hour * HOUR);
            writeln!(text, "from {from} on the clock is wrong by {} h", *by as f64 / 3_600.0).unwrap();
        }
        if let Some((begin, set_after)) = mornings {
            let begin = utc(*begin);
            writeln!(text, "the clock begins at {begin} each morning, and is set after {set_after} of 10 h")
                .unwrap();
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
    lives(Site { zone, years: 4, ..SITE });
}

#[test]
fn a_zone_that_changes_by_half_an_hour() {
    let zone = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0";
    lives(Site { name: "few of each by half an hour", zone, ..SITE });
}

#[test]
fn a_zone_whose_change_skips_midnight() {
    let zone = "<-04>4<-03>,M9.1.6/24,M4.1.6/24";
    lives(Site { name: "few of each without a midnight", zone, ..SITE });
}

#[test]
fn a_clock_that_jumps_both_ways() {
    let clock = &[
        (9_000, 4_000 * DAY),
        (9_100, 0),
        (15_000, -90 * DAY),
        (15_500, 0),
        (20_000, 3 * HOUR),
        (20_010, 0),
    ];
    lives(Site { name: "few of each with jumps", clock, ..SITE });
}

#[test]
fn a_clock_that_was_ahead_for_some_days_until_its_dates_come_to_pass() {
    let clock = &[(9_000, 400 * DAY), (9_100, 0)];
    lives(Site { name: "few of each 400 days ahead", clock, ..SITE });
}

#[test]
fn a_clock_that_begins_at_1970_after_each_start() {
    let clock = &[(5_000, -20_300 * DAY), (5_060, 0), (12_000, -20_590 * DAY), (12_001, 0)];
    lives(Site { name: "few of each with starts in 1970", clock, ..SITE });
}

#[test]
fn a_hub_without_a_clock_whose_mornings_are_all_the_same() {
    lives(Site { name: "few of each with mornings of 1970", mornings: Some((0, 10)), years: 1, ..SITE });
}

#[test]
fn a_hub_without_a_clock_that_begins_in_the_middle_of_a_year_each_morning() {
    let begin = days(2024, 6, 15) * DAY + 9 * HOUR;
    lives(Site { name: "few of each with mornings of 2024", mornings: Some((begin, 10)), years: 1, ..SITE });
}

#[test]
fn a_hub_without_a_clock_that_hears_the_time_an_hour_later() {
    lives(Site { name: "few of each with hours of 1970", mornings: Some((0, 1)), ..SITE });
}

/// Whatever clocks do: the invariants hold after each run. A failing seed joins by its number.
#[test]
fn clocks_that_jump_by_chance() {
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let mut hour = 300;
        let mut clock = Vec::new();
        while hour < 2 * 365 * 24 {
            let by = [HOUR, 30 * HOUR, 40 * DAY, 400 * DAY, 8_000 * DAY][dice.roll(5) as usize];
            let by = if dice.roll(2) == 0 { by } else { -by.min(20_000 * DAY) };
            clock.push((hour, by));
            clock.push((hour + 1 + dice.roll(200) as i64, 0));
            hour += 300 + dice.roll(4_000) as i64;
        }
        eprintln!("seed {seed}: {clock:?}");
        let site = Site { name: "by chance", clock: clock.leak(), years: 2, ..SITE };
        Hub::new(site).live();
    }
}

#[test]
fn a_tier_that_is_not_wanted_and_one_of_each_other() {
    lives(Site { name: "no hourly and one of each other", keep: [0, 1, 1, 1, 1], years: 2, ..SITE });
}

#[test]
fn what_holds_unless_the_settings_say_otherwise() {
    let keep = TIERS.map(|plan| plan.keep);
    lives(Site { name: "default", zone: "EST5EDT,M3.2.0,M11.1.0", keep, ..SITE });
}
