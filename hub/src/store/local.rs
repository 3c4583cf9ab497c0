//! The hub's own cut: what programs wrote into the canonical file becomes a version like any other.
//!
//! It runs inside the merge transaction before a changeset is merged; else a later cut would contain
//! the merged rows a second time. The rows are already where they belong, so only the log, the trash and
//! the stamps are written.

use super::log::KeyLog;
use super::trash;
use rusqlite::{Connection, Result};
use tt_migrations::capture::collect::{self, Sink};
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::row::{Key, Row};
use tt_protocol::merge::{Stamp, is_dated};
use tt_protocol::number::{EdgeId, Version};
use tt_protocol::policy::Policy;
use tt_protocol::value::ValueRef;

struct LocalSink<'a> {
    conn: &'a Connection,
    policy: &'a Policy,
    version: Version,
    log: KeyLog,
}

/// Cuts what programs at the hub wrote. True when it became `version`.
pub(crate) fn cut(
    conn: &Connection,
    replica: &Replica,
    policy: &Policy,
    version: Version,
    now: i64,
) -> Result<bool> {
    let mut sink = LocalSink { conn, policy, version, log: KeyLog::default() };
    collect::cut(conn, replica, EdgeId::HUB, now, &mut sink)?;
    if sink.log.is_empty() {
        return Ok(false);
    }
    sink.log.write(conn, version, EdgeId::HUB)?;
    Ok(true)
}

impl LocalSink<'_> {
    const fn stamp(at: i64) -> Stamp {
        Stamp { at, edge: EdgeId::HUB }
    }
}

impl Sink for LocalSink<'_> {
    fn insert(&mut self, tracked: &Tracked, row: &[ValueRef<'_>], _time: i64) -> Result<()> {
        self.log.as_sent(tracked, row.iter().take(tracked.keys()).copied());
        Ok(())
    }

    fn update(
        &mut self,
        tracked: &Tracked,
        changed: &[usize],
        base: &[ValueRef<'_>],
        live: &[ValueRef<'_>],
        time: i64,
    ) -> Result<()> {
        let key: Key = live.iter().take(tracked.keys()).copied().map(ValueRef::to_owned).collect();
        let rule = self.policy.table(&tracked.table.name);
        let dated = |place: &usize| is_dated(rule, &tracked.names[*place], base[*place], live[*place]);
        if changed.iter().any(dated) {
            trash::set_stamp(self.conn, tracked, &key, Self::stamp(time))?;
        }
        self.log.as_sent(tracked, live.iter().take(tracked.keys()).copied());
        Ok(())
    }

    fn delete(&mut self, tracked: &Tracked, base: &[ValueRef<'_>], time: i64) -> Result<()> {
        let row: Row = base.iter().copied().map(ValueRef::to_owned).collect();
        trash::keep(self.conn, tracked, &row, self.version, Self::stamp(time))?;
        if trash::is_respelled(tracked) {
            trash::set_stamp(self.conn, tracked, &row[..tracked.keys()].to_vec(), Self::stamp(time))?;
        }
        self.log.as_sent(tracked, base.iter().take(tracked.keys()).copied());
        Ok(())
    }
}
