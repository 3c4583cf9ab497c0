//! What programs at the hub did to the schema, as the journal tells it and as a replay does it again.
//!
//! * `_sync_journaled` has a hash of every object of the programs' schema as the journal knows it. What differs
//!   is a change of theirs; what we did ourselves is noted at the end of our transaction.
//! * Capture sees no row of a table that was made or made anew: the journal has such tables whole.

use crate::journal::record::{Object, SchemaChange};
use rusqlite::{Connection, Result};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use tt_migrations::quote::ident;
use tt_migrations::replica::list;
use tt_migrations::value::{bound, get};
use tt_protocol::change::{Kind, PieceError, decode_piece};
use tt_protocol::pieces::PieceBuilder;
use tt_protocol::value::ValueRef;

type Hashes = BTreeMap<(String, String), Vec<u8>>;

/// Notes the schema as it is: the journal knows it now.
pub(crate) fn note(conn: &Connection) -> Result<()> {
    conn.execute("DELETE FROM _sync_journaled", [])?;
    for object in objects(conn)? {
        let sql = "INSERT OR IGNORE INTO _sync_journaled(type, name, hash) VALUES (?1, ?2, ?3)";
        conn.prepare_cached(sql)?.execute((&object.kind, &object.name, hash(&object)))?;
    }
    Ok(())
}

/// What programs did since the schema was noted, which it is now. `None` when they did nothing.
pub(crate) fn changed(conn: &Connection) -> Result<Option<SchemaChange>> {
    let known = known(conn)?;
    let objects = objects(conn)?;
    let audits = audits(conn)?;
    let now: Hashes =
        objects.iter().map(|object| ((object.kind.clone(), object.name.clone()), hash(object))).collect();
    if known == now && audits.is_empty() {
        return Ok(None);
    }
    let gone = known.iter().filter(|(name, hash)| now.get(*name) != Some(*hash));
    let gone: Vec<_> = gone.map(|(name, _)| name.clone()).collect();
    let is_new = |object: &&Object| {
        let name = (object.kind.clone(), object.name.clone());
        known.get(&name) != now.get(&name)
    };
    let made: Vec<Object> = objects.iter().filter(is_new).cloned().collect();
    let tables: Vec<&str> = objects.iter().filter(|one| one.kind == "table").map(|one| &*one.name).collect();
    let is_imaged = |table: &&&str| {
        audits.iter().any(|audit| audit.eq_ignore_ascii_case(table))
            || !known.contains_key(&("table".to_owned(), (**table).to_owned()))
    };
    let imaged: Vec<String> = tables.iter().filter(is_imaged).map(|table| (*table).to_owned()).collect();
    let mut builder = PieceBuilder::default();
    for table in &imaged {
        image(conn, table, &mut builder)?;
    }
    note(conn)?;
    Ok(Some(SchemaChange { gone, made, images: builder.finish(), imaged, audits }))
}

/// Does to a copy what programs did.
pub(crate) fn again(conn: &Connection, change: &SchemaChange) -> Result<(), super::StoreError> {
    for (kind, name) in change.gone.iter().filter(|(kind, _)| kind != "table") {
        conn.execute_batch(&format!("DROP {kind} IF EXISTS {};", ident(name)))?;
    }
    let stays = |name: &str| change.made.iter().any(|made| made.kind == "table" && made.name == name);
    for (_, name) in change.gone.iter().filter(|(kind, name)| kind == "table" && !stays(name)) {
        conn.execute_batch(&format!("DROP TABLE IF EXISTS {};", ident(name)))?;
    }
    for made in change.made.iter().filter(|made| made.kind == "table") {
        make_table(conn, made)?;
    }
    for made in change.made.iter().filter(|made| made.kind != "table") {
        if !exists(conn, &made.kind, &made.name)? {
            conn.execute_batch(&made.sql)?;
        }
    }
    for table in &change.imaged {
        conn.execute(&format!("DELETE FROM {}", ident(table)), [])?;
    }
    for piece in &change.images {
        put_images(conn, piece)?;
    }
    Ok(())
}

/// Marks exactly these tables for being told again. To be called when capture is installed.
pub(crate) fn set_audits(conn: &Connection, audits: &[String]) -> Result<()> {
    conn.execute("UPDATE _sync_table SET audit = 0 WHERE audit <> 0", [])?;
    for table in audits {
        conn.execute("UPDATE _sync_table SET audit = 1 WHERE name = ?1 COLLATE NOCASE", [table])?;
    }
    Ok(())
}

fn audits(conn: &Connection) -> Result<Vec<String>> {
    let mut statement = conn.prepare_cached("SELECT name FROM _sync_table WHERE audit = 1 ORDER BY name")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

fn known(conn: &Connection) -> Result<Hashes> {
    let mut statement = conn.prepare_cached("SELECT type, name, hash FROM _sync_journaled")?;
    statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?.collect()
}

/// The objects of programs, in the order in which they were made. Tables that belong to a virtual one come and
/// go with it.
fn objects(conn: &Connection) -> Result<Vec<Object>> {
    let sql = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL
               AND name NOT LIKE '\\_sync\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
               AND tbl_name NOT IN (SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow')
               ORDER BY rowid";
    let mut statement = conn.prepare_cached(sql)?;
    statement
        .query_map([], |row| Ok(Object { kind: row.get(0)?, name: row.get(1)?, sql: row.get(2)? }))?
        .collect()
}

fn hash(object: &Object) -> Vec<u8> {
    Sha256::digest(object.sql.as_bytes())[..16].to_vec()
}

fn exists(conn: &Connection, kind: &str, name: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2 COLLATE NOCASE)";
    conn.query_row(sql, [kind, name], |row| row.get(0))
}

/// The columns that hold something of their own.
fn columns(conn: &Connection, table: &str) -> Result<Vec<String>> {
    let mut statement = conn.prepare("SELECT name FROM pragma_table_info(?1)")?;
    statement.query_map([table], |row| row.get(0))?.collect()
}

fn is_virtual(sql: &str) -> bool {
    sql.trim_start().get(..14).is_some_and(|head| head.eq_ignore_ascii_case("CREATE VIRTUAL"))
}

/// A table that is there in another shape keeps what both shapes have; a new column has its default.
fn make_table(conn: &Connection, made: &Object) -> Result<()> {
    if !exists(conn, "table", &made.name)? {
        return conn.execute_batch(&made.sql);
    }
    if is_virtual(&made.sql) {
        return conn.execute_batch(&format!("DROP TABLE {}; {};", ident(&made.name), made.sql));
    }
    let aside = ident("_sync_aside");
    let name = ident(&made.name);
    let before = columns(conn, &made.name)?;
    let beside = beside(conn, &made.name)?;
    // Nobody else's text may follow the old table to its new name.
    conn.pragma_update(None, "legacy_alter_table", true)?;
    let renamed = conn.execute_batch(&format!("ALTER TABLE {name} RENAME TO {aside};"));
    conn.pragma_update(None, "legacy_alter_table", false)?;
    renamed?;
    conn.execute_batch(&made.sql)?;
    let now = columns(conn, &made.name)?;
    let both: Vec<String> =
        now.into_iter().filter(|name| before.iter().any(|other| other.eq_ignore_ascii_case(name))).collect();
    let both = list(&both);
    conn.execute_batch(&format!(
        "INSERT INTO {name}({both}) SELECT {both} FROM {aside}; DROP TABLE {aside};"
    ))?;
    beside.iter().try_for_each(|sql| conn.execute_batch(sql))
}

/// Indexes and triggers of a table, which go with it.
fn beside(conn: &Connection, table: &str) -> Result<Vec<String>> {
    let sql =
        "SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE AND type IN ('index', 'trigger')
               AND sql IS NOT NULL AND name NOT LIKE '\\_sync\\_%' ESCAPE '\\' ORDER BY rowid";
    conn.prepare(sql)?.query_map([table], |row| row.get(0))?.collect()
}

fn image(conn: &Connection, table: &str, builder: &mut PieceBuilder) -> Result<()> {
    let sql = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    if is_virtual(&conn.query_row(sql, [table], |row| row.get::<_, String>(0))?) {
        return Ok(());
    }
    let columns = columns(conn, table)?;
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut statement = conn.prepare(&format!("SELECT {} FROM {}", list(&columns), ident(table)))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let values = (0..names.len()).map(|at| get(row, at)).collect::<Result<Vec<ValueRef<'_>>>>()?;
        builder.push(Kind::Put, table, names.len(), &names, values);
    }
    Ok(())
}

fn put_images(conn: &Connection, piece: &[u8]) -> Result<(), super::StoreError> {
    for change in decode_piece(piece)? {
        if change.kind != Kind::Put {
            return Err(PieceError::Shape.into());
        }
        let marks = vec!["?"; change.columns.len()].join(", ");
        let sql = format!("INSERT INTO {}({}) VALUES ({marks})", ident(&change.table), list(&change.columns));
        let mut insert = conn.prepare(&sql)?;
        for index in 0..change.rows.rows() {
            insert.execute(rusqlite::params_from_iter(bound(change.values(index))))?;
        }
    }
    Ok(())
}
