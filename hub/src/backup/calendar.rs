//! Days, dates and times of day as numbers: the part of a calendar that needs no time zone.
//!
//! A *local second* is a date and time counted as if it were UTC; what zone it is local to is `zone`'s business.

/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;

/// A date and time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: i64,
    /// 1 to 31.
    pub(crate) day: i64,
    /// Seconds since midnight.
    pub(crate) second: i64,
}

impl Civil {
    /// The date and time of a local second.
    pub(crate) fn of(local: i64) -> Self {
        let (year, month, day) = date(local.div_euclid(DAY));
        Self { year, month, day, second: local.rem_euclid(DAY) }
    }

    fn clock(self) -> (i64, i64, i64) {
        (self.second / 3_600, self.second / 60 % 60, self.second % 60)
    }

    /// `20241206_020000`, as it stands in names of files.
    pub(crate) fn stamp(self) -> String {
        let (hour, minute, second) = self.clock();
        format!("{:04}{:02}{:02}_{hour:02}{minute:02}{second:02}", self.year, self.month, self.day)
    }

    /// `2024-12-06`.
    pub(crate) fn date(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// `2024-12-06T02:00:00`.
    pub(crate) fn text(self) -> String {
        let (hour, minute, second) = self.clock();
        format!("{}T{hour:02}:{minute:02}:{second:02}", self.date())
    }
}

/// A moment in UTC, `2024-12-06T02:00:00Z`: such texts are in order when their moments are.
pub(crate) fn utc(seconds: i64) -> String {
    format!("{}Z", Civil::of(seconds).text())
}

/// The seconds of a text that [`utc`] made; `None` for another text.
pub(crate) fn moment(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let date = days(number(0..4)?, number(5..7)?, number(8..10)?);
    let seconds = date * DAY + number(11..13)? * 3_600 + number(14..16)? * 60 + number(17..19)?;
    (utc(seconds) == text).then_some(seconds)
}

/// Days since 1970-01-01 of a date in the Gregorian calendar. Years begin in March here, so that the leap day
/// is the last of its year (Howard Hinnant, "chrono-compatible low-level date algorithms").
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The other way round.
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// 0 is Sunday.
pub(crate) const fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_hundred_years_comes_back() {
        let mut expected = days(1600, 1, 1);
        for year in 1600..2400 {
            let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
            for (month, length) in
                [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().enumerate()
            {
                for day in 1..=length {
                    let month = month as i64 + 1;
                    assert_eq!(days(year, month, day), expected);
                    assert_eq!(date(expected), (year, month, day));
                    expected += 1;
                }
            }
        }
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(weekday(days(2026, 11, 22)), 0, "a Sunday");
        assert_eq!(utc(1_733_450_400), "2024-12-06T02:00:00Z");
        assert_eq!(Civil::of(1_733_450_400).stamp(), "20241206_020000");
    }
}
