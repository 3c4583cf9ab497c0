//! Makes the backups that are due while the daemon runs: looks once a minute, and makes up what was missed.
//!
//! The work is done on a thread that gives way and on a connection of its own, so that no merge waits. The
//! vaults are read only when a new slot has begun; after a run that failed, the pause doubles up to an hour.

use super::alarms::Alarms;
use crate::background;
use crate::backup::{BackupError, BackupLock, Backups, Tier, calendar};
use crate::clock;
use crate::restore::Restores;
use crate::restore::drill::{self, Chance};
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

const LOOK_EVERY: Duration = Duration::from_secs(60);
const PAUSE_S_MAX: i64 = 3_600;
/// A little less than a day, so that it does not wander through the day.
const DRILL_EVERY: i64 = 23 * 3_600;

/// What is due, and when to try again.
struct Schedule {
    restores: Restores,
    /// Of the journal.
    keep_days: u32,
    /// The slots, and the epoch, for which nothing was due any more.
    settled: (Vec<String>, Option<u64>),
    failures: u32,
    not_before: i64,
    alarms: Alarms,
}

/// Goes on until the daemon stops. The first look is some time after the start, usually a minute, when what devices
/// had to hand in is in.
pub(super) async fn keep(restores: Restores, keep_days: u32, first_look: Duration) {
    let mut schedule = Schedule::new(restores, keep_days);
    let mut looks = interval_at(after(first_look), LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let looked = spawn_blocking(move || {
            background::on_own_thread(|| {
                schedule.look(clock::now().0.div_euclid(1_000));
                schedule
            })
        });
        schedule = match looked.await {
            Ok(Some(schedule)) => schedule,
            _ => {
                tracing::error!("no backup is made by itself any more: restart the hub and report its log");
                return;
            }
        };
    }
}

fn after(time: Duration) -> Instant {
    Instant::now() + time
}

impl Schedule {
    const fn new(restores: Restores, keep_days: u32) -> Self {
        let alarms = Alarms::new();
        Self { restores, keep_days, settled: (Vec::new(), None), failures: 0, not_before: 0, alarms }
    }

    /// Makes what is due at a moment (seconds since 1970), and tells what is overdue all the same.
    fn look(&mut self, now: i64) {
        self.make_when_due(now);
        self.alarms.look(&self.restores, now);
    }

    fn make_when_due(&mut self, now: i64) {
        let of_now = (self.backups().slots(now), self.backups().present().map(|present| present.epoch));
        // A clock that was set back must not leave us waiting for the old time.
        let waits = (self.not_before - PAUSE_S_MAX..self.not_before).contains(&now);
        if of_now == self.settled || waits {
            return;
        }
        match self.make(now) {
            Ok(()) => (self.settled, self.failures, self.not_before) = (of_now, 0, 0),
            // An operator is at it; the next look sees what came of it.
            Err(BackupError::Locked { .. }) => tracing::debug!("another tt-hub is working on the backups"),
            Err(error) => {
                tracing::error!(%error, "no backup: backup_alerts.log says more");
                let pause_s = (60 << self.failures.min(6)).min(PAUSE_S_MAX);
                (self.failures, self.not_before) = (self.failures + 1, now + pause_s);
            }
        }
    }

    fn make(&self, now: i64) -> Result<(), BackupError> {
        let lock = self.backups().lock()?;
        let due = self.backups().due(now);
        let made = if due.is_empty() {
            self.tidy(&lock);
            Ok(())
        } else {
            self.make_due(&lock, &due, now)
        };
        // Backups that cannot be made now are no reason to let the old ones rot unseen.
        self.look_after_old(&lock, now);
        made
    }

    /// A vault that is away is told by who makes backups, and by who looks what is overdue.
    fn tidy(&self, lock: &BackupLock) {
        for problem in self.backups().tidy(lock) {
            tracing::warn!(problem = problem.what, "what a run that was cut off has left may still be there");
        }
    }

    fn make_due(&self, lock: &BackupLock, due: &[Tier], now: i64) -> Result<(), BackupError> {
        let outcome = self.backups().make(lock, due, now)?;
        for problem in &outcome.problems {
            tracing::error!(problem = problem.what, "a problem with backups");
        }
        for backup in &outcome.backups {
            tracing::info!(id = backup.manifest.id, bytes = backup.manifest.bytes, "a backup was made");
        }
        match outcome.backups.iter().find(|backup| !backup.is_verified()) {
            Some(backup) => Err(BackupError::NoCopy(backup.manifest.id.clone())),
            None => Ok(()),
        }
    }

    /// The weekly reading of every byte, in parts, and the daily drill.
    fn look_after_old(&self, lock: &BackupLock, now: i64) {
        match self.backups().scrub(lock, now) {
            Ok(outcome) => {
                for problem in outcome.iter().flat_map(|outcome| &outcome.problems) {
                    tracing::error!(problem = problem.what, "a problem with old backups");
                }
            }
            Err(error) => tracing::error!(%error, "old backups cannot be read back"),
        }
        let last = drill::last(self.restores.root()).and_then(|drill| calendar::moment(&drill.at));
        if last.is_some_and(|at| (now - DRILL_EVERY..=now).contains(&at)) {
            return;
        }
        let chance = Chance { dice: now.unsigned_abs(), now, keep_days: self.keep_days };
        match self.restores.drill(lock, chance) {
            Ok(None) => {}
            Ok(Some(drill)) => match &drill.failed {
                None => tracing::info!(newest = drill.newest, way = drill.way(), "the drill went well"),
                Some(reason) => tracing::error!(reason, "the drill failed: a restore would fail as well"),
            },
            Err(error) => tracing::error!(%error, "the drill cannot be done"),
        }
    }

    fn backups(&self) -> &Backups {
        &self.restores.backups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Settings;
    use crate::folder::Folder;
    use rusqlite::Connection;
    use tt_migrations::{durable, state};

    const NOON: i64 = 1_795_953_600;

    #[test]
    fn what_is_due_is_made_once_and_a_failure_is_tried_again_later_and_later() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let settings: Settings = toml::from_str("zone = \"UTC\"").unwrap();
        let restores = Restores::open(&folder, &settings).unwrap();
        let mut schedule = Schedule::new(restores, 35);
        let count = |schedule: &Schedule| schedule.backups().catalog().backups.len();

        // There is no database to copy yet: tries at minutes 0, 1, 3, 7, 15.
        (0..16).for_each(|minute| schedule.look(NOON + minute * 60));
        assert_eq!((schedule.failures, count(&schedule)), (5, 0));
        let alerts = std::fs::read_to_string(dir.path().join("backups/backup_alerts.log")).unwrap();
        assert_eq!(alerts.matches("BACKUP_FAILED").count(), 5, "{alerts}");

        let conn = Connection::open(folder.database()).unwrap();
        conn.execute_batch(state::TABLES).unwrap();
        schedule.look(NOON + 16 * 60);
        assert_eq!(count(&schedule), 0, "it waits");
        schedule.look(NOON + 31 * 60);
        assert_eq!((schedule.failures, count(&schedule)), (0, 5), "one of each tier");
        (32..60).for_each(|minute| schedule.look(NOON + minute * 60));
        assert_eq!(count(&schedule), 5);
        schedule.look(NOON + 3_600);
        assert_eq!(schedule.backups().catalog().backups[5].manifest.tier, Tier::Hourly);
        schedule.look(NOON + 3 * 86_400);
        assert_eq!(count(&schedule), 9, "three days asleep, and a new month: one of each tier that went by");
    }

    #[test]
    fn what_a_death_has_left_goes_at_the_next_start_also_when_nothing_is_due() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let settings: Settings = toml::from_str("zone = \"UTC\"").unwrap();
        let start = || Schedule::new(Restores::open(&folder, &settings).unwrap(), 35);
        Connection::open(folder.database()).unwrap().execute_batch(state::TABLES).unwrap();
        start().look(NOON);
        let work = dir.path().join("backups/.work");
        let half = dir.path().join("backups/secondary/.tablet_counter_yearly.db.gz.new");
        std::fs::create_dir(&work).unwrap();
        std::fs::write(work.join("snapshot.db.gz"), b"all of it").unwrap();
        std::fs::write(&half, b"half of it").unwrap();
        start().look(NOON + 60);
        assert!(!work.exists() && !half.exists());
        assert_eq!(start().backups().catalog().backups.len(), 5, "and nothing else");
    }

    #[test]
    fn what_nobody_read_for_a_week_is_read_back_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let sparse = "zone = \"UTC\"\nhourly = { keep = 0 }\ndaily = { keep = 0 }";
        let restores = Restores::open(&folder, &toml::from_str(sparse).unwrap()).unwrap();
        let mut schedule = Schedule::new(restores, 35);
        Connection::open(folder.database()).unwrap().execute_batch(state::TABLES).unwrap();
        schedule.look(NOON);
        let yearly = schedule.backups().catalog().backups[2].manifest.clone();
        assert_eq!(yearly.tier, Tier::Yearly);
        let copy = dir.path().join("backups/secondary").join(&yearly.file);
        std::fs::write(&copy, b"rotten").unwrap();

        let days = |schedule: &mut Schedule, days: std::ops::Range<i64>| {
            days.flat_map(|day| [0, 12].map(|hour| NOON + day * 86_400 + hour * 3_600))
                .for_each(|now| schedule.look(now));
        };
        days(&mut schedule, 1..6);
        assert_eq!(std::fs::read(&copy).unwrap(), b"rotten", "nothing is read twice within days");
        days(&mut schedule, 6..9);
        assert_eq!(std::fs::metadata(&copy).unwrap().len(), yearly.bytes, "made again from the other copy");
        let alerts = std::fs::read_to_string(dir.path().join("backups/backup_alerts.log")).unwrap();
        assert!(alerts.contains(&yearly.id) && alerts.contains("made again from another vault"), "{alerts}");
    }

    #[test]
    fn a_clock_that_jumps_ahead_and_back_costs_no_hour_of_backups() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let settings = "zone = \"UTC\"\nhourly = { keep = 3 }";
        let restores = Restores::open(&folder, &toml::from_str(settings).unwrap()).unwrap();
        let mut schedule = Schedule::new(restores, 35);
        let conn = Connection::open(folder.database()).unwrap();
        conn.execute_batch(state::TABLES).unwrap();
        state::set(&conn, state::EPOCH, 1).unwrap();
        let mut version = 0;
        let mut hours = |schedule: &mut Schedule, from: i64, count: i64| {
            for hour in 0..count {
                version += 1;
                state::set(&conn, state::VERSION, version).unwrap();
                schedule.look(from + hour * 3_600);
                let backups = schedule.backups().catalog().backups;
                let newest = backups.iter().map(|backup| backup.manifest.version).max();
                assert_eq!(newest, Some(version.unsigned_abs()), "hour {hour} from {from}");
            }
        };
        let ahead = NOON + 400 * 86_400;
        hours(&mut schedule, NOON, 5);
        hours(&mut schedule, ahead, 5);
        hours(&mut schedule, NOON + 5 * 3_600, 5);
        // The year goes by, and the same hours come again.
        hours(&mut schedule, ahead - 3_600, 7);
    }

    /// A hub without backups, in a folder that goes with the first of these.
    fn hub() -> (tempfile::TempDir, Folder, Settings, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let settings = toml::from_str("zone = \"UTC\"").unwrap();
        let conn = Connection::open(folder.database()).unwrap();
        conn.execute_batch(state::TABLES).unwrap();
        (dir, folder, settings, conn)
    }

    #[test]
    fn a_hub_whose_clock_begins_at_the_same_day_each_morning_makes_a_backup_each_hour() {
        let (_dir, folder, settings, conn) = hub();
        state::set(&conn, state::EPOCH, 1).unwrap();
        let mut version = 0;
        for _ in 0..3 {
            let mut schedule = Schedule::new(Restores::open(&folder, &settings).unwrap(), 35);
            for hour in 0..4 {
                version += 1;
                state::set(&conn, state::VERSION, version).unwrap();
                // Nothing ever sets this clock.
                schedule.look(100 + hour * 3_600);
                let backups = schedule.backups().catalog().backups;
                let newest = backups.iter().map(|backup| backup.manifest.version).max();
                assert_eq!(newest, Some(version.unsigned_abs()));
            }
        }
        let life = |backup: &crate::backup::Listed| backup.manifest.clock_life;
        let open = Restores::open(&folder, &settings).unwrap();
        assert_eq!(open.backups.catalog().backups.iter().map(life).max(), Some(2));
    }

    #[test]
    fn after_a_restore_a_backup_of_its_epoch_is_made_at_the_next_look() {
        let (_dir, folder, settings, conn) = hub();
        let mut schedule = Schedule::new(Restores::open(&folder, &settings).unwrap(), 35);
        for (epoch, minute, count) in [(1, 0, 5), (1, 1, 5), (2, 2, 6), (2, 3, 6)] {
            state::set(&conn, state::EPOCH, epoch).unwrap();
            state::set(&conn, state::VERSION, epoch).unwrap();
            schedule.look(NOON + minute * 60);
            assert_eq!(schedule.backups().catalog().backups.len(), count, "minute {minute}");
        }
    }

    fn alerts(dir: &tempfile::TempDir) -> String {
        std::fs::read_to_string(dir.path().join("backups/backup_alerts.log")).unwrap_or_default()
    }

    #[test]
    fn a_run_that_did_not_happen_is_told_once_also_after_a_start_and_once_when_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let open = || {
            let settings: Settings = toml::from_str("zone = \"UTC\"").unwrap();
            Schedule::new(Restores::open(&folder, &settings).unwrap(), 35)
        };
        let mut schedule = open();
        Connection::open(folder.database()).unwrap().execute_batch(state::TABLES).unwrap();
        schedule.look(NOON);
        durable::put_in_place(&folder.database(), &dir.path().join("away")).unwrap();
        let late = "the newest hourly backup is";
        (1..=6).for_each(|half| schedule.look(NOON + half * 1_800));
        let told = |what: &str| alerts(&dir).lines().filter(|line| line.contains(what)).count();
        assert_eq!(told(late), 1, "{}", alerts(&dir));
        (7..=12).for_each(|half| schedule.look(NOON + half * 1_800));
        let mut schedule = open();
        (13..=20).for_each(|half| schedule.look(NOON + half * 1_800));
        assert_eq!(told(late), 1, "{}", alerts(&dir));
        durable::put_in_place(&dir.path().join("away"), &folder.database()).unwrap();
        (21..=30).for_each(|half| schedule.look(NOON + half * 1_800));
        assert_eq!((told(late), told("RESOLVED: over since")), (2, 1), "{}", alerts(&dir));
    }

    #[test]
    fn a_vault_that_goes_and_comes_back_is_told_once_each() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let folder = Folder::new(dir.path());
        let settings = format!(
            "zone = \"UTC\"\nvault = [{{ name = \"primary\", path = \"backups/primary\" }}, {{ name = \"disk\", path = {disk:?} }}]"
        );
        let restores = Restores::open(&folder, &toml::from_str(&settings).unwrap()).unwrap();
        let mut schedule = Schedule::new(restores, 35);
        Connection::open(folder.database()).unwrap().execute_batch(state::TABLES).unwrap();
        schedule.look(NOON);
        assert_eq!(alerts(&dir), "");
        durable::put_in_place(&disk, &dir.path().join("unplugged")).unwrap();
        (1..=3).for_each(|hour| schedule.look(NOON + hour * 3_600));
        durable::put_in_place(&dir.path().join("unplugged"), &disk).unwrap();
        (4..=6).for_each(|hour| schedule.look(NOON + hour * 3_600));
        let told = |what: &str| alerts(&dir).lines().filter(|line| line.contains(what)).count();
        assert_eq!(
            told("WARNING: the vault disk at"),
            1 + 3,
            "one of them says that it is overdue: {}",
            alerts(&dir)
        );
        assert_eq!(told("RESOLVED: over since"), 1, "{}", alerts(&dir));
    }
}
