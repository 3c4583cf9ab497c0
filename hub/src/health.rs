//! Is all well with the hub? The checks that its operators know, each with what was found and what to do.
//!
//! * `database`: the file is there, SQLite's own checks pass, the tables that nothing works without are there.
//! * `daemon`: it runs and can write.
//! * `freshness`: each tier has a verified backup that is young enough; `counts`: and enough of them.
//! * `copies`: every copy is good and was read back lately; `vaults`: every vault answers; `journal`: and has it.
//! * `drill`: a restore was rehearsed lately and went well.
//! * `space`: room on every disk.
//! * `https`, where the page has a certificate: its files can be used, and it does not end soon.
//!
//! A check that finds nothing to do says what it looked at. `critical` is what can cost data.

mod backups;
pub(crate) mod breaches;
mod database;
mod https;
pub(crate) mod overdue;
mod space;

use crate::backup::{BackupError, Backups, Catalog, Settings};
use crate::control;
use crate::folder::Folder;
use crate::journal::reader::ReaderError;
use crate::journal::standing::Standing;
use crate::restore::drill;
pub(crate) use https::https;
use overdue::Facts;
use serde_json::{Value as Json, json};
use tt_protocol::number::Millis;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Healthy,
    Warning,
    Critical,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) state: State,
    pub(crate) what: String,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) checks: Vec<Check>,
}

impl State {
    /// The word in JSON and on the screen.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Check {
    const fn new(name: &'static str, state: State, what: String) -> Self {
        Self { name, state, what }
    }

    /// The worst of what was found, with all of it in one text; healthy with `fine` when nothing was.
    fn of(name: &'static str, found: Vec<(State, String)>, fine: String) -> Self {
        let state = found.iter().map(|(state, _)| *state).max().unwrap_or(State::Healthy);
        if found.is_empty() {
            return Self::new(name, state, fine);
        }
        let texts: Vec<String> = found.into_iter().map(|(_, text)| text).collect();
        Self::new(name, state, texts.join("; "))
    }
}

impl Report {
    /// The worst of all.
    pub(crate) fn state(&self) -> State {
        self.checks.iter().map(|check| check.state).max().unwrap_or(State::Healthy)
    }

    pub(crate) fn json(&self) -> Json {
        let check =
            |check: &Check| json!({ "name": check.name, "state": check.state.word(), "what": check.what });
        json!({ "state": self.state().word(), "checks": self.checks.iter().map(check).collect::<Vec<_>>() })
    }
}

/// What the daemon says of itself, or why it does not.
pub(crate) fn daemon(asked: Result<Option<control::State>, String>) -> Check {
    let check = |state, what| Check::new("daemon", state, what);
    match asked {
        Ok(Some(control::State { failing: Some(reason), .. })) => check(State::Critical, reason),
        Ok(Some(state)) => check(State::Healthy, format!("it runs, pid {}", state.pid)),
        Ok(None) => {
            let what = "it does not run: no device is served and no backup is made; start `tt-hub serve`";
            check(State::Warning, what.to_owned())
        }
        Err(reason) => check(State::Warning, reason),
    }
}

/// Looks at everything. `now` is in seconds since 1970.
pub(crate) fn look(
    folder: &Folder,
    settings: &Settings,
    daemon: Check,
    now: i64,
) -> Result<Report, BackupError> {
    let opened = Backups::open(folder, settings)?;
    let catalog = opened.glance();
    let standing = Standing::read(&folder.journal(), (Some(&opened), &catalog), Millis(now * 1_000));
    let mut checks = vec![database::file(folder), daemon];
    checks.extend(besides(folder, &opened, &catalog, &standing, now));
    Ok(Report { checks })
}

/// All but the database and the daemon: what can be looked at often.
pub(crate) fn besides(
    folder: &Folder,
    backups: &Backups,
    catalog: &Catalog,
    standing: &Result<Standing, ReaderError>,
    now: i64,
) -> Vec<Check> {
    let drill = drill::last(backups.root());
    let facts = Facts { backups, catalog, standing, drill: drill.as_ref(), now };
    let mut checks = backups::all(&facts);
    checks.push(space::disks(folder, backups, catalog));
    checks
}
