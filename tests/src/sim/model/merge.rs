//! The model: every node's rows as maps, and a hub that merges by the rules, row by row.
//!
//! It is told *when* something happens (a cut, a merge, a feed applied) and says *what* must come out. What
//! programs do to their own file is read from the file: SQLite needs no model.

mod entries;
mod uniques;

use super::rules::{Plan, decide, rebase};
use super::tables::{KeyKind, Rule, Table};
use super::values::{Row, allowed};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tt_protocol::value::Value;

/// A row's place: table and key.
pub type Place = (usize, Vec<u8>);
/// All rows of a node.
pub type Rows = BTreeMap<Place, Row>;

/// One row of a changeset, with the corrected time of its last touch.
#[derive(Clone, Debug)]
struct Change {
    place: Place,
    base: Option<Row>,
    new: Option<Row>,
    at: i64,
}

#[derive(Clone, Debug)]
struct Changeset {
    changes: Vec<Change>,
    /// The version that the device had seen.
    cursor: u64,
}

/// A device.
#[derive(Clone, Debug, Default)]
struct Device {
    base: Rows,
    now: Rows,
    touched: BTreeMap<Place, i64>,
    outbox: VecDeque<Changeset>,
    cursor: u64,
}

/// An entry of the conflict list: enough of it to be compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its kind.
    pub kind: &'static str,
    /// The row.
    pub place: Place,
    /// Columns with what stayed and what lost.
    pub columns: BTreeMap<&'static str, (Json, Json)>,
    /// The whole row, where a row lost.
    pub row: Option<BTreeMap<&'static str, Json>>,
}

/// The whole world.
#[derive(Clone, Debug)]
pub struct Model {
    tables: Vec<Table>,
    /// The hub's rows.
    pub hub: Rows,
    /// The conflict list.
    pub entries: Vec<Entry>,
    versions: BTreeMap<u64, Rows>,
    trash: Rows,
    /// When and by whom a row was last given a value that is no sum.
    stamps: BTreeMap<Place, (i64, usize)>,
    devices: Vec<Device>,
    /// Rows of a device that are held: entry, row, version.
    held: BTreeMap<(usize, Place), (usize, Row, u64)>,
}

/// An update or insert on its way into the hub's rows.
struct Candidate {
    change: Change,
    plan: Option<Plan>,
    row: Row,
    /// The row was deleted, and comes back from this.
    image: Option<Row>,
}

impl Model {
    /// A world without rows.
    #[must_use]
    pub fn new(tables: &[Table], devices: usize, version: u64) -> Self {
        let mut model = Self {
            tables: tables.to_vec(),
            hub: Rows::new(),
            entries: Vec::new(),
            versions: BTreeMap::new(),
            trash: Rows::new(),
            stamps: BTreeMap::new(),
            devices: vec![Device { cursor: version, ..Device::default() }; devices],
            held: BTreeMap::new(),
        };
        model.versions.insert(version, Rows::new());
        model
    }

    /// The rows that a node must have now.
    #[must_use]
    pub fn rows(&self, node: usize) -> &Rows {
        node.checked_sub(1).map_or(&self.hub, |device| &self.devices[device].now)
    }

    /// A program on a device committed. `touched` are the rows that its statements named.
    pub fn wrote(&mut self, node: usize, now: Rows, touched: &BTreeSet<Place>, at: i64) {
        if node == 0 {
            return self.wrote_at_hub(now, at);
        }
        let device = &mut self.devices[node - 1];
        for place in touched.iter().cloned().chain(differing(&device.now, &now)) {
            device.touched.insert(place, at);
        }
        device.now = now;
    }

    fn wrote_at_hub(&mut self, now: Rows, at: i64) {
        for place in differing(&self.hub, &now) {
            match (self.hub.get(&place), now.get(&place)) {
                (Some(old), None) => drop(self.trash.insert(place, old.clone())),
                (Some(old), Some(new)) if self.is_dated(&place, old, new) => self.stamp(&place, (at, 0)),
                _ => {}
            }
        }
        self.hub = now;
    }

    fn is_dated(&self, place: &Place, old: &Row, new: &Row) -> bool {
        let table = &self.tables[place.0];
        decide(table, old, new, old, true).dated || respelled(old, new, table)
    }

    /// The hub has cut what its programs wrote.
    pub fn is_version(&mut self, version: u64) {
        self.versions.insert(version, self.hub.clone());
    }

    /// A device has cut. Its clock is wrong by `offset` now.
    pub fn cut(&mut self, node: usize, offset: i64) {
        let device = &mut self.devices[node - 1];
        let changes = differing(&device.base, &device.now)
            .into_iter()
            .map(|place| Change {
                base: device.base.get(&place).cloned(),
                new: device.now.get(&place).cloned(),
                at: device.touched.get(&place).copied().unwrap_or(0) - offset,
                place,
            })
            .collect();
        device.outbox.push_back(Changeset { changes, cursor: device.cursor });
        device.base = device.now.clone();
        device.touched.clear();
    }

    /// A device's file has come to this version of the hub's.
    pub fn applied(&mut self, node: usize, version: u64) {
        let fed = self.versions.get(&version).cloned().expect("the hub has made this version");
        let device = &mut self.devices[node - 1];
        device.cursor = version;
        let places: BTreeSet<Place> =
            [&device.base, &device.now, &fed].iter().flat_map(|rows| rows.keys().cloned()).collect();
        for place in places {
            let (base, own, hub) =
                (device.base.get(&place).cloned(), device.now.get(&place).cloned(), fed.get(&place));
            let (base, own) = match (base, own, hub) {
                (base, own, hub) if base == own => (hub.cloned(), hub.cloned()),
                (Some(base), Some(own), Some(hub)) => {
                    let (base, own) = rebase(&self.tables[place.0], &base, &own, hub);
                    (Some(base), Some(own))
                }
                // What one side made and the other did not know, or deleted, the hub decides.
                (None, Some(own), Some(hub)) if own == *hub => (Some(own.clone()), Some(own)),
                (Some(_), None, None) => (None, None),
                (base, own, _) => (base, own),
            };
            put(&mut device.base, &place, base);
            put(&mut device.now, &place, own);
        }
        self.held.retain(|(holder, _), (_, _, since)| *holder != node || *since > version);
    }

    /// The hub has merged the next changeset of a device, as `version`.
    pub fn merged(&mut self, node: usize, version: u64) {
        let Some(Changeset { changes, cursor }) = self.devices[node - 1].outbox.pop_front() else {
            panic!("device {node} was merged, and had nothing to be merged");
        };
        let mut candidates = Vec::new();
        for change in changes.iter().filter(|change| change.new.is_none()) {
            self.delete(node, change, cursor);
        }
        for change in changes.iter().filter(|change| change.base.is_some()) {
            if let (Some(base), Some(new)) = (&change.base, &change.new) {
                candidates.extend(self.update(node, change, base, new, cursor, version));
            }
        }
        for change in changes.iter().filter(|change| change.base.is_none()) {
            if let Some(new) = &change.new {
                candidates.extend(self.insert(node, change, new, version));
            }
        }
        self.put_all(node, candidates, version);
        self.versions.insert(version, self.hub.clone());
    }

    fn delete(&mut self, node: usize, change: &Change, cursor: u64) {
        let (Some(base), Some(hub)) = (&change.base, self.hub.get(&change.place)) else {
            return;
        };
        if self.is_held(node, &change.place, cursor) {
            return;
        }
        let keys = self.tables[change.place.0].keys();
        let hub = hub.clone();
        let differ: Vec<usize> = (keys..hub.len()).filter(|place| hub[*place] != base[*place]).collect();
        if differ.is_empty() {
            self.trash.insert(change.place.clone(), hub);
            self.hub.remove(&change.place);
            return;
        }
        let lost: Vec<_> = differ.into_iter().map(|place| (place, Value::Null)).collect();
        self.list_columns("delete", &change.place, &hub, &lost);
    }

    /// True when the device has a row of its own under this key, does not know that it is held, and so
    /// does not mean the hub's row.
    fn is_held(&self, node: usize, place: &Place, cursor: u64) -> bool {
        self.held.get(&(node, place.clone())).is_some_and(|(_, _, since)| *since > cursor)
    }

    fn update(
        &mut self,
        node: usize,
        change: &Change,
        base: &Row,
        new: &Row,
        cursor: u64,
        version: u64,
    ) -> Option<Candidate> {
        let place = &change.place;
        if self.is_held(node, place, cursor) {
            self.amend(node, place, base, new);
            return None;
        }
        let table = &self.tables[place.0];
        let keys = table.keys();
        let is_respelled = base[..keys] != new[..keys];
        let image = match self.hub.get(place) {
            Some(_) => None,
            None if is_respelled => return self.insert(node, change, new, version),
            None => Some(self.trash.get(place).cloned()),
        };
        if image == Some(None) {
            self.hold_missing(node, change, version);
            return None;
        }
        let image = image.flatten();
        let hub = image.as_ref().unwrap_or_else(|| &self.hub[place]).clone();
        let later = self.stamps.get(place).is_none_or(|stamp| (change.at, node) >= *stamp);
        let mut plan = decide(&self.tables[place.0], base, new, &hub, later);
        if is_respelled {
            plan.dated = true;
            plan.set.extend((0..keys).filter(|at| hub[*at] != new[*at]).map(|at| (at, new[at].clone())));
        }
        if image.is_some() && !self.is_free(place, &hub) && !self.is_free(place, &plan.on(&hub)) {
            self.hold_missing(node, change, version);
            return None;
        }
        let plan = self.refuse_by_rules(place, &hub, plan);
        let row = plan.on(&hub);
        Some(Candidate { change: change.clone(), plan: Some(plan), row, image })
    }

    /// Lists what a CHECK refuses: each counter that breaks it alone, or the whole update.
    fn refuse_by_rules(&mut self, place: &Place, hub: &Row, mut plan: Plan) -> Plan {
        self.list_columns_if("column", place, hub, &plan.lost.clone());
        self.list_columns_if("counter", place, hub, &plan.overflow.clone());
        let table = self.tables[place.0].clone();
        if allowed(&table, &plan.on(hub)) {
            return plan;
        }
        let mut others = plan.clone();
        others.set.retain(|(at, _)| table.columns[*at].rule != Rule::Counter);
        if !allowed(&table, &others.on(hub)) {
            self.list_columns("rule", place, hub, &plan.set);
            return Plan::default();
        }
        let mut held = Vec::new();
        for (at, value) in std::mem::take(&mut plan.set) {
            let mut alone = hub.clone();
            alone[at].clone_from(&value);
            if table.columns[at].rule == Rule::Counter && !allowed(&table, &alone) {
                held.push((at, value));
            } else {
                plan.set.push((at, value));
            }
        }
        self.list_columns("counter", place, hub, &held);
        plan
    }

    fn insert(&mut self, node: usize, change: &Change, new: &Row, version: u64) -> Option<Candidate> {
        let place = &change.place;
        let Some(hub) = self.hub.get(place) else {
            return Some(Candidate { change: change.clone(), plan: None, row: new.clone(), image: None });
        };
        let table = &self.tables[place.0];
        let differs = |at: &usize| hub[*at] != new[*at] && table.columns[*at].rule != Rule::Now;
        if (0..new.len()).any(|at| differs(&at)) {
            self.hold(node, "key", place, new, version);
        }
        None
    }

    fn stamp(&mut self, place: &Place, stamp: (i64, usize)) {
        let last = self.stamps.entry(place.clone()).or_insert(stamp);
        *last = stamp.max(*last);
    }
}

/// Places at which two nodes differ.
fn differing(one: &Rows, other: &Rows) -> BTreeSet<Place> {
    one.keys().chain(other.keys()).filter(|place| one.get(*place) != other.get(*place)).cloned().collect()
}

fn respelled(old: &Row, new: &Row, table: &Table) -> bool {
    table.key == KeyKind::Nocase && old[0] != new[0]
}

fn put(rows: &mut Rows, place: &Place, row: Option<Row>) {
    match row {
        Some(row) => drop(rows.insert(place.clone(), row)),
        None => drop(rows.remove(place)),
    }
}
