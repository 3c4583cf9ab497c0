//! Backups of a soak: each copy that is listed as good is one moment of the database, with all that was committed at
//! the hub before it was begun.

use super::account;
use super::past::{State, up_to};
use super::quiet;
use super::site::{Point, Site};
use anyhow::{Context as _, ensure};
use flate2::read::MultiGzDecoder;
use rusqlite::Connection;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Makes a backup that must succeed, and remembers what it must hold. Gives its id.
pub(super) fn make(site: &mut Site, tier: &str) -> anyhow::Result<String> {
    let (certain, _) = site.office_at()?;
    let made = site.hub_must(&["backup", "--tier", tier])?;
    let (_, begun) = site.office_at()?;
    let id = made["id"].as_str().context("a backup has an id")?.to_owned();
    let plain = unpack(site, &copies(&made)[0])?;
    if !site.unsettled {
        torn(&plain).with_context(|| id.clone())?;
    }
    // A program may have given up the last that it began, and then the backup cannot have it.
    let state = held(&plain, &site.past.now(&begun), &certain)?;
    fs::remove_file(&plain)?;
    site.points.push(Point { arguments: vec![id.clone()], state });
    Ok(id)
}

/// Where the good copies of a backup are.
pub(super) fn copies(backup: &Json) -> Vec<PathBuf> {
    let vaults = backup["vaults"].as_array().map(Vec::as_slice).unwrap_or_default();
    let good = vaults.iter().filter(|vault| vault["state"] == "verified");
    let file = backup["file"].as_str().unwrap_or_default();
    good.filter_map(|vault| Some(Path::new(vault["path"].as_str()?).join(file))).collect()
}

/// Of each program at the hub, up to which transaction a file has its work.
fn held(plain: &Path, latest: &State, certain: &BTreeMap<String, u64>) -> anyhow::Result<State> {
    let conn = Connection::open(plain)?;
    let mut state = State::new();
    for (who, ranges) in latest {
        let has = |number: u64| -> rusqlite::Result<bool> {
            let sql = "SELECT count(*) > 0 FROM warehouse_submissions WHERE receipt_number = ?1";
            conn.query_row(sql, [super::book::mark(who, number)], |row| row.get(0))
        };
        let certain = certain.get(who).copied().unwrap_or(0);
        let mut last = ranges.last().map_or(0, |range| range.1);
        while last > certain && !has(last)? {
            last -= 1;
        }
        ensure!(last >= certain.min(ranges.last().map_or(0, |range| range.1)), "{who} is at {last}");
        state.insert(who.clone(), up_to(ranges, last));
    }
    Ok(state)
}

/// A copy as it is when nothing of ours has unpacked it.
fn unpack(site: &Site, copy: &Path) -> anyhow::Result<PathBuf> {
    let plain = site.dir.join("unpacked.db");
    for ending in ["", "-wal", "-shm", "-journal"] {
        let _ = fs::remove_file(format!("{}{ending}", plain.display()));
    }
    let packed = File::open(copy).with_context(|| format!("cannot open {}", copy.display()))?;
    io::copy(&mut MultiGzDecoder::new(packed), &mut File::create(&plain)?)
        .with_context(|| format!("cannot unpack {}", copy.display()))?;
    Ok(plain)
}

/// Reads every copy back, through `verify` and without it. Gives the number of backups.
pub(super) fn check(site: &mut Site) -> anyhow::Result<usize> {
    site.hub_must(&["verify"])?;
    let listed = site.backups()?;
    for backup in &listed {
        let id = backup["id"].as_str().context("an id")?;
        let copies = copies(backup);
        ensure!(!copies.is_empty(), "{id} is listed without a good copy: {backup}");
        for copy in copies {
            if !site.read.insert(copy.clone()) {
                continue;
            }
            let plain = unpack(site, &copy)?;
            whole(&plain, backup).with_context(|| copy.display().to_string())?;
            fs::remove_file(&plain)?;
        }
    }
    let ids: Vec<&str> = listed.iter().filter_map(|backup| backup["id"].as_str()).collect();
    let is_listed = |point: &Point| match point.arguments.as_slice() {
        [id] => ids.contains(&id.as_str()),
        _ => true,
    };
    site.points.retain(is_listed);
    Ok(listed.len())
}

/// One moment of the database, with the rows that its list names.
fn whole(plain: &Path, backup: &Json) -> anyhow::Result<()> {
    quiet::sound(plain)?;
    let conn = Connection::open(plain)?;
    for (table, rows) in backup["rows"].as_object().context("it says how many rows it has")? {
        let sql = format!("SELECT count(*) FROM {}", tt_migrations::quote::ident(table));
        let found: i64 = conn.query_row(&sql, [], |row| row.get(0))?;
        ensure!(rows.as_i64() == Some(found), "{table} has {found} rows and should have {rows}");
    }
    Ok(())
}

/// Every backup that is listed can be restored: the last question before the end.
pub(super) fn rehearse(site: &Site) -> anyhow::Result<usize> {
    let listed = site.backups()?;
    for backup in &listed {
        let id = backup["id"].as_str().context("an id")?;
        site.hub_must(&["restore", id, "--dry-run"])?;
    }
    Ok(listed.len())
}

/// Lines of which a file has half a transaction.
pub(super) fn torn(db: &Path) -> anyhow::Result<()> {
    let torn = account::torn(db)?;
    ensure!(torn == 0, "{torn} lines of {} have half of a transaction", db.display());
    Ok(())
}
