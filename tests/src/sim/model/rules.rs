//! The rules of one row: base and new value from the device, the hub's value now.

use super::tables::{Rule, Table};
use super::values::{Row, Sum, order, stored, sum};
use std::cmp::Ordering;
use tt_protocol::value::Value;

/// What becomes of an update.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Columns that get a value at the hub.
    pub set: Vec<(usize, Value)>,
    /// Columns in which the device is overruled, with its value.
    pub lost: Vec<(usize, Value)>,
    /// Columns in which the device overrules another writer.
    pub won: Vec<(usize, Value)>,
    /// Counters whose sum has no place, with the device's value.
    pub overflow: Vec<(usize, Value)>,
    /// It is more than numbers added: whoever disagrees later must look at the time.
    pub dated: bool,
}

/// Decides an update. `later` says that the device's change is later than the hub's last one.
#[must_use]
pub fn decide(table: &Table, base: &Row, new: &Row, hub: &Row, later: bool) -> Plan {
    let mut plan = Plan::default();
    for place in table.keys()..table.columns.len() {
        let (base, new, hub) = (&base[place], &new[place], &hub[place]);
        if base == new || table.columns[place].rule == Rule::Together {
            continue;
        }
        match table.columns[place].rule {
            _ if hub == base => plan.give(place, new.clone()),
            Rule::Counter => match sum(base, new, hub) {
                Sum::Is(total) => plan.set.push((place, stored(table.columns[place].declared, total))),
                Sum::Overflows => plan.overflow.push((place, new.clone())),
                Sum::None if hub == new => {}
                Sum::None => plan.disagree(place, new, hub, later),
            },
            _ if hub == new => {}
            Rule::Greatest if order(new, hub) == Ordering::Greater => plan.give(place, new.clone()),
            Rule::Greatest => {}
            _ => plan.disagree(place, new, hub, later),
        }
    }
    together(&mut plan, table, [base, new, hub], later);
    let pure = |(place, value): &(usize, Value)| {
        let number = is_number(value) && (!value.is_null() || base[*place].is_null());
        table.columns[*place].rule == Rule::Counter && number && is_number(&base[*place])
    };
    // Against a count that cannot be added to, a number is a value like any.
    plan.dated = !plan.won.is_empty() || !plan.set.iter().all(pure);
    plan
}

/// Columns that are one value: equal as a whole, changed as a whole, lost as a whole.
fn together(plan: &mut Plan, table: &Table, [base, new, hub]: [&Row; 3], later: bool) {
    let places: Vec<usize> = table.places(Rule::Together).collect();
    let same = |one: &Row, other: &Row| places.iter().all(|place| one[*place] == other[*place]);
    if same(base, new) || same(hub, new) {
        return;
    }
    let untouched = same(hub, base);
    for place in places.iter().copied().filter(|place| hub[*place] != new[*place]) {
        if untouched {
            plan.give(place, new[place].clone());
        } else {
            plan.disagree(place, &new[place], &hub[place], later);
        }
    }
}

/// A number, or nothing, which counts as 0.
const fn is_number(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Integer(_) | Value::Real(_))
}

impl Plan {
    fn give(&mut self, place: usize, value: Value) {
        self.set.push((place, value));
    }

    fn disagree(&mut self, place: usize, new: &Value, hub: &Value, later: bool) {
        if later {
            self.set.push((place, new.clone()));
            self.won.push((place, hub.clone()));
        } else {
            self.lost.push((place, new.clone()));
        }
    }

    /// The row with the plan's values.
    #[must_use]
    pub fn on(&self, hub: &Row) -> Row {
        let mut row = hub.clone();
        for (place, value) in &self.set {
            row[*place].clone_from(value);
        }
        row
    }
}

/// A feed's row comes under a change that is not cut: what the program did stays on top, and where both
/// changed a column, the hub must still see the disagreement. Returns the new base and the new row.
#[must_use]
pub fn rebase(table: &Table, base: &Row, own: &Row, hub: &Row) -> (Row, Row) {
    let (mut new_base, mut new_own) = (base.clone(), own.clone());
    let places: Vec<usize> = table.places(Rule::Together).collect();
    let group_touched = places.iter().any(|place| own[*place] != base[*place]);
    for place in 0..table.columns.len() {
        let column = &table.columns[place];
        let (was, is, there) = (&base[place], &own[place], &hub[place]);
        let follow = if column.rule == Rule::Together { !group_touched } else { is == was };
        if follow || (column.rule == Rule::Key && is == there) {
            new_base[place].clone_from(there);
            new_own[place].clone_from(there);
        } else if let (Rule::Counter, Sum::Is(total)) = (column.rule, sum(was, is, there)) {
            new_base[place].clone_from(there);
            new_own[place] = stored(column.declared, total);
        } else if column.rule == Rule::Greatest && there != was {
            new_base[place].clone_from(there);
            if order(is, there) != Ordering::Greater {
                new_own[place].clone_from(there);
            }
        } else if is == there && column.rule != Rule::Together {
            new_base[place].clone_from(there);
        }
    }
    (new_base, new_own)
}
