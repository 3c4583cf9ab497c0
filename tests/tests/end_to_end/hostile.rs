//! `restore FILE` gets files that are not what they should be: a clear reason, or the rows and nothing else. The live
//! database stays as it is until then.

use crate::warehouse::{Done, Warehouse, fixture, refused, sound, sql};
use anyhow::{Context as _, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use rusqlite::Connection;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use tt_tests::inspect;
use tt_tests::node::Said;

const ROWS: &str = "SELECT count(*) FROM po_lines";

fn gzip(to: &Path, parts: &mut dyn io::Read) -> Done {
    let mut encoder = GzEncoder::new(File::create(to)?, Compression::fast());
    io::copy(parts, &mut encoder)?;
    encoder.finish()?;
    Ok(())
}

fn restore(warehouse: &Warehouse, file: &Path) -> anyhow::Result<Said> {
    warehouse.hub.say(&["restore", &file.display().to_string(), "--force"])
}

/// All rows of the hub, its own tables included, as text.
fn dump(db: &Path) -> anyhow::Result<Vec<String>> {
    let conn = inspect::open(db)?;
    let mut names = conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
    let names: Vec<String> = names.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut dump = Vec::new();
    for name in names {
        let mut statement = conn.prepare(&format!("SELECT * FROM \"{name}\""))?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let values: Vec<rusqlite::types::Value> =
                (0..columns).map(|at| row.get(at)).collect::<Result<_, _>>()?;
            dump.push(format!("{name} {values:?}"));
        }
    }
    Ok(dump)
}

#[test]
fn a_file_that_is_no_database_is_refused_with_its_reason_and_nothing_changes() -> Done {
    let mut warehouse = Warehouse::open()?;
    warehouse.stop_hub()?;
    let files = warehouse.path("files");
    fs::create_dir(&files)?;
    let path = |name: &str| files.join(name);
    let whole = fs::read(fixture("tablettracker_2026.db"))?;
    gzip(&path("good.db.gz"), &mut whole.as_slice())?;
    let good = fs::read(path("good.db.gz"))?;
    fs::write(path("short.db.gz"), &good[..good.len() / 2])?;
    fs::write(path("short_end.db.gz"), &good[..good.len() - 3])?;
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 4;
    fs::write(path("flipped.db.gz"), flipped)?;
    fs::write(path("empty.db.gz"), "")?;
    fs::write(path("empty.db"), "")?;
    fs::write(path("text.db"), "no tables\n".repeat(500))?;
    fs::write(path("text.db.gz"), "no gzip\n".repeat(500))?;
    fs::create_dir(path("folder.db"))?;
    fs::create_dir(path("folder.db.gz"))?;
    let _pipe = UnixListener::bind(path("socket.db"))?;
    gzip(&path("bomb.db.gz"), &mut io::repeat(0).take(64 << 20))?;
    let mut huge = whole[..100].to_vec();
    huge[28..32].fill(0xff);
    let marked: [u8; 4] = huge[24..28].try_into()?;
    huge[92..96].copy_from_slice(&marked);
    gzip(&path("huge.db.gz"), &mut huge.as_slice().chain(io::repeat(0).take(64 << 20)))?;
    gzip(&path("hollow.db.gz"), &mut whole[..100].chain(io::repeat(0).take(8 << 20)))?;
    fs::write(path("summed.db.gz"), &good)?;
    fs::write(path("summed.db.gz.sha256"), format!("{}  summed.db.gz\n", "0".repeat(64)))?;
    fs::write(path("torn.db"), &whole[..whole.len() / 2])?;
    let before = dump(&warehouse.hub.db())?;
    let cases = [
        ("short.db.gz", "cut off"),
        ("short_end.db.gz", "cut off"),
        ("flipped.db.gz", "damaged"),
        ("empty.db.gz", "cannot be restored"),
        ("empty.db", "not a SQLite database"),
        ("text.db", "not a SQLite database"),
        ("text.db.gz", "no gzip"),
        ("folder.db", "it is no file"),
        ("folder.db.gz", "it is no file"),
        ("socket.db", "it is no file"),
        ("bomb.db.gz", "not a SQLite database"),
        ("huge.db.gz", "make room"),
        ("hollow.db.gz", "nothing was changed"),
        ("summed.db.gz", ".sha256 beside it says"),
        ("torn.db", "nothing was changed"),
        ("missing.db", "no file"),
    ];
    for (file, reason) in cases {
        refused(&restore(&warehouse, &path(file))?, 1, &[reason]).with_context(|| file.to_owned())?;
        ensure!(dump(&warehouse.hub.db())? == before, "{file} changed the live database");
        ensure!(!warehouse.hub.dir.join("backups/.restore").exists(), "{file} left something behind");
    }
    warehouse.serve()
}

#[test]
fn a_backup_of_the_old_system_is_adopted_with_its_rows() -> Done {
    let mut warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    sql(&edge.db(), "UPDATE po_lines SET good_count = good_count + 5 WHERE id = 1")?;
    edge.sync("60")?;
    let old = warehouse.path("tablet_counter_daily_20250101_020000.db.gz");
    gzip(&old, &mut File::open(fixture("tablettracker_2026.db"))?)?;
    let said = restore(&warehouse, &old)?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(said.err.contains("its rows were taken as new"), "{said:?}");
    let rows = inspect::number(&fixture("tablettracker_2026.db"), ROWS)?;
    ensure!(inspect::number(&warehouse.hub.db(), ROWS)? == rows);
    sound(&warehouse.hub.db())?;
    warehouse.agree(&[&edge])?;
    warehouse.stop_hub()?;
    warehouse.serve()?;
    warehouse.agree(&[&edge])
}

#[test]
fn triggers_of_a_foreign_file_that_reach_into_the_hubs_own_tables_stay_out() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let hostile = warehouse.path("hostile.db");
    fs::copy(fixture("tablettracker_2026.db"), &hostile)?;
    let conn = Connection::open(&hostile)?;
    conn.execute_batch(
        "CREATE TABLE _sync_edge(device INTEGER PRIMARY KEY, revoked_at INTEGER);
         CREATE TABLE _sync_merged(x);
         CREATE TABLE inbox(id INTEGER PRIMARY KEY, last_sync_at TEXT);
         CREATE VIEW _sync_state AS SELECT 'device' AS name, 0 AS value;
         CREATE TRIGGER revoke AFTER UPDATE ON po_lines BEGIN UPDATE _sync_edge SET revoked_at = 1; END;
         CREATE TRIGGER forget AFTER INSERT ON po_lines BEGIN DELETE FROM \"_SYNC_merged\"; END;
         CREATE TRIGGER harmless AFTER UPDATE ON po_lines BEGIN
           INSERT INTO inbox(last_sync_at) VALUES (datetime('now')); END;",
    )?;
    drop(conn);
    let said = restore(&warehouse, &hostile)?;
    ensure!(said.code == 0, "{said:?}");
    for name in ["trigger revoke", "trigger forget", "view _sync_state"] {
        ensure!(said.err.contains(name), "{name} is not named: {said:?}");
    }
    let sql_of = "SELECT count(*) FROM sqlite_schema WHERE name IN ('revoke', 'forget')";
    ensure!(inspect::number(&warehouse.hub.db(), sql_of)? == 0);
    let kept = "SELECT count(*) FROM sqlite_schema WHERE name = 'harmless'";
    ensure!(inspect::number(&warehouse.hub.db(), kept)? == 1, "a trigger of the program stays");
    sql(&warehouse.hub.db(), "UPDATE po_lines SET damaged_count = damaged_count + 1 WHERE id = 1")?;
    let revoked = "SELECT count(*) FROM _sync_edge WHERE revoked_at IS NOT NULL";
    ensure!(inspect::number(&warehouse.hub.db(), revoked)? == 0);
    edge.sync("60")?;
    sound(&edge.db())
}
