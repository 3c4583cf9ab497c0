//! The log of touched keys: what a feed is made of.
//!
//! Only keys are kept; a feed reads the rows as they are when it is made, so a device that was away for
//! a month gets each row once.

use rusqlite::{Connection, Result};
use std::collections::BTreeSet;
use tt_migrations::replica::Tracked;
use tt_migrations::row::Key;
use tt_protocol::change::Kind;
use tt_protocol::number::{EdgeId, Version};
use tt_protocol::pieces::PieceBuilder;
use tt_protocol::value::{Value, ValueRef};

/// Origin of keys whose row no edge has as it is at the hub.
pub(crate) const NOBODY: i64 = -1;

/// Keys touched by the version that is being merged.
#[derive(Default)]
pub(crate) struct KeyLog {
    as_sent: PieceBuilder,
    changed: PieceBuilder,
    minus_ones: BTreeSet<String>,
}

impl KeyLog {
    /// The hub's row is now exactly what its origin has.
    pub(crate) fn as_sent<'v>(&mut self, tracked: &Tracked, key: impl IntoIterator<Item = ValueRef<'v>>) {
        let key: Vec<ValueRef<'v>> = key.into_iter().collect();
        self.look_at(tracked, &key);
        push(&mut self.as_sent, tracked, key);
    }

    /// The hub's row is something that no edge has yet, the origin included.
    pub(crate) fn changed(&mut self, tracked: &Tracked, key: &Key) {
        let key: Vec<ValueRef<'_>> = key.iter().map(Value::as_ref).collect();
        self.look_at(tracked, &key);
        push(&mut self.changed, tracked, key);
    }

    fn look_at(&mut self, tracked: &Tracked, key: &[ValueRef<'_>]) {
        if tracked.table.rowid_key && *key == [ValueRef::Integer(-1)] {
            self.minus_ones.insert(tracked.table.name.clone());
        }
    }

    /// Tables whose row with the id -1 was touched: its note, which is always there, must follow.
    pub(crate) const fn minus_ones(&self) -> &BTreeSet<String> {
        &self.minus_ones
    }

    /// True when nothing was touched.
    pub(crate) fn is_empty(&self) -> bool {
        self.as_sent.rows() + self.changed.rows() == 0
    }

    /// Writes the keys under their version, after those that it has already.
    pub(crate) fn write(self, conn: &Connection, version: Version, origin: EdgeId) -> Result<()> {
        let sent = self.as_sent.finish().into_iter().map(|keys| (i64::from(origin.0), keys));
        let changed = self.changed.finish().into_iter().map(|keys| (NOBODY, keys));
        let sql = "INSERT INTO _sync_log(version, part, origin, keys)
                   VALUES (?1, (SELECT COALESCE(MAX(part) + 1, 0) FROM _sync_log WHERE version = ?1), ?2, ?3)";
        let mut insert = conn.prepare_cached(sql)?;
        for (origin, keys) in sent.chain(changed) {
            insert.execute((version.0 as i64, origin, keys))?;
        }
        Ok(())
    }

    /// Adds keys that nobody has as they are here to a version that may have some already.
    pub(crate) fn append(self, conn: &Connection, version: Version) -> Result<()> {
        let sql = "INSERT INTO _sync_log(version, part, origin, keys) VALUES
                   (?1, (SELECT COALESCE(MAX(part) + 1, 0) FROM _sync_log WHERE version = ?1), ?2, ?3)";
        let mut insert = conn.prepare_cached(sql)?;
        for keys in self.as_sent.finish().into_iter().chain(self.changed.finish()) {
            insert.execute((version.0 as i64, NOBODY, keys))?;
        }
        Ok(())
    }
}

fn push<'v>(builder: &mut PieceBuilder, tracked: &Tracked, key: impl IntoIterator<Item = ValueRef<'v>>) {
    let names: Vec<&str> = tracked.names.iter().take(tracked.keys()).map(String::as_str).collect();
    builder.push(Kind::Gone, &tracked.table.name, tracked.keys(), &names, key);
}
