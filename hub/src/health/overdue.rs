//! What should have happened by now and has not: one list, for whoever asks and for the daemon that tells by itself.
//!
//! * A tier without a young backup, copies that nobody has read, a restore that nobody has rehearsed, a vault that does
//!   not answer or that lacks the journal.
//! * The ages are those that the sites' guide asks for. A tier of which no backup can be due yet, because the hub is
//!   young, is no alarm.
//! * Each has a key that stays the same as long as it is the same breach, so that nobody is told of it twice.

use super::State;
use crate::backup::calendar::{DAY, moment};
use crate::backup::due::{AHEAD_MAX, credible};
use crate::backup::{Backups, Catalog, Placed, Tier};
use crate::journal::reader::ReaderError;
use crate::journal::standing::Standing;
use crate::restore::drill::Drill;
use tt_protocol::span::span;

/// A copy that nobody has read for longer may have rotted unseen: a week, and a day to do it in.
const READ_WITHIN: i64 = 8 * DAY;
/// A rehearsal of a restore that is older says little.
const DRILLED_WITHIN: i64 = 2 * DAY;
/// A vault has the journal within a second; one that is tried again has it within a minute.
const SHIPPED_WITHIN: i64 = 15 * 60;

/// What it is judged by.
pub(crate) struct Facts<'f> {
    pub(crate) backups: &'f Backups,
    pub(crate) catalog: &'f Catalog,
    /// How far the journal goes, here and in the vaults.
    pub(crate) standing: &'f Result<Standing, ReaderError>,
    /// The last one.
    pub(crate) drill: Option<&'f Drill>,
    /// Seconds since 1970.
    pub(crate) now: i64,
}

/// One thing that is overdue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Overdue {
    /// The check of `health` to which it belongs.
    pub(crate) check: &'static str,
    /// Words with one space between them. Who knows of the first words knows of it all.
    pub(crate) key: String,
    pub(crate) state: State,
    pub(crate) what: String,
}

/// All of it.
pub(crate) fn all(facts: &Facts<'_>) -> Vec<Overdue> {
    [freshness(facts), vaults(facts), journal(facts), reading(facts), drill(facts)].concat()
}

/// How old the newest backup of a tier may be.
const fn age_max(tier: Tier) -> i64 {
    match tier {
        Tier::Hourly => 2 * 3_600,
        Tier::Daily => 26 * 3_600,
        Tier::Weekly => 8 * DAY,
        Tier::Monthly => 33 * DAY,
        Tier::Yearly => 368 * DAY,
    }
}

/// When the credible backups were made, oldest first, with their tiers.
pub(super) fn made(facts: &Facts<'_>) -> Vec<(i64, Tier)> {
    let entries = facts.catalog.entries();
    let credible = credible(&entries, facts.backups.present(), facts.now);
    let at = |entry: &&crate::backup::Entry| Some((moment(&entry.taken_at)?, entry.tier));
    let mut made: Vec<_> = credible.iter().filter_map(at).collect();
    made.sort_unstable();
    made
}

fn freshness(facts: &Facts<'_>) -> Vec<Overdue> {
    let of = |key: String, state, what| Overdue { check: "freshness", key, state, what };
    let made = made(facts);
    let Some((first, _)) = made.first() else {
        let what = match facts.catalog.backups.iter().any(super::backups::is_verified) {
            true => {
                "no verified backup was made since the clock of this machine went back: set it, and `tt-hub backup`"
            }
            false => {
                "there is no verified backup yet: the daemon makes one soon after its start, `tt-hub backup` at once"
            }
        };
        return vec![of("backups".to_owned(), State::Critical, what.to_owned())];
    };
    let one = |tier: Tier| {
        let last = made.iter().rev().find(|(_, of)| *of == tier).map(|(at, _)| *at);
        let age = facts.now - last.unwrap_or(*first);
        let what = match last {
            Some(_) => format!("the newest {tier} backup is {} old", span(age)),
            None => format!("there is no {tier} backup, and it should have been made {} ago", span(age)),
        };
        let what = format!("{what}: is the daemon running? backup_alerts.log says more");
        (age > age_max(tier)).then(|| of(format!("backups {tier}"), State::Warning, what))
    };
    let plans = facts.backups.plans().iter().filter(|plan| plan.keep > 0);
    plans.filter_map(|plan| one(plan.tier)).collect()
}

fn vaults(facts: &Facts<'_>) -> Vec<Overdue> {
    let gone = |(number, _): &(usize, _)| facts.catalog.names[*number].is_none();
    let gone = facts.backups.vaults.iter().enumerate().filter(gone);
    let gone: Vec<_> = gone.collect();
    let all = gone.len() == facts.backups.vaults.len();
    let state = if all { State::Critical } else { State::Warning };
    let one = |(number, placed): &(usize, &Placed)| {
        let (name, place) = (placed.vault.name(), placed.vault.place());
        let what = match facts.catalog.silent.contains(number) {
            true => {
                format!("the vault {name} at {place} does not answer: is its machine on, and the line up?")
            }
            false => {
                let why =
                    facts.catalog.unlisted.get(number).map(|why| format!(": {why}")).unwrap_or_default();
                format!("the vault {name} at {place} cannot be listed{why}; is its disk there?")
            }
        };
        Overdue { check: "vaults", key: format!("vault {name}"), state, what }
    };
    gone.iter().map(one).collect()
}

/// A vault that cannot be listed is said already, and nobody knows what it lacks.
fn journal(facts: &Facts<'_>) -> Vec<Overdue> {
    let of = |key: String, what| Overdue { check: "journal", key, state: State::Warning, what };
    let standing = match facts.standing {
        Ok(standing) => standing,
        Err(error) => return vec![of("journal".to_owned(), error.to_string())],
    };
    let mut found = Vec::new();
    for (lag, names) in standing.vaults.iter().zip(&facts.catalog.names) {
        let (vault, late) = (&lag.vault, lag.seconds.filter(|seconds| *seconds > SHIPPED_WITHIN));
        let what = match (&lag.problem, late) {
            (Some(problem), _) => problem.clone(),
            (None, Some(seconds)) => {
                format!(
                    "the vault {vault} lacks the journal of the last {}: is the daemon running?",
                    span(seconds)
                )
            }
            (None, None) => continue,
        };
        if names.is_some() {
            found.push(of(format!("vault {vault}"), what));
        }
    }
    found
}

fn reading(facts: &Facts<'_>) -> Vec<Overdue> {
    let is_unread = |backup: &&crate::backup::Listed| {
        let read = backup.manifest.read_at(facts.now);
        backup.manifest.verified.is_some() && read.is_none_or(|at| facts.now - at > READ_WITHIN)
    };
    let unread: Vec<String> =
        facts.catalog.backups.iter().filter(is_unread).map(|backup| backup.manifest.id.clone()).collect();
    if unread.is_empty() {
        return Vec::new();
    }
    let what =
        format!("not read back for more than a week: {}; run `tt-hub verify`", super::backups::some(&unread));
    vec![Overdue { check: "copies", key: "reading".to_owned(), state: State::Warning, what }]
}

/// A restore is rehearsed every day, from the second day on.
fn drill(facts: &Facts<'_>) -> Vec<Overdue> {
    let made = made(facts);
    let Some((first, _)) = made.first() else { return Vec::new() };
    let last = facts.drill.and_then(|drill| moment(&drill.at)).filter(|at| *at <= facts.now + AHEAD_MAX);
    if facts.now - last.unwrap_or(*first) <= DRILLED_WITHIN {
        return Vec::new();
    }
    let what = "no restore was rehearsed for two days: is the daemon running? `tt-hub drill` does it now";
    vec![Overdue { check: "drill", key: "drill".to_owned(), state: State::Warning, what: what.to_owned() }]
}

#[cfg(test)]
pub(super) mod tests;
