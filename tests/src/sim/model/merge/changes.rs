//! One row of a changeset: deleted, changed or new.

use super::super::rules::{Plan, decide};
use super::super::tables::Rule;
use super::super::values::{Row, allowed, natural_of, values_in_keys};
use super::twins::twin_among;
use super::{At, Candidate, Change, Model, Place, UnderWay};
use tt_protocol::value::Value;

impl Model {
    pub(super) fn delete(&mut self, at: At, change: &Change, under_way: &mut UnderWay) {
        let place = &change.place;
        let Some(hub) = self.hub.get(place).cloned() else {
            return self.delete_of_vanished(change, under_way);
        };
        let Some(base) = &change.base else { return };
        if self.is_held(at, place) {
            return;
        }
        let table = &self.tables[place.0];
        let differ: Vec<usize> = (table.keys()..hub.len()).filter(|at| hub[*at] != base[*at]).collect();
        if differ.is_empty() {
            for (key, bytes) in values_in_keys(table, &hub) {
                under_way.freed.insert((place.0, key, bytes), (place.clone(), hub.clone()));
            }
            self.stamp_respelled(place, (change.at, at.node));
            self.trash.insert(place.clone(), hub);
            self.hub.remove(place);
            return;
        }
        let lost: Vec<_> = differ.into_iter().map(|at| (at, Value::Null)).collect();
        let entry = self.columns_entry("delete", place, &hub, &lost);
        under_way.overruled.push((place.clone(), base.clone(), change.at, entry));
    }

    /// A row that is another one now: its device takes back what it brought; one that somebody else replaced was
    /// changed.
    fn delete_of_vanished(&mut self, change: &Change, under_way: &mut UnderWay) {
        let place = &change.place;
        if !self.aliases.get(place).is_some_and(|alias| alias.moved) {
            return self.withdraw(place);
        }
        let now = self.vanished_into(place).filter(|(to, _)| self.hub.contains_key(to));
        if let (Some((to, row)), Some(base)) = (now, &change.base) {
            let entry = self.columns_entry("delete", &to, &row, &[]);
            under_way.replaced.push((to, base.clone(), change.at, entry));
        }
    }

    /// True when the device has a row of its own under this key, does not know that it is held, and so
    /// does not mean the hub's row.
    fn is_held(&self, at: At, place: &Place) -> bool {
        self.held.get(&(at.node, place.clone())).is_some_and(|(_, _, since)| *since > at.cursor)
    }

    pub(super) fn update(
        &mut self,
        at: At,
        change: &Change,
        base: &Row,
        new: &Row,
        under_way: &mut UnderWay,
    ) -> Option<Candidate> {
        let At { node, version, .. } = at;
        let place = &change.place;
        if self.is_held(at, place) {
            self.amend(node, place, base, new);
            return None;
        }
        let table = &self.tables[place.0];
        let keys = table.keys();
        let is_respelled = base[..keys] != new[..keys];
        let image = match self.hub.get(place) {
            Some(_) => None,
            None if is_respelled => return self.insert(at, change, new, under_way),
            None if self.vanished_into(place).is_some() => {
                return self.update_of_vanished(at, change, base, new);
            }
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
    pub(super) fn refuse_by_rules(&mut self, place: &Place, hub: &Row, mut plan: Plan) -> Plan {
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

    pub(super) fn insert(
        &mut self,
        at: At,
        change: &Change,
        new: &Row,
        under_way: &mut UnderWay,
    ) -> Option<Candidate> {
        let place = &change.place;
        let table = &self.tables[place.0];
        if let Some(found) = twin_among(table, &under_way.replaced, place, new) {
            under_way.replaced.remove(found);
        }
        if let Some(candidate) = self.replaced(at, change, new, under_way) {
            return Some(candidate);
        }
        self.aliases.remove(place);
        let Some(hub) = self.hub.get(place) else {
            return Some(Candidate { change: change.clone(), plan: None, row: new.clone(), image: None });
        };
        let table = &self.tables[place.0];
        let differs = |at: &usize| hub[*at] != new[*at] && table.columns[*at].rule != Rule::Now;
        let natural = natural_of(table, new);
        if !(0..new.len()).any(|at| differs(&at)) {
            return None;
        }
        if natural.is_some() && natural == natural_of(table, hub) {
            self.join("unique", place, new, place);
        } else {
            self.hold(at.node, "key", place, new, at.version);
        }
        None
    }
}
