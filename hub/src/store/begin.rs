//! How every write begins: what programs at the hub did meanwhile, to the schema and to rows, becomes a version of
//! its own before anything else is merged.

use super::journaled::Places;
use super::{StoreError, journaled, local, merge, schema};
use crate::journal::record::Local;
use rusqlite::Connection;
use std::sync::Arc;
use tt_migrations::capture::install::{InstallError, install};
use tt_migrations::programs_triggers;
use tt_migrations::replica::Replica;
use tt_migrations::state;
use tt_protocol::number::{EdgeId, Millis, Version};
use tt_protocol::policy::Policy;

/// Every write begins with what programs at the hub did: to the schema, and to the rows. Gives the
/// version that the database is at then.
pub(super) fn begin(
    conn: &Connection,
    policy: &Policy,
    replica: &mut Arc<Replica>,
    (looked_at, places): (i64, &Places),
    now: Millis,
) -> Result<Version, StoreError> {
    refresh(conn, policy, replica)?;
    let version = Version(state::get(conn, state::VERSION)?.unwrap_or(0).unsigned_abs());
    let local::Cut { mut moved, pieces } = local::cut(conn, replica, policy, version.next(), now.0)?;
    let observed = replica.schema_version != looked_at;
    let mut schema = None;
    if observed {
        schema = journaled::schema_change(conn)?;
        moved |= schema::observe(conn, replica, version.next())?;
        // Our own tables have followed, which SQLite counts as well.
        let seen = conn.pragma_query_value(None, "schema_version", |row| row.get(0))?;
        if seen != replica.schema_version {
            Arc::make_mut(replica).schema_version = seen;
        }
    }
    moved |= schema::declare(conn, replica, version.next())?;
    let version = if moved { version.next() } else { version };
    let local = Local { moved, observed, schema, pieces, ..Local::default() };
    journaled::put_local(conn, version, now, places, local)?;
    Ok(version)
}

/// Reads the shape again when a program changed it, and puts capture right.
pub(super) fn refresh(
    conn: &Connection,
    policy: &Policy,
    replica: &mut Arc<Replica>,
) -> Result<(), StoreError> {
    let seen: i64 = conn.pragma_query_value(None, "schema_version", |row| row.get(0))?;
    if seen != replica.schema_version {
        *replica = read_shape(conn, policy)?;
    }
    Ok(programs_triggers::renew(conn, replica)?)
}

/// Reads the shape and puts capture right.
pub(super) fn read_shape(conn: &Connection, policy: &Policy) -> Result<Arc<Replica>, InstallError> {
    let mut replica = install(conn, policy, EdgeId::HUB)?.replica;
    if merge::twin::index_natural_keys(conn, &replica, policy)? {
        replica.schema_version = conn.pragma_query_value(None, "schema_version", |row| row.get(0))?;
    }
    Ok(Arc::new(replica))
}
