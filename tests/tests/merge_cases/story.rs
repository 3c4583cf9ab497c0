//! A hub and two devices. Devices write apart, then meet in an order that the story names: who comes
//! first is merged first.

use tt_hub::store::conflict;
use tt_hub::store::decide::Decision;
use tt_protocol::policy::{HoldDeletes, Policy, TableRule};
use tt_tests::sim::checks;
use tt_tests::sim::schemas::Shape;
use tt_tests::sim::world::World;

const SCHEMA: &str = "
CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, number TEXT UNIQUE, note TEXT, good INTEGER DEFAULT 0);
CREATE TABLE lines(id INTEGER PRIMARY KEY AUTOINCREMENT, order_id INTEGER REFERENCES orders(id) ON DELETE CASCADE,
  note TEXT, good INTEGER DEFAULT 0 CHECK (good <= 100), total INTEGER);
CREATE TABLE bags(code TEXT PRIMARY KEY, order_number TEXT REFERENCES orders(number) ON UPDATE CASCADE, note TEXT, good INTEGER DEFAULT 0);
CREATE TABLE people(name TEXT PRIMARY KEY COLLATE NOCASE, note TEXT, good INTEGER DEFAULT 0);
CREATE TABLE shelf(aisle INTEGER, slot TEXT, PRIMARY KEY(aisle, slot));
CREATE TABLE bin(id INTEGER PRIMARY KEY, aisle INTEGER, slot TEXT, FOREIGN KEY(aisle, slot) REFERENCES shelf(aisle, slot));
CREATE TABLE badges(id INTEGER PRIMARY KEY, owner TEXT REFERENCES people(name), line TEXT REFERENCES lines(id));
CREATE TABLE spans(id INTEGER PRIMARY KEY, low INTEGER, high INTEGER, CHECK (low <= high));
INSERT INTO spans VALUES (1, 0, 10);
INSERT INTO orders(id, number) VALUES (1, 'A'), (2, 'B'), (3, 'C');
INSERT INTO lines(id, order_id, good) VALUES (1, 1, 10), (2, 1, 0), (3, 2, 0);
INSERT INTO bags(code, order_number) VALUES ('x', 'A');
INSERT INTO people(name) VALUES ('Anna');";

const SHAPE: Shape = Shape { name: "stories", sql: SCHEMA, tables: &[] };

/// The hub's place.
pub(crate) const HUB: usize = 0;
/// The device whose changes reach the hub first.
pub(crate) const FIRST: usize = 1;
/// The device that comes later.
pub(crate) const SECOND: usize = 2;

/// A story under way.
pub(crate) struct Story {
    pub(crate) world: World,
}

impl Story {
    pub(crate) fn begin() -> Self {
        Self::on_shape(&SHAPE)
    }

    /// Other tables: of `things`, rows with the same name and size are the same; only the hub may write
    /// `staff`; of `mass`, three rows may be deleted at once.
    pub(crate) fn with(schema: &'static str) -> Self {
        Self::on_shape(&Shape { name: "other tables", sql: schema, tables: &[] })
    }

    fn on_shape(shape: &Shape) -> Self {
        let mut policy = Policy::default();
        let counted = [
            "orders", "lines", "bags", "people", "slots", "pills", "things", "cards", "places", "tally",
            "mass",
        ];
        for table in counted {
            let counters = vec!["good".to_owned(), "total".to_owned()];
            policy.tables.insert(table.to_owned(), TableRule { counters, ..TableRule::ORDINARY });
        }
        for (table, key) in [("things", ["name", "size"]), ("pills", ["slot", "kind"])] {
            let rule = policy.tables.get_mut(table).expect("named above");
            rule.key = key.map(str::to_owned).to_vec();
        }
        let hub_only = TableRule { writers: vec!["hub".to_owned()], ..TableRule::ORDINARY };
        policy.tables.insert("staff".to_owned(), hub_only);
        let bounds = HoldDeletes { rows: 3, share: 0.5 };
        policy.tables.get_mut("mass").expect("named above").hold_deletes = bounds;
        let mut world = World::new(shape, policy, 2);
        world.remember_snapshot();
        world.settle();
        world.unlink(0);
        world.unlink(1);
        Self { world }
    }

    /// The test writes into our own tables, which no journal knows of.
    pub(crate) fn forget_snapshots(&mut self) {
        self.world.forget_snapshots();
    }

    /// A program writes, all or nothing.
    pub(crate) fn write(&mut self, node: usize, sql: &str) -> &mut Self {
        if sql.contains("_sync_") {
            self.world.forget_snapshots();
        }
        self.world.pass(1_000);
        self.world
            .program(node)
            .execute_batch(&format!("BEGIN; {sql}; COMMIT"))
            .expect("the program may do this");
        self
    }

    /// The first device meets the hub, then the second, then all of them until nothing moves.
    pub(crate) fn meet(&mut self) -> &mut Self {
        self.alone(FIRST);
        self.alone(SECOND);
        self.world.settle();
        checks::converged(&self.world);
        for node in [HUB, FIRST, SECOND] {
            checks::consistent_cut(&self.world, node);
        }
        checks::nothing_unsent(&self.world);
        self.world.unlink(0);
        self.world.unlink(1);
        self
    }

    /// A device cuts what its programs wrote, and nothing of it arrives yet.
    pub(crate) fn cut(&mut self, node: usize) -> &mut Self {
        self.world.cut(node - 1);
        self
    }

    /// The hub merges the first changesets that a device has cut, and the wireless goes before the device
    /// hears of it.
    pub(crate) fn pushes(&mut self, node: usize, changesets: u64) -> &mut Self {
        let merged = |world: &World| {
            let edge = tt_protocol::number::EdgeId(u16::try_from(node).expect("a device"));
            world.hub_store().merged(edge).expect("reads").0
        };
        let goal = merged(&self.world) + changesets;
        self.world.link(node - 1);
        while merged(&self.world) < goal {
            self.world.step_edge(node - 1);
            self.world.deliver_up(node - 1, false);
            self.world.step_hub();
        }
        self.world.unlink(node - 1);
        self
    }

    /// Only one device has a link, until it is in step.
    pub(crate) fn alone(&mut self, node: usize) -> &mut Self {
        let edge = node - 1;
        self.world.link(edge);
        for _ in 0..1_000 {
            self.world.step_edge(edge);
            self.world.deliver_up(edge, false);
            self.world.step_hub();
        }
        self.world.unlink(edge);
        self
    }

    /// The operator decides about an entry, and all hear of it. Meeting once more changes nothing.
    #[track_caller]
    pub(crate) fn decide(&mut self, id: i64, decision: &Decision) -> &mut Self {
        self.world.pass(1_000);
        self.world.decide(id, decision).expect("the entry closes");
        self.meet();
        let before = self.world.hub_store().version();
        self.meet();
        assert_eq!(self.world.hub_store().version(), before, "a second round changes nothing");
        self
    }

    /// The operator cannot decide so, for a reason that holds these words, and nothing has changed.
    #[track_caller]
    pub(crate) fn refuses(&mut self, id: i64, decision: &Decision, words: &[&str]) -> &mut Self {
        // What programs at the hub wrote becomes a version first, whatever comes of the decision.
        self.world.step_hub();
        let before = (self.world.digests(), self.world.hub_store().version(), self.entries());
        let reason = self.world.decide(id, decision).expect_err("the entry stays open").to_string();
        for word in words {
            assert!(reason.contains(word), "the reason does not say `{word}`: {reason}");
        }
        assert_eq!((self.world.digests(), self.world.hub_store().version(), self.entries()), before);
        self
    }

    /// The history: each closed entry's number with what was decided.
    #[track_caller]
    pub(crate) fn closed(&self, expected: &str) -> &Self {
        let sql = "SELECT group_concat(id || ': ' || decision, '; ')
                   FROM (SELECT * FROM _sync_conflict WHERE state = 'closed' AND decided_at > 0 ORDER BY id)";
        assert_eq!(self.on(HUB, sql), expected);
        self
    }

    /// All rows of a query on one node, columns with `|`, rows with spaces.
    pub(crate) fn on(&self, node: usize, sql: &str) -> String {
        let mut statement = self.world.program(node).prepare(sql).expect("a query");
        let width = statement.column_count();
        let mut rows = statement.query([]).expect("reads");
        let mut all = Vec::new();
        while let Some(row) = rows.next().expect("reads") {
            let value = |at| match row.get(at).expect("a value") {
                rusqlite::types::Value::Null => "-".to_owned(),
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Real(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Blob(_) => "blob".to_owned(),
            };
            all.push((0..width).map(value).collect::<Vec<_>>().join("|"));
        }
        all.join(" ")
    }

    /// The query's answer, which all nodes share.
    #[track_caller]
    pub(crate) fn finds(&self, sql: &str, expected: &str) -> &Self {
        assert_eq!(self.on(HUB, sql), expected, "{sql}");
        self
    }

    fn entries(&self) -> Vec<serde_json::Value> {
        conflict::list(self.world.program(HUB), true, |device| device.to_string()).expect("reads")
    }

    /// The conflict list: kind and table of each entry, columns with what stayed and what lost.
    #[track_caller]
    pub(crate) fn lists(&self, expected: &str) -> &Self {
        let entries = self.entries();
        let text = |entry: &serde_json::Value| {
            let word = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            let columns = entry["columns"].as_array().into_iter().flatten();
            // Which row stays is no difference between the two.
            let columns = columns.filter(|column| column["name"] != "id");
            let columns: String = columns
                .map(|column| format!(" {}:{}/{}", column["name"], column["kept"], column["lost"]))
                .collect();
            let row = if entry["row"].is_null() { "" } else { " whole" };
            format!("{} {}{row}{columns}", word("kind"), word("table")).replace('"', "")
        };
        assert_eq!(entries.iter().map(text).collect::<Vec<_>>().join("; "), expected);
        self
    }
}
