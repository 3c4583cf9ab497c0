//! The site's time zone: from a moment to the clock on the wall and back.
//!
//! Zones come from the system's files, so that they are as new as the system is. The answer to a wall clock time
//! that does not exist, in spring, is the moment as if the clock had not been changed; to one that comes twice, in
//! autumn, the first.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use std::path::Path;

const ZONES: &str = "/usr/share/zoneinfo";
const SYSTEM: &str = "/etc/localtime";

/// A time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone(TimeZone);

impl Zone {
    /// The zone of a name: `system`, `UTC`, one of the system's such as `Europe/Berlin`, or a POSIX rule.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        if name == "system" {
            return Self::system();
        }
        if name == "UTC" {
            return Ok(Self(TimeZone::UTC));
        }
        TimeZone::get(name).or_else(|_| TimeZone::posix(name)).map(Self).map_err(|_| {
            format!(
                "there is no time zone {name:?}: write one of those in {ZONES}, such as \"Europe/Berlin\", or \"system\""
            )
        })
    }

    /// The zone of this machine: `TZ` where it is set, else the system's, else UTC.
    fn system() -> Result<Self, String> {
        let is_set = std::env::var_os("TZ").is_some_and(|name| !name.is_empty());
        if !is_set && !Path::new(SYSTEM).exists() {
            return Ok(Self(TimeZone::UTC));
        }
        TimeZone::try_system().map(Self).map_err(|error| {
            format!("the time zone of this machine (TZ, {SYSTEM}) cannot be read: {error}; name one")
        })
    }

    /// The local second of a moment.
    pub(crate) fn local(&self, utc: i64) -> i64 {
        utc + i64::from(self.0.to_offset(timestamp(utc)).seconds())
    }

    /// The moment of a local second.
    pub(crate) fn moment(&self, local: i64) -> i64 {
        let wall = Offset::UTC.to_datetime(timestamp(local));
        self.0.to_timestamp(wall).map_or(local, |moment| moment.as_second())
    }
}

/// The years that a calendar has names for are enough for a backup.
fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::calendar::{Civil, DAY, days, utc};

    #[test]
    fn a_zone_that_is_not_there_is_named() {
        assert!(Zone::named("Mars/Olympus").unwrap_err().contains("Mars/Olympus"));
        assert!(Zone::named("../../../etc/localtime").is_err());
        assert_eq!(Zone::named("UTC").unwrap().local(7), 7);
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
