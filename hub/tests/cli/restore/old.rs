//! Files of the old system, plain and packed, come in as new; devices and what they had handed in stay.

use super::{Bench, ours, program};
use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn gzip(from: &Path, to: &Path) {
    let mut encoder =
        flate2::write::GzEncoder::new(fs::File::create(to).unwrap(), flate2::Compression::fast());
    std::io::copy(&mut fs::File::open(from).unwrap(), &mut encoder).unwrap();
    encoder.finish().unwrap();
}

#[test]
fn files_of_the_old_system_come_in_as_new_and_devices_stay() {
    let bench = Bench::new();
    let folder = &bench.folder;
    folder.json(&["invite", "packing-1"]);
    program(folder)
        .execute_batch(
            "INSERT INTO _sync_edge(device, name, role, enrolled_at) VALUES (4, 'away', 'station', 1);
             INSERT INTO _sync_merged(edge, seq, hash, version, at) VALUES (4, 9, zeroblob(32), 1, 1);",
        )
        .unwrap();
    let open = program(folder);
    let gz = folder.beside("old.db.gz");
    gzip(&fixture("tablettracker_2026.db"), &gz);
    for file in [fixture("tablettracker_2025.db"), gz] {
        let rows: i64 = if file.extension().is_some_and(|ending| ending == "gz") {
            Connection::open(fixture("tablettracker_2026.db")).unwrap()
        } else {
            Connection::open(&file).unwrap()
        }
        .query_row("SELECT count(*) FROM po_lines", [], |row| row.get(0))
        .unwrap();
        let done = folder.json(&["restore", file.to_str().unwrap(), "--force"]);
        assert_eq!(done["plan"]["adopted"], true);
        let device = &done["plan"]["devices"][0];
        assert_eq!(
            (&device["name"], &device["cannot_be_placed"], &device["present"]),
            (&json!("away"), &json!(true), &json!(9))
        );
        let found: i64 = open.query_row("SELECT count(*) FROM po_lines", [], |row| row.get(0)).unwrap();
        assert_eq!(found, rows);
        let merged: i64 =
            open.query_row("SELECT max(seq) FROM _sync_merged WHERE edge = 4", [], |row| row.get(0)).unwrap();
        assert_eq!(merged, 9, "what was acknowledged does not come again");
        assert_eq!(folder.json(&["edges"])[0]["name"], "away");
        let _daemon = folder.serve();
        assert_eq!(folder.json(&["status"])["keyless"], json!([]));
    }
    folder.hub(&["restore", &bench.id, "--force"]).fine();
    assert_eq!(ours(&open), ["kept"]);
    assert_eq!(folder.json(&["edges"])[0]["name"], "away", "enrolled since the backup");
}
