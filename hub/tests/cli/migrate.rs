//! `migrate`: what is applied, what waits, and what a person hears when a file is wrong.

use crate::program::Folder;
use rusqlite::Connection;
use serde_json::json;
use std::fs;

fn write(folder: &Folder, name: &str, sql: &str) {
    fs::create_dir_all(folder.data().join("migrations")).unwrap();
    fs::write(folder.data().join("migrations").join(name), sql).unwrap();
}

fn remove(folder: &Folder, name: &str) {
    fs::remove_file(folder.data().join("migrations").join(name)).unwrap();
}

fn number(folder: &Folder, sql: &str) -> i64 {
    Connection::open(folder.database()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

const NOTES: &str = "SELECT count(*) FROM pragma_table_info('employees') WHERE name IN ('note', 'more')";

#[test]
fn a_new_hub_has_its_own_migrations_and_says_where_new_ones_go() {
    let folder = Folder::with_hub();
    let status = folder.json(&["migrate"]);
    assert_eq!((&status["adopted"], &status["waiting"]), (&json!(false), &json!(0)));
    let list = status["migrations"].as_array().unwrap();
    assert_eq!(
        (&list[0]["number"], &list[0]["name"], &list[1]["state"]),
        (&json!(1), &json!("tables"), &json!("applied"))
    );
    assert!(list[1]["applied_at"].as_i64() > Some(0));
    let said = folder.hub(&["migrate", "status"]).fine().stdout;
    assert!(
        said.contains("0002") && said.contains("later_columns") && said.contains("nothing waits"),
        "{said}"
    );
    assert!(said.contains(&folder.data().join("migrations").display().to_string()), "{said}");
    assert_eq!(folder.hub(&["migrate", "up"]).fine().stdout, "nothing waits\n");
    assert_eq!(folder.json(&["migrate", "up"]), json!({ "applied": [], "failed": null }));
}

#[test]
fn files_that_wait_are_applied_in_order_with_and_without_a_daemon() {
    for with_daemon in [false, true] {
        let folder = Folder::with_hub();
        let daemon = with_daemon.then(|| folder.serve());
        write(
            &folder,
            "0004_more.sql",
            "ALTER TABLE employees ADD COLUMN more TEXT; UPDATE app_settings SET setting_value = '4';",
        );
        write(&folder, "0003_note.sql", "ALTER TABLE employees ADD COLUMN note TEXT;");
        let status = folder.json(&["migrate", "status"]);
        assert_eq!((&status["waiting"], &status["migrations"][2]["state"]), (&json!(2), &json!("waiting")));
        assert_eq!(status["migrations"][2]["applied_at"], json!(null));
        assert!(folder.hub(&["migrate"]).fine().stdout.contains("2 migrations wait"));
        let version = folder.json(&["status"])["version"].as_u64();
        assert_eq!(
            folder.json(&["migrate", "up"]),
            json!({ "applied": [{ "number": 3, "name": "note" }, { "number": 4, "name": "more" }], "failed": null })
        );
        assert_eq!(number(&folder, NOTES), 2);
        assert_eq!(
            number(
                &folder,
                "SELECT setting_value FROM app_settings WHERE setting_value = '4' UNION SELECT 4"
            ),
            4
        );
        assert!(folder.json(&["status"])["version"].as_u64() > version, "devices have something to fetch");
        assert_eq!(folder.json(&["migrate"])["waiting"], 0);
        assert_eq!(folder.hub(&["migrate", "up"]).fine().stdout, "nothing waits\n");
        drop(daemon);
    }
}

#[test]
fn a_failing_one_is_named_with_what_to_do_and_the_ones_before_it_stay() {
    for with_daemon in [false, true] {
        let folder = Folder::with_hub();
        let _daemon = with_daemon.then(|| folder.serve());
        write(&folder, "0003_note.sql", "ALTER TABLE employees ADD COLUMN note TEXT;");
        write(
            &folder,
            "0004_bad.sql",
            "ALTER TABLE employees ADD COLUMN more TEXT;\nINSERT INTO nowhere\n  VALUES (1);",
        );
        write(&folder, "0005_never.sql", "DROP TABLE employees;");
        let said = folder.hub(&["migrate", "up"]);
        assert_eq!(said.stdout, "applied 0003 note\n");
        let said = said.failure();
        for part in [
            "migration 4 (bad)",
            "no such table: nowhere",
            "INSERT INTO nowhere VALUES (1)",
            "rolled back",
            "migrate up",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(number(&folder, NOTES), 1, "nothing of the failed one is left");
        write(&folder, "0004_bad.sql", "ALTER TABLE employees ADD COLUMN more TEXT");
        remove(&folder, "0005_never.sql");
        assert_eq!(folder.hub(&["migrate", "up"]).fine().stdout, "applied 0004 bad\n");
        assert_eq!(number(&folder, NOTES), 2);
    }
}

#[test]
fn gaps_doubles_and_edited_files_are_clear_errors() {
    let folder = Folder::with_hub();
    let refused = |part: &str| {
        for command in ["status", "up"] {
            let said = folder.hub(&["migrate", command]).failure();
            assert!(said.contains(part), "{part}: {said}");
        }
    };
    write(&folder, "0002_mine.sql", "SELECT 1");
    refused("numbers up to 2 are tt-hub's own");
    remove(&folder, "0002_mine.sql");
    write(&folder, "0004_b.sql", "SELECT 1");
    refused("migration 4 waits, but 2 is the last before it");
    write(&folder, "0003_a.sql", "ALTER TABLE employees ADD COLUMN note TEXT");
    write(&folder, "3_c.sql", "SELECT 1");
    refused("number 3 is there twice");
    remove(&folder, "3_c.sql");
    write(&folder, "notes.sql", "SELECT 1");
    refused("it has no number");
    remove(&folder, "notes.sql");
    folder.hub(&["migrate", "up"]).fine();
    write(&folder, "0003_a.sql", "ALTER TABLE employees ADD COLUMN other TEXT");
    refused("migration 3 (a) is not the file that this database got");
}

#[test]
fn an_adopted_file_begins_with_numbers_of_its_own() {
    let folder = Folder::new();
    let file = folder.beside("own.db");
    Connection::open(&file)
        .unwrap()
        .execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 2)")
        .unwrap();
    folder.hub(&["init", "--adopt", file.to_str().unwrap()]).fine();
    assert_eq!(folder.json(&["migrate"])["adopted"], true);
    write(&folder, "0001_b.sql", "ALTER TABLE t RENAME COLUMN a TO b");
    assert_eq!(folder.hub(&["migrate", "up"]).fine().stdout, "applied 0001 b\n");
    assert_eq!(number(&folder, "SELECT b FROM t"), 2);
}

#[test]
fn status_and_edges_say_what_waits_for_the_schema() {
    let folder = Folder::with_hub();
    assert_eq!(folder.json(&["status"])["waiting_for_schema"], 0);
    let conn = Connection::open(folder.database()).unwrap();
    conn.execute_batch(
        "INSERT INTO _sync_edge(device, name, role, enrolled_at, cursor, schema) VALUES (4, 'station-4', 'station', 1, 0, 'ab12');
         INSERT INTO _sync_conflict(version, kind, tab, key, named_key, clashes, row, work, lost_from, lost_at, action)
         VALUES (1, 'schema', 't', x'', x'00', x'00', x'00', x'00', 4, 0, 'held');",
    )
    .unwrap();
    assert_eq!(folder.json(&["status"])["waiting_for_schema"], 1);
    assert!(folder.hub(&["status"]).fine().stdout.contains("rows that wait for a table or column: 1"));
    let schema = || folder.json(&["edges"])[0]["schema"].clone();
    assert_eq!(schema(), "ab12; rows that wait for the hub's schema: 1");
    assert!(folder.hub(&["edges"]).fine().stdout.contains("station-4: rows that wait"));
    conn.execute("UPDATE _sync_conflict SET state = 'closed'", []).unwrap();
    assert_eq!(schema(), "ab12");
    write(&folder, "0003_note.sql", "ALTER TABLE employees ADD COLUMN note TEXT");
    folder.hub(&["migrate", "up"]).fine();
    assert_eq!(schema(), "ab12; steps of the schema to come: 1");
}
