//! Files that are not what they should be: a damaged live file, other pages, and what a safety copy is.

use super::*;
use crate::backup::manifest::Manifest;

#[test]
fn a_damaged_live_file_is_kept_byte_by_byte_and_its_devices_stay() {
    let world = World::new();
    let mut store = world.store();
    let sql = "INSERT INTO _sync_edge(device, name, role, enrolled_at, revoked_at) VALUES (7, 'lost', 'station', 1, 2)";
    store.connection().execute(sql, []).unwrap();
    store.connection().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let root: i64 = store
        .connection()
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_employees_1'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    drop(store);
    let path = world.folder.database();
    let mut bytes = fs::read(&path).unwrap();
    let at = usize::try_from(root - 1).unwrap() * 4_096;
    bytes[at..at + 4_096].fill(0x55);
    fs::write(&path, &bytes).unwrap();
    let done = world.restore(&mut |_| Ok(())).unwrap();
    let kept = world.folder.path().join("backups/before_restore").join(format!("{}.damaged.db", done.safety));
    assert_eq!(fs::read(kept).unwrap(), bytes);
    assert_eq!(world.state(), new());
    let revoked: i64 = world
        .program()
        .query_row("SELECT count(*) FROM _sync_edge WHERE device = 7 AND revoked_at = 2", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(revoked, 1);
    world.is_sound(0);
}

#[test]
fn a_file_with_other_pages_comes_in_with_those_of_the_live_file() {
    let world = World::new();
    let path = world.folder.path().join("other.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch(
        "PRAGMA page_size = 1024; VACUUM;
         CREATE TABLE employees(id INTEGER PRIMARY KEY, username TEXT, full_name TEXT, password_hash TEXT);
         INSERT INTO employees VALUES (5, 'ours-x', 'x', '')",
    )
    .unwrap();
    drop(conn);
    let world = World { id: path.display().to_string(), ..world };
    world.restore(&mut |_| Ok(())).unwrap();
    assert_eq!(world.state().1, names(&["x"]));
    let size: i64 = world.program().pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    assert_eq!(size, 4_096);
    world.is_sound(0);
}

#[test]
fn a_manifest_of_a_safety_copy_is_one_of_a_backup() {
    let world = World::new();
    let done = world.restore(&mut |_| Ok(())).unwrap();
    let manifest: Manifest = world.restores.safety_copy(&done.safety).unwrap();
    assert_eq!(manifest.contents.tables["employees"].rows, world.state().1.len() as u64 + 2);
    assert!(manifest.verified.is_some());
    let folder = world.folder.path().join("backups/before_restore");
    let line = fs::read_to_string(folder.join(format!("{}.db.gz.sha256", done.safety))).unwrap();
    assert_eq!(line, manifest.checksum_line());
}
