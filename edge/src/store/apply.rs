//! Applies a feed: the hub's rows and the cursor, in one transaction.
//!
//! * A feed is applied only when the hub had merged all that the outbox holds; what programs touched
//!   since the last cut is rebased.
//! * Where a feed and an uncut change cannot both stand (a unique value, a parent that one side deleted),
//!   nothing is applied: the change is cut first, the hub decides, and the next feed has the answer.
//! * Where nothing is uncut and a row is refused nevertheless, it is by a constraint of this file alone.

use super::rebase;
use super::refused::{self, Against, Refused};
use super::{Feed, StoreError, Verdict};
use rusqlite::{Connection, params_from_iter};
use std::collections::BTreeSet;
use std::sync::Arc;
use tt_migrations::audit;
use tt_migrations::capture::{base, ids};
use tt_migrations::quote::ident;
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::row::{self, Key, Row, refusal};
use tt_migrations::state;
use tt_migrations::value::bound;
use tt_protocol::change::{Kind, TableChange, decode_piece};
use tt_protocol::number::EdgeId;
use tt_protocol::policy::Policy;
use tt_protocol::value::{Value, ValueRef};

/// A feed being applied.
pub(super) struct Apply<'a> {
    pub(super) conn: &'a Connection,
    pub(super) replica: &'a Replica,
    pub(super) policy: &'a Policy,
    pub(super) device: EdgeId,
    /// Tables with notes, and tables of the feed, in lower case: a child may spell its parent otherwise.
    noted: BTreeSet<String>,
    fed: BTreeSet<String>,
    waiting: Vec<(Arc<Tracked>, Vec<String>, Row)>,
    clash: bool,
    /// Why the file cannot take the feed, whatever is cut.
    refused: Option<String>,
    /// Nothing is uncut, so that nothing can stand against the feed but the file itself.
    nothing_uncut: bool,
}

impl<'a> Apply<'a> {
    pub(super) fn new(
        conn: &'a Connection,
        replica: &'a Replica,
        policy: &'a Policy,
        device: EdgeId,
        nothing_uncut: bool,
    ) -> Result<Self, StoreError> {
        let mut noted = BTreeSet::new();
        for tracked in replica.tables.values() {
            if base::any(conn, &tracked.table)? {
                noted.insert(tracked.table.name.to_ascii_lowercase());
            }
        }
        Ok(Self {
            conn,
            replica,
            policy,
            device,
            noted,
            fed: BTreeSet::new(),
            waiting: Vec::new(),
            clash: false,
            refused: None,
            nothing_uncut,
        })
    }

    /// Applies in the caller's transaction, which must be rolled back unless the verdict is `Applied`.
    pub(super) fn run(mut self, feed: &Feed) -> Result<Verdict, StoreError> {
        for piece in &feed.pieces {
            for change in decode_piece(piece)? {
                self.change(&change)?;
            }
        }
        self.put_waiting()?;
        // What is uncut may be in the way of a parent; what the hub itself leaves without one is the hub's.
        if self.clash || (!self.nothing_uncut && self.breaks_references(feed)?) {
            return Ok(Verdict::CutFirst);
        }
        if let Some(reason) = self.refused {
            return Ok(Verdict::Refused(reason));
        }
        for tracked in self.fed.iter().filter_map(|name| self.replica.get(name)) {
            ids::settle(self.conn, tracked, self.device)?;
        }
        state::set(self.conn, state::VERSION, feed.to.0 as i64)?;
        Ok(Verdict::Applied)
    }

    fn change(&mut self, change: &TableChange) -> Result<(), StoreError> {
        let Some(tracked) = self.replica.get(&change.table).cloned() else {
            return Err(StoreError::NoTable(change.table.clone()));
        };
        self.fed.insert(tracked.table.name.to_ascii_lowercase());
        self.leave_fresh_ids(&tracked, change)?;
        match change.kind {
            Kind::Gone => self.gone_rows(&tracked, change),
            Kind::Put => self.put_rows(&tracked, change),
            _ => Err(StoreError::Shape),
        }
    }

    /// A row of somebody else whose id is fresh here (a program there chose it by itself) must not be
    /// taken for one of this device, nor overwrite it.
    fn leave_fresh_ids(&mut self, tracked: &Arc<Tracked>, change: &TableChange) -> Result<(), StoreError> {
        if !tracked.table.rowid_key {
            return Ok(());
        }
        let place = ids::place(self.conn, tracked)?;
        let fresh = |row| matches!(change.key(row).next(), Some(ValueRef::Integer(id)) if (place.lo..=place.hi).contains(&id));
        if (0..change.rows.rows()).any(fresh) {
            ids::leave(self.conn, tracked, self.device)?;
            self.noted.insert(tracked.table.name.to_ascii_lowercase());
        }
        Ok(())
    }

    fn put_rows(&mut self, tracked: &Arc<Tracked>, change: &TableChange) -> Result<(), StoreError> {
        if let Some(name) = change.columns.iter().find(|name| tracked.place(name).is_none()) {
            return Err(StoreError::NoColumn(change.table.clone(), name.clone()));
        }
        let sql = tracked.upsert(&change.columns);
        let noted = self.noted.contains(&tracked.table.name.to_ascii_lowercase());
        for index in 0..change.rows.rows() {
            if noted && !self.rebased(tracked, change, index)? {
                continue;
            }
            match row::execute(self.conn, tracked, &sql, change.values(index)) {
                Ok(()) => {}
                Err(error) if refusal(&error).is_some() => {
                    let row = change.values(index).map(ValueRef::to_owned).collect();
                    self.waiting.push((Arc::clone(tracked), change.columns.clone(), row));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Puts the row under a local change. True when it is still to be written plainly.
    fn rebased(
        &mut self,
        tracked: &Arc<Tracked>,
        change: &TableChange,
        index: usize,
    ) -> Result<bool, StoreError> {
        let key: Key = change.key(index).map(ValueRef::to_owned).collect();
        let Some(note) = base::note(self.conn, &tracked.table, &key)? else {
            return Ok(true);
        };
        let rule = self.policy.table(&tracked.table.name);
        let hub = self.whole_row(tracked, change, index, &note.row);
        match rebase::put(self.conn, tracked, rule, note, &hub) {
            Ok(rebase::Put::Write) => Ok(true),
            Ok(rebase::Put::Done) => Ok(false),
            Ok(rebase::Put::CutFirst) => {
                self.clash = true;
                Ok(false)
            }
            Err(error) if refusal(&error).is_some() => {
                if self.nothing_uncut {
                    self.refused.get_or_insert_with(|| refused::by_file(&error));
                } else {
                    self.clash = true;
                }
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The fed row in the table's columns; a column that the hub does not have stays as it was.
    fn whole_row(&self, tracked: &Tracked, change: &TableChange, index: usize, old: &Row) -> Row {
        let mut row = old.clone();
        for (name, value) in change.columns.iter().zip(change.values(index)) {
            if let Some(slot) = tracked.place(name).and_then(|place| row.get_mut(place)) {
                *slot = value.to_owned();
            }
        }
        row
    }

    fn gone_rows(&mut self, tracked: &Arc<Tracked>, change: &TableChange) -> Result<(), StoreError> {
        let noted = self.noted.contains(&tracked.table.name.to_ascii_lowercase());
        for index in 0..change.rows.rows() {
            let key: Key = change.key(index).map(ValueRef::to_owned).collect();
            if noted && self.keeps(tracked, &key)? {
                continue;
            }
            row::delete(self.conn, tracked, &key)?;
        }
        Ok(())
    }

    /// A row that the program touched stays when the hub deleted it: the hub decides when the change
    /// arrives. When the program deleted it as well, the two agree.
    fn keeps(&self, tracked: &Tracked, key: &Key) -> Result<bool, StoreError> {
        let Some(note) = base::note(self.conn, &tracked.table, key)? else {
            return Ok(false);
        };
        let live = row::read(self.conn, tracked, key)?;
        // Touched, but as it was: the cut would not report it.
        let untouched = note.existed && live.as_ref() == Some(&note.row);
        if live.is_some() && !untouched {
            return Ok(true);
        }
        base::forget(self.conn, &tracked.table, key)?;
        Ok(!untouched)
    }

    /// Rows that clashed in a unique value with a row that comes later in the feed: their old versions
    /// are taken out together, then all go in. A clash that is left is with an uncut row, or with a
    /// constraint that only this device has.
    fn put_waiting(&mut self) -> Result<(), StoreError> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut whole = Vec::new();
        for (tracked, columns, sent) in waiting {
            let key = &sent[..tracked.keys()];
            let old = row::read(self.conn, &tracked, key)?;
            row::delete(self.conn, &tracked, key)?;
            whole.push((tracked, columns, sent, old));
        }
        for (tracked, columns, sent, old) in whole {
            let (names, values) = merge_columns(&tracked, columns, sent, old);
            match row::insert_named(self.conn, &tracked, &names, values.iter().map(Value::as_ref)) {
                Ok(()) => {}
                Err(error) if refusal(&error).is_some() => {
                    let (columns, row) = (&names, &values);
                    match (Refused { tracked: &tracked, columns, row, error: &error }).against(self.conn)? {
                        Against::Uncut => self.clash = true,
                        Against::File(reason) => drop(self.refused.get_or_insert(reason)),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// True when a row of the feed and an uncut change leave a child without its parent.
    fn breaks_references(&self, feed: &Feed) -> Result<bool, StoreError> {
        for tracked in self.replica.tables.values() {
            for (place, foreign) in tracked.table.foreign_keys.iter().enumerate() {
                if self.fed.contains(&foreign.parent.to_ascii_lowercase())
                    && self.uncut_child_is_alone(tracked, place)?
                {
                    return Ok(true);
                }
            }
        }
        if self.noted.is_empty() {
            return Ok(false);
        }
        self.fed_child_is_alone(feed)
    }

    fn uncut_child_is_alone(&self, child: &Tracked, place: usize) -> Result<bool, StoreError> {
        let alone = alone_sql(child, place);
        let name = ident(&child.table.name);
        if child.table.rowid_key {
            let place = ids::place(self.conn, child)?;
            let key = ident(&child.table.key[0].0);
            let sql =
                format!("SELECT EXISTS (SELECT 1 FROM {name} c WHERE c.{key} BETWEEN ?1 AND ?2 AND {alone})");
            if self.conn.prepare_cached(&sql)?.query_row((place.lo, place.hi), |row| row.get(0))? {
                return Ok(true);
            }
        }
        if !self.noted.contains(&child.table.name.to_ascii_lowercase()) {
            return Ok(false);
        }
        let same =
            child.table.key_names().map(|key| format!("b.{} = c.{}", base::key_column(key), ident(key)));
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {} b JOIN {name} c ON {} WHERE {alone})",
            ident(&base::name(&child.table.name)),
            same.collect::<Vec<_>>().join(" AND ")
        );
        Ok(self.conn.prepare_cached(&sql)?.query_row([], |row| row.get(0))?)
    }

    /// A fed row whose parent the program has deleted and not handed in yet.
    fn fed_child_is_alone(&self, feed: &Feed) -> Result<bool, StoreError> {
        for piece in &feed.pieces {
            for change in decode_piece(piece)?.iter().filter(|change| change.kind == Kind::Put) {
                let Some(tracked) = self.replica.get(&change.table) else {
                    continue;
                };
                for (place, foreign) in tracked.table.foreign_keys.iter().enumerate() {
                    if self.noted.contains(&foreign.parent.to_ascii_lowercase())
                        && self.any_alone(tracked, place, change)?
                    {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    fn any_alone(&self, child: &Tracked, place: usize, change: &TableChange) -> Result<bool, StoreError> {
        let at: Vec<_> = child.table.key_names().map(|key| format!("c.{} = ?", ident(key))).collect();
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {} c WHERE {} AND {})",
            ident(&child.table.name),
            at.join(" AND "),
            alone_sql(child, place)
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        for index in 0..change.rows.rows() {
            if statement.query_row(params_from_iter(bound(change.key(index))), |row| row.get(0))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// True when programs have changed something that is not cut.
pub(super) fn is_anything_uncut(conn: &Connection, replica: &Replica) -> Result<bool, StoreError> {
    for tracked in replica.tables.values() {
        if audit::is_touched(conn, tracked)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// "Row `c` points at a parent, and that parent is not there."
pub(super) fn alone_sql(child: &Tracked, place: usize) -> String {
    let foreign = &child.table.foreign_keys[place];
    let given = foreign.columns.iter().map(|name| format!("c.{} IS NOT NULL", ident(name)));
    let same = foreign
        .columns
        .iter()
        .zip(&foreign.parent_columns)
        .map(|(name, parent)| format!("p.{} = c.{}", ident(parent), ident(name)));
    format!(
        "{} AND NOT EXISTS (SELECT 1 FROM {} p WHERE {})",
        given.collect::<Vec<_>>().join(" AND "),
        ident(&foreign.parent),
        same.collect::<Vec<_>>().join(" AND ")
    )
}

fn merge_columns(tracked: &Tracked, columns: Vec<String>, sent: Row, old: Option<Row>) -> (Vec<String>, Row) {
    let Some(mut whole) = old else {
        return (columns, sent);
    };
    for (name, value) in columns.iter().zip(sent) {
        if let Some(slot) = tracked.place(name).and_then(|place| whole.get_mut(place)) {
            *slot = value;
        }
    }
    (tracked.names.clone(), whole)
}
