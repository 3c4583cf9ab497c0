//! Triggers of the program: those that only keep tables which are not replicated fire for rows that come from
//! elsewhere, the others do not, and none of them keeps a row out.

use rusqlite::Connection;
use tt_migrations::programs_triggers::left_out;
use tt_protocol::policy::{Policy, TableRule};
use tt_tests::sim::checks;
use tt_tests::sim::schemas::Shape;
use tt_tests::sim::world::World;

const SCHEMA: &str = "
CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, number TEXT UNIQUE, note TEXT, good INTEGER DEFAULT 0);
CREATE TABLE lines(id INTEGER PRIMARY KEY AUTOINCREMENT, order_id INTEGER REFERENCES orders(id), good INTEGER DEFAULT 0);
CREATE TABLE seen(note TEXT PRIMARY KEY, times INTEGER DEFAULT 1);
CREATE TABLE log(at INTEGER PRIMARY KEY, what TEXT);
INSERT INTO orders(id, number, note) VALUES (1, 'A', 'green apples'), (2, 'B', 'pears');
INSERT INTO lines(id, order_id) VALUES (1, 1);";

const SEARCH: &str = "
CREATE VIRTUAL TABLE search USING fts5(note, content='orders', content_rowid='id');
INSERT INTO search(search) VALUES ('rebuild');
CREATE TRIGGER orders_found AFTER INSERT ON orders BEGIN
  INSERT INTO search(rowid, note) VALUES (NEW.id, NEW.note);
END;
CREATE TRIGGER orders_lost AFTER DELETE ON orders BEGIN
  INSERT INTO search(search, rowid, note) VALUES ('delete', OLD.id, OLD.note);
END;
CREATE TRIGGER orders_renamed AFTER UPDATE OF note ON orders BEGIN
  INSERT INTO search(search, rowid, note) VALUES ('delete', OLD.id, OLD.note);
  INSERT INTO search(rowid, note) VALUES (NEW.id, NEW.note);
END;";

const SHAPE: Shape = Shape { name: "triggers", sql: SCHEMA, tables: &[] };
const HUB: usize = 0;
const ONE: usize = 1;
const OTHER: usize = 2;

/// `seen` and `log` belong to each node alone.
fn world(triggers: &str) -> World {
    let mut policy = Policy::default();
    for table in ["seen", "log"] {
        policy.tables.insert(table.to_owned(), TableRule { replicate: false, ..TableRule::ORDINARY });
    }
    let counters = vec!["good".to_owned()];
    for table in ["orders", "lines"] {
        let counters = counters.clone();
        policy.tables.insert(table.to_owned(), TableRule { counters, ..TableRule::ORDINARY });
    }
    let sql: &'static str = format!("{SCHEMA} {triggers}").leak();
    let mut world = World::new(&Shape { sql, ..SHAPE }, policy, 2);
    world.remember_snapshot();
    world.settle();
    world
}

fn write(world: &mut World, node: usize, sql: &str) {
    world.pass(1_000);
    world.program(node).execute_batch(&format!("BEGIN; {sql}; COMMIT")).expect("the program may do this");
}

fn text(conn: &Connection, sql: &str) -> String {
    let sql = format!("SELECT COALESCE(group_concat(x, ' '), '') FROM ({sql})");
    conn.query_row(&sql, [], |row| row.get(0)).expect("a query")
}

fn settled(world: &mut World) {
    world.settle();
    checks::converged(world);
    checks::nothing_unsent(world);
}

/// What a node's search finds, and that it holds what the table holds and nothing else.
#[track_caller]
fn finds(world: &World, node: usize, word: &str, expected: &str) {
    let conn = world.program(node);
    let sql = format!("SELECT rowid AS x FROM search WHERE search MATCH '{word}' ORDER BY rowid");
    assert_eq!(text(conn, &sql), expected, "{word}");
    conn.execute_batch("INSERT INTO search(search, rank) VALUES ('integrity-check', 1)")
        .expect("the index agrees with the table");
}

fn names(world: &World, node: usize) -> String {
    let conn = if node == HUB { None } else { Some(world.edge_store(node - 1).connection()) };
    let found = left_out(conn.expect("an edge")).expect("reads");
    found.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_search_index_of_one_device_holds_what_came_from_elsewhere() {
    let mut world = world("");
    write(&mut world, ONE, SEARCH);
    finds(&world, ONE, "apples", "1");
    settled(&mut world);
    write(&mut world, OTHER, "INSERT INTO orders(id, number, note) VALUES (10, 'C', 'red apples')");
    write(&mut world, HUB, "UPDATE orders SET note = 'apples and pears' WHERE id = 2");
    write(&mut world, ONE, "INSERT INTO orders(id, number, note) VALUES (20, 'D', 'my own apples')");
    settled(&mut world);
    finds(&world, ONE, "apples", "1 2 10 20");
    write(&mut world, HUB, "DELETE FROM orders WHERE id = 10");
    write(&mut world, OTHER, "UPDATE orders SET note = 'plums' WHERE id IN (2, 20)");
    settled(&mut world);
    finds(&world, ONE, "apples", "1");
    finds(&world, ONE, "plums", "2 20");
    assert_eq!(names(&world, ONE), "");
}

#[test]
fn a_search_index_at_the_hub_holds_what_devices_wrote() {
    let mut world = world(SEARCH);
    write(&mut world, ONE, "INSERT INTO orders(id, number, note) VALUES (10, 'C', 'red apples')");
    write(&mut world, OTHER, "UPDATE orders SET note = 'plums' WHERE id = 1");
    settled(&mut world);
    for node in [HUB, ONE, OTHER] {
        finds(&world, node, "apples", "10");
        finds(&world, node, "plums", "1");
    }
    // Two devices make the same row: the loser's goes again, and its entry in the index with it.
    write(&mut world, ONE, "INSERT INTO orders(id, number, note) VALUES (30, 'E', 'quinces')");
    write(&mut world, OTHER, "INSERT INTO orders(id, number, note) VALUES (31, 'E', 'grapes')");
    settled(&mut world);
    for node in [HUB, ONE, OTHER] {
        let kept = text(world.program(node), "SELECT note AS x FROM orders WHERE number = 'E'");
        finds(
            &world,
            node,
            &kept,
            &text(world.program(node), "SELECT id AS x FROM orders WHERE number = 'E'"),
        );
        finds(&world, node, if kept == "quinces" { "grapes" } else { "quinces" }, "");
    }
}

#[test]
fn values_swapped_in_one_changeset_are_swapped_in_the_index() {
    let mut world = world("");
    write(&mut world, ONE, SEARCH);
    settled(&mut world);
    let swap = "UPDATE orders SET number = 'x' WHERE id = 1; UPDATE orders SET number = 'A', note = 'figs' WHERE id = 2;
                UPDATE orders SET number = 'B', note = 'dates' WHERE id = 1";
    write(&mut world, OTHER, swap);
    settled(&mut world);
    finds(&world, ONE, "figs", "2");
    finds(&world, ONE, "dates OR apples OR pears", "1");
    assert_eq!(names(&world, ONE), "");
}

#[test]
fn a_trigger_that_writes_a_replicated_table_does_not_count_twice() {
    let sums = "CREATE TRIGGER sums AFTER UPDATE OF good ON lines BEGIN
                  UPDATE orders SET good = good + NEW.good - OLD.good WHERE id = NEW.order_id;
                END;";
    let mut world = world(sums);
    write(&mut world, ONE, "UPDATE lines SET good = good + 5");
    write(&mut world, OTHER, "UPDATE lines SET good = good + 7");
    settled(&mut world);
    assert_eq!(text(world.program(HUB), "SELECT good AS x FROM orders WHERE id = 1"), "12");
    assert_eq!(names(&world, ONE), "", "nothing is missing");
}

#[test]
fn one_that_writes_both_does_not_fire_and_is_named() {
    let both = "CREATE TRIGGER both AFTER UPDATE OF note ON orders BEGIN
                  INSERT INTO log(what) VALUES (NEW.note);
                  UPDATE lines SET good = good + 1 WHERE order_id = NEW.id;
                END;
                CREATE TRIGGER logged AFTER UPDATE OF note ON orders BEGIN INSERT INTO log(what) VALUES ('plain'); END;";
    let mut world = world(both);
    write(&mut world, ONE, "UPDATE orders SET note = 'n' WHERE id = 1");
    settled(&mut world);
    assert_eq!(text(world.program(OTHER), "SELECT good AS x FROM lines"), "1");
    assert_eq!(text(world.program(OTHER), "SELECT what AS x FROM log"), "plain");
    assert_eq!(names(&world, OTHER), "both");
}

#[test]
fn a_trigger_that_fires_another_is_judged_by_what_that_one_writes() {
    let chain = "CREATE TRIGGER /* a name */ 'the \"first\"' AFTER UPDATE OF note ON orders BEGIN INSERT INTO log(what) VALUES (NEW.note); END;
                 CREATE TRIGGER second AFTER INSERT ON log BEGIN
                   INSERT INTO seen(note) VALUES (NEW.what) ON CONFLICT(note) DO UPDATE SET times = times + 1;
                 END;
                 CREATE TRIGGER \"quoted \"\"name\"\"\" AFTER UPDATE OF number ON orders BEGIN
                   UPDATE log SET what = 'x' WHERE at = 0;
                 END;
                 CREATE TRIGGER third AFTER UPDATE OF what ON log BEGIN UPDATE lines SET good = 0; END;";
    let mut world = world(chain);
    write(&mut world, ONE, "UPDATE orders SET note = 'n' WHERE id < 3");
    settled(&mut world);
    assert_eq!(text(world.program(OTHER), "SELECT note || times AS x FROM seen"), "n2");
    assert_eq!(names(&world, OTHER), "quoted \"name\"");
}

#[test]
fn one_that_fails_does_not_keep_the_row_out_and_the_others_go_on() {
    let failing = "CREATE TRIGGER a_logs AFTER INSERT ON orders BEGIN INSERT INTO log(what) VALUES (NEW.number); END;
                   CREATE TRIGGER b_fails AFTER INSERT ON orders WHEN NEW.note = 'bad' BEGIN
                     INSERT INTO log(what) VALUES ('never'); SELECT RAISE(ABORT, 'not here');
                   END;
                   CREATE TRIGGER c_counts AFTER INSERT ON orders BEGIN INSERT INTO seen(note) VALUES (NEW.note); END;";
    let mut world = world(failing);
    world.program(ONE).execute_batch("DROP TRIGGER b_fails").expect("a program may");
    for (id, note) in [(10, "good"), (11, "bad"), (12, "better")] {
        write(
            &mut world,
            ONE,
            &format!("INSERT INTO orders(id, number, note) VALUES ({id}, 'n{id}', '{note}')"),
        );
        settled(&mut world);
    }
    for node in [HUB, OTHER] {
        assert_eq!(text(world.program(node), "SELECT what AS x FROM log ORDER BY at"), "n10 n11 n12");
        assert_eq!(text(world.program(node), "SELECT note AS x FROM seen ORDER BY rowid"), "good bad better");
    }
    assert_eq!(names(&world, OTHER), "b_fails");
    let found = left_out(world.edge_store(OTHER - 1).connection()).expect("reads");
    assert!(found[0].reason.contains("not here"), "{found:?}");
}

#[test]
fn a_unique_value_in_a_table_of_its_own_is_not_taken_for_a_clash_of_rows() {
    let seen =
        "CREATE TRIGGER sees AFTER INSERT ON orders BEGIN INSERT INTO seen(note) VALUES (NEW.note); END;";
    let mut world = world("");
    write(&mut world, OTHER, seen);
    write(
        &mut world,
        ONE,
        "INSERT INTO orders(id, number, note) VALUES (10, 'C', 'same'), (11, 'D', 'same')",
    );
    settled(&mut world);
    assert_eq!(text(world.program(OTHER), "SELECT id AS x FROM orders WHERE id > 9"), "10 11");
    assert_eq!(names(&world, OTHER), "sees");
}

#[test]
fn one_that_could_take_the_row_away_does_not_fire() {
    let harm = "CREATE TRIGGER ignores BEFORE INSERT ON orders BEGIN
                  INSERT INTO log(what) VALUES ('gone'); SELECT RAISE(IGNORE);
                END;
                CREATE TRIGGER rolls_back AFTER UPDATE ON orders BEGIN
                  INSERT OR ROLLBACK INTO log(at, what) VALUES (1, 'x');
                END;
                CREATE TRIGGER only_looks BEFORE UPDATE OF number ON orders WHEN NEW.number IS NULL BEGIN
                  SELECT RAISE(ABORT, 'a number is needed');
                END;";
    let mut world = world("");
    write(&mut world, OTHER, harm);
    write(&mut world, ONE, "INSERT INTO orders(id, number, note) VALUES (10, 'C', 'here')");
    write(&mut world, ONE, "UPDATE orders SET note = 'changed', number = NULL WHERE id < 3");
    settled(&mut world);
    assert_eq!(
        text(world.program(OTHER), "SELECT note AS x FROM orders ORDER BY id"),
        "changed changed here"
    );
    assert_eq!(names(&world, OTHER), "ignores rolls_back");
}

#[test]
fn triggers_that_come_change_and_go_are_followed() {
    let mut world = world("");
    let logs = |what: &str| {
        format!("CREATE TRIGGER logs AFTER UPDATE ON orders BEGIN INSERT INTO log(what) VALUES ({what}); END")
    };
    for (sql, expected) in [
        (logs("'one'"), "one"),
        (format!("DROP TRIGGER logs; {}", logs("'two'")), "one two"),
        ("ALTER TABLE log RENAME COLUMN what TO words".to_owned(), ""),
        ("ALTER TABLE orders ADD COLUMN extra TEXT".to_owned(), ""),
        ("DROP TRIGGER logs; DROP TABLE log".to_owned(), ""),
    ] {
        write(&mut world, OTHER, &sql);
        write(&mut world, ONE, "UPDATE orders SET note = note || '.' WHERE id = 1");
        settled(&mut world);
        if !expected.is_empty() {
            assert_eq!(text(world.program(OTHER), "SELECT what AS x FROM log ORDER BY at"), expected);
        }
    }
    assert_eq!(text(world.program(OTHER), "SELECT note AS x FROM orders WHERE id = 1"), "green apples.....");
}
