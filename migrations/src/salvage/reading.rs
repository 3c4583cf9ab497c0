//! The rows of one table, around pages that cannot be read: from both ends until SQLite fails, then at places
//! where a row is known or supposed to be, then by halving what lies between.
//!
//! A place is the rowid, or the first column of the key of a table without one. Halving stops after a number of
//! looks: a page can stand for any number of ids that do not exist.

use super::is_damage;
use crate::quote::ident;
use crate::replica::list;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, Result, Row, ToSql, params_from_iter};
use std::collections::VecDeque;

/// Looks at places for one table.
const LOOKS_MAX: usize = 8_192;

/// A table of the damaged file.
pub(super) struct Source<'s> {
    pub(super) conn: &'s Connection,
    pub(super) name: &'s str,
    /// What is read of each row.
    pub(super) columns: &'s [String],
    /// Columns of the key, when the table has no rowid.
    pub(super) key: &'s [String],
}

/// How far a table could be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// Rows that were handed on.
    pub(super) rows: u64,
    /// Some page could not be read.
    pub(super) is_damaged: bool,
    /// Places between which nothing could be read.
    pub(super) gaps: Vec<(i64, i64)>,
}

/// Takes a row that was read: the values begin at the second column.
pub(super) type Take<'t> = dyn FnMut(&Row<'_>) -> Result<()> + 't;

/// How a walk ended.
struct Walk {
    rows: u64,
    last: Option<i64>,
    to_the_end: bool,
}

impl Source<'_> {
    /// Hands every row on that can be read. A row may come twice, when the table has no rowid.
    pub(super) fn read(&self, places: &[i64], take: &mut Take<'_>) -> Result<Reach> {
        let up = self.walk(None, true, take)?;
        if up.to_the_end {
            return Ok(Reach { rows: up.rows, ..Reach::default() });
        }
        let down = self.walk(None, false, take)?;
        let mut reach = Reach { rows: up.rows + down.rows, is_damaged: true, gaps: Vec::new() };
        let gap = match (up.last, down.last) {
            (low, high) if self.key.is_empty() => (
                low.map_or(i64::MIN, |low| low.saturating_add(1)),
                high.map_or(i64::MAX, |high| high.saturating_sub(1)),
            ),
            (Some(low), Some(high)) => (low, high),
            // The key is no number, or nothing at all could be read: there is nothing to halve.
            _ => (i64::MIN, i64::MAX),
        };
        reach.gaps = vec![gap];
        if self.key.is_empty() || up.last.is_some() && down.last.is_some() {
            self.fill(&mut reach, places, take)?;
        }
        Ok(reach)
    }

    fn fill(&self, reach: &mut Reach, places: &[i64], take: &mut Take<'_>) -> Result<()> {
        for place in places {
            let within = |(low, high): &(i64, i64)| (*low..=*high).contains(place);
            if let Some(index) = reach.gaps.iter().position(within) {
                let gap = reach.gaps.swap_remove(index);
                let left = self.look(gap, *place, reach, take)?;
                reach.gaps.extend(left);
            }
        }
        let mut waiting: VecDeque<(i64, i64)> = reach.gaps.drain(..).collect();
        for _ in 0..LOOKS_MAX {
            let Some(gap) = waiting.pop_front() else { break };
            if gap.0 == gap.1 {
                reach.gaps.push(gap);
                continue;
            }
            let middle = gap.0.midpoint(gap.1).saturating_add(1).min(gap.1);
            waiting.extend(self.look(gap, middle, reach, take)?);
        }
        reach.gaps.extend(waiting);
        reach.gaps.sort_unstable();
        Ok(())
    }

    /// Reads from a place in a gap in both directions; gives what is left of the gap.
    fn look(
        &self,
        (low, high): (i64, i64),
        place: i64,
        reach: &mut Reach,
        take: &mut Take<'_>,
    ) -> Result<Vec<(i64, i64)>> {
        let mut left = Vec::new();
        // Rows of one place can lie on several pages when the table has no rowid.
        let next = i64::from(self.key.is_empty());
        let up = self.walk(Some((place, high)), true, take)?;
        if !up.to_the_end {
            left.push((up.last.map_or(place, |last| last.saturating_add(next)), high));
        }
        reach.rows += up.rows;
        if place > low {
            let down = self.walk(Some((low, place - 1)), false, take)?;
            if !down.to_the_end {
                left.push((low, down.last.map_or(place - 1, |last| last.saturating_sub(next))));
            }
            reach.rows += down.rows;
        }
        left.retain(|(low, high)| low <= high);
        Ok(left)
    }

    fn walk(&self, between: Option<(i64, i64)>, is_up: bool, take: &mut Take<'_>) -> Result<Walk> {
        let direction = if is_up { "ASC" } else { "DESC" };
        let (place, order) = match self.key.first() {
            None => ("_rowid_".to_owned(), format!("_rowid_ {direction}")),
            Some(first) => {
                let order: Vec<_> =
                    self.key.iter().map(|name| format!("{} {direction}", ident(name))).collect();
                (ident(first), order.join(", "))
            }
        };
        let within =
            if between.is_some() { format!("WHERE {place} BETWEEN ?1 AND ?2") } else { String::new() };
        let (columns, name) = (list(self.columns), ident(self.name));
        let sql = format!("SELECT {place}, {columns} FROM {name} NOT INDEXED {within} ORDER BY {order}");
        let bounds: Vec<i64> = between.into_iter().flat_map(|(low, high)| [low, high]).collect();
        let mut walk = Walk { rows: 0, last: None, to_the_end: false };
        let outcome = self.conn.prepare_cached(&sql).and_then(|mut statement| {
            let mut rows =
                statement.query(params_from_iter(bounds.iter().map(|bound| bound as &dyn ToSql)))?;
            while let Some(row) = rows.next()? {
                if let SqlValue::Integer(place) = row.get(0)? {
                    walk.last = Some(place);
                }
                take(row)?;
                walk.rows += 1;
            }
            walk.to_the_end = true;
            Ok(())
        });
        match outcome {
            Err(error) if !is_damage(&error) => Err(error),
            _ => Ok(walk),
        }
    }
}

/// Whole numbers that a statement gives, as far as it can be read.
pub(super) fn numbers(conn: &Connection, sql: &str) -> Vec<i64> {
    let Ok(mut statement) = conn.prepare(sql) else { return Vec::new() };
    let Ok(rows) = statement.query_map([], |row| row.get(0)) else { return Vec::new() };
    rows.map_while(Result::ok).collect()
}
