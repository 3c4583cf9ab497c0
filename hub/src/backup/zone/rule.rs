//! The rule by which a zone changes its clocks every year, as POSIX writes it: `EST5EDT,M3.2.0,M11.1.0`.
//!
//! It is the last line of every zone's file and says what holds after the last change that the file lists
//! (RFC 9636, section 3.3.1; hours from -167 to 167).

use crate::backup::calendar::{Civil, DAY, days, weekday};

/// Offsets are seconds that are added to UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    standard: i64,
    summer: Option<Summer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Summer {
    offset: i64,
    start: Change,
    end: Change,
}

/// When clocks change: a day, and local seconds after its midnight.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    day: Day,
    second: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Day {
    /// The n-th such weekday of a month; the fifth is the last.
    Weekday { month: i64, week: i64, weekday: i64 },
    /// 1 to 365, 29 February never counted.
    Julian(i64),
    /// 0 to 365.
    OfYear(i64),
}

impl Rule {
    /// Reads the text; None when it is not understood.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        name(&mut rest)?;
        let standard = -time(&mut rest)?;
        if rest.is_empty() {
            return Some(Self { standard, summer: None });
        }
        name(&mut rest)?;
        let offset =
            if rest.starts_with(',') || rest.is_empty() { standard + 3_600 } else { -time(&mut rest)? };
        let mut parts = rest.strip_prefix(',')?.split(',');
        let (start, end) = (change(parts.next()?)?, change(parts.next()?)?);
        let summer = Some(Summer { offset, start, end });
        parts.next().is_none().then_some(Self { standard, summer })
    }

    /// What holds at a moment.
    pub(crate) fn offset(&self, utc: i64) -> i64 {
        let Some(summer) = &self.summer else { return self.standard };
        let year = Civil::of(utc + self.standard).year;
        let start = summer.start.local(year) - self.standard;
        let end = summer.end.local(year) - summer.offset;
        let is_summer = if start < end { (start..end).contains(&utc) } else { !(end..start).contains(&utc) };
        if is_summer { summer.offset } else { self.standard }
    }
}

impl Change {
    fn local(&self, year: i64) -> i64 {
        let day = match self.day {
            Day::Weekday { month, week, weekday: wanted } => {
                let first = days(year, month, 1);
                let next = if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
                let day = first + (wanted - weekday(first)).rem_euclid(7) + (week - 1) * 7;
                if day >= next { day - 7 } else { day }
            }
            Day::Julian(day) => {
                let leap = days(year, 3, 1) - days(year, 2, 1) == 29;
                days(year, 1, 1) + day - 1 + i64::from(leap && day >= 60)
            }
            Day::OfYear(day) => days(year, 1, 1) + day,
        };
        day * DAY + self.second
    }
}

fn name(rest: &mut &str) -> Option<()> {
    let length = if rest.starts_with('<') {
        rest.find('>')? + 1
    } else {
        rest.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(rest.len())
    };
    *rest = rest.get(length..).filter(|_| length >= 3)?;
    Some(())
}

fn number(rest: &mut &str) -> Option<i64> {
    let length = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(length);
    *rest = after;
    digits.parse().ok().filter(|number| *number < 1_000)
}

/// `[+-]hh[:mm[:ss]]` as seconds.
fn time(rest: &mut &str) -> Option<i64> {
    let sign = match rest.chars().next()? {
        '-' => -1,
        _ => 1,
    };
    *rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    let mut seconds = number(rest)? * 3_600;
    for unit in [60, 1] {
        if let Some(after) = rest.strip_prefix(':') {
            *rest = after;
            seconds += number(rest)? * unit;
        }
    }
    Some(sign * seconds)
}

fn change(text: &str) -> Option<Change> {
    let (day, at) = text.split_once('/').map_or((text, None), |(day, at)| (day, Some(at)));
    let second = match at {
        None => 2 * 3_600,
        Some(mut at) => time(&mut at).filter(|_| at.is_empty())?,
    };
    let day = if let Some(rest) = day.strip_prefix('M') {
        let numbers: Vec<i64> = rest.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        match numbers[..] {
            [month @ 1..=12, week @ 1..=5, weekday @ 0..=6] => Day::Weekday { month, week, weekday },
            _ => return None,
        }
    } else if let Some(rest) = day.strip_prefix('J') {
        Day::Julian(rest.parse().ok().filter(|day| (1..=365).contains(day))?)
    } else {
        Day::OfYear(day.parse().ok().filter(|day| (0..=365).contains(day))?)
    };
    Some(Change { day, second })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_all_kinds_are_read() {
        for (text, winter, summer) in [
            ("EST5EDT,M3.2.0,M11.1.0", -5.0, -4.0),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1.0, 2.0),
            ("<+0330>-3:30", 3.5, 3.5),
            ("AEST-10AEDT,M10.1.0,M4.1.0/3", 11.0, 10.0),
            ("IST-1GMT0,M10.5.0,M3.5.0/1", 0.0, 1.0),
            ("WIN-1SUM,J60/-1,300/25:30", 1.0, 2.0),
        ] {
            let rule = Rule::parse(text).unwrap();
            let hours = |month| rule.offset(days(2026, month, 15) * DAY) as f64 / 3_600.0;
            assert_eq!((hours(1), hours(7)), (winter, summer), "{text}");
        }
        for wrong in
            ["", "EST", "E5", "EST5EDT,M3.2.0", "EST5EDT,M13.2.0,M11.1.0", "EST5EDT,M3.2.0,M11.1.0,x"]
        {
            assert_eq!(Rule::parse(wrong), None, "{wrong}");
        }
    }
}
