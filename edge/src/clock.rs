//! The one place where the edge reads the clock.

#![expect(clippy::disallowed_methods, reason = "this is the rim that reads the clock for everybody else")]

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};
use tt_protocol::clock::{Boot, Reading};
use tt_protocol::number::Millis;

/// Two clocks that were read further apart than this do not belong together: the thread was held up.
const APART_MS_MAX: i64 = 50;
/// A machine that is held up this often in a row goes without for once.
const TRIES: u32 = 5;

/// Milliseconds since 1970; negative on a clock that is set before that.
#[must_use]
pub fn now() -> Millis {
    let now = SystemTime::now();
    let millis = match now.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()),
        Err(before) => i64::try_from(before.duration().as_millis()).map(|millis| -millis),
    };
    Millis(millis.unwrap_or(0))
}

/// The wall clock together with the clock that counts since the system's start, which Linux keeps through
/// sleep (`/proc/uptime`, to a hundredth of a second). Elsewhere there is only the wall clock.
#[must_use]
pub fn reading() -> Reading {
    for _ in 0..TRIES {
        let before = now();
        let boot = boot();
        let wall = now();
        if boot.is_none() || (0..=APART_MS_MAX).contains(&(wall.0 - before.0)) {
            return Reading { wall, boot };
        }
    }
    Reading { wall: now(), boot: None }
}

fn boot() -> Option<Boot> {
    static ID: OnceLock<Option<i64>> = OnceLock::new();
    let id =
        (*ID.get_or_init(|| boot_id(&std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?)))?;
    let elapsed_ms = uptime_ms(&std::fs::read_to_string("/proc/uptime").ok()?)?;
    Some(Boot { id, elapsed_ms })
}

/// The first half of the kernel's random number of this start.
fn boot_id(text: &str) -> Option<i64> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    u64::from_str_radix(&digits, 16).ok().map(u64::cast_signed)
}

/// Seconds since the start with two places, then something else.
fn uptime_ms(text: &str) -> Option<i64> {
    let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    let (seconds, hundredths): (i64, i64) = (seconds.parse().ok()?, hundredths.get(..2)?.parse().ok()?);
    seconds.checked_mul(1_000)?.checked_add(hundredths * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_writes_is_read() {
        assert_eq!(uptime_ms("350735.47 234388.90\n"), Some(350_735_470));
        assert_eq!(uptime_ms("soon"), None);
        assert_eq!(boot_id("ffffffff-ffff-fffe-a0c2-5b1c6f2a7d11\n"), Some(-2));
        assert_eq!(boot_id(""), None);
    }

    #[test]
    fn the_clock_since_the_start_goes_as_fast_as_the_wall_clock() {
        let (first, second) = (reading(), reading());
        if let (Some(one), Some(two)) = (first.boot, second.boot) {
            assert_eq!(one.id, two.id);
            assert!((two.elapsed_ms - one.elapsed_ms - (second.wall.0 - first.wall.0)).abs() <= 100);
        }
    }
}
