//! The three-way merge of one row: base and new value from the edge, the hub's value now.
//!
//! No clock decides what happened after what: causality is in the base. If the base equals the hub's
//! value, nobody else changed the column. Time only breaks real ties.
//!
//! The rules are those of the policy's table: counters add, `greatest` keeps the larger, columns kept
//! `together` win or lose as one, all others go to the later writer and the loser is listed.

use crate::number::EdgeId;
use crate::policy::TableRule;
use crate::value::{Value, ValueRef};
use serde::{Deserialize, Serialize};

/// Who wrote a value and when, by that device's corrected clock. Ordered: the later wins, a tie goes to
/// the higher device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Corrected device time in milliseconds.
    pub at: i64,
    /// The writer.
    pub edge: EdgeId,
}

/// One changed column as the edge sent it, beside what the hub has.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// Name.
    pub name: &'a str,
    /// The value that the edge started from.
    pub base: ValueRef<'a>,
    /// The value that the edge wants.
    pub new: ValueRef<'a>,
    /// The hub's value now.
    pub hub: ValueRef<'a>,
}

/// A column in which two writers disagreed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clash {
    /// Name of the column.
    pub name: String,
    /// The common base.
    pub base: Value,
    /// The value that stays.
    pub kept: Value,
    /// The value that is overruled.
    pub lost: Value,
}

/// What to do with one row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowPlan {
    /// Columns to write at the hub, each with its value.
    pub set: Vec<(String, Value)>,
    /// Columns in which the edge lost: the hub's value stays.
    pub lost: Vec<Clash>,
    /// Columns in which the edge won over another writer.
    pub won: Vec<Clash>,
    /// Counters whose sum has no place in 64 bits: the edge's difference is held.
    pub overflow: Vec<Clash>,
    /// True when the hub's row becomes exactly what the edge has in all columns that it sent.
    pub as_sent: bool,
    /// True when `set` is more than sums: whoever disagrees later must know when it was written.
    pub dated: bool,
}

/// Decides one update. `edge` and `hub` are the stamps of the edge's change and of the hub's last
/// change of this row; None when nobody is known to have changed it since it was made.
#[must_use]
pub fn merge_row(rule: &TableRule, columns: &[Column<'_>], edge: Stamp, hub: Option<Stamp>) -> RowPlan {
    let mut plan = RowPlan { as_sent: true, ..RowPlan::default() };
    let edge_wins = hub.is_none_or(|hub| edge >= hub);
    let mut done: Vec<&str> = Vec::new();
    for column in columns {
        if done.contains(&column.name) {
            continue;
        }
        if let Some(group) = rule.group(column.name) {
            let members: Vec<_> = columns
                .iter()
                .filter(|other| group.iter().any(|name| name.eq_ignore_ascii_case(other.name)))
                .collect();
            done.extend(members.iter().map(|member| member.name));
            merge_group(&mut plan, &members, edge_wins);
        } else {
            merge_column(&mut plan, rule, column, edge_wins);
        }
    }
    plan
}

fn merge_column(plan: &mut RowPlan, rule: &TableRule, column: &Column<'_>, edge_wins: bool) {
    if column.hub == column.base {
        if column.hub != column.new {
            plan.dated |= is_dated(rule, column.name, column.base, column.new);
            plan.set.push((column.name.to_owned(), column.new.to_owned()));
        }
    } else if rule.is_counter(column.name) && add(column).is_some() {
        plan.as_sent = false;
        match add(column).flatten_sum() {
            Some(sum) => plan.set.push((column.name.to_owned(), sum)),
            None => plan.overflow.push(clash(column, false)),
        }
    } else if column.hub == column.new {
        // Both wrote the same. (Not so for a counter: twice +5 is +10, whatever the totals look like.)
    } else if rule.is_greatest(column.name) {
        if larger(column.new, column.hub) {
            plan.dated = true;
            plan.set.push((column.name.to_owned(), column.new.to_owned()));
        } else {
            plan.as_sent = false;
        }
    } else {
        disagree(plan, column, edge_wins);
    }
}

/// Whether time can be asked about this change later: not where a number was added to a counter.
#[must_use]
pub fn is_dated(rule: &TableRule, column: &str, base: ValueRef<'_>, new: ValueRef<'_>) -> bool {
    !rule.is_counter(column) || sum(base, new, base).is_none()
}

/// Columns that only make sense as one value: if any was changed at the hub meanwhile, all of them go to
/// the same writer.
fn merge_group(plan: &mut RowPlan, members: &[&Column<'_>], edge_wins: bool) {
    let all = |same: fn(&Column<'_>) -> bool| members.iter().all(|column| same(column));
    let untouched = all(|column| column.hub == column.base) || all(|column| column.hub == column.new);
    for column in members.iter().filter(|column| column.hub != column.new) {
        if untouched {
            plan.dated = true;
            plan.set.push((column.name.to_owned(), column.new.to_owned()));
        } else {
            disagree(plan, column, edge_wins);
        }
    }
}

fn disagree(plan: &mut RowPlan, column: &Column<'_>, edge_wins: bool) {
    if edge_wins {
        plan.dated = true;
        plan.set.push((column.name.to_owned(), column.new.to_owned()));
        plan.won.push(clash(column, true));
    } else {
        plan.as_sent = false;
        plan.lost.push(clash(column, false));
    }
}

fn clash(column: &Column<'_>, edge_won: bool) -> Clash {
    let (kept, lost) = if edge_won { (column.new, column.hub) } else { (column.hub, column.new) };
    Clash {
        name: column.name.to_owned(),
        base: column.base.to_owned(),
        kept: kept.to_owned(),
        lost: lost.to_owned(),
    }
}

/// The sum of a counter, if these three values can be added at all.
enum Sum {
    Fits(Value),
    Overflows,
}

trait FlattenSum {
    fn flatten_sum(self) -> Option<Value>;
}

impl FlattenSum for Option<Sum> {
    fn flatten_sum(self) -> Option<Value> {
        match self {
            Some(Sum::Fits(value)) => Some(value),
            _ => None,
        }
    }
}

/// Hub plus (new minus base). NULL counts as 0 once anybody sets a number; text, blobs and NULL written
/// over a number, by either side, are no difference that could be added.
fn add(column: &Column<'_>) -> Option<Sum> {
    sum(column.base, column.new, column.hub)
}

fn sum(base: ValueRef<'_>, new: ValueRef<'_>, hub: ValueRef<'_>) -> Option<Sum> {
    use ValueRef::{Integer, Null, Real};
    match (zero(base), new, zero(hub)) {
        _ if hub.is_null() && !base.is_null() => None,
        (Integer(base), Integer(new), Integer(hub)) => {
            let total = i128::from(hub) + i128::from(new) - i128::from(base);
            Some(i64::try_from(total).map_or(Sum::Overflows, |total| Sum::Fits(Value::Integer(total))))
        }
        (Null | Integer(_) | Real(_), Null, _) => None,
        (base, new, hub) => Some(Sum::Fits(Value::Real(real(hub)? + (real(new)? - real(base)?)))),
    }
}

/// The sum of a counter for a rebase on the edge; None when it cannot be added or has no place.
#[must_use]
pub fn counter_sum(base: ValueRef<'_>, new: ValueRef<'_>, hub: ValueRef<'_>) -> Option<Value> {
    sum(base, new, hub).flatten_sum()
}

const fn zero(value: ValueRef<'_>) -> ValueRef<'_> {
    match value {
        ValueRef::Null => ValueRef::Integer(0),
        other => other,
    }
}

fn real(value: ValueRef<'_>) -> Option<f64> {
    match value {
        ValueRef::Integer(value) => Some(value as f64),
        ValueRef::Real(value) => Some(value),
        _ => None,
    }
}

/// SQLite's order of values: NULL, numbers, text, blobs.
#[must_use]
pub fn larger(a: ValueRef<'_>, b: ValueRef<'_>) -> bool {
    let class = |value: ValueRef<'_>| match value {
        ValueRef::Null => 0,
        ValueRef::Integer(_) | ValueRef::Real(_) => 1,
        ValueRef::Text(_) => 2,
        ValueRef::Blob(_) => 3,
    };
    match (a, b) {
        (ValueRef::Integer(a), ValueRef::Integer(b)) => a > b,
        (ValueRef::Text(a), ValueRef::Text(b)) | (ValueRef::Blob(a), ValueRef::Blob(b)) => a > b,
        _ if class(a) == 1 && class(b) == 1 => real(a) > real(b),
        _ => class(a) > class(b),
    }
}

#[cfg(test)]
#[path = "merge/tests.rs"]
mod tests;
