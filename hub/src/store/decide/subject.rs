//! The entry that is decided about, and how it is closed.

use crate::store::conflict::{Kind, decode};
use rusqlite::{Connection, OptionalExtension as _, Result};
use tt_protocol::merge::Clash;
use tt_protocol::number::{EdgeId, Millis};
use tt_protocol::value::Value;

/// An entry of the conflict list with all that it keeps.
pub(super) struct Subject {
    pub(super) id: i64,
    /// None: a newer hub made it.
    pub(super) kind: Option<Kind>,
    pub(super) table: String,
    pub(super) key: Vec<(String, Value)>,
    pub(super) clashes: Vec<Clash>,
    pub(super) row: Option<Vec<(String, Value)>>,
    pub(super) work: Option<Vec<Vec<u8>>>,
    pub(super) rows: i64,
    pub(super) lost_from: EdgeId,
    /// What was decided and when, if it is closed.
    pub(super) closed: Option<(String, i64)>,
}

impl Subject {
    pub(super) fn find(conn: &Connection, id: i64) -> Result<Option<Self>> {
        let sql =
            "SELECT kind, tab, named_key, clashes, row, work, rows, lost_from, state, decision, decided_at
                   FROM _sync_conflict WHERE id = ?1";
        conn.prepare_cached(sql)?.query_row([id], |row| read(row, id)).optional()
    }

    pub(super) fn close(&self, conn: &Connection, now: Millis) -> Result<()> {
        let sql = "UPDATE _sync_conflict SET state = 'closed', decided_at = ?2 WHERE id = ?1";
        conn.prepare_cached(sql)?.execute((self.id, now.0)).map(drop)
    }

    pub(super) fn note(&self, conn: &Connection, decision: &str) -> Result<()> {
        let sql = "UPDATE _sync_conflict SET decision = ?2 WHERE id = ?1";
        conn.prepare_cached(sql)?.execute((self.id, decision)).map(drop)
    }
}

fn read(row: &rusqlite::Row<'_>, id: i64) -> Result<Subject> {
    let optional = |at: usize| row.get::<_, Option<Vec<u8>>>(at);
    let is_open = row.get::<_, String>(8)? == "open";
    let decision: Option<String> = row.get(9)?;
    let decided_at: Option<i64> = row.get(10)?;
    Ok(Subject {
        id,
        kind: Kind::from_word(&row.get::<_, String>(0)?),
        table: row.get(1)?,
        key: decode(&row.get::<_, Vec<u8>>(2)?)?,
        clashes: decode(&row.get::<_, Vec<u8>>(3)?)?,
        row: optional(4)?.map(|bytes| decode(&bytes)).transpose()?,
        work: optional(5)?.map(|bytes| decode(&bytes)).transpose()?,
        rows: row.get(6)?,
        lost_from: EdgeId(row.get(7)?),
        closed: (!is_open).then(|| (decision.unwrap_or_default(), decided_at.unwrap_or_default())),
    })
}
