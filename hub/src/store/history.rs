//! How much of the past is kept: the log of touched keys, from which feeds are made, and the images of deleted
//! rows.
//!
//! * What is cut from the log is remembered as one number. A device whose cursor is below it cannot be brought up
//!   to date by feeds: it takes a snapshot, by itself, with its next greeting.
//! * Time is the hub's own, and only decides how much is cut: a device that comes in time by its own clock but too
//!   late by the hub's loses nothing.

use super::{HubStore, StoreError, journaled, late};
use crate::journal::record::What;
use rusqlite::{Connection, Result, TransactionBehavior};
use serde::{Deserialize, Serialize};
use tt_migrations::state;
use tt_protocol::number::{Millis, Version};

const DAY_MS: i64 = 86_400_000;

/// How long the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Days of history for feeds.
    pub feed_days: u32,
    /// Days for images of deleted rows, and for names of rows that vanished.
    #[serde(rename = "trash_keep")]
    pub trash_days: u32,
}

impl Default for Keep {
    fn default() -> Self {
        Self { feed_days: 90, trash_days: 90 }
    }
}

/// What was cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Versions up to this one are not in the history any more.
    pub forgotten: Version,
    /// Versions that went from the history now.
    pub versions: u64,
    /// Images of deleted rows that went now.
    pub images: u64,
}

/// What goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The log up to this version.
    pub log: Version,
    /// Images of rows that were deleted before this time.
    pub images_before: Millis,
    /// Names of rows that vanished up to this version.
    pub names: Version,
}

impl HubStore {
    /// Cuts the history of versions below `before`. Devices that have not applied them take a snapshot.
    ///
    /// # Errors
    /// When SQLite fails; nothing is cut then.
    pub fn forget_before(&mut self, before: Version, now: Millis) -> std::result::Result<Cut, StoreError> {
        let log = Version(before.0.saturating_sub(1).min(self.version.0));
        self.forget(now, |_| Ok(Bounds { log, ..Bounds::default() }))
    }

    /// Cuts what is older than it must be kept, by the hub's clock.
    ///
    /// # Errors
    /// When SQLite fails; nothing is cut then.
    pub fn forget_old(&mut self, keep: Keep, now: Millis) -> std::result::Result<Cut, StoreError> {
        let before = |days: u32| now.0.saturating_sub(i64::from(days).saturating_mul(DAY_MS));
        self.forget(now, |conn| {
            let last = |at| Ok::<_, rusqlite::Error>(last_before(conn, at)?.unwrap_or(Version(0)));
            let (log, images_before) = (last(before(keep.feed_days))?, before(keep.trash_days));
            Ok(Bounds { log, images_before: Millis(images_before), names: last(images_before)? })
        })
    }

    fn forget(
        &mut self,
        now: Millis,
        bounds: impl FnOnce(&Connection) -> Result<Bounds>,
    ) -> std::result::Result<Cut, StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let bounds = bounds(&tx)?;
        let (cut, moved) = cut(&tx, bounds)?;
        if moved {
            // What a merge can bring back, and what a vanished row is called, depends on what was cut before it.
            journaled::put(&tx, self.version, now, || What::Forgotten(bounds))?;
        }
        tx.commit()?;
        // What is remembered of who waits is put right by the log.
        self.late = late::Asleep::default();
        self.committed()?;
        Ok(cut)
    }
}

/// Cuts; also says whether there was anything to cut.
pub(super) fn cut(conn: &Connection, bounds: Bounds) -> Result<(Cut, bool)> {
    let versions = forget(conn, bounds.log)?;
    let images = conn.execute("DELETE FROM _sync_trash WHERE at < ?1", [bounds.images_before.0])?;
    let names = forget_names(conn, bounds.names)?;
    let cut = Cut { versions, forgotten: forgotten(conn)?, images: images as u64 };
    Ok((cut, versions > 0 || images > 0 || names > 0))
}

/// Versions up to this one are not in the history any more.
pub(crate) fn forgotten(conn: &Connection) -> Result<Version> {
    Ok(Version(state::get(conn, state::FORGOTTEN)?.unwrap_or(0).unsigned_abs()))
}

/// The last version that was surely merged before this time. What programs at the hub wrote has no time of its
/// own: it counts with the next changeset.
fn last_before(conn: &Connection, at: i64) -> Result<Option<Version>> {
    let sql = "SELECT MAX(version) FROM _sync_merged
               WHERE version < COALESCE((SELECT MIN(version) FROM _sync_merged WHERE at >= ?1), 1 << 62)";
    let last: Option<i64> = conn.query_row(sql, [at], |row| row.get(0))?;
    Ok(last.map(|last| Version(last.unsigned_abs())))
}

fn forget(conn: &Connection, last: Version) -> Result<u64> {
    if forgotten(conn)? >= last {
        return Ok(0);
    }
    let sql = "SELECT COUNT(DISTINCT version) FROM _sync_log WHERE version <= ?1";
    let versions: i64 = conn.query_row(sql, [last.0 as i64], |row| row.get(0))?;
    conn.execute("DELETE FROM _sync_log WHERE version <= ?1", [last.0 as i64])?;
    state::set(conn, state::FORGOTTEN, last.0 as i64)?;
    Ok(versions.unsigned_abs())
}

/// Names of rows that vanished into others, of which no entry that is open speaks.
fn forget_names(conn: &Connection, last: Version) -> Result<usize> {
    let sql = "DELETE FROM _sync_alias WHERE version <= ?1
                 AND NOT EXISTS (SELECT 1 FROM _sync_conflict c WHERE c.id = conflict AND c.state = 'open')
                 AND id NOT IN (SELECT via FROM _sync_alias WHERE via IS NOT NULL AND version > ?1)";
    let names = conn.execute(sql, [last.0 as i64])?;
    if names > 0 {
        conn.execute("DELETE FROM _sync_follower WHERE alias NOT IN (SELECT id FROM _sync_alias)", [])?;
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tt_migrations::policy;

    /// A hub that merged one changeset a day for so many days, until day 0 is `days` ago.
    fn hub(days: i64) -> (tempfile::TempDir, HubStore) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = HubStore::open(&dir.path().join("hub.db"), policy::shipped()).unwrap();
        let conn = store.connection();
        for day in 1..=days {
            let sql =
                "INSERT INTO _sync_merged(edge, seq, hash, version, at) VALUES (1, ?1, zeroblob(32), ?1, ?2)";
            conn.execute(sql, (day, day * DAY_MS)).unwrap();
            conn.execute("INSERT INTO _sync_log(version, part, origin, keys) VALUES (?1, 0, 1, x'')", [day])
                .unwrap();
            let sql =
                "INSERT INTO _sync_trash(tab, key, row, version, edge, at) VALUES ('t', ?1, x'', ?1, 1, ?2)";
            conn.execute(sql, (day, day * DAY_MS)).unwrap();
        }
        (dir, store)
    }

    #[test]
    fn what_is_older_than_it_must_be_kept_goes_and_is_remembered_as_one_number() {
        let (_dir, mut store) = hub(10);
        let keep = Keep { feed_days: 4, trash_days: 7 };
        let cut = store.forget_old(keep, Millis(11 * DAY_MS)).unwrap();
        assert_eq!(cut, Cut { forgotten: Version(6), versions: 6, images: 3 });
        assert_eq!(
            store.forget_old(keep, Millis(11 * DAY_MS)).unwrap(),
            Cut { versions: 0, images: 0, ..cut }
        );
        let left: i64 =
            store.connection().query_row("SELECT MIN(version) FROM _sync_log", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 7);
        assert_eq!(
            store.forget_old(keep, Millis(0)).unwrap().versions,
            0,
            "a clock that was put back cuts nothing"
        );
    }

    #[test]
    fn nothing_above_the_hubs_own_version_is_ever_forgotten() {
        let (_dir, mut store) = hub(3);
        assert_eq!(store.forget_before(Version(50), Millis(0)).unwrap().forgotten, store.version());
    }

    #[test]
    fn a_cut_is_in_the_journal_and_one_that_cuts_nothing_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (path, journal) = (dir.path().join("hub.db"), dir.path().join("journal"));
        let mut store = HubStore::open_journaled(&path, policy::shipped(), &journal).unwrap();
        let sql =
            "INSERT INTO _sync_trash(tab, key, row, version, edge, at) VALUES ('t', x'00', x'', 1, 1, 5)";
        store.connection().execute(sql, []).unwrap();
        let begun = store.last_entry().unwrap().unwrap();
        let keep = Keep { feed_days: 1, trash_days: 1 };
        assert_eq!(store.forget_old(keep, Millis(2 * DAY_MS)).unwrap().images, 1);
        assert_eq!(store.forget_old(keep, Millis(2 * DAY_MS)).unwrap().images, 0);
        let told: Vec<What> = crate::journal::reader::Reader::of_folder(&journal)
            .after(begun)
            .unwrap()
            .map(|entry| entry.unwrap().what)
            .collect();
        let expected = Bounds { images_before: Millis(DAY_MS), ..Bounds::default() };
        assert_eq!(told, [What::Forgotten(expected)]);
    }
}
