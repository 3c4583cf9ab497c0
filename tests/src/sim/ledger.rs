//! What programs have committed: read from the file before and after each of their transactions, so that
//! no statement needs to be understood.

use super::schemas::{KeyKind, Shape, Table};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use tt_migrations::quote::ident;

/// A row's place in the world: table and key as SQL literals.
pub type Place = (usize, String);

/// All rows of the tables that programs write: tag and counters.
pub type Rows = BTreeMap<Place, (String, Vec<i64>)>;

/// The account of one world.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// What all differences of a row's counters add up to.
    pub counts: BTreeMap<Place, Vec<i64>>,
    /// Rows whose counts cannot be told any more: a program deleted them, or gave them another key.
    pub removed: BTreeSet<Place>,
    /// Every tag that was ever committed.
    pub tags: BTreeSet<String>,
    /// Tables whose keys have several spellings.
    respelled: BTreeSet<usize>,
    /// Rows that appeared under a key, with their tags.
    made: BTreeSet<(Place, String)>,
    /// Tags that a program deleted or replaced.
    pub tags_removed: BTreeSet<String>,
    /// Ids that SQLite chose, with the node.
    pub automatic: BTreeMap<(usize, i64), usize>,
    /// Batches that were committed.
    pub batches: u64,
}

/// Reads all rows of the tables that programs write.
///
/// # Panics
/// When the file cannot be read.
#[must_use]
pub fn rows(conn: &Connection, shape: &Shape) -> Rows {
    let mut found = Rows::new();
    for (place, table) in shape.tables.iter().enumerate() {
        let mut statement = conn.prepare_cached(&select(table)).expect("the shape fits");
        let mut rows = statement.query([]).expect("reads");
        while let Some(row) = rows.next().expect("reads") {
            let tag: Option<String> = row.get(1).expect("a tag");
            let counters = (0..table.counters.len())
                .map(|at| row.get::<_, Option<i64>>(2 + at).expect("a number").unwrap_or(0));
            found.insert((place, row.get(0).expect("a key")), (tag.unwrap_or_default(), counters.collect()));
        }
    }
    found
}

fn select(table: &Table) -> String {
    let key: Vec<String> = table.key.iter().map(|(name, kind)| literal(&ident(name), *kind)).collect();
    let counters: String = table.counters.iter().map(|name| format!(", {}", ident(name))).collect();
    format!("SELECT {}, tag{counters} FROM {}", key.join(" || ',' || "), ident(table.name))
}

fn literal(name: &str, kind: KeyKind) -> String {
    if kind == KeyKind::Nocase { format!("lower(quote({name}))") } else { format!("quote({name})") }
}

impl Ledger {
    /// An account that begins with these rows.
    #[must_use]
    pub fn new(shape: &Shape, rows: &Rows) -> Self {
        let spelled = |table: &Table| table.key.iter().any(|(_, kind)| *kind == KeyKind::Nocase);
        let respelled = (0..shape.tables.len()).filter(|place| spelled(&shape.tables[*place])).collect();
        let mut ledger = Self { respelled, ..Self::default() };
        ledger.book(&Rows::new(), rows);
        ledger
    }

    /// Books one committed transaction.
    pub fn book(&mut self, before: &Rows, after: &Rows) {
        for (place, (tag, old)) in before {
            if after.get(place).is_none_or(|(now, _)| now != tag) {
                self.tags_removed.insert(tag.clone());
            }
            // A row replaced under a key in another spelling is another row to the hub.
            if self.respelled.contains(&place.0) && after.get(place).is_some_and(|(now, _)| now != tag) {
                self.removed.insert(place.clone());
            }
            if !after.contains_key(place) {
                self.removed.insert(place.clone());
                self.add(place, old, -1);
            }
        }
        for (place, (tag, new)) in after {
            self.tags.insert(tag.clone());
            self.add(place, new, 1);
            match before.get(place) {
                Some((_, old)) => self.add(place, old, -1),
                // The same row given the same key on two nodes is one row, and counts once.
                None if !self.made.insert((place.clone(), tag.clone())) => {
                    self.removed.insert(place.clone());
                }
                None => {}
            }
        }
    }

    fn add(&mut self, place: &Place, values: &[i64], sign: i64) {
        let sums = self.counts.entry(place.clone()).or_insert_with(|| vec![0; values.len()]);
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += sign * value;
        }
    }
}
