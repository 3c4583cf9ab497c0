//! The site's time zone: from a moment to the clock on the wall and back.
//!
//! Zones come from the system's files (TZif, RFC 9636), so that they are as new as the system is. The answer
//! to a wall clock time that does not exist, in spring, is the moment as if the clock had not been changed; to
//! one that comes twice, in autumn, the first.

mod rule;

use super::calendar::DAY;
use rule::Rule;
use std::path::Path;

const ZONES: &str = "/usr/share/zoneinfo";
const SYSTEM: &str = "/etc/localtime";
const HEADER_BYTES: usize = 44;

/// When the offset of a place changed, and by which rule it will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    /// What held before the first change: seconds that are added to UTC.
    before: i64,
    /// Moments in order, and what held from then on.
    changes: Vec<(i64, i64)>,
    /// What holds after the last change.
    rule: Option<Rule>,
}

impl Zone {
    /// The zone of a name: `system`, `UTC`, one of the system's such as `Europe/Berlin`, or a POSIX rule.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        if name == "system" {
            return Self::system();
        }
        if name == "UTC" {
            return Ok(Self::utc());
        }
        let inside = !name.split('/').any(|part| part.is_empty() || part.starts_with('.'));
        match std::fs::read(Path::new(ZONES).join(name)) {
            Ok(bytes) if inside => Self::parse(&bytes)
                .ok_or_else(|| format!("the system's file of the time zone {name:?} cannot be read")),
            _ => match Rule::parse(name) {
                Some(rule) => Ok(Self { before: 0, changes: Vec::new(), rule: Some(rule) }),
                None => Err(format!(
                    "there is no time zone {name:?}: write one of those in {ZONES}, such as \"Europe/Berlin\", \
                     or \"system\""
                )),
            },
        }
    }

    /// The zone of this machine: `TZ` where it is set, else the system's, else UTC.
    fn system() -> Result<Self, String> {
        if let Some(name) = std::env::var("TZ").ok().filter(|name| !name.is_empty()) {
            return match name.trim_start_matches(':') {
                "system" => Ok(Self::utc()),
                name => Self::named(name),
            };
        }
        match std::fs::read(SYSTEM) {
            Ok(bytes) => {
                Self::parse(&bytes).ok_or_else(|| format!("the time zone in {SYSTEM} cannot be read"))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::utc()),
            Err(error) => Err(format!("the time zone in {SYSTEM} cannot be read: {error}")),
        }
    }

    const fn utc() -> Self {
        Self { before: 0, changes: Vec::new(), rule: None }
    }

    /// The second block of a TZif file, whose times have 64 bits, and its rule.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let counts = counts(bytes)?;
        let first = HEADER_BYTES + counts.bytes(4);
        let bytes = bytes.get(first..)?;
        let counts = self::counts(bytes)?;
        let (times, rest) = bytes.get(HEADER_BYTES..)?.split_at_checked(counts.times * 8)?;
        let (kinds, rest) = rest.split_at_checked(counts.times)?;
        let types = rest.get(..counts.types * 6)?;
        let offset = |kind: usize| {
            let bytes = types.get(kind * 6..kind * 6 + 4)?;
            Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?)))
        };
        let changes = times.chunks_exact(8).zip(kinds).map(|(time, kind)| {
            Some((i64::from_be_bytes(time.try_into().ok()?), offset(usize::from(*kind))?))
        });
        let changes: Vec<_> = changes.collect::<Option<_>>()?;
        let footer = bytes.get(HEADER_BYTES + counts.bytes(8)..)?;
        let footer = std::str::from_utf8(footer).ok()?.trim_matches('\n');
        let rule = if footer.is_empty() { None } else { Some(Rule::parse(footer)?) };
        Some(Self { before: offset(0)?, changes, rule })
    }

    fn offset(&self, utc: i64) -> i64 {
        let passed = self.changes.partition_point(|(at, _)| *at <= utc);
        match (&self.rule, passed.checked_sub(1)) {
            (Some(rule), _) if passed == self.changes.len() => rule.offset(utc),
            (_, Some(last)) => self.changes[last].1,
            (_, None) => self.before,
        }
    }

    /// The local second of a moment.
    pub(crate) fn local(&self, utc: i64) -> i64 {
        utc + self.offset(utc)
    }

    /// The moment of a local second.
    pub(crate) fn moment(&self, local: i64) -> i64 {
        let [before, after] = [-DAY, DAY].map(|away| self.offset(local + away));
        let first = local - before.max(after);
        let second = local - before.min(after);
        if self.local(first) == local {
            first
        } else if self.local(second) == local {
            second
        } else {
            local - before
        }
    }
}

struct Counts {
    universal: usize,
    standard: usize,
    leaps: usize,
    times: usize,
    types: usize,
    letters: usize,
}

impl Counts {
    /// Bytes of the block when a time has `width`.
    const fn bytes(&self, width: usize) -> usize {
        self.times * (width + 1)
            + self.types * 6
            + self.letters
            + self.leaps * (width + 4)
            + self.standard
            + self.universal
    }
}

fn counts(bytes: &[u8]) -> Option<Counts> {
    let header = bytes.get(..HEADER_BYTES)?;
    let is_known = header.starts_with(b"TZif") && header[4] >= b'2';
    let mut numbers = header[20..].chunks_exact(4).map(|number| {
        let number = u32::from_be_bytes(number.try_into().ok()?);
        usize::try_from(number).ok().filter(|number| *number < 1 << 16)
    });
    let mut next = || numbers.next().flatten();
    let counts = Counts {
        universal: next()?,
        standard: next()?,
        leaps: next()?,
        times: next()?,
        types: next()?,
        letters: next()?,
    };
    is_known.then_some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::calendar::{Civil, days, utc};

    /// A file with one change from 1 h to 2 h, and then a rule.
    fn file(rule: &str) -> Vec<u8> {
        let header = |times: u32, types: u32, letters: u32| {
            let mut bytes = b"TZif2".to_vec();
            bytes.extend([0; 15]);
            for count in [0, 0, 0, times, types, letters] {
                bytes.extend(count.to_be_bytes());
            }
            bytes
        };
        let mut bytes = header(0, 1, 1);
        bytes.extend([0; 7]);
        bytes.extend(header(1, 2, 4));
        bytes.extend(1_000_000_i64.to_be_bytes());
        bytes.push(1);
        for hours in [1_i32, 2] {
            bytes.extend((hours * 3_600).to_be_bytes());
            bytes.extend([0, 0]);
        }
        bytes.extend(b"ABC\0\n");
        bytes.extend(rule.as_bytes());
        bytes.push(b'\n');
        bytes
    }

    #[test]
    fn a_zones_file_is_read_and_a_damaged_one_is_refused() {
        let zone = Zone::parse(&file("")).unwrap();
        assert_eq!([0, 999_999, 1_000_000].map(|utc| zone.offset(utc) / 3_600), [1, 1, 2]);
        let zone = Zone::parse(&file("CET-1CEST,M3.5.0,M10.5.0/3")).unwrap();
        assert_eq!(zone.offset(0), 3_600);
        assert_eq!(zone.offset(days(2026, 7, 1) * DAY), 7_200);
        let whole = file("<+02>-2");
        for length in 0..whole.len() - 9 {
            let read = Zone::parse(&whole[..length]);
            assert!(read.is_none_or(|zone| zone.rule.is_none()), "{length}");
        }
        assert!(Zone::named("Mars/Olympus").unwrap_err().contains("Mars/Olympus"));
        assert!(Zone::named("../../../etc/localtime").is_err());
    }

    #[test]
    fn the_hour_that_is_missing_and_the_one_that_comes_twice() {
        let zone = Zone::named("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let moment = |year, month, day, second| utc(zone.moment(days(year, month, day) * DAY + second));
        assert_eq!(moment(2026, 3, 29, 7_200), "2026-03-29T01:00:00Z", "02:00 becomes 03:00");
        assert_eq!(moment(2026, 3, 29, 3 * 3_600), "2026-03-29T01:00:00Z");
        assert_eq!(moment(2026, 10, 25, 7_200), "2026-10-25T00:00:00Z", "the first of two");
        assert_eq!(moment(2026, 10, 25, 3 * 3_600), "2026-10-25T02:00:00Z");
        for hour in 0..24 * 400 {
            let at = days(2026, 1, 1) * DAY + hour * 3_600;
            let again = zone.moment(zone.local(at));
            assert!(again == at || again == at - 3_600, "{} {:?}", utc(at), Civil::of(at));
        }
    }
}
