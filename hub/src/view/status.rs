//! The hub on one screen: what `tt-hub status` prints and `/api/status` answers.
//!
//! Rows and digests of all tables mean a reading of the whole database, so whoever asks often keeps [`Tables`].

use super::ViewError;
use crate::clock;
use crate::config::Config;
use crate::control::State;
use crate::devices;
use crate::folder::Folder;
use crate::restore;
use crate::store::conflict;
use crate::upkeep::Look;
use crate::view;
use rusqlite::Connection;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use tt_migrations::capture::ids;
use tt_migrations::replica::Replica;
use tt_migrations::{audit, digest, policy, programs_triggers, state};
use tt_protocol::digest::{TableDigest, combine};
use tt_protocol::ids::ID_MAX;

/// What the replicated tables held at one moment.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) version: i64,
    pub(crate) epoch: i64,
    /// Programs had written what was no version yet.
    pub(crate) uncut: bool,
    pub(crate) digests: BTreeMap<String, TableDigest>,
    keyless: Vec<String>,
    left_out: Vec<String>,
    id_space_used: f64,
}

impl Tables {
    /// Reads every table once. To be called in a transaction, so that all is of one moment.
    pub(crate) fn read(conn: &Connection) -> Result<Self, ViewError> {
        let replica = replica(conn)?;
        let mut uncut = false;
        for tracked in replica.tables.values() {
            uncut = uncut || audit::is_touched(conn, tracked)?;
        }
        let left_out = programs_triggers::would_be_left_out(conn, &replica)?;
        Ok(Self {
            version: number(conn, state::VERSION)?,
            epoch: number(conn, state::EPOCH)?,
            uncut,
            digests: digest::tables(conn, &replica)?,
            left_out: left_out.iter().map(ToString::to_string).collect(),
            id_space_used: id_space_used(conn, &replica)?,
            keyless: replica.keyless,
        })
    }

    /// One digest over all tables.
    pub(crate) fn whole(&self) -> String {
        combine(self.digests.iter().map(|(name, digest)| (name.as_str(), *digest)))
    }
}

/// The replicated tables as the daemon sees them; nothing is installed here.
pub(crate) fn replica(conn: &Connection) -> Result<Replica, ViewError> {
    let text = state::get_text(conn, state::POLICY)?;
    let kept = policy::kept("the policy", text.as_deref());
    let mut policy = kept.map_err(|error| ViewError::Policy(error.to_string()))?;
    state::formers(conn)?.iter().for_each(|former| policy.follow(former));
    Ok(Replica::look(conn, &policy)?)
}

/// Everything, with what was read of the tables and of the journal.
pub(crate) fn all(
    conn: &Connection,
    folder: &Folder,
    daemon: Option<State>,
    (tables, journal): (&Tables, Json),
) -> Result<Json, ViewError> {
    let linked = daemon.as_ref().map(|state| state.linked.clone()).unwrap_or_default();
    let mut counted = BTreeMap::from([("connected", 0), ("away", 0), ("blocked", 0), ("revoked", 0)]);
    let devices = devices::list(conn)?;
    for device in &devices {
        *counted.entry(view::devices::state(device, &linked)).or_insert(0) += 1;
    }
    let off = view::devices::clocks_off(&devices).into_iter();
    let clocks_off: Map<String, Json> = off.map(|(name, offset)| (name.to_owned(), json!(offset))).collect();
    let maintenance = Config::read(folder)?.maintenance;
    let row = |(name, digest): (&String, &TableDigest)| {
        (name.clone(), json!({ "rows": digest.rows, "digest": digest.to_string() }))
    };
    let rows: Map<String, Json> = tables.digests.iter().map(row).collect();
    let path = folder.database();
    let bytes =
        std::fs::metadata(&path).map_err(|source| ViewError::File { path: path.clone(), source })?.len();
    Ok(json!({
        "daemon": daemon.is_some(),
        "pid": daemon.as_ref().map(|state| state.pid),
        "failing": daemon.and_then(|state| state.failing),
        "version": number(conn, state::VERSION)?,
        "epoch": number(conn, state::EPOCH)?,
        "devices": counted,
        "clocks_off": clocks_off,
        "last_restore": restore::last(&folder.backups()),
        "last_drill": restore::drill::last(&folder.backups()),
        "open_conflicts": conflict::open_count(conn)?,
        "waiting_for_schema": conflict::waiting_for_schema(conn)?.values().sum::<u64>(),
        "digest": tables.whole(),
        "tables": rows,
        "keyless": tables.keyless,
        "journal": journal,
        "triggers_left_out": tables.left_out,
        "id_space_used": tables.id_space_used,
        "database": path,
        "bytes": bytes,
        "maintenance": Look::at(conn)?.json(&maintenance, clock::now()),
    }))
}

/// How far the fullest table is with its ids, 0 to 1.
pub(crate) fn id_space_used(conn: &Connection, replica: &Replica) -> rusqlite::Result<f64> {
    let mut used: f64 = 0.0;
    for tracked in replica.tables.values().filter(|tracked| tracked.table.rowid_key) {
        let place = ids::place(conn, tracked)?;
        used = used.max(place.counter.max(place.first) as f64 / ID_MAX as f64);
    }
    Ok(used)
}

fn number(conn: &Connection, name: &str) -> rusqlite::Result<i64> {
    Ok(state::get(conn, name)?.unwrap_or(0))
}
