//! The schema moves under the merge: what a program added on an edge or at the hub reaches every node
//! before the rows that need it.
//!
//! * `_sync_schema` has the newest definition of each table that changed, under the version that brought
//!   it; a feed tells an edge all that lie above its cursor.
//! * What no definition tells is a step (`steps`): migrations, and what was dropped.
//! * Rows that came before the schema had a place for them are released when it has (`release`).

mod release;
pub(super) mod steps;

pub(super) use release::release;
pub(super) use steps::{by_present_names, observe};

use super::{MergeError, StoreError};
use rusqlite::Connection;
use tt_migrations::follow::{self, FollowError};
use tt_migrations::replica::Replica;
use tt_protocol::change::decode_definitions;
use tt_protocol::definition::TableDefinition;
use tt_protocol::frame::{from_bytes, to_bytes};
use tt_protocol::number::Version;
use tt_protocol::policy::{Additive, Policy};

/// Follows the definitions that a changeset brings. True when a table of the hub's changed. What cannot
/// be followed harmlessly is left; its rows will be held.
pub(super) fn follow(conn: &Connection, policy: &Policy, pieces: &[Vec<u8>]) -> Result<bool, MergeError> {
    let mut changed = false;
    for piece in pieces {
        for definition in decode_definitions(piece)?.unwrap_or_default() {
            if policy.schema.additive != Additive::Adopt || !policy.table(&definition.name).replicate {
                continue;
            }
            match follow::follow(conn, &definition) {
                Ok(followed) => changed |= followed,
                Err(FollowError::NotAdditive { table, problem }) => {
                    tracing::warn!(%table, %problem, "a device's schema cannot be followed; its rows are held");
                }
                Err(FollowError::Sqlite { table, source }) => {
                    tracing::warn!(%table, error = %source, "a device's schema cannot be followed; its rows are held");
                }
            }
        }
    }
    Ok(changed)
}

/// Writes down under `version` which tables changed since the last time. True when any did.
pub(super) fn declare(conn: &Connection, replica: &Replica, version: Version) -> rusqlite::Result<bool> {
    let tables = replica.tables.values().map(AsRef::as_ref);
    let definitions = follow::undeclared(conn, tables)?;
    for definition in &definitions {
        let sql = "INSERT INTO _sync_schema(tab, version, definition) VALUES (?1, ?2, ?3)
                   ON CONFLICT(tab) DO UPDATE SET version = excluded.version, definition = excluded.definition";
        conn.execute(sql, (&definition.name, version.0 as i64, to_bytes(definition)))?;
    }
    Ok(!definitions.is_empty())
}

/// Definitions that an edge at `from` has not been told.
pub(super) fn since(conn: &Connection, from: Version) -> Result<Vec<TableDefinition>, StoreError> {
    let mut statement =
        conn.prepare_cached("SELECT definition FROM _sync_schema WHERE version > ?1 ORDER BY version, tab")?;
    let rows = statement.query_map([from.0 as i64], |row| row.get::<_, Vec<u8>>(0))?;
    let mut definitions = Vec::new();
    for bytes in rows {
        definitions.push(from_bytes(&bytes?).map_err(|_| tt_protocol::change::PieceError::Shape)?);
    }
    Ok(definitions)
}
