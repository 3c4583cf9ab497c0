//! The verdict first, and the numbers behind it.
//!
//! What is quick (devices, conflicts, versions) is read every time. What needs the vaults is read at most every few
//! seconds and after each action.

use super::Web;
use super::answer::Refusal;
use crate::backup::calendar::moment;
use crate::backup::{Backups, Catalog, Listed, Tier};
use crate::clock;
use crate::devices;
use crate::health::{self, Check, State};
use crate::journal::standing::Standing;
use crate::restore::drill;
use crate::store::conflict::page;
use crate::view::devices::state;
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tt_migrations::state as kept;
use tt_protocol::counted::counted;
use tt_protocol::span::span;

/// What needs the vaults is read again after so long.
const SLOW_EVERY_MS: i64 = 20_000;

/// What needs the vaults.
pub(super) struct Slow {
    at: i64,
    pub(super) checks: Vec<Check>,
    /// Tier, vault, when the newest backup was taken and when a copy was last read back.
    pub(super) last: Vec<(Tier, String, i64, i64)>,
    pub(super) vaults: Vec<Vaulted>,
    pub(super) journal: Json,
    pub(super) due: usize,
    pub(super) drill: Option<drill::Drill>,
}

/// One vault.
pub(super) struct Vaulted {
    pub(super) name: String,
    place: String,
    pub(super) free: Option<u64>,
    total: Option<u64>,
    /// When the longest unread of its copies was read back.
    pub(super) scrubbed: Option<i64>,
}

impl Slow {
    fn read(web: &Web) -> Result<Self, Refusal> {
        let now = clock::now();
        let opened = web.backups()?;
        let catalog = opened.glance();
        let journal = Standing::read(&web.folder.journal(), (Some(&opened), &catalog), now);
        let seconds = now.0.div_euclid(1_000);
        let mut checks = health::besides(&web.folder, &opened, &catalog, &journal, seconds);
        checks.extend(web.https.as_ref().map(|https| health::https(&web.folder, https, seconds)));
        Ok(Self {
            at: now.0,
            checks,
            last: last(&opened, &catalog.backups),
            vaults: (0..opened.vaults.len()).map(|vault| vaulted(&opened, &catalog, vault)).collect(),
            journal: journal
                .map_or_else(|error| json!({ "error": error.to_string() }), |found| found.to_json()),
            due: opened.due_beside(&catalog, seconds).len(),
            drill: drill::last(opened.root()),
        })
    }
}

fn read_back(backup: &Listed) -> i64 {
    backup.manifest.verified.as_ref().and_then(|verified| moment(&verified.at)).unwrap_or(0)
}

fn good_in(backup: &Listed, vault: usize) -> bool {
    backup.copies.iter().any(|(number, state)| *number == vault && state.is_good())
}

fn last(opened: &Backups, backups: &[Listed]) -> Vec<(Tier, String, i64, i64)> {
    let mut last = BTreeMap::new();
    for backup in backups {
        for (vault, placed) in opened.vaults.iter().enumerate().filter(|(vault, _)| good_in(backup, *vault)) {
            let taken = moment(&backup.manifest.taken_at).unwrap_or(0);
            last.insert(
                (backup.manifest.tier, vault),
                (placed.vault.name().to_owned(), taken, read_back(backup)),
            );
        }
    }
    last.into_iter().map(|((tier, _), (vault, taken, read))| (tier, vault, taken, read)).collect()
}

fn vaulted(opened: &Backups, catalog: &Catalog, vault: usize) -> Vaulted {
    let found = opened.vaults[vault].vault.as_ref();
    let is_silent = catalog.silent.contains(&vault);
    let space = if is_silent { None } else { found.space().ok().flatten() };
    Vaulted {
        name: found.name().to_owned(),
        place: found.place(),
        free: space.map(|space| space.free),
        total: space.map(|space| space.total),
        scrubbed: catalog.backups.iter().filter(|backup| good_in(backup, vault)).map(read_back).min(),
    }
}

/// What needs the vaults, not older than some seconds.
pub(super) async fn slow(web: &Arc<Web>) -> Result<Arc<Slow>, Refusal> {
    let mut kept = web.slow.lock().await;
    let now = clock::now().0;
    if let Some(slow) = kept.as_ref().filter(|slow| (slow.at..slow.at + SLOW_EVERY_MS).contains(&now)) {
        return Ok(Arc::clone(slow));
    }
    let slow = Arc::new(web.blocking(Slow::read).await?);
    *kept = Some(Arc::clone(&slow));
    Ok(slow)
}

/// The numbers that are read every time.
pub(super) struct Quick {
    pub(super) version: i64,
    pub(super) epoch: i64,
    pub(super) states: BTreeMap<&'static str, u64>,
    pub(super) conflicts: Vec<(String, u64)>,
    blocked: Vec<String>,
    clocks_off: Vec<String>,
    unsent: u64,
    behind: u64,
}

pub(super) fn quick(web: &Web, conn: &Connection) -> Result<Quick, Refusal> {
    let linked = web.line.linked();
    let devices = devices::list(conn).map_err(Refusal::trouble)?;
    let mut states = BTreeMap::from([("connected", 0), ("away", 0), ("blocked", 0), ("revoked", 0)]);
    let version = kept::get(conn, kept::VERSION)?.unwrap_or(0);
    let mut behind = 0;
    for device in &devices {
        *states.entry(state(device, &linked)).or_insert(0) += 1;
        let in_use = device.revoked_at.is_none();
        behind += u64::from(in_use && device.state.cursor.is_none_or(|cursor| (cursor.0 as i64) < version));
    }
    let named = |name: &str| name.to_owned();
    Ok(Quick {
        version,
        epoch: kept::get(conn, kept::EPOCH)?.unwrap_or(0),
        conflicts: page::open_by_kind(conn)?,
        blocked: devices.iter().filter(|d| state(d, &linked) == "blocked").map(|d| named(&d.name)).collect(),
        clocks_off: crate::view::devices::clocks_off(&devices)
            .into_iter()
            .map(|(name, _)| named(name))
            .collect(),
        unsent: devices.iter().filter(|d| d.revoked_at.is_none()).filter_map(|d| d.state.unsent).sum(),
        behind,
        states,
    })
}

/// The overview as JSON.
pub(super) async fn make(web: &Arc<Web>) -> Result<Json, Refusal> {
    let quick = web.read(quick).await?;
    let slow = slow(web).await?;
    let failing = web.line.failing();
    let (state, text, todo) = verdict(&quick, &slow, failing.as_deref());
    let vault = |vault: &Vaulted| json!({ "name": vault.name, "place": vault.place, "free": vault.free, "total": vault.total, "scrubbed": vault.scrubbed });
    let check =
        |check: &Check| json!({ "name": check.name, "state": check.state.word(), "what": check.what });
    Ok(json!({
        "at": clock::now().0,
        "verdict": { "state": state.word(), "text": text, "todo": todo },
        "version": quick.version,
        "epoch": quick.epoch,
        "watermark": web.line.watermark(),
        "failing": failing,
        "devices": quick.states,
        "unsent": quick.unsent,
        "behind": quick.behind,
        "conflicts": quick.conflicts.iter().cloned().collect::<BTreeMap<_, _>>(),
        "vaults": slow.vaults.iter().map(vault).collect::<Vec<_>>(),
        "journal": slow.journal,
        "last_drill": slow.drill,
        "checks": slow.checks.iter().map(check).collect::<Vec<_>>(),
    }))
}

/// In one sentence, and what to do.
fn verdict(quick: &Quick, slow: &Slow, failing: Option<&str>) -> (State, String, Vec<String>) {
    let mut todo: Vec<(State, String)> = Vec::new();
    todo.extend(failing.map(|reason| (State::Critical, reason.to_owned())));
    for check in slow.checks.iter().filter(|check| check.state > State::Healthy) {
        todo.push((check.state, check.what.clone()));
    }
    if !quick.blocked.is_empty() {
        let what = format!("blocked: {}; each says why in the list of devices", some(&quick.blocked));
        todo.push((State::Warning, what));
    }
    if !quick.clocks_off.is_empty() {
        todo.push((State::Warning, format!("the clock is off, set it: {}", some(&quick.clocks_off))));
    }
    let open: u64 = quick.conflicts.iter().map(|(_, count)| count).sum();
    if open > 0 {
        todo.push((
            State::Healthy,
            format!(
                "{} {} for a decision",
                counted(open, "conflict"),
                if open == 1 { "waits" } else { "wait" }
            ),
        ));
    }
    todo.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
    let state = todo.iter().map(|(state, _)| *state).max().unwrap_or(State::Healthy);
    let text = match (state, todo.first()) {
        (State::Healthy, _) | (_, None) => format!("{}; {}", devices_told(quick), backup_told(slow)),
        (_, Some((_, first))) => first.clone(),
    };
    (state, text, todo.into_iter().map(|(_, what)| what).collect())
}

fn devices_told(quick: &Quick) -> String {
    let count = |state| quick.states.get(state).copied().unwrap_or(0);
    let (here, away) = (count("connected"), count("away"));
    match (here + away, quick.unsent + quick.behind, away) {
        (0, ..) => "No device has joined yet".to_owned(),
        (1, 0, 0) => "The device is in step".to_owned(),
        (all, 0, 0) => format!("All {all} devices in step"),
        (all, _, 0) => format!("All {all} devices connected, catching up"),
        (all, ..) => format!("{here} of {all} devices connected, {away} away"),
    }
}

fn backup_told(slow: &Slow) -> String {
    let newest = slow.last.iter().max_by_key(|(_, _, taken, _)| *taken);
    newest.map_or_else(
        || "the first backup is not made yet".to_owned(),
        |(_, _, taken, _)| format!("last backup {} ago, proven", span(slow.at.div_euclid(1_000) - taken)),
    )
}

/// The first few, and how many more.
fn some(names: &[String]) -> String {
    let first = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 3 { format!("{first} and {} more", names.len() - 3) } else { first }
}
