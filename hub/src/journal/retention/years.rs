//! Years of a journal under clocks that are wrong: after every day the moments that are promised must be there, by the
//! days that really went by, and the journal must not grow for ever. How much of it was there at most is in the table.

use super::*;
use crate::dice::Dice;

const DAY_HOURS: i64 = 24;
const HOUR_MS: i64 = 3_600_000;
const KEEP_DAYS: u32 = 20;
/// 2025-01-01.
const START_DAY: i64 = 20_089;
/// Versions in one segment, when a day has many.
const SEGMENT_VERSIONS: u64 = 60;

/// What a clock does from some hour on.
#[derive(Clone, Copy, Debug)]
enum Clock {
    /// It is wrong by so many hours.
    By(i64),
    /// It begins at 1970 each morning, and somebody sets it after so many hours, or nobody.
    Of1970 { set_after: i64 },
    /// It says anything at all, another thing each morning.
    Random,
}
use Clock::{By, Of1970, Random};

/// A site and what happens to its clock.
struct Site {
    name: &'static str,
    years: i64,
    clock: &'static [(i64, Clock)],
    /// Days (of those that really went by) on which nobody writes.
    sleeps: fn(i64) -> bool,
    /// For how many days a backup stays, and for how many one a month.
    backups: (i64, i64),
    /// So many days of work were in the journal at once, at most.
    days_most: usize,
}

/// One segment, with the hours in which its entries really were made.
struct Segment {
    header: Header,
    real: (i64, i64),
}

#[derive(Default)]
struct Journal {
    segments: Vec<Segment>,
    version: u64,
    /// Verified backups that are kept: version, and the hour in which each was really made.
    backups: Vec<(u64, i64)>,
    days_most: usize,
    dice: Option<Dice>,
}

impl Site {
    fn of(&self, hour: i64) -> Clock {
        self.clock.iter().rev().find(|(from, _)| *from <= hour).map_or(By(0), |(_, clock)| *clock)
    }

    /// How often the clock jumped in the days that are kept: each jump can make one day look like two.
    fn jumps(&self, hour: i64) -> i64 {
        let kept = hour - i64::from(KEEP_DAYS) * DAY_HOURS;
        self.clock.iter().filter(|(from, _)| (kept..=hour).contains(from)).count() as i64
    }

    fn live(&self) -> Journal {
        let mut journal = Journal { dice: Some(Dice(11)), ..Journal::default() };
        for day in 0..self.years * 365 {
            let morning = day * DAY_HOURS + 6;
            let chance = journal.roll(60_000) as i64;
            for hour in (morning..morning + 12).filter(|_| !(self.sleeps)(day)) {
                let right = (START_DAY * DAY_HOURS + hour) * HOUR_MS;
                let at = match self.of(hour) {
                    By(hours) => right + hours * HOUR_MS,
                    Of1970 { set_after } if hour - morning >= set_after => right,
                    Of1970 { .. } => (hour - morning) * HOUR_MS + chance,
                    Random => chance * DAY_MS + (hour - morning) * HOUR_MS,
                };
                journal.write(hour, Millis(at));
            }
            let evening = morning + 12;
            journal.back_up(evening, self.backups);
            journal.clean_up();
            self.hold(&journal, evening);
        }
        journal
    }

    /// The oldest moment that is promised can be brought back, and with it all later ones.
    fn hold(&self, journal: &Journal, hour: i64) {
        let name = self.name;
        let days = (i64::from(KEEP_DAYS) - self.jumps(hour)).max(0);
        let moment = hour - days * DAY_HOURS;
        // Where no backup is so old, all from the oldest on.
        let oldest = journal.backups.first().map_or(0, |(_, at)| *at);
        let moment = if self.backups.1 > days { moment } else { moment.max(oldest) };
        let from = journal.segments.first().map_or(0, |first| first.header.version.0);
        let backup = journal.backups.iter().rfind(|(_, at)| *at <= moment);
        let reaches = backup.map_or(from == 0, |(version, _)| from <= *version);
        assert!(reaches, "{name}: after {} days, a moment {days} days ago is lost", hour / DAY_HOURS);
    }
}

impl Journal {
    fn roll(&mut self, sides: u64) -> u64 {
        self.dice.as_mut().map_or(0, |dice| dice.roll(sides))
    }

    /// Some entries in one hour, as the writer puts them into segments.
    fn write(&mut self, hour: i64, at: Millis) {
        let day = |at: Millis| at.0.div_euclid(DAY_MS);
        let goes_on = |open: &Segment, version: u64| {
            day(open.header.at) == day(at) && version - open.header.version.0 < SEGMENT_VERSIONS
        };
        for _ in 0..=self.roll(20) {
            match self.segments.last_mut().filter(|open| goes_on(open, self.version)) {
                Some(open) => open.real.1 = hour,
                None => {
                    let (first, version) = (Lsn(self.version + 1), Version(self.version));
                    let header = Header { first, epoch: Epoch(1), version, at, before: [1; 32] };
                    self.segments.push(Segment { header, real: (hour, hour) });
                }
            }
            self.version += 1;
        }
    }

    /// One each evening, which stays for some days, and of the older ones one a month.
    fn back_up(&mut self, hour: i64, (all, monthly): (i64, i64)) {
        self.backups.push((self.version, hour));
        let age = |at: i64| (hour - at) / DAY_HOURS;
        self.backups.retain(|(_, at)| age(*at) < all || ((at / DAY_HOURS) % 30 == 0 && age(*at) < monthly));
    }

    fn clean_up(&mut self) {
        let headers: Vec<Header> = self.segments.iter().map(|segment| segment.header).collect();
        let backups = self.backups.iter().map(|(version, _)| (Epoch(1), Version(*version))).collect();
        let rule = Rule { keep_days: KEEP_DAYS, backups, shipped: Lsn(u64::MAX - 1) };
        let decisions = decide(&headers, &rule);
        let goes = decisions.iter().filter(|decision| !decision.keep).count();
        assert!(decisions[..goes].iter().all(|decision| !decision.keep), "what goes is the oldest");
        self.segments.drain(..goes);
        let days = self.segments.iter().flat_map(|segment| {
            let (first, last) = segment.real;
            first / DAY_HOURS..=last / DAY_HOURS
        });
        let mut days: Vec<i64> = days.collect();
        days.dedup();
        self.days_most = self.days_most.max(days.len());
    }
}

fn never(_: i64) -> bool {
    false
}

fn sundays_and_summers(day: i64) -> bool {
    day % 7 == 6 || (150..210).contains(&(day % 365))
}

const fn site(name: &'static str, clock: &'static [(i64, Clock)], days_most: usize) -> Site {
    Site { name, years: 3, clock, sleeps: never, backups: (30, 720), days_most }
}

const YEAR: i64 = 365 * DAY_HOURS;
const MORNINGS: &[(i64, Clock)] = &[(9_000, Of1970 { set_after: 1 })];

#[test]
fn the_days_that_are_promised_are_there_whatever_the_clock_says_and_no_more_than_it_takes() {
    let sites = [
        site("a clock that is right", &[], 23),
        Site { sleeps: sundays_and_summers, ..site("sundays and two months of silence", &[], 44) },
        Site { backups: (5, 5), ..site("tiers that keep nothing older than five days", &[], 41) },
        Site { backups: (5, 5), ..site("the same, 1970 for an hour each morning", MORNINGS, 41) },
        site("400 days ahead for four days", &[(9_000, By(400 * 24)), (9_100, By(0))], 27),
        site("400 days ahead, until its dates come to pass", &[(900, By(400 * 24)), (1_900, By(0))], 44),
        site("a start in 2090, for two months", &[(9_000, By(65 * YEAR)), (10_500, By(0))], 43),
        site("from 2090 on for ever", &[(9_000, By(65 * YEAR))], 23),
        site("90 days behind for three weeks", &[(9_000, By(-90 * 24)), (9_500, By(0))], 44),
        site("a year behind for ever", &[(9_000, By(-YEAR))], 44),
        site("one day of 1970", &[(9_000, Of1970 { set_after: 99 }), (9_020, By(0))], 24),
        site("1970 for an hour each morning", MORNINGS, 23),
        site("1970 each morning for ever", &[(9_000, Of1970 { set_after: 99 })], 199),
        site("any day at all each morning", &[(9_000, Random)], 199),
        Site { years: 1, ..site("1970 from the first day on", &[(0, Of1970 { set_after: 99 })], 198) },
    ];
    let found = sites.map(|site| {
        let most = site.live().days_most;
        (most != site.days_most).then(|| format!("{}: {most}, not {}", site.name, site.days_most))
    });
    let found: Vec<String> = found.into_iter().flatten().collect();
    assert_eq!(found, [""; 0], "days of work in the journal at once");
}

/// A failing seed joins by its number.
#[test]
fn clocks_that_jump_by_chance() {
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let (mut hour, mut clock) = (300, Vec::new());
        while hour < 2 * YEAR {
            let by = [1, 30, 40 * 24, 400 * 24, 8_000 * 24][dice.roll(5) as usize];
            let then = [By(by), By(-by), Of1970 { set_after: 99 }, Random][dice.roll(4) as usize];
            clock.push((hour, then));
            clock.push((hour + 1 + dice.roll(400) as i64, By(0)));
            hour += 420 + dice.roll(2_000) as i64;
        }
        eprintln!("seed {seed}: {clock:?}");
        let most = Site { years: 2, ..site("by chance", clock.leak(), 0) }.live().days_most;
        assert!(most <= 140, "seed {seed}: {most} days of work were in the journal at once");
    }
}
