//! What is to be restored: a backup, a file, or a moment.

use super::RestoreError;
use crate::backup::Backups;
use crate::backup::calendar::{self, DAY};
use std::fmt;
use std::path::PathBuf;

/// What is to be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A backup's id, or a file anywhere.
    Named(String),
    /// The state at a moment.
    At(Target),
    /// The state before the last restore.
    Undo,
}

/// A moment in the life of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Seconds since 1970.
    Time(i64),
    /// A version of the hub.
    Version(u64),
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(at) => out.write_str(&calendar::utc(*at)),
            Self::Version(version) => write!(out, "version {version}"),
        }
    }
}

impl Target {
    /// Reads a version, a time with its offset, or a local time of the site.
    pub(crate) fn read(text: &str, backups: &Backups) -> Result<Self, RestoreError> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let version = text.parse().map_err(|_| RestoreError::Time(text.to_owned()))?;
            return Ok(Self::Version(version));
        }
        let (local, offset) = civil(text).ok_or_else(|| RestoreError::Time(text.to_owned()))?;
        Ok(Self::Time(offset.map_or_else(|| backups.zone().moment(local), |offset| local - offset)))
    }
}

/// The file that a name means, if it means one: something with a folder or an ending.
pub(super) fn as_file(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(name);
    (name.contains('/') || name.contains('.') || path.is_file()).then_some(path)
}

/// `2026-11-22 14:30[:00]` or with `T`, then nothing, `Z` or `+01:00`: the local second, and the offset.
fn civil(text: &str) -> Option<(i64, Option<i64>)> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let split = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, offset) = rest.split_at_checked(split)?;
    let numbers = |text: &str, sign: char| -> Option<Vec<i64>> {
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        text.split(sign).map(|part| is_number(part).then(|| part.parse().ok()).flatten()).collect()
    };
    let [year, month, day] = *numbers(date, '-')? else { return None };
    // A part of a second is the second in which it lies.
    let clock = numbers(clock.split('.').next()?, ':')?;
    let (hour, minute, second) = match *clock {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let offset = match offset {
        "" => None,
        "Z" | "z" => Some(0),
        signed => {
            let [hours, minutes] = *numbers(signed.get(1..)?, ':')? else { return None };
            let seconds = hours * 3_600 + minutes * 60;
            Some(if signed.starts_with('-') { -seconds } else { seconds })
        }
    };
    let day_of = calendar::days(year, month, day);
    let is_date = (1..=12).contains(&month) && calendar::Civil::of(day_of * DAY).date() == date;
    let is_time = hour < 24 && minute < 60 && second < 61;
    (is_date && is_time).then_some((day_of * DAY + hour * 3_600 + minute * 60 + second, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_their_offset() {
        let noon = calendar::days(2026, 11, 22) * DAY + 12 * 3_600;
        for (text, read) in [
            ("2026-11-22 12:00:00", Some((noon, None))),
            ("2026-11-22T12:00", Some((noon, None))),
            ("2026-11-22T12:00:00Z", Some((noon, Some(0)))),
            ("2026-11-22T12:00:00.75Z", Some((noon, Some(0)))),
            ("2026-11-22T12:00:00+05:30", Some((noon, Some(19_800)))),
            ("2026-11-22T12:00:00-01:00", Some((noon, Some(-3_600)))),
            ("2026-02-30 12:00:00", None),
            ("2026-13-01 12:00:00", None),
            ("2026-11-22 25:00:00", None),
            ("2026-11-22", None),
            ("yesterday", None),
            ("2026-11-22 12", None),
            ("2026-11-22 12:00:00 o'clock", None),
        ] {
            assert_eq!(civil(text), read, "{text}");
        }
    }
}
