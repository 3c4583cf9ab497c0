//! The model: every node's rows as maps, and a hub that merges by the rules, row by row.
//!
//! It is told *when* something happens (a cut, a merge, a feed applied) and says *what* must come out. What
//! programs do to their own file is read from the file: SQLite needs no model.

mod changes;
mod entries;
mod gate;
mod twins;
mod uniques;

use super::rules::{Plan, decide, rebase};
use super::tables::{KeyKind, Table};
use super::values::{Row, order};
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
    /// How many rows are held, where it is a changeset.
    pub rows: Option<u64>,
    /// It was settled by what its device did later.
    pub closed: bool,
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
    /// Rows that became other rows.
    aliases: BTreeMap<Place, Alias>,
    /// Rows that a device may not write, with the entry that lists them.
    refused: BTreeMap<(usize, Place), usize>,
    /// Changesets that are held whole: device, entry, version.
    held_whole: Vec<(usize, usize, u64)>,
}

/// Whose changeset is merged, what its device knew, and as what version.
#[derive(Clone, Copy)]
struct At {
    node: usize,
    cursor: u64,
    version: u64,
}

/// What a merge keeps in mind until all rows are in.
#[derive(Default)]
struct UnderWay {
    candidates: Vec<Candidate>,
    /// Rows whose delete was overruled: place, what the device deleted, when, the entry.
    overruled: Vec<(Place, Row, i64, Entry)>,
    /// The same for rows that somebody else had replaced.
    replaced: Vec<(Place, Row, i64, Entry)>,
    /// Rows that were deleted, by table and what they had in each key.
    freed: BTreeMap<(usize, usize, Vec<u8>), (Place, Row)>,
}

/// A row that became another one.
#[derive(Clone, Debug)]
struct Alias {
    /// As its device has it.
    row: Row,
    /// What it is now.
    survivor: Place,
    /// Counts that it added there.
    brought: BTreeMap<usize, Value>,
    /// The entry, where the two differed.
    entry: Option<usize>,
    /// It is the same row under another key.
    moved: bool,
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
            aliases: BTreeMap::new(),
            refused: BTreeMap::new(),
            held_whole: Vec::new(),
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
                (Some(old), None) => {
                    self.trash.insert(place.clone(), old.clone());
                    self.stamp_respelled(&place, (at, 0));
                }
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

    /// A device has cut.
    pub fn cut(&mut self, node: usize) {
        let device = &mut self.devices[node - 1];
        let changes = differing(&device.base, &device.now)
            .into_iter()
            .map(|place| Change {
                base: device.base.get(&place).cloned(),
                new: device.now.get(&place).cloned(),
                at: device.touched.get(&place).copied().unwrap_or(0),
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
    pub fn merged(&mut self, node: usize, version: u64, now: i64) {
        let Some(Changeset { mut changes, cursor }) = self.devices[node - 1].outbox.pop_front() else {
            panic!("device {node} was merged, and had nothing to be merged");
        };
        // Nothing in a changeset happened later than now, whatever its device's clock says.
        changes.iter_mut().for_each(|change| change.at = change.at.min(now));
        let at = At { node, cursor, version };
        if !self.hold_whole(at, &changes) {
            self.merge(at, &changes);
        }
        self.versions.insert(version, self.hub.clone());
    }

    fn merge(&mut self, at: At, changes: &[Change]) {
        let is_refused = |change: &&Change| self.tables[change.place.0].hub_only;
        let (refused, changes): (Vec<_>, Vec<_>) = changes.iter().partition(is_refused);
        refused.into_iter().for_each(|change| self.refuse(at.node, change));
        let mut changes = changes;
        // Rows come in the order of their numbers: the first of two with one natural key is the one that stays.
        let number = |change: &Change| change.new.as_ref().map_or(Value::Null, |row| row[0].clone());
        changes.sort_by(|one, other| {
            let is_numbered = self.tables[one.place.0].is_numbered() && one.place.0 == other.place.0;
            if is_numbered { order(&number(one), &number(other)) } else { one.place.cmp(&other.place) }
        });
        let mut under_way = UnderWay::default();
        for change in &changes {
            if change.new.is_none() {
                self.delete(at, change, &mut under_way);
            }
        }
        for change in &changes {
            if let (Some(base), Some(new)) = (&change.base, &change.new) {
                let candidate = self.update(at, change, base, new, &mut under_way);
                self.settle(at.node, candidate, &mut under_way);
            }
        }
        for change in &changes {
            if let (None, Some(new)) = (&change.base, &change.new) {
                let candidate = self.insert(at, change, new, &mut under_way);
                self.settle(at.node, candidate, &mut under_way);
            }
        }
        self.put_all(at, &mut under_way);
        let overruled = under_way.overruled.into_iter().chain(under_way.replaced);
        self.entries.extend(overruled.map(|(_, _, _, entry)| entry));
    }

    /// Where another spelling of a key is a delete and an insert, a delete has a time.
    fn stamp_respelled(&mut self, place: &Place, stamp: (i64, usize)) {
        if self.tables[place.0].key == KeyKind::Nocase {
            self.stamp(place, stamp);
        }
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
