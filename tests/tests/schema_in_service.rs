//! The schema moves while programs and devices work.
//!
//! * `programs`: programs change it by themselves, as the real one does in its first minutes
//! * `migrations`: the operator changes it at the hub, and every device follows in order
//! * `gone`: columns and tables that were dropped or renamed while devices still use them
//! * `waiting`: rows that the hub has no place for yet

#[path = "schema_in_service/gone.rs"]
mod gone;
#[path = "schema_in_service/migrations.rs"]
mod migrations;
#[path = "schema_in_service/programs.rs"]
mod programs;
#[path = "schema_in_service/waiting.rs"]
mod waiting;

use rusqlite::Connection;
use tt_protocol::policy::Policy;
use tt_tests::sim::schemas::Shape;
use tt_tests::sim::world::World;

const SCHEMA: &str = "
CREATE TABLE machines(id INTEGER PRIMARY KEY AUTOINCREMENT, machine_name TEXT UNIQUE NOT NULL);
CREATE TABLE counts(id INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT NOT NULL, n INTEGER DEFAULT 0);
CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT);
INSERT INTO machines(machine_name) VALUES ('M1');
INSERT INTO counts(who, n) VALUES ('ana', 1), ('ben', 2);
";

const SHAPE: Shape = Shape { name: "in service", sql: SCHEMA, tables: &[] };

fn world(policy: Policy) -> World {
    let mut world = World::new(&SHAPE, policy, 3);
    world.remember_snapshot();
    world.settle();
    world
}

fn number(conn: &Connection, sql: &str) -> i64 {
    conn.query_row(sql, [], |row| row.get(0)).expect(sql)
}

fn run(world: &World, node: usize, sql: &str) {
    world.program(node).execute_batch(sql).expect(sql);
}

/// The columns of a table on a node, in alphabetical order.
fn columns(world: &World, node: usize, table: &str) -> String {
    let sql = "SELECT group_concat(name, ' ') FROM (SELECT name FROM pragma_table_info(?1) ORDER BY name)";
    let found: Option<String> = world.program(node).query_row(sql, [table], |row| row.get(0)).expect(sql);
    found.unwrap_or_default()
}

/// Rows, columns and tables are the same everywhere.
fn all_equal(world: &World) {
    let digests = world.digests();
    for (place, digest) in digests.iter().enumerate() {
        assert_eq!(digest, &digests[0], "node {place} differs from the hub");
        for table in digest.keys() {
            assert_eq!(columns(world, place, table), columns(world, 0, table), "{table} on node {place}");
        }
    }
}

fn no_conflicts(world: &World) {
    let listed: Vec<String> = world
        .program(0)
        .prepare("SELECT kind || ' ' || tab || ': ' || action FROM _sync_conflict")
        .expect("a query")
        .query_map([], |row| row.get(0))
        .expect("rows")
        .collect::<Result<_, _>>()
        .expect("texts");
    assert_eq!(listed, Vec::<String>::new());
}
