//! Whatever the key and wherever the row, the device has the hub's rows afterwards, its own on top.

use crate::scene::Scene;
use rusqlite::Connection;
use tt_edge::store::Verdict;
use tt_edge::store::difference::Compared;
use tt_protocol::number::Millis;

/// Rows of a table whose key is made from a number.
fn table(columns: &str, key: &str, rows: u32) -> String {
    format!(
        "CREATE TABLE t({columns});
         INSERT INTO t SELECT {key}, n, 'text ' || n FROM
         (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows}) SELECT n FROM c)"
    )
}

const KEYS: [(&str, &str); 6] = [
    ("id INTEGER PRIMARY KEY, n, v", "n * 3"),
    ("id TEXT PRIMARY KEY, n, v", "hex(n * 7919 % 65536) || n"),
    ("id TEXT PRIMARY KEY COLLATE NOCASE, n, v, UNIQUE (n)", "'Name ' || n"),
    (
        "id BLOB PRIMARY KEY, n, v) WITHOUT ROWID; CREATE TABLE other(id INTEGER PRIMARY KEY",
        "CAST(n AS BLOB)",
    ),
    ("a TEXT, n, v, PRIMARY KEY (a, n)", "'site ' || n % 3"),
    (
        "a, n INT, v, PRIMARY KEY (n DESC, a)) WITHOUT ROWID; CREATE TABLE other(id INTEGER PRIMARY KEY",
        "n % 5",
    ),
];

#[test]
fn rows_at_either_end_and_in_the_middle_whatever_the_key() {
    for (columns, key) in KEYS {
        let mut scene = Scene::new(&table(columns, key, 1_700));
        // What the hub has more of, less of, and otherwise: the first, the last, and some between.
        scene.unseen(
            "DELETE FROM t WHERE n IN (1, 2, 700, 1699, 1700);
             UPDATE t SET v = 'old' WHERE n IN (3, 511, 512, 513, 1698)",
        );
        scene.at_hub("DELETE FROM t WHERE n IN (4, 5, 600, 1024, 1025, 1696, 1697)");
        let wire = scene.reseed();
        scene.assert_equal();
        assert!(wire.down < 20_000, "{columns}: {wire:?}");
    }
}

#[test]
fn a_key_in_another_spelling_is_the_same_row() {
    let (columns, key) = KEYS[2];
    let mut scene = Scene::new(&table(columns, key, 1_000));
    scene.unseen("UPDATE t SET id = upper(id) WHERE n % 90 = 0");
    scene.reseed();
    scene.assert_equal();
}

#[test]
fn empty_new_and_emptied_tables() {
    let made = format!(
        "CREATE TABLE none(id INTEGER PRIMARY KEY); CREATE TABLE left_over(k TEXT PRIMARY KEY, v); {}",
        table(KEYS[0].0, KEYS[0].1, 2_000)
    );
    let mut scene = Scene::new(&made);
    scene.unseen("INSERT INTO left_over VALUES ('a', 1), ('b', 2); DELETE FROM t WHERE n > 1_200");
    scene.at_hub(
        "CREATE TABLE fresh(k TEXT PRIMARY KEY, v); INSERT INTO fresh VALUES ('x', 1), ('y', 2);
         ALTER TABLE left_over ADD COLUMN more TEXT DEFAULT 'm'",
    );
    scene.reseed();
    scene.assert_equal();
    let fresh: i64 = scene.program().query_row("SELECT count(*) FROM fresh", [], |row| row.get(0)).unwrap();
    assert_eq!(fresh, 2);
}

#[test]
fn a_unique_value_moves_from_the_last_row_to_the_first() {
    let rows = 40_000;
    let mut scene = Scene::new(&table("id INTEGER PRIMARY KEY, n UNIQUE, v", "n", rows));
    scene.at_hub(
        "DELETE FROM t WHERE id = 40000; UPDATE t SET n = 40000 WHERE id = 1;
         UPDATE t SET n = -n WHERE id IN (5, 39000); UPDATE t SET n = 5 WHERE id = 39000;
         UPDATE t SET n = 39000 WHERE id = 5",
    );
    scene.reseed();
    scene.assert_equal();
}

#[test]
fn what_programs_wrote_and_write_meanwhile_stays_on_top() {
    let mut scene = Scene::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER, v TEXT);
         WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 3000)
         INSERT INTO t(n, v) SELECT n, 'x' FROM c",
    );
    scene.at_hub("UPDATE t SET v = 'hub' WHERE id % 100 = 0");
    let program = scene.program();
    program
        .execute_batch("UPDATE t SET n = n + 1000 WHERE id = 100; INSERT INTO t(n, v) VALUES (1, 'mine'); DELETE FROM t WHERE id = 7")
        .unwrap();
    let mut snapshot = scene.snapshot();
    assert_eq!(scene.fetch(&mut snapshot), Compared::Rows);
    program
        .execute_batch("UPDATE t SET n = n + 1000 WHERE id IN (8, 200); INSERT INTO t(n, v) VALUES (2, 'mine'); DELETE FROM t WHERE id = 9")
        .unwrap();
    assert_eq!(scene.write(&snapshot), Verdict::Applied);
    let all = |sql: &str| -> Vec<(i64, String)> {
        let mut statement = program.prepare(sql).unwrap();
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    };
    let of_hub = |n: i64| (n, "hub".to_owned());
    assert_eq!(
        all("SELECT n, v FROM t WHERE id IN (100, 200, 300) ORDER BY id"),
        [of_hub(1_100), of_hub(1_200), of_hub(300)]
    );
    assert_eq!(all("SELECT n, v FROM t WHERE v = 'mine' ORDER BY n").len(), 2);
    assert_eq!(all("SELECT n, v FROM t WHERE id IN (7, 8, 9)"), [(1_008, "x".to_owned())]);
    drop(program);
    assert!(scene.store.cut(Millis(1)).unwrap().is_some(), "it is still to be handed in");
}

#[test]
fn rows_that_were_fetched_for_another_state_of_the_file_are_not_written() {
    let mut scene = Scene::new(&table(KEYS[0].0, KEYS[0].1, 2_000));
    scene.unseen("UPDATE t SET v = 'old' WHERE n = 5");
    let mut snapshot = scene.snapshot();
    assert_eq!(scene.fetch(&mut snapshot), Compared::Rows);
    scene.program().execute_batch("CREATE TABLE another(id INTEGER PRIMARY KEY)").unwrap();
    assert_eq!(scene.write(&snapshot), Verdict::Stale);
    assert_eq!(scene.fetch(&mut snapshot), Compared::Rows);
    assert_eq!(scene.write(&snapshot), Verdict::Applied);
    let old: i64 = Connection::open(scene.store.connection().path().unwrap())
        .unwrap()
        .query_row("SELECT count(*) FROM t WHERE v = 'old'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(old, 0);
}
