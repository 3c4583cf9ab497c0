//! The hub's own cut: what programs wrote into the canonical file becomes a version like any other.
//!
//! It runs inside the merge transaction before a changeset is merged; else a later cut would contain
//! the merged rows a second time. The rows are already where they belong, so only the log, the trash and
//! the stamps are written.

use super::log::KeyLog;
use super::{journaled, trash};
use rusqlite::{Connection, Result};
use tt_migrations::capture::collect::{self, Sink};
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::row::{Key, Row};
use tt_protocol::change::Kind;
use tt_protocol::merge::{Stamp, is_dated};
use tt_protocol::number::{EdgeId, Version};
use tt_protocol::pieces::PieceBuilder;
use tt_protocol::policy::Policy;
use tt_protocol::value::ValueRef;

/// Where rows of programs go: the log, the trash and the stamps, and into pieces for the journal.
pub(super) struct LocalSink<'a> {
    pub(super) conn: &'a Connection,
    pub(super) policy: &'a Policy,
    pub(super) version: Version,
    pub(super) log: KeyLog,
    pub(super) told: Option<PieceBuilder>,
}

/// What programs at the hub did to rows.
pub(crate) struct Cut {
    /// It became the version.
    pub(crate) moved: bool,
    /// The rows, for the journal.
    pub(crate) pieces: Vec<Vec<u8>>,
}

/// Cuts what programs at the hub wrote.
pub(crate) fn cut(
    conn: &Connection,
    replica: &Replica,
    policy: &Policy,
    version: Version,
    now: i64,
) -> Result<Cut> {
    let told = journaled::last(conn)?.map(|_| PieceBuilder::default());
    let mut sink = LocalSink { conn, policy, version, log: KeyLog::default(), told };
    collect::cut(conn, replica, EdgeId::HUB, now, &mut sink)?;
    let moved = !sink.log.is_empty();
    if moved {
        sink.log.write(conn, version, EdgeId::HUB)?;
    }
    Ok(Cut { moved, pieces: sink.told.map(PieceBuilder::finish).unwrap_or_default() })
}

impl LocalSink<'_> {
    const fn stamp(at: i64) -> Stamp {
        Stamp { at, edge: EdgeId::HUB }
    }

    fn tell<'v>(
        &mut self,
        kind: Kind,
        tracked: &Tracked,
        columns: impl Iterator<Item = usize>,
        values: impl Iterator<Item = ValueRef<'v>>,
        time: i64,
    ) {
        if let Some(told) = &mut self.told {
            let columns: Vec<&str> = columns.map(|place| tracked.names[place].as_str()).collect();
            let row = values.chain([ValueRef::Integer(time)]);
            told.push(kind, &tracked.table.name, tracked.keys(), &columns, row);
        }
    }
}

impl Sink for LocalSink<'_> {
    fn insert(&mut self, tracked: &Tracked, row: &[ValueRef<'_>], time: i64) -> Result<()> {
        self.tell(Kind::Insert, tracked, 0..row.len(), row.iter().copied(), time);
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
        let keys = tracked.keys();
        let pairs = changed.iter().map(|place| base[*place]).chain(changed.iter().map(|place| live[*place]));
        let columns = (0..keys).chain(changed.iter().copied());
        self.tell(Kind::Update, tracked, columns, live.iter().take(keys).copied().chain(pairs), time);
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
        self.tell(Kind::Delete, tracked, 0..base.len(), base.iter().copied(), time);
        let row: Row = base.iter().copied().map(ValueRef::to_owned).collect();
        trash::keep(self.conn, tracked, &row, self.version, Self::stamp(time))?;
        if trash::is_respelled(tracked) {
            trash::set_stamp(self.conn, tracked, &row[..tracked.keys()].to_vec(), Self::stamp(time))?;
        }
        self.log.as_sent(tracked, base.iter().take(tracked.keys()).copied());
        Ok(())
    }
}
