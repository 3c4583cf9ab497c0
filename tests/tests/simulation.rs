//! Simulated worlds with real SQLite under them: exactly once, nothing lost, all nodes equal.
//!
//! `SEED=123 cargo test -p tt-tests --test simulation` replays one world; `WORLDS=10000` runs more.

use rusqlite::Connection;
use tt_migrations::policy;
use tt_tests::sim::random::Random;
use tt_tests::sim::world::World;

const SCHEMA: &str = "
CREATE TABLE purchase_orders(id INTEGER PRIMARY KEY AUTOINCREMENT, po_number TEXT UNIQUE NOT NULL, note TEXT);
CREATE TABLE po_lines(id INTEGER PRIMARY KEY AUTOINCREMENT, po_id INTEGER REFERENCES purchase_orders(id),
  inventory_item_id TEXT NOT NULL, good_count INTEGER DEFAULT 0, damaged_count INTEGER DEFAULT 0);
CREATE TABLE warehouse_submissions(id INTEGER PRIMARY KEY AUTOINCREMENT, employee_name TEXT NOT NULL,
  loose_tablets INTEGER DEFAULT 0, assigned_po_id INTEGER REFERENCES purchase_orders(id));
CREATE TABLE app_settings(setting_key TEXT PRIMARY KEY, setting_value TEXT NOT NULL);
INSERT INTO purchase_orders(po_number) VALUES ('PO-1'), ('PO-2');
INSERT INTO po_lines(po_id, inventory_item_id) VALUES (1, 'A'), (1, 'B'), (2, 'C');
";

struct Totals {
    submissions: i64,
    counts: i64,
}

fn write(conn: &Connection, random: &mut Random, totals: &mut Totals) {
    let amount = i64::try_from(random.below(100)).expect("small");
    match random.below(4) {
        0 | 1 => {
            let sql = "INSERT INTO warehouse_submissions(employee_name, loose_tablets, assigned_po_id) VALUES ('w', ?1, 1)";
            totals.submissions += i64::try_from(conn.execute(sql, [amount]).expect("inserts")).expect("one");
        }
        _ => {
            let line = i64::try_from(random.below(3)).expect("small") + 1;
            conn.execute(
                "UPDATE po_lines SET good_count = good_count + ?1 WHERE id = ?2",
                (amount, line),
            )
            .expect("updates");
            totals.counts += amount;
        }
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new(SCHEMA, policy::shipped(), 3);
    let mut totals = Totals {
        submissions: 0,
        counts: 0,
    };
    for _ in 0..300 {
        if random.once_in(4) {
            let node = random.below(4);
            let conn = match usize::try_from(node).expect("small") {
                3 => world.hub_program(),
                edge => world.edge_program(edge),
            };
            for _ in 0..=random.below(3) {
                write(&conn, &mut random, &mut totals);
            }
        }
        world.chance(&mut random);
    }
    world.settle();
    let digests = world.digests();
    for digest in &digests[1..] {
        assert_eq!(digest, &digests[0], "seed {seed}: all nodes are equal");
    }
    let conn = world.hub_program();
    let one = |sql: &str| {
        conn.query_row(sql, [], |row| row.get::<_, i64>(0))
            .expect("one number")
    };
    assert_eq!(
        one("SELECT COUNT(*) FROM warehouse_submissions"),
        totals.submissions,
        "seed {seed}: rows"
    );
    assert_eq!(
        one("SELECT SUM(good_count) FROM po_lines"),
        totals.counts,
        "seed {seed}: counts"
    );
    assert_eq!(
        one("SELECT COUNT(*) FROM pragma_foreign_key_check"),
        0,
        "seed {seed}: foreign keys"
    );
    assert_eq!(
        one("SELECT COUNT(*) FROM _sync_conflict"),
        0,
        "seed {seed}: no false alarm"
    );
}

#[test]
fn counts_add_up_in_every_world() {
    if let Ok(seed) = std::env::var("SEED") {
        return run(seed.parse().expect("a number"));
    }
    let worlds = std::env::var("WORLDS").map_or(50, |worlds| worlds.parse().expect("a number"));
    for seed in 0..worlds {
        println!("seed {seed}");
        run(seed);
    }
}
