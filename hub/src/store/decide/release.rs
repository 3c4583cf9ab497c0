//! Runs the ordinary merge for a decision. A release that would itself be a conflict has failed.

use super::{Attempt, Desk, refuse, words};
use crate::store::conflict::{Kind, decode};
use crate::store::merge::{Context, Merge, MergeError};
use tt_migrations::replica::Tracked;
use tt_protocol::change::Kind as ChangeKind;
use tt_protocol::number::EdgeId;
use tt_protocol::pieces::PieceBuilder;
use tt_protocol::value::{Value, ValueRef};

/// An entry that the merge has just made.
struct Listed {
    id: i64,
    kind: Option<Kind>,
    row: String,
    action: String,
}

impl Desk<'_> {
    fn context(&self, edge: EdgeId) -> Context<'_> {
        let Self { conn, replica, policy, version, now } = *self;
        Context { conn, replica, policy, edge, role: None, cursor: version, version, now, released: true }
    }

    /// Merges one row, changed at the hub just now.
    pub(super) fn merge_one<'v>(
        &self,
        kind: ChangeKind,
        tracked: &Tracked,
        columns: &[&str],
        values: impl Iterator<Item = ValueRef<'v>>,
    ) -> Attempt<()> {
        let pieces = self.pieces(kind, tracked, columns, values);
        nothing(&self.listed_by(|| Merge::run(self.context(EdgeId::HUB), &pieces))?)
    }

    /// Merges a row that entry `id` held, made at the hub just now.
    pub(super) fn merge_held(&self, id: i64, tracked: &Tracked, row: &[(String, Value)]) -> Attempt<()> {
        let columns: Vec<&str> = row.iter().map(|(name, _)| name.as_str()).collect();
        let values = row.iter().map(|(_, value)| value.as_ref());
        let pieces = self.pieces(ChangeKind::Insert, tracked, &columns, values);
        nothing(&self.listed_by(|| Merge::run_release(self.context(EdgeId::HUB), &pieces, id, row))?)
    }

    /// One row as a changeset of this moment.
    fn pieces<'v>(
        &self,
        kind: ChangeKind,
        tracked: &Tracked,
        columns: &[&str],
        values: impl Iterator<Item = ValueRef<'v>>,
    ) -> Vec<Vec<u8>> {
        let mut builder = PieceBuilder::default();
        let row = values.chain([ValueRef::Integer(self.now.0)]);
        builder.push(kind, &tracked.table.name, tracked.keys(), columns, row);
        builder.finish()
    }

    /// Merges what a device had sent, as that device. What comes of it on the list is told where this is
    /// an ordinary outcome; a piece for which the hub still has no place is held on.
    pub(super) fn merge_work(
        &self,
        kind: Option<Kind>,
        edge: EdgeId,
        work: &[Vec<u8>],
    ) -> Attempt<Vec<String>> {
        let listed = self.listed_by(|| Merge::run(self.context(edge), work))?;
        let ordinary = matches!(kind, Some(Kind::Deletes | Kind::Schema | Kind::Copy));
        let in_the_way = |entry: &&Listed| !ordinary || entry.kind == Some(Kind::Schema);
        match listed.iter().find(in_the_way) {
            Some(first) => refuse(first.reason(listed.len())),
            None => Ok(listed
                .iter()
                .map(|entry| format!("conflict {} came of it: {}, {}", entry.id, entry.row, entry.action))
                .collect()),
        }
    }

    /// The entries that a merge has made.
    fn listed_by(&self, merge: impl FnOnce() -> Result<u64, MergeError>) -> Attempt<Vec<Listed>> {
        let last: i64 =
            self.conn.query_row("SELECT COALESCE(MAX(id), 0) FROM _sync_conflict", [], |row| row.get(0))?;
        if merge()? == 0 {
            return Ok(Vec::new());
        }
        let sql = "SELECT id, kind, tab, named_key, action FROM _sync_conflict WHERE id > ?1 ORDER BY id";
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map([last], |row| {
            let key: Vec<(String, Value)> = decode(&row.get::<_, Vec<u8>>(3)?)?;
            Ok(Listed {
                id: row.get(0)?,
                kind: Kind::from_word(&row.get::<_, String>(1)?),
                row: words::row(&row.get::<_, String>(2)?, &key),
                action: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl Listed {
    /// Why the release failed: what the merge would have done instead.
    fn reason(&self, entries: usize) -> String {
        let more = if entries > 1 { format!("; and {} more", entries - 1) } else { String::new() };
        let Self { row, action, .. } = self;
        match self.kind {
            Some(Kind::Delete) => format!("it needs {row}, which was deleted: put that row back first{more}"),
            _ => format!("it still cannot go in: {row}: {action}{more}"),
        }
    }
}

/// Nothing may be listed: the release would be a conflict itself.
fn nothing(listed: &[Listed]) -> Attempt<()> {
    match listed.first() {
        Some(first) => refuse(first.reason(listed.len())),
        None => Ok(()),
    }
}
