//! Single stories: what REPLACE removes in silence, odd keys, odd defaults, and triggers of the program.

use crate::station::Station;

#[test]
fn replace_removes_by_every_kind_of_unique_value() {
    let mut station = Station::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT UNIQUE, b INTEGER, c TEXT, d INTEGER AS (b * 2) STORED UNIQUE);
         CREATE UNIQUE INDEX partial ON t(c) WHERE b > 10 -- only the large ones
         ;
         CREATE UNIQUE INDEX computed ON t(lower(a) || 'x');
         INSERT INTO t VALUES (1, 'one', 1, 'x'), (2, 'two', 12, 'x'), (3, 'Three', 13, 'y'), (4, 'four', 14, 'z');",
    );
    station.run("INSERT OR REPLACE INTO t(id, a, b) VALUES (50, 'one', 5)");
    assert_eq!(station.cut(), ["+ t 50", "- t 1"]);
    station.run("INSERT OR REPLACE INTO t(id, a, b) VALUES (51, 'THREE', 6)");
    assert_eq!(station.cut(), ["+ t 51", "- t 3"], "by an expression");
    station.run("UPDATE OR REPLACE t SET b = 14 WHERE id = 2");
    assert_eq!(station.cut(), ["- t 4", "~ t 2: b"], "by a generated column");
    station.run("UPDATE t SET c = 'x' WHERE id = 51; UPDATE OR REPLACE t SET b = 99 WHERE id = 51");
    assert_eq!(station.cut(), ["- t 2", "~ t 51: b,c"], "by entering a partial index");
}

#[test]
fn a_default_that_replace_puts_in_place_of_null() {
    let mut station = Station::new(
        "CREATE TABLE t(k TEXT NOT NULL DEFAULT \"none\" PRIMARY KEY, u INTEGER NOT NULL DEFAULT (1 + 1) UNIQUE) WITHOUT ROWID;
         INSERT INTO t VALUES ('none', 1), ('a', 2);",
    );
    station.run("INSERT OR REPLACE INTO t VALUES (NULL, NULL)");
    assert_eq!(station.cut(), ["- t a", "~ t none: u"]);
}

#[test]
fn the_id_minus_one_is_an_id_like_any() {
    let mut station =
        Station::new("CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (-1, 'unknown');");
    station.run("INSERT INTO t(v) VALUES ('automatic')");
    assert_eq!(station.cut().len(), 1);
    station.run("INSERT OR REPLACE INTO t VALUES (-1, 'still unknown')");
    assert_eq!(station.cut(), ["~ t -1: v"]);
    station.run("DELETE FROM t WHERE id = -1");
    assert_eq!(station.cut(), ["- t -1"]);
    station.run("INSERT INTO t VALUES (-1, 'again')");
    assert_eq!(station.cut(), ["+ t -1"]);
    station.run("REPLACE INTO t VALUES (-1, 'and again')");
    assert_eq!(station.cut(), ["~ t -1: v"]);
}

#[test]
fn a_key_with_a_collation_of_its_own() {
    let mut station = Station::new(
        "CREATE TABLE exact(name TEXT COLLATE NOCASE, v, PRIMARY KEY(name COLLATE BINARY));
         CREATE TABLE folded(name TEXT, v, PRIMARY KEY(name COLLATE NOCASE));
         INSERT INTO exact VALUES ('a', 1); INSERT INTO folded VALUES ('a', 1);",
    );
    station.run("INSERT INTO exact VALUES ('A', 2)");
    assert_eq!(station.cut(), ["+ exact A"]);
    station.run("INSERT OR REPLACE INTO folded VALUES ('A', 1)");
    assert_eq!(station.cut(), ["+ folded A", "- folded a"], "the bytes of the key are other ones");
}

#[test]
fn what_comes_back_as_it_was_is_no_change() {
    let mut station = Station::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER, u TEXT UNIQUE); INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b');",
    );
    station.run("UPDATE t SET n = 5; UPDATE t SET n = id; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 1, 'a')");
    station.run("BEGIN; INSERT INTO t(n) VALUES (9); UPDATE t SET n = 7; ROLLBACK");
    station.run("INSERT OR IGNORE INTO t VALUES (1, 8, 'c')");
    station.run("INSERT INTO t(id, n) VALUES (77, 1); DELETE FROM t WHERE id = 77");
    station.refused("INSERT INTO t VALUES (1, 8, 'c')");
    assert!(station.cut().is_empty());
    station
        .run("UPDATE t SET u = CASE u WHEN 'a' THEN NULL ELSE 'a' END; UPDATE t SET u = 'b' WHERE u IS NULL");
    assert_eq!(station.cut(), ["~ t 1: u", "~ t 2: u"], "a swap");
}

#[test]
fn a_program_that_stamps_its_own_rows() {
    let mut station = Station::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER, updated_at INTEGER DEFAULT 0);
         CREATE TRIGGER stamp AFTER UPDATE ON t BEGIN UPDATE t SET updated_at = updated_at + 1 WHERE id = NEW.id; END;
         INSERT INTO t(id, n) VALUES (1, 1);",
    );
    station.run("UPDATE t SET n = 2 WHERE id = 1");
    assert_eq!(station.cut(), ["~ t 1: n,updated_at"]);
}

#[test]
fn children_that_follow_their_parent() {
    let mut station = Station::new(
        "CREATE TABLE p(id INTEGER PRIMARY KEY, u TEXT UNIQUE);
         CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE);
         CREATE TABLE d(k TEXT PRIMARY KEY, p REFERENCES p(id) ON DELETE SET NULL);
         INSERT INTO p VALUES (1, 'a'), (2, 'b'); INSERT INTO c VALUES (1, 1), (2, 2); INSERT INTO d VALUES ('x', 1);",
    );
    station.run("PRAGMA foreign_keys = ON; DELETE FROM p WHERE id = 1");
    assert_eq!(station.cut(), ["- c 1", "- p 1", "~ d x: p"]);
    station.run("INSERT OR REPLACE INTO p VALUES (3, 'b')");
    assert_eq!(station.cut(), ["+ p 3", "- c 2", "- p 2"], "REPLACE cascades, too");
}

#[test]
fn rows_without_a_full_key_belong_to_nobody() {
    let mut station = Station::new("CREATE TABLE t(k TEXT PRIMARY KEY, v)");
    station.run("INSERT INTO t VALUES (NULL, 1), (NULL, 2); UPDATE t SET v = 3");
    assert!(station.cut().is_empty());
    station.run("UPDATE t SET k = 'named' WHERE rowid = 1");
    assert_eq!(station.cut(), ["+ t named"]);
    station.run("UPDATE t SET k = NULL WHERE k = 'named'");
    assert_eq!(station.cut(), ["- t named"]);
}
