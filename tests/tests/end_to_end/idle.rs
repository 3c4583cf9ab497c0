//! A device that is linked and has nothing to do sleeps: none of its threads has a timer that is due soon.
//!
//! The kernel tells what each thread waits for, and for how long at most. `tt-bench idle` has the figures.

use crate::warehouse::{Done, Warehouse};
use anyhow::Context as _;
use std::fs;
use std::path::Path;
use tt_tests::node::{Daemon, until};

/// Whatever looks around more often than this would be seen: of its waits, none is longer.
const SOON_MS: u64 = 15_000;
/// The number of futex(2), in which threads wait for each other.
const FUTEX: &str = if cfg!(target_arch = "aarch64") { "98" } else { "202" };

#[test]
fn a_linked_device_without_work_has_no_timer_that_is_due_soon() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let pid = edge.daemon.as_ref().map(Daemon::pid).context("the daemon runs")?;
    let process = Path::new("/proc").join(pid.to_string());
    until("every thread of the device sleeps for long", || {
        Ok((threads_sleep(&process)? && timers_are_far(&process)?).then_some(()))
    })
}

fn threads_sleep(process: &Path) -> anyhow::Result<bool> {
    for task in fs::read_dir(process.join("task"))? {
        let call = fs::read_to_string(task?.path().join("syscall"))?;
        if !sleeps(&call).with_context(|| format!("`{call}` is no call of the system"))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a thread waits for others without a limit, or for descriptors for a long time. Both calls have their limit
/// in the fourth place: a pointer, or milliseconds.
fn sleeps(call: &str) -> Option<bool> {
    let mut words = call.split_whitespace();
    let number = words.next()?;
    if number == "running" {
        return Some(false);
    }
    let limit = u64::from_str_radix(words.nth(3)?.trim_start_matches("0x"), 16).ok()?;
    let forever = limit == u64::MAX || limit == u64::from(u32::MAX);
    Some(if number == FUTEX { limit == 0 } else { forever || limit >= SOON_MS })
}

/// The same of the kernel's timers that the process holds, those of the link.
fn timers_are_far(process: &Path) -> anyhow::Result<bool> {
    let mut timers = 0;
    for descriptor in fs::read_dir(process.join("fdinfo"))? {
        // A descriptor may be closed meanwhile.
        let Ok(text) = fs::read_to_string(descriptor?.path()) else { continue };
        let Some(left) = text.lines().find_map(|line| line.strip_prefix("it_value: (")) else { continue };
        let seconds: u64 = left.split(',').next().context("seconds")?.trim().parse()?;
        if (seconds + 1) * 1_000 < SOON_MS {
            return Ok(false);
        }
        timers += 1;
    }
    Ok(timers > 0)
}

#[test]
fn a_wait_without_a_limit_or_with_a_long_one_is_sleep() {
    let futex = |limit: &str| format!("{FUTEX} 0x7fd 0x89 0x4c {limit} 0x0 0x0 0x7fff 0x7fd1");
    assert_eq!((sleeps(&futex("0x0")), sleeps(&futex("0x7ffc"))), (Some(true), Some(false)));
    let epoll = |limit: &str| format!("232 0x3 0x55a8 0x400 {limit} 0x0 0x1 0x7fff 0x7fd1");
    assert_eq!((sleeps(&epoll("0xffffffff")), sleeps(&epoll("0xea60"))), (Some(true), Some(true)));
    assert_eq!((sleeps(&epoll("0x3e8")), sleeps("running"), sleeps("")), (Some(false), Some(false), None));
}
