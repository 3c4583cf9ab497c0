//! One calm line for each event, on the terminal and in the folder, with the time of day so that it can be laid beside
//! the daemons' own logs.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) faults: u64,
    pub(super) commits: usize,
    pub(super) quiet: u64,
    pub(super) backups: u64,
    pub(super) restores: u64,
}

/// The lines of a soak.
pub(super) struct Chronicle {
    file: File,
    begun: Instant,
    /// Minutes that were summed up.
    summed: u64,
    pub(super) tally: Tally,
}

impl Chronicle {
    pub(super) fn begin(dir: &Path) -> std::io::Result<Self> {
        let file = File::create(dir.join("soak.log"))?;
        Ok(Self { file, begun: Instant::now(), summed: 0, tally: Tally::default() })
    }

    pub(super) fn say(&mut self, what: &str) {
        let line = format!("{} {what}", time_of_day());
        println!("{line}");
        // The terminal has it.
        let _ = writeln!(self.file, "{line}");
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Once a minute, with what this gives.
    pub(super) fn each_minute(
        &mut self,
        sum: impl FnOnce(Tally) -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        let minutes = self.elapsed().as_secs() / 60;
        if minutes > self.summed {
            self.summed = minutes;
            let sum = sum(self.tally)?;
            self.say(&format!("minute {minutes}: {sum}"));
        }
        Ok(())
    }
}

/// Seconds since 1970.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// UTC.
fn time_of_day() -> String {
    let now = now_s() % 86_400;
    format!("{:02}:{:02}:{:02}", now / 3_600, now / 60 % 60, now % 60)
}
