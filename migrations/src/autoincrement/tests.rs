//! Upgrades of many `CREATE TABLE` texts: rows and indexes survive, the word works, the rest is left alone.

use super::{AutoincrementError, upgrade};
use rusqlite::Connection;

fn open(sql: &str) -> Connection {
    let conn = Connection::open_in_memory().expect("memory");
    conn.execute_batch(sql).expect(sql);
    conn
}

fn upgraded(conn: &mut Connection, table: &str) -> Result<bool, AutoincrementError> {
    let tx = conn.transaction().expect("begin");
    let outcome = upgrade(&tx, table);
    tx.commit().expect("commit");
    outcome
}

fn ask<T: rusqlite::types::FromSql>(conn: &Connection, sql: &str) -> T {
    conn.query_row(sql, [], |row| row.get(0)).expect(sql)
}

/// Key declarations that make a rowid alias; `{a}` is where another column goes.
const ALIASES: [&str; 24] = [
    "id INTEGER PRIMARY KEY, {a}",
    "{a}, id INTEGER PRIMARY KEY",
    "id integer primary key, {a}",
    "id INTEGER PRIMARY KEY ASC, {a}",
    "id INTEGER NOT NULL PRIMARY KEY, {a}",
    "id INTEGER PRIMARY KEY NOT NULL, {a}",
    "id INTEGER PRIMARY KEY NOT NULL UNIQUE CHECK (id > 0), {a}",
    "id INTEGER CONSTRAINT pk PRIMARY KEY, {a}",
    "id INTEGER CONSTRAINT \"primary key\" PRIMARY KEY ASC, {a}",
    "id INTEGER PRIMARY KEY ON CONFLICT ABORT, {a}",
    "id INTEGER PRIMARY KEY ASC ON CONFLICT REPLACE NOT NULL, {a}",
    "\"id\" INTEGER PRIMARY KEY, {a}",
    "[id] INTEGER PRIMARY KEY, {a}",
    "`id` INTEGER PRIMARY KEY, {a}",
    "'id' INTEGER PRIMARY KEY, {a}",
    "id INTEGER -- the key, PRIMARY KEY (not this)\n PRIMARY /* , */ KEY--\n, {a}",
    "id INTEGER, {a}, PRIMARY KEY(id)",
    "id INTEGER, {a}, PRIMARY KEY (\"id\" ASC)",
    "id INTEGER, {a}, PRIMARY KEY ([id] DESC)",
    "id INTEGER, {a}, CONSTRAINT t_pk PRIMARY KEY (id) ON CONFLICT FAIL",
    "id INTEGER, {a}, UNIQUE(note) CONSTRAINT `t pk` PRIMARY KEY ( id /* ) */ ) CHECK (note <> 'PRIMARY KEY(')",
    "id INTEGER, {a}, FOREIGN KEY (note) REFERENCES other(x), PRIMARY KEY(id)",
    "id INTEGER DEFAULT (1 + (2)), \"PRIMARY\" TEXT DEFAULT 'PRIMARY KEY', {a}, PRIMARY KEY(id)",
    "id INTEGER PRIMARY KEY, \"AUTOINCREMENT\" INT DEFAULT \"AUTOINCREMENT\", {a}",
];

#[test]
fn rowid_aliases_get_autoincrement_and_keep_everything() {
    for (shape, key) in ALIASES.iter().enumerate() {
        for head in ["CREATE TABLE t", "CREATE TABLE IF NOT EXISTS \"t\"", "create table main.[t]"] {
            let columns = key.replace("{a}", "note TEXT DEFAULT \"none\"");
            let mut conn = open(&format!(
                "PRAGMA foreign_keys=OFF; {head} ({columns});
                 CREATE INDEX t_note ON t(note); CREATE INDEX t_part ON t(note, id) WHERE note LIKE 'b%';
                 CREATE TABLE log(id); CREATE TRIGGER t_in AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.id); END;
                 INSERT INTO t(id, note) VALUES (3, 'a'), (7, 'b'), (9, 'bb');"
            ));
            assert!(upgraded(&mut conn, "T").expect(key), "{key}");
            survives(&conn, &format!("{shape}: {key}"));
            assert!(!upgraded(&mut conn, "t").expect(key), "a second time there is nothing to do: {key}");
        }
    }
}

fn survives(conn: &Connection, case: &str) {
    let ids: String = ask(conn, "SELECT group_concat(id || note, ' ') FROM (SELECT * FROM t ORDER BY id)");
    assert_eq!(ids, "3a 7b 9bb", "{case}");
    assert_eq!(ask::<i64>(conn, "SELECT seq FROM sqlite_sequence WHERE name = 't'"), 9, "{case}");
    conn.execute_batch("DELETE FROM t WHERE id = 9; INSERT INTO t(note) VALUES ('c')").expect(case);
    assert_eq!(ask::<i64>(conn, "SELECT max(id) FROM t"), 10, "the id of a deleted row came back: {case}");
    conn.execute_batch("UPDATE sqlite_sequence SET seq = 5000; INSERT INTO t(note) VALUES ('d')")
        .expect(case);
    assert_eq!(ask::<i64>(conn, "SELECT max(id) FROM t"), 5001, "{case}");
    assert_eq!(ask::<i64>(conn, "SELECT max(id) FROM log"), 5001, "the trigger is gone: {case}");
    let by_index = "SELECT count(*) FROM t INDEXED BY t_note WHERE note >= 'b'";
    assert_eq!(ask::<i64>(conn, by_index), 3, "{case}");
    assert_eq!(ask::<String>(conn, "PRAGMA integrity_check"), "ok", "{case}");
}

#[test]
fn other_keys_are_left_alone() {
    for table in [
        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a)",
        "CREATE TABLE t(id INTEGER, a, PRIMARY KEY(id AUTOINCREMENT))",
        "CREATE TABLE t(id INTEGER PRIMARY KEY DESC, a)",
        "CREATE TABLE t(id INT PRIMARY KEY, a)",
        "CREATE TABLE t(id INTEGER(8) PRIMARY KEY, a)",
        "CREATE TABLE t(id TEXT PRIMARY KEY, a)",
        "CREATE TABLE t(a INTEGER, b INTEGER, PRIMARY KEY(a, b))",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a) WITHOUT ROWID",
        "CREATE TABLE t(a, b)",
        "CREATE TABLE t(a UNIQUE, b)",
    ] {
        let mut conn = open(table);
        assert!(!upgraded(&mut conn, "t").expect(table), "{table}");
        assert_eq!(ask::<String>(&conn, "SELECT sql FROM sqlite_schema WHERE name = 't'"), table);
    }
}

#[test]
fn strict_tables_generated_columns_and_odd_names() {
    for (table, sql) in [
        ("s", "CREATE TABLE s(id INTEGER PRIMARY KEY, a TEXT) STRICT"),
        (
            "g",
            "CREATE TABLE g(id INTEGER PRIMARY KEY, a, b AS (a + 1), c GENERATED ALWAYS AS (a * 2) STORED)",
        ),
        ("it's \"odd\"", "CREATE TABLE \"it's \"\"odd\"\"\"(id INTEGER PRIMARY KEY, a)"),
        ("größe", "CREATE TABLE größe(\"der schlüssel\" INTEGER PRIMARY KEY, a)"),
        ("virtual", "CREATE TABLE virtual(id INTEGER PRIMARY KEY, a)"),
        ("r", "CREATE TABLE r(id INTEGER PRIMARY KEY, a, rowid TEXT, _rowid_ TEXT, oid TEXT)"),
    ] {
        let mut conn = open(sql);
        assert!(upgraded(&mut conn, table).expect(sql), "{sql}");
        let name = crate::quote::ident(table);
        conn.execute_batch(&format!(
            "INSERT INTO {name}(a) VALUES (1); DELETE FROM {name}; INSERT INTO {name}(a) VALUES (2)"
        ))
        .expect(sql);
        assert_eq!(ask::<i64>(&conn, "SELECT seq FROM sqlite_sequence"), 2, "{sql}");
    }
}

#[test]
fn added_and_renamed_columns_do_not_matter() {
    let mut conn = open(
        "CREATE TABLE old(key INTEGER PRIMARY KEY, a);
         ALTER TABLE old ADD COLUMN b TEXT DEFAULT 'x' CHECK (b <> '');
         ALTER TABLE old RENAME COLUMN key TO id; ALTER TABLE old RENAME TO t;
         INSERT INTO t(a) VALUES (1); ALTER TABLE t DROP COLUMN a;",
    );
    assert!(upgraded(&mut conn, "t").expect("upgrade"));
    conn.execute_batch("DELETE FROM t; INSERT INTO t(b) VALUES ('y')").expect("insert");
    assert_eq!(ask::<i64>(&conn, "SELECT id FROM t"), 2);
}

#[test]
fn a_rollback_takes_it_back_and_other_connections_see_a_commit() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("t.db");
    let mut conn = Connection::open(&path).expect("open");
    conn.execute_batch(
        "PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (4, 1)",
    )
    .expect("setup");
    let other = Connection::open(&path).expect("open");
    assert_eq!(ask::<i64>(&other, "SELECT count(*) FROM t"), 1);
    let tx = conn.transaction().expect("begin");
    assert!(upgrade(&tx, "t").expect("upgrade"));
    tx.rollback().expect("rollback");
    assert_eq!(ask::<i64>(&conn, "SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%AUTOINC%'"), 0);
    conn.execute_batch("DELETE FROM t; INSERT INTO t(a) VALUES (2)").expect("plain keys again");
    assert_eq!(ask::<i64>(&conn, "SELECT id FROM t"), 1);

    assert!(upgraded(&mut conn, "t").expect("upgrade"));
    other.execute_batch("DELETE FROM t; INSERT INTO t(a) VALUES (3)").expect("the other connection follows");
    assert_eq!(ask::<i64>(&conn, "SELECT id FROM t"), 2);
    assert_eq!(ask::<String>(&other, "PRAGMA integrity_check"), "ok");
}

#[test]
fn old_faults_are_not_our_doing() {
    let mut conn = open("CREATE TABLE t(id INTEGER PRIMARY KEY, a CHECK (a > 0))");
    conn.execute_batch("PRAGMA ignore_check_constraints=ON; INSERT INTO t(a) VALUES (-1); PRAGMA ignore_check_constraints=OFF")
        .expect("setup");
    assert_ne!(ask::<String>(&conn, "PRAGMA integrity_check"), "ok");
    assert!(upgraded(&mut conn, "t").expect("upgrade"));
}

#[test]
fn errors_say_what_and_leave_the_transaction_usable() {
    let mut conn = open("CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE VIEW v AS SELECT 1 AS id");
    assert!(matches!(upgrade(&conn, "t"), Err(AutoincrementError::NoTransaction(_))));
    assert!(matches!(upgraded(&mut conn, "nowhere"), Err(AutoincrementError::NoTable(_))));
    assert!(matches!(upgraded(&mut conn, "v"), Err(AutoincrementError::NoTable(_))));
    let tx = conn.transaction().expect("begin");
    tx.execute_batch("PRAGMA query_only=ON").expect("no more writing");
    assert!(matches!(upgrade(&tx, "t"), Err(AutoincrementError::Sqlite { .. })));
    tx.execute_batch("PRAGMA query_only=OFF; INSERT INTO t(a) VALUES (1)").expect("still usable");
    tx.commit().expect("commit");
    assert_eq!(ask::<i64>(&conn, "SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%AUTOINC%'"), 0);
}
