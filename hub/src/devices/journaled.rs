//! What the journal says of devices and invitations: all of them, as they are after each change. There are few,
//! and they change seldom.

use super::DevicesError;
use crate::journal::record::{Named, What};
use crate::store::journaled;
use rusqlite::{Connection, Result, params_from_iter};
use tt_migrations::row::Row;
use tt_migrations::state;
use tt_migrations::value::{bound, copy};
use tt_protocol::number::{Millis, Version};
use tt_protocol::value::Value;

/// What stays true of a device: how it is doing is not journaled.
const EDGE: (&str, &[&str]) =
    ("_sync_edge", &["device", "name", "role", "enrolled_at", "cert_sha256", "revoked_at"]);
const TOKEN: (&str, &[&str]) =
    ("_sync_token", &["secret_sha256", "name", "role", "expires_at", "used_at", "public_key", "device"]);

/// Writes down how things are, in the caller's transaction.
pub(super) fn tell(conn: &Connection, now: Millis) -> std::result::Result<(), DevicesError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sync_journal')";
    if !conn.query_row(sql, [], |row| row.get::<_, bool>(0))? {
        return Ok(());
    }
    let version = Version(state::get(conn, state::VERSION)?.unwrap_or(0).unsigned_abs());
    let mut all = Vec::new();
    for (table, columns) in [EDGE, TOKEN] {
        all.extend(rows(conn, table, columns)?);
    }
    Ok(journaled::put(conn, version, now, || What::Devices(all))?)
}

fn rows(conn: &Connection, table: &str, columns: &[&str]) -> Result<Vec<Named>> {
    let mut statement = conn.prepare(&format!("SELECT {} FROM {table} ORDER BY 1", columns.join(", ")))?;
    let rows = statement.query_map([], |row| {
        let values: Row = copy(row, 0, columns.len())?;
        let row = columns.iter().map(|name| (*name).to_owned()).zip(values).collect();
        Ok(Named { table: table.to_owned(), row })
    })?;
    rows.collect()
}

/// Makes devices and invitations so again. What is known of how a device is doing stays.
pub(crate) fn replace(conn: &Connection, all: &[Named]) -> Result<()> {
    conn.execute("DELETE FROM _sync_token", [])?;
    // Names are unique among devices that are not revoked: nobody has one while they are given anew.
    conn.execute("UPDATE _sync_edge SET revoked_at = 0, cert_sha256 = NULL", [])?;
    for Named { table, row } in all {
        // The names become SQL: only our own are taken.
        let Some((table, columns)) = [EDGE, TOKEN].into_iter().find(|(name, _)| name == table) else {
            continue;
        };
        let value = |name: &&str| {
            let found = row.iter().find(|(have, _)| have == name);
            found.map_or(&Value::Null, |(_, value)| value).as_ref()
        };
        let sets: Vec<String> =
            columns.iter().skip(1).map(|name| format!("{name} = excluded.{name}")).collect();
        let sql = format!(
            "INSERT INTO {table}({}) VALUES ({}) ON CONFLICT({}) DO UPDATE SET {}",
            columns.join(", "),
            vec!["?"; columns.len()].join(", "),
            columns[0],
            sets.join(", ")
        );
        conn.prepare_cached(&sql)?.execute(params_from_iter(bound(columns.iter().map(value))))?;
    }
    Ok(())
}
