//! Twins: the same thing made on two devices, under one natural key or unique value.
//!
//! * The row that reached the hub first survives, whole, with its id. The counts of the other are added.
//! * Equal otherwise: silently. Else the other goes whole on the list.
//! * Whoever still names the vanished row means the survivor: an alias remembers it.
//! * A row that this changeset has changed itself is nobody's twin: its device knew it.

use super::update::row_update;
use super::{Merge, MergeError};
use crate::store::alias::{self, Alias, NewAlias};
use crate::store::conflict::{self, Entry, Kind, Named};
use crate::store::{same, trash};
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};
use std::sync::Arc;
use tt_migrations::quote::ident;
use tt_migrations::replica::{Replica, Tracked, list};
use tt_migrations::row::{self, Key, Row, refusal};
use tt_migrations::value::{bound, copy};
use tt_protocol::merge::{Clash, RowPlan, counter_sum, larger};
use tt_protocol::number::EdgeId;
use tt_protocol::policy::{Policy, TableRule};
use tt_protocol::value::{Value, ValueRef};

/// A row that may be another one.
pub(super) struct Vanishing<'r> {
    /// As its device has it.
    pub(super) row: &'r [(String, Value)],
    /// The same with the parents that it has at the hub.
    pub(super) here: Named,
    pub(super) at: i64,
    /// The parent's alias, when it vanishes because it follows its parent.
    pub(super) via: Option<i64>,
    /// What releases it, when that is more than the row.
    pub(super) work: Option<Vec<Vec<u8>>>,
}

/// What joining two rows means.
#[derive(Default)]
struct Joined {
    /// Columns of the survivor that change.
    set: Named,
    /// Counts that are among them, as the other row brings them.
    brought: Named,
    /// Columns in which the two differ.
    differing: Vec<Clash>,
}

/// Two terms of an index as SQL with their collation.
type Terms = [(String, String)];

impl Merge<'_> {
    /// Joins a row that was refused with its twin. False when it has none: it is then held.
    pub(super) fn join_twin(
        &mut self,
        tracked: &Arc<Tracked>,
        new: &Vanishing<'_>,
    ) -> Result<bool, MergeError> {
        if self.is_released_row() {
            return Ok(false);
        }
        let Some(survivor) = self.twin_of(tracked, &new.here)? else {
            return Ok(false);
        };
        let key: Key = survivor[..tracked.keys()].to_vec();
        if self.refused.contains(&(tracked.table.name.clone(), same::key_bytes(tracked, &key))) {
            return Ok(false);
        }
        self.join(tracked, new, &survivor, Kind::Unique)?;
        Ok(true)
    }

    /// The operator lets this one row in because it is not the same as the other.
    pub(super) fn is_released_row(&self) -> bool {
        self.context.released && self.context.edge == EdgeId::HUB
    }

    /// Joins a row with its survivor.
    pub(super) fn join(
        &mut self,
        tracked: &Arc<Tracked>,
        new: &Vanishing<'_>,
        survivor: &Row,
        kind: Kind,
    ) -> Result<(), MergeError> {
        let rule = self.context.policy.table(&tracked.table.name);
        // Under one primary key only a natural key says that two rows are the same thing.
        let rule = if kind == Kind::Key { &TableRule::ORDINARY } else { rule };
        let mut joined = compare(tracked, rule, &new.here, survivor);
        if kind == Kind::Role {
            // Counts and larger values are what the device may not write as well.
            let touched = std::mem::take(&mut joined.set);
            joined.brought.clear();
            let own = new.here.iter().filter(|(name, _)| touched.iter().any(|(set, _)| set == name));
            joined.differing.extend(super::update::refused_clashes(
                tracked,
                survivor,
                own.cloned().collect(),
            ));
        }
        let key: Key = survivor[..tracked.keys()].to_vec();
        let plan = RowPlan { set: joined.set.clone(), ..RowPlan::default() };
        match row_update(self, tracked, &key, &plan) {
            Err(error) if refusal(&error).is_some() => {
                let counts = std::mem::take(&mut joined.brought);
                joined.differing.extend(super::update::refused_clashes(tracked, survivor, counts));
            }
            outcome => outcome?,
        }
        self.log.changed(tracked, &key);
        let old: Key = new.row.iter().take(tracked.keys()).map(|(_, value)| value.clone()).collect();
        self.log.changed(tracked, &old);
        let conflict = if joined.differing.is_empty() {
            None
        } else {
            Some(self.list_twin(tracked, new, (&key, kind), joined.differing)?)
        };
        if same::key_bytes(tracked, &old) != same::key_bytes(tracked, &key) {
            let (brought, via) = (&joined.brought, new.via);
            let new = NewAlias { row: new.row, survivor: &key, brought, via, conflict, moved: false };
            alias::add(self.context.conn, self.context.version, tracked, &new)?;
            self.aliased.clear();
        }
        Ok(())
    }

    fn list_twin(
        &mut self,
        tracked: &Tracked,
        new: &Vanishing<'_>,
        (survivor, kind): (&Key, Kind),
        clashes: Vec<Clash>,
    ) -> Result<i64, MergeError> {
        let action = match kind {
            Kind::Key => "held whole: another row with this key reached the hub first",
            Kind::Role => "refused: the device's role may not make rows of this table; the hub's row stays",
            _ => {
                "held whole: the same row reached the hub first and stays; the counts of this one were added to it, and its children follow it"
            }
        };
        let key: Named = new.row.iter().take(tracked.keys()).cloned().collect();
        // Which row it is that stays: its key, where it has another.
        let other = key.iter().zip(survivor).filter(|((_, lost), kept)| lost != *kept);
        let keys = other.map(|((name, lost), kept)| Clash {
            name: name.clone(),
            base: Value::Null,
            kept: kept.clone(),
            lost: lost.clone(),
        });
        let of_key = |clash: &Clash| key.iter().any(|(name, _)| *name == clash.name);
        let clashes = keys.chain(clashes.into_iter().filter(|clash| !of_key(clash))).collect();
        let kept = trash::stamp(self.context.conn, tracked, survivor)?;
        let entry = Entry::new(kind, &tracked.table.name, key, self.stamp(new.at), action);
        let work = new.work.clone();
        self.list(Entry { clashes, kept, row: Some(new.row.to_vec()), work, ..entry })
    }

    /// Whether a row under the same primary key is the same thing by its natural key, or just clashes.
    pub(super) fn kind_of_twin(&self, tracked: &Tracked, row: &[(String, Value)], hub: &Row) -> Kind {
        let key = &self.context.policy.table(&tracked.table.name).key;
        let same_in = |column: &String| {
            let new = row.iter().find(|(name, _)| name.eq_ignore_ascii_case(column));
            let (Some((_, new)), Some(place)) = (new, tracked.place(column)) else {
                return false;
            };
            let bytes = |value: &Value| same::bytes(tracked, [column.as_str()], std::slice::from_ref(value));
            !new.is_null() && bytes(new) == bytes(&hub[place])
        };
        if !key.is_empty() && key.iter().all(same_in) { Kind::Unique } else { Kind::Key }
    }

    /// The row at the hub that is the same thing as this one.
    pub(super) fn twin_of(
        &self,
        tracked: &Tracked,
        row: &[(String, Value)],
    ) -> Result<Option<Row>, MergeError> {
        if let Some(found) = self.natural_twin(tracked, row)? {
            return Ok(Some(found));
        }
        for unique in tracked.table.uniques.iter().filter(|unique| !unique.terms.is_empty()) {
            if let Some(found) = self.with_terms(tracked, row, &unique.terms, unique.predicate.as_deref())? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The row at the hub with the same natural key, under whatever id.
    pub(super) fn natural_twin(
        &self,
        tracked: &Tracked,
        row: &[(String, Value)],
    ) -> Result<Option<Row>, MergeError> {
        let key = &self.context.policy.table(&tracked.table.name).key;
        if key.is_empty() || key.iter().any(|column| tracked.place(column).is_none()) {
            return Ok(None);
        }
        let collation = |column: &String| same::collation(tracked, column).unwrap_or("BINARY").to_owned();
        let terms: Vec<_> = key.iter().map(|column| (ident(column), collation(column))).collect();
        self.with_terms(tracked, row, &terms, None)
    }

    /// True when the policy names a natural key that no constraint of the table keeps unique.
    pub(super) fn natural_only(&self, tracked: &Tracked) -> bool {
        let key = &self.context.policy.table(&tracked.table.name).key;
        !key.is_empty() && !is_kept_unique(tracked, key)
    }

    /// The row at the hub that has the same values in these terms.
    fn with_terms(
        &self,
        tracked: &Tracked,
        row: &[(String, Value)],
        terms: &Terms,
        predicate: Option<&str>,
    ) -> Result<Option<Row>, MergeError> {
        let conn = self.context.conn;
        let value = |name: &String| {
            let found = row.iter().find(|(have, _)| have.eq_ignore_ascii_case(name));
            found.map_or(ValueRef::Null, |(_, value)| value.as_ref())
        };
        let columns: Vec<_> = tracked.names.iter().map(|name| format!("? AS {}", ident(name))).collect();
        let sql = format!(
            "SELECT {}, {} FROM (SELECT {})",
            predicate.unwrap_or("1"),
            terms.iter().map(|(term, _)| term.as_str()).collect::<Vec<_>>().join(", "),
            columns.join(", ")
        );
        let values: Row = conn
            .prepare_cached(&sql)?
            .query_row(params_from_iter(bound(tracked.names.iter().map(value))), |row| {
                copy(row, 0, terms.len() + 1)
            })?;
        let applies = !matches!(values[0], Value::Null | Value::Integer(0));
        if !applies || values[1..].iter().any(Value::is_null) {
            return Ok(None);
        }
        let at: Vec<_> = terms
            .iter()
            .map(|(term, collation)| format!("{term} = ? COLLATE {}", ident(collation)))
            .collect();
        let sql = format!(
            "SELECT {} FROM {} WHERE {} AND ({})",
            list(&tracked.names),
            ident(&tracked.table.name),
            at.join(" AND "),
            predicate.unwrap_or("1"),
        );
        Ok(conn
            .prepare_cached(&sql)?
            .query_row(params_from_iter(bound(values[1..].iter().map(Value::as_ref))), |row| {
                copy(row, 0, tracked.names.len())
            })
            .optional()?)
    }

    /// The device deleted its row before it knew that it vanished: it takes back what the row brought.
    pub(super) fn withdraw(&mut self, tracked: &Arc<Tracked>, mut alias: Alias) -> Result<(), MergeError> {
        let brought = alias.brought.clone();
        match self.take_back_counts(tracked, &mut alias) {
            Err(MergeError::Sqlite(error)) if refusal(&error).is_some() => {
                self.list_kept_counts(tracked, &alias.survivor, brought, &error)?;
            }
            outcome => outcome?,
        }
        if let Some(id) = alias.conflict {
            conflict::close(self.context.conn, id, "withdrawn: the device deleted the row", self.at)?;
        }
        let key: Key = alias.row.iter().take(tracked.keys()).map(|(_, value)| value.clone()).collect();
        self.log.changed(tracked, &key);
        Ok(alias::amend(self.context.conn, &alias)?)
    }

    /// A rule of the table refuses what the survivor would be without these counts: they stay.
    fn list_kept_counts(
        &mut self,
        tracked: &Arc<Tracked>,
        key: &Key,
        brought: Named,
        error: &rusqlite::Error,
    ) -> Result<(), MergeError> {
        let Some(hub) = row::read(self.context.conn, tracked, key)? else {
            return Ok(());
        };
        let clashes = super::update::refused_clashes(tracked, &hub, without(tracked, brought, &hub));
        let action =
            format!("the counts of a deleted row stay: a rule of the table refuses the rest ({error})");
        self.list_clashes(Kind::Counter, tracked, key, clashes, (None, self.stamp(self.at)), &action)
    }

    /// Takes the counts of a vanished row from its survivor again.
    pub(super) fn take_back_counts(
        &mut self,
        tracked: &Arc<Tracked>,
        alias: &mut Alias,
    ) -> Result<(), MergeError> {
        let brought = std::mem::take(&mut alias.brought);
        let Some(hub) = row::read(self.context.conn, tracked, &alias.survivor)? else {
            return Ok(());
        };
        let set = without(tracked, brought, &hub);
        if !set.is_empty() {
            row::update(self.context.conn, tracked, &alias.survivor, &set)?;
            self.log.changed(tracked, &alias.survivor);
        }
        Ok(())
    }
}

/// Makes an index for each natural key that no constraint keeps unique, so that looking for a twin is no
/// pass over the table. True when the schema changed by it.
pub(crate) fn index_natural_keys(
    conn: &Connection,
    replica: &Replica,
    policy: &Policy,
) -> rusqlite::Result<bool> {
    let mut changed = false;
    for tracked in replica.tables.values() {
        let key = &policy.table(&tracked.table.name).key;
        let known = key.iter().all(|column| tracked.place(column).is_some());
        if key.is_empty() || !known || is_kept_unique(tracked, key) {
            continue;
        }
        let name = format!("_sync_key_{}", tracked.table.name);
        let is_there = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?1)";
        if !conn.prepare_cached(is_there)?.query_row([&name], |row| row.get(0))? {
            let (name, table) = (ident(&name), ident(&tracked.table.name));
            conn.execute_batch(&format!("CREATE INDEX {name} ON {table}({})", list(key)))?;
            changed = true;
        }
    }
    Ok(changed)
}

/// True when a constraint of the table keeps these columns unique.
pub(crate) fn is_kept_unique(tracked: &Tracked, key: &[String]) -> bool {
    let same = |columns: &[(String, String)]| {
        columns.iter().all(|(name, _)| key.iter().any(|column| column.eq_ignore_ascii_case(name)))
    };
    let uniques = tracked.table.uniques.iter().filter(|unique| unique.predicate.is_none());
    same(&tracked.table.key) || uniques.filter_map(|unique| unique.columns.as_ref()).any(|it| same(it))
}

/// What the counters of a row are without these counts.
fn without(tracked: &Tracked, counts: Named, hub: &Row) -> Named {
    let less = |(name, value): (String, Value)| {
        let place = tracked.place(&name)?;
        let sum = counter_sum(value.as_ref(), ValueRef::Integer(0), hub[place].as_ref())?;
        Some((name, sum))
    };
    counts.into_iter().filter_map(less).collect()
}

fn compare(tracked: &Tracked, rule: &TableRule, row: &[(String, Value)], survivor: &Row) -> Joined {
    let mut joined = Joined::default();
    for (name, new) in row {
        let Some(place) = tracked.place(name) else { continue };
        let hub = &survivor[place];
        if place < tracked.keys() && tracked.table.rowid_key {
            continue;
        }
        let zero = ValueRef::Integer(0);
        if rule.is_counter(name) && new.is_null() && counter_sum(zero, zero, hub.as_ref()).is_some() {
            // No count adds nothing.
            continue;
        }
        if rule.is_counter(name)
            && let Some(sum) = counter_sum(ValueRef::Null, new.as_ref(), hub.as_ref())
        {
            if sum != *hub {
                joined.set.push((name.clone(), sum));
                joined.brought.push((name.clone(), new.clone()));
            }
            continue;
        }
        let equal = |value: &Value| same::bytes(tracked, [name.as_str()], std::slice::from_ref(value));
        if equal(new) == equal(hub) || super::insert::defaults_to_now(tracked, name) {
            continue;
        }
        if rule.is_greatest(name) {
            if larger(new.as_ref(), hub.as_ref()) {
                joined.set.push((name.clone(), new.clone()));
            }
            continue;
        }
        joined.differing.push(Clash {
            name: name.clone(),
            base: Value::Null,
            kept: hub.clone(),
            lost: new.clone(),
        });
    }
    joined
}
