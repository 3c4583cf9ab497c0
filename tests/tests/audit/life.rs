//! A hub and two devices whose programs now and then write past capture, and quiet hours in which nobody
//! writes.

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tt_edge::store::{Audit, Outcome};
use tt_protocol::policy::{Policy, TableRule};
use tt_tests::sim::schemas::Shape;
use tt_tests::sim::world::World;

const SCHEMA: &str = "
CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, number TEXT UNIQUE, note TEXT);
CREATE TABLE counts(id INTEGER PRIMARY KEY AUTOINCREMENT, order_id INTEGER REFERENCES orders(id), who TEXT NOT NULL, n INTEGER DEFAULT 0);
CREATE TABLE settings(name TEXT PRIMARY KEY COLLATE NOCASE, value TEXT);
INSERT INTO orders(id, number) VALUES (1, 'A'), (2, 'B');
INSERT INTO counts(id, order_id, who, n) VALUES (1, 1, 'ana', 1), (2, 1, 'ben', 2), (3, 2, 'carla', 3);
INSERT INTO settings VALUES ('scale', 'kg'), ('Printer', 'A4');
";

pub(crate) const SHAPE: Shape = Shape { name: "audited", sql: SCHEMA, tables: &[] };

/// The hub's place.
pub(crate) const HUB: usize = 0;

/// A hub and two devices that have compared every table once.
pub(crate) fn world() -> World {
    let mut policy = Policy::default();
    let counters = vec!["n".to_owned()];
    policy.tables.insert("counts".to_owned(), TableRule { counters, ..TableRule::ORDINARY });
    let mut world = World::new(&SHAPE, policy, 2);
    world.settle();
    world
}

/// Nobody writes for so long, and the daemons look every minute.
pub(crate) fn quiet(world: &mut World, minutes: u32) {
    for _ in 0..minutes {
        world.pass(60_000);
        world.settle();
    }
}

/// A program writes with triggers switched off on its connection: nothing tells that capture missed it.
pub(crate) fn past_capture(world: &World, node: usize, sql: &str) {
    let program = world.program(node);
    let trigger = DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
    program.pragma_update(None, "foreign_keys", false).expect("a setting");
    program.set_db_config(trigger, false).expect("a setting");
    program.execute_batch(sql).expect("the program may do this");
    program.set_db_config(trigger, true).expect("a setting");
    program.pragma_update(None, "foreign_keys", true).expect("a setting");
}

/// Drops every trigger of ours, as the rebuild of a table does.
pub(crate) fn without_triggers(conn: &Connection) {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE '\\_sync\\_%' ESCAPE '\\'";
    let mut statement = conn.prepare(sql).expect("a query");
    let names: Vec<String> =
        statement.query_map([], |row| row.get(0)).expect("reads").map(|name| name.expect("a name")).collect();
    assert!(!names.is_empty(), "there were triggers");
    for name in names {
        conn.execute_batch(&format!("DROP TRIGGER \"{name}\"")).expect("drops");
    }
}

/// All rows of a query on one node, columns with `|`, rows with spaces.
pub(crate) fn on(world: &World, node: usize, sql: &str) -> String {
    let sql = format!("SELECT COALESCE(group_concat(line, ' '), '') FROM ({sql})");
    world.program(node).query_row(&sql, [], |row| row.get(0)).expect("a text")
}

/// The hub's conflict list, short.
pub(crate) fn listed(world: &World) -> String {
    on(world, HUB, "SELECT kind || ' ' || tab AS line FROM _sync_conflict ORDER BY id")
}

/// The last compare of a table on a device.
pub(crate) fn audit(world: &World, node: usize, table: &str) -> Audit {
    let audits = world.edge_store(node - 1).audits().expect("reads");
    audits.into_iter().find(|audit| audit.table == table).expect("it is replicated")
}

/// What the last compare of a table came to, and in how many rows.
pub(crate) fn outcome(world: &World, node: usize, table: &str) -> (Option<Outcome>, u64) {
    let audit = audit(world, node, table);
    (audit.outcome, audit.rows)
}
