//! Steps of the schema at the hub: written down in order, told to every edge, and undone in what edges
//! still send by the names of before.

use crate::store::conflict::{self, Entry, Kind};
use crate::store::log::KeyLog;
use crate::store::{MergeError, StoreError};
use rusqlite::{Connection, OptionalExtension as _, Result};
use std::borrow::Cow;
use tt_migrations::capture::gone;
use tt_migrations::quote::ident;
use tt_migrations::replica::{Replica, Tracked, list};
use tt_migrations::row::Key;
use tt_migrations::state;
use tt_migrations::value::copy;
use tt_protocol::change::{decode_definitions, decode_piece, encode_definitions, encode_piece};
use tt_protocol::former::{Former, Ignored, translate, translate_definition};
use tt_protocol::merge::{Clash, Stamp};
use tt_protocol::number::{EdgeId, Version};
use tt_protocol::step::{Happened, Step, decode_made, encode_step};
use tt_protocol::value::Value;

/// Writes a step down under `version`, with the names that go with it.
pub(crate) fn add(conn: &Connection, version: Version, happened: Happened, formers: &[Former]) -> Result<()> {
    let step = current(conn)? + 1;
    let why = match &happened {
        Happened::Migration { number, name, .. } => format!("migration {number} ({name})"),
        Happened::DroppedColumn { .. } | Happened::DroppedTable { .. } => "a program at the hub".to_owned(),
    };
    state::add_formers(conn, formers)?;
    let formers_told = formers.to_vec();
    let piece = encode_step(&Step { place: step.unsigned_abs(), happened, formers: formers_told });
    conn.execute(
        "INSERT INTO _sync_step(step, version, piece) VALUES (?1, ?2, ?3)",
        (step, version.0 as i64, piece),
    )?;
    for (place, former) in (0i64..).zip(formers) {
        let Former { table, column, becomes } = former;
        let sql = "INSERT INTO _sync_former(step, place, version, tab, col, becomes, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        conn.execute(sql, (step, place, version.0 as i64, table, column, becomes, &why))?;
        if column.is_none() {
            // A definition under the old name would make the table again.
            conn.execute("DELETE FROM _sync_schema WHERE tab = ?1 COLLATE NOCASE", [table])?;
        }
    }
    state::set(conn, state::STEP, step)
}

/// The last step.
fn current(conn: &Connection) -> Result<i64> {
    Ok(state::get(conn, state::STEP)?.unwrap_or(0))
}

/// Steps that an edge at `from` has not been told, as pieces.
pub(crate) fn since(conn: &Connection, from: Version) -> Result<Vec<Vec<u8>>> {
    conn.prepare_cached("SELECT piece FROM _sync_step WHERE version > ?1 ORDER BY step")?
        .query_map([from.0 as i64], |row| row.get(0))?
        .collect()
}

/// Notices what programs at the hub dropped, and tables that were changed unseen: all their rows are
/// told again under `version`. True when there was something.
pub(crate) fn observe(conn: &Connection, replica: &Replica, version: Version) -> Result<bool> {
    let gone = gone::sweep(conn, &replica.schema, replica.tables.values())?;
    for (table, column) in &gone.columns {
        let former = Former { table: table.clone(), column: Some(column.clone()), becomes: None };
        let happened = Happened::DroppedColumn { table: table.clone(), column: column.clone() };
        add(conn, version, happened, &[former])?;
    }
    for table in &gone.tables {
        let former = Former { table: table.clone(), column: None, becomes: None };
        add(conn, version, Happened::DroppedTable { table: table.clone() }, &[former])?;
    }
    let told = tell_again(conn, replica, version)?;
    Ok(told || gone != gone::Gone::default())
}

/// The hub cannot ask anybody what its programs did unseen: every edge gets the table as it is.
fn tell_again(conn: &Connection, replica: &Replica, version: Version) -> Result<bool> {
    let sql = "SELECT name FROM _sync_table WHERE audit = 1";
    let names: Vec<String> = conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_>>()?;
    let mut log = KeyLog::default();
    for tracked in names.iter().filter_map(|name| replica.get(name)) {
        log_all(conn, tracked, &mut log)?;
    }
    conn.execute("UPDATE _sync_table SET audit = 0 WHERE audit = 1", [])?;
    let told = !log.is_empty();
    log.append(conn, version)?;
    Ok(told)
}

fn log_all(conn: &Connection, tracked: &Tracked, log: &mut KeyLog) -> Result<()> {
    let keys: Vec<String> = tracked.names.iter().take(tracked.keys()).cloned().collect();
    let sql = format!("SELECT {} FROM {}", list(&keys), ident(&tracked.table.name));
    let mut statement = conn.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key: Key = copy(row, 0, keys.len())?;
        log.changed(tracked, &key);
    }
    Ok(())
}

/// Names of tables that went since `version`, oldest first, with the version in which they did.
pub(crate) fn renamed_tables(conn: &Connection, since: Version) -> Result<Vec<(i64, String, String)>> {
    let sql = "SELECT version, tab, becomes FROM _sync_former
               WHERE version > ?1 AND col IS NULL AND becomes IS NOT NULL ORDER BY step, place";
    conn.prepare_cached(sql)?
        .query_map([since.0 as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// A former name with its place in `_sync_former`.
struct Known {
    step: i64,
    place: i64,
    why: String,
    entry: Option<i64>,
}

/// The pieces of a changeset by present names. What has no place any more is counted on the list.
pub(crate) fn by_present_names<'p>(
    conn: &Connection,
    edge: EdgeId,
    pieces: &'p [Vec<u8>],
    version: Version,
) -> Result<Cow<'p, [Vec<u8>]>, MergeError> {
    let made = made(conn, edge, pieces)?;
    if made >= current(conn)? {
        return Ok(Cow::Borrowed(pieces));
    }
    let (formers, mut known) = formers(conn, made)?;
    if formers.is_empty() {
        return Ok(Cow::Borrowed(pieces));
    }
    let (translated, ignored) = translate_pieces(pieces, &formers)?;
    for one in &ignored {
        if let (Some(former), Some(known)) = (formers.get(one.former), known.get_mut(one.former)) {
            count(conn, edge, version, former, known, one)?;
        }
    }
    Ok(Cow::Owned(translated))
}

/// Pieces with their names replaced, and what was taken out of them.
pub(crate) fn translate_pieces(
    pieces: &[Vec<u8>],
    formers: &[Former],
) -> Result<(Vec<Vec<u8>>, Vec<Ignored>), MergeError> {
    let (mut translated, mut ignored) = (Vec::new(), Vec::new());
    for piece in pieces {
        if let Some(definitions) = decode_definitions(piece)? {
            let present = definitions.into_iter().filter_map(|table| translate_definition(table, formers));
            translated.push(encode_definitions(&present.collect::<Vec<_>>()));
            continue;
        }
        let mut changes = Vec::new();
        for change in decode_piece(piece)? {
            let (present, lost) = translate(change, formers);
            changes.extend(present);
            ignored.extend(lost);
        }
        translated.push(encode_piece(&changes));
    }
    Ok((translated, ignored))
}

/// The step by whose names this changeset is written; written down when the edge says a new one.
fn made(conn: &Connection, edge: EdgeId, pieces: &[Vec<u8>]) -> Result<i64, MergeError> {
    let before: Option<i64> = conn
        .prepare_cached("SELECT step FROM _sync_made WHERE edge = ?1")?
        .query_row([edge.0], |row| row.get(0))
        .optional()?;
    let mut made = before.unwrap_or(0);
    for piece in pieces {
        if let Some(told) = decode_made(piece)? {
            made = i64::try_from(told).unwrap_or(i64::MAX);
            let sql = "INSERT INTO _sync_made(edge, step) VALUES (?1, ?2)
                       ON CONFLICT(edge) DO UPDATE SET step = excluded.step";
            conn.prepare_cached(sql)?.execute((edge.0, made))?;
        }
    }
    Ok(made)
}

fn formers(conn: &Connection, made: i64) -> Result<(Vec<Former>, Vec<Known>)> {
    let sql = "SELECT tab, col, becomes, step, place, why, entry FROM _sync_former WHERE step > ?1 ORDER BY step, place";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([made], |row| {
        let former = Former { table: row.get(0)?, column: row.get(1)?, becomes: row.get(2)? };
        Ok((former, Known { step: row.get(3)?, place: row.get(4)?, why: row.get(5)?, entry: row.get(6)? }))
    })?;
    Ok(rows.collect::<Result<Vec<_>>>()?.into_iter().unzip())
}

/// One entry for each name that is gone, however many devices still use it.
fn count(
    conn: &Connection,
    edge: EdgeId,
    version: Version,
    former: &Former,
    known: &mut Known,
    ignored: &Ignored,
) -> Result<()> {
    let rows = i64::try_from(ignored.rows).unwrap_or(i64::MAX);
    if let Some(entry) = known.entry {
        conn.execute("UPDATE _sync_conflict SET rows = rows + ?2 WHERE id = ?1", (entry, rows))?;
        return Ok(());
    }
    let what = if former.column.is_some() { "column" } else { "table" };
    let action =
        format!("the {what} was dropped by {}: what devices still send for it is ignored", known.why);
    let lost = Stamp { at: ignored.at, edge };
    let clash = |name: &String| Clash {
        name: name.clone(),
        base: Value::Null,
        kept: Value::Null,
        lost: ignored.first.clone(),
    };
    let clashes = former.column.iter().map(clash).collect();
    let entry = Entry::new(Kind::Schema, &former.table, Vec::new(), lost, &action);
    let entry = conflict::add(conn, version, None, &Entry { clashes, rows: ignored.rows, ..entry })?;
    known.entry = Some(entry);
    conn.execute(
        "UPDATE _sync_former SET entry = ?3 WHERE step = ?1 AND place = ?2",
        (known.step, known.place, entry),
    )?;
    Ok(())
}

/// What the hub keeps of rows follows their tables and columns to new names.
pub(crate) fn carry_over(conn: &Connection, formers: &[Former]) -> Result<(), StoreError> {
    for former in formers {
        match (&former.column, &former.becomes) {
            (None, Some(new)) => carry_table(conn, &former.table, new)?,
            (Some(column), Some(new)) => carry_column(conn, &former.table, column, new)?,
            _ => {}
        }
    }
    if formers.is_empty() {
        return Ok(());
    }
    let sql = "SELECT id, work FROM _sync_conflict WHERE state = 'open' AND work IS NOT NULL";
    let held: Vec<(i64, Vec<u8>)> =
        conn.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_>>()?;
    for (id, work) in held {
        let pieces: Vec<Vec<u8>> = conflict::decode(&work)?;
        let (pieces, _) = translate_pieces(&pieces, formers)?;
        conn.execute("UPDATE _sync_conflict SET work = ?2 WHERE id = ?1", (id, conflict::encode(&pieces)))?;
    }
    Ok(())
}

fn carry_table(conn: &Connection, from: &str, to: &str) -> Result<()> {
    for kept in ["_sync_trash", "_sync_stamp"] {
        conn.execute(&format!("DELETE FROM {kept} WHERE tab = ?1 COLLATE NOCASE"), [to])?;
        conn.execute(&format!("UPDATE {kept} SET tab = ?2 WHERE tab = ?1 COLLATE NOCASE"), [from, to])?;
    }
    conn.execute(
        "UPDATE _sync_conflict SET tab = ?2 WHERE tab = ?1 COLLATE NOCASE AND state = 'open'",
        [from, to],
    )?;
    Ok(())
}

fn carry_column(conn: &Connection, table: &str, from: &str, to: &str) -> Result<()> {
    let renamed = |named: &mut Vec<(String, Value)>| {
        for (name, _) in named.iter_mut().filter(|(name, _)| name.eq_ignore_ascii_case(from)) {
            to.clone_into(name);
        }
    };
    let sql = "SELECT tab, key, row FROM _sync_trash WHERE tab = ?1 COLLATE NOCASE";
    let images: Vec<(String, Vec<u8>, Vec<u8>)> = conn
        .prepare(sql)?
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_>>()?;
    for (tab, key, row) in images {
        let mut named = conflict::decode(&row)?;
        renamed(&mut named);
        let sql = "UPDATE _sync_trash SET row = ?3 WHERE tab = ?1 AND key = ?2";
        conn.prepare_cached(sql)?.execute((tab, key, conflict::encode(&named)))?;
    }
    let sql =
        "SELECT id, row, named_key FROM _sync_conflict WHERE tab = ?1 COLLATE NOCASE AND state = 'open'";
    let entries: Vec<(i64, Option<Vec<u8>>, Vec<u8>)> = conn
        .prepare(sql)?
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_>>()?;
    for (id, row, key) in entries {
        let change = |bytes: &[u8]| -> Result<Vec<u8>> {
            let mut named = conflict::decode(bytes)?;
            renamed(&mut named);
            Ok(conflict::encode(&named))
        };
        let row = row.map(|row| change(&row)).transpose()?;
        let sql = "UPDATE _sync_conflict SET row = ?2, named_key = ?3 WHERE id = ?1";
        conn.prepare_cached(sql)?.execute((id, row, change(&key)?))?;
    }
    Ok(())
}
