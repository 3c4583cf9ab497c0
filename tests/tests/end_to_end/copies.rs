//! Backups while three devices write: every copy is one moment of the database, and can be read with nothing of ours.
//!
//! `gunzip`, `sha256sum` and Python's own gzip and sqlite3 read each copy in each vault.

use crate::warehouse::{Done, Warehouse};
use anyhow::{Context as _, ensure};
use serde_json::Value as Json;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tt_tests::inspect;
use tt_tests::writer::{self, Work};

/// Prints the rows of every table, as the manifest counts them.
const PYTHON: &str = "
import gzip, json, os, sqlite3, sys, tempfile
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, 'copy.db')
    with gzip.open(sys.argv[1]) as packed, open(path, 'wb') as plain:
        plain.write(packed.read())
    db = sqlite3.connect(path)
    assert db.execute('PRAGMA integrity_check').fetchall() == [('ok',)]
    assert db.execute('PRAGMA foreign_key_check').fetchall() == []
    names = [name for name, in db.execute(\"SELECT name FROM sqlite_master WHERE type = 'table'\")]
    count = lambda name: db.execute('SELECT count(*) FROM \"%s\"' % name).fetchone()[0]
    print(json.dumps({name: count(name) for name in names}))
";

fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn copies(vault: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(vault)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "gz") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Checks one copy with other people's programs. Gives its digests.
fn check(copy: &Path, scratch: &Path) -> anyhow::Result<Json> {
    let (folder, name) = (copy.parent().context("a folder")?, copy.file_name().context("a name")?);
    let mut sum = name.to_owned();
    sum.push(".sha256");
    run(Command::new("sha256sum").current_dir(folder).arg("-c").arg(sum))?;
    let manifest = copy.display().to_string().replace(".db.gz", ".json");
    let manifest: Json = serde_json::from_slice(&fs::read(manifest)?)?;
    let counted: Json = serde_json::from_str(&run(Command::new("python3").args(["-c", PYTHON]).arg(copy))?)?;
    let tables = manifest["contents"]["tables"].as_object().context("the manifest has tables")?;
    for (table, told) in tables {
        ensure!(counted[table] == told["rows"], "{table} of {}: {counted}", copy.display());
    }
    let plain = scratch.join("plain.db");
    let unpacked = Command::new("gunzip").arg("-c").arg(copy).stdout(File::create(&plain)?).status()?;
    ensure!(unpacked.success(), "gunzip ended with {unpacked}");
    ensure!(
        inspect::number(&plain, "SELECT value FROM _sync_state WHERE name = 'version'")?
            == manifest["version"]
    );
    // One transaction of a program writes both.
    let whole = "SELECT (SELECT sum(good_count) FROM po_lines) - (SELECT sum(loose_tablets) FROM warehouse_submissions)";
    let digests = inspect::digests(&plain)?;
    Ok(
        serde_json::json!({ "difference": inspect::number(&plain, whole)?, "digests": format!("{digests:?}") }),
    )
}

#[test]
fn every_copy_made_while_devices_write_is_one_moment_and_opens_without_us() -> Done {
    let warehouse = Warehouse::open()?;
    let names = ["packing-1", "packing-2", "scanner-1"];
    let edges = names.iter().map(|name| warehouse.linked(name)).collect::<anyhow::Result<Vec<_>>>()?;
    let done = AtomicBool::new(false);
    let made: anyhow::Result<Vec<Json>> = thread::scope(|scope| {
        let writers: Vec<_> = edges
            .iter()
            .zip(names)
            .map(|(edge, name)| {
                let (db, done) = (edge.db(), &done);
                scope.spawn(move || {
                    let mut seed = 1;
                    while !done.load(Ordering::Acquire) {
                        writer::record(&db, name, Work { counts: 5, every: 1, lines: 2, seed })?;
                        seed += 1;
                    }
                    Ok::<_, rusqlite::Error>(seed)
                })
            })
            .collect();
        let tiers = ["hourly", "monthly", "daily", "hourly"];
        let made = tiers.iter().map(|tier| {
            let said = warehouse.hub.say(&["backup", "--tier", tier, "--json"])?;
            ensure!(said.code == 0, "{said:?}");
            Ok(serde_json::from_str(&said.out)?)
        });
        let made = made.collect();
        done.store(true, Ordering::Release);
        for writer in writers {
            ensure!(
                writer.join().is_ok_and(|written| written.is_ok_and(|seed| seed > 1)),
                "a program failed"
            );
        }
        made
    });
    ensure!(made?.len() == 4);
    let backups = warehouse.hub.dir.join("backups");
    let mut known: std::collections::BTreeMap<String, Json> = std::collections::BTreeMap::new();
    let mut read = 0;
    for vault in ["primary", "secondary", "archive"] {
        for copy in copies(&backups.join(vault))? {
            let found = check(&copy, &backups)?;
            let name = copy.file_name().context("a name")?.to_string_lossy().into_owned();
            ensure!(*known.entry(name).or_insert_with(|| found.clone()) == found, "{}", copy.display());
            read += 1;
        }
    }
    fs::remove_file(backups.join("plain.db"))?;
    ensure!(read == 9, "{read} copies of four backups, one of them also in the archive");
    let differences: Vec<_> = known.values().map(|found| &found["difference"]).collect();
    ensure!(
        differences.windows(2).all(|two| two[0] == two[1]),
        "a transaction is there in part: {differences:?}"
    );
    warehouse.agree(&edges.iter().collect::<Vec<_>>())
}
