//! Rebase: a feed's row arrives under a change that the program has not handed in yet.
//!
//! * Columns that the program did not change become the hub's; the base follows.
//! * A counter keeps the program's difference on top of the hub's value.
//! * A column that both changed keeps the program's value *and its old base*: the hub must see that two
//!   writers disagreed, decide by the rule and list the loser.

use rusqlite::{Connection, Result};
use std::sync::Arc;
use tt_migrations::capture::base::{self, Note};
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Row};
use tt_protocol::merge::{counter_sum, larger};
use tt_protocol::policy::TableRule;
use tt_protocol::value::Value;

/// Puts the hub's row under a touched one. `hub` is in the order of [`Tracked::names`].
pub(super) fn put(
    conn: &Connection,
    tracked: &Arc<Tracked>,
    rule: &TableRule,
    note: Note,
    hub: &Row,
) -> Result<Put> {
    let key = &hub[..tracked.keys()];
    let live = row::read(conn, tracked, key)?;
    match (note.existed, live) {
        // Touched, but as it was: a row like any, which may also take part in a swap of unique values.
        (true, Some(live)) if live == note.row => {
            base::forget(conn, &tracked.table, key)?;
            Ok(Put::Write)
        }
        (true, Some(live)) => under_change(conn, tracked, rule, note.row, live, hub),
        // The program's own row under the same key, or a delete: the hub decides when it arrives. A
        // delete of a row that nobody touched stands.
        (false, Some(live)) if live != *hub => Ok(Put::Done),
        (true, None) => Ok(Put::Done),
        (false, None) => {
            base::forget(conn, &tracked.table, key)?;
            Ok(Put::Write)
        }
        (false, Some(_)) => {
            base::forget(conn, &tracked.table, key)?;
            Ok(Put::Done)
        }
    }
}

/// What is left to do with the hub's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// Nothing.
    Done,
    /// Write it as if nobody had touched the row.
    Write,
    /// Apply nothing: the program's change must be handed in first.
    CutFirst,
}

fn under_change(
    conn: &Connection,
    tracked: &Tracked,
    rule: &TableRule,
    mut base_row: Row,
    mut live: Row,
    hub: &Row,
) -> Result<Put> {
    let (before, keys) = (live.clone(), tracked.keys());
    for place in tracked.keys()..tracked.names.len() {
        if let Some(group) = rule.group(&tracked.names[place]) {
            let places: Vec<usize> = group.iter().filter_map(|name| tracked.place(name)).collect();
            let touched = places.iter().any(|place| live[*place] != base_row[*place]);
            if !touched {
                live[place] = hub[place].clone();
                base_row[place] = hub[place].clone();
            }
            continue;
        }
        rebase_column(rule, &tracked.names[place], &mut base_row[place], &mut live[place], &hub[place]);
    }
    let key = &hub[..keys];
    if base_row[..keys] != *key && live[keys..] != hub[keys..] {
        // A note keeps the spelling of its key: it cannot follow the hub's.
        return Ok(Put::CutFirst);
    }
    if base_row[..keys] == live[..keys] {
        live[..keys].clone_from_slice(key);
    }
    let set: Vec<(String, Value)> = (0..live.len())
        .filter(|place| live[*place] != before[*place])
        .map(|place| (tracked.names[place].clone(), live[place].clone()))
        .collect();
    if !set.is_empty() {
        row::update(conn, tracked, key, &set)?;
    }
    if live == *hub {
        base::forget(conn, &tracked.table, key)?;
    } else {
        base::rebase(conn, &tracked.table, &base_row)?;
    }
    Ok(Put::Done)
}

fn rebase_column(rule: &TableRule, name: &str, base: &mut Value, live: &mut Value, hub: &Value) {
    if live == base {
        live.clone_from(hub);
        base.clone_from(hub);
    } else if rule.is_counter(name)
        && let Some(sum) = counter_sum(base.as_ref(), live.as_ref(), hub.as_ref())
    {
        *live = sum;
        base.clone_from(hub);
    } else if live == hub {
        base.clone_from(hub);
    } else if rule.is_greatest(name) && hub != base {
        if larger(hub.as_ref(), live.as_ref()) {
            live.clone_from(hub);
        }
        base.clone_from(hub);
    }
}
