//! The backups: young enough, enough of them, every copy good and read back lately, every vault there.
//!
//! What is overdue is `overdue`'s business; here it becomes checks, beside what is wrong in other ways. The counts are
//! those that the sites' guide asks for.

use super::overdue::{self, Facts, Overdue, made};
use super::{Check, State};
use crate::backup::calendar::{DAY, moment};
use crate::backup::record::Kind;
use crate::backup::{CopyState, Listed, Tier};
use crate::restore::drill::Drill;
use tt_protocol::counted::counted;
use tt_protocol::span::span;

/// What is named one by one before the rest is only counted.
const NAMED_MAX: usize = 3;

/// The time between two backups of a tier, and how many there should be.
const fn wanted(tier: Tier) -> (i64, usize) {
    match tier {
        Tier::Hourly => (3_600, 6),
        Tier::Daily => (DAY, 7),
        Tier::Weekly => (7 * DAY, 4),
        Tier::Monthly => (31 * DAY, 3),
        Tier::Yearly => (366 * DAY, 1),
    }
}

/// All checks of backups.
pub(super) fn all(facts: &Facts<'_>) -> Vec<Check> {
    let overdue = overdue::all(facts);
    vec![
        freshness(facts, &overdue),
        counts(facts),
        copies(facts, &overdue),
        vaults(facts, &overdue),
        journal(facts, &overdue),
        drill(facts, &overdue),
    ]
}

fn of(overdue: &[Overdue], check: &str) -> Vec<(State, String)> {
    let ours = overdue.iter().filter(|one| one.check == check);
    ours.map(|one| (one.state, one.what.clone())).collect()
}

pub(super) fn is_verified(backup: &Listed) -> bool {
    backup.is_verified()
}

fn freshness(facts: &Facts<'_>, overdue: &[Overdue]) -> Check {
    let mut found = of(overdue, "freshness");
    let good = facts.catalog.backups.iter().filter(|backup| backup.is_verified());
    let newest = good.filter_map(|backup| moment(&backup.manifest.taken_at)).max();
    if newest.is_some_and(|newest| newest > facts.now + DAY) {
        let what = "the newest backup is from the future: a clock was wrong then or is now".to_owned();
        found.push((State::Warning, what));
    }
    let age = made(facts).last().map_or(0, |(newest, _)| facts.now - newest);
    Check::of("freshness", found, format!("the newest verified backup is {} old", span(age)))
}

/// Each vault has as many of each tier as can be asked of it by now.
fn counts(facts: &Facts<'_>) -> Check {
    let Facts { backups, catalog, now, .. } = facts;
    let first = made(facts).first().map_or(*now, |(first, _)| *first);
    let plans = || backups.plans().iter().filter(|plan| plan.keep > 0);
    let mut found = Vec::new();
    let mut total = 0;
    for (number, placed) in backups.vaults.iter().enumerate() {
        for plan in plans().filter(|plan| placed.takes.contains(&plan.tier)) {
            let (interval, least) = wanted(plan.tier);
            let can_be = usize::try_from((now - first).max(0) / interval).unwrap_or(usize::MAX);
            let least = least.min(plan.keep).min(can_be);
            let of_tier = catalog.backups.iter().filter(|backup| backup.manifest.tier == plan.tier);
            let has = |backup: &&Listed| {
                backup.copies.iter().any(|(vault, state)| *vault == number && state.is_good())
            };
            let count = of_tier.filter(has).count();
            total += count;
            if count < least {
                let vault = placed.vault.name();
                let what =
                    format!("the vault {vault} has {count} {} backups, {least} should be there", plan.tier);
                found.push((State::Warning, what));
            }
        }
    }
    Check::of(
        "counts",
        found,
        format!("{} of {}", counted(total, "good copy"), counted(catalog.backups.len(), "backup")),
    )
}

fn copies(facts: &Facts<'_>, overdue: &[Overdue]) -> Check {
    let Facts { backups, catalog, .. } = facts;
    let mut lost = Vec::new();
    let mut bad = Vec::new();
    // A backup of which no manifest can be read is in no list.
    let unread = catalog.problems.iter().filter(|problem| problem.kind == Kind::Critical);
    let unread: Vec<String> = unread.map(|problem| problem.what.clone()).collect();
    for backup in &catalog.backups {
        let id = &backup.manifest.id;
        if !backup.is_verified() {
            lost.push(id.clone());
        }
        for (vault, state) in &backup.copies {
            let name = backups.vaults[*vault].vault.name();
            match state {
                CopyState::Verified | CopyState::Repaired | CopyState::Failed(_) => {}
                CopyState::Missing => bad.push(format!("{id} is missing in {name}")),
                CopyState::Damaged(reason) => bad.push(format!("{id} in {name}: {reason}")),
            }
        }
    }
    let mut found = Vec::new();
    if !lost.is_empty() {
        let what =
            format!("no vault has a good copy of {}: it is lost, `tt-hub prune` forgets it", some(&lost));
        found.push((State::Critical, what));
    }
    if !unread.is_empty() {
        found.push((State::Critical, some(&unread)));
    }
    if !bad.is_empty() {
        found.push((
            State::Warning,
            format!("{}; `tt-hub verify` makes copies again from good ones", some(&bad)),
        ));
    }
    found.extend(of(overdue, "copies"));
    Check::of("copies", found, "every copy is good by its last reading, none is older than a week".to_owned())
}

fn vaults(facts: &Facts<'_>, overdue: &[Overdue]) -> Check {
    let count = facts.backups.vaults.len();
    Check::of(
        "vaults",
        of(overdue, "vaults"),
        if count == 1 { "the vault answers".to_owned() } else { format!("all {count} vaults answer") },
    )
}

fn journal(facts: &Facts<'_>, overdue: &[Overdue]) -> Check {
    let vaults = facts.catalog.names.iter().filter(|names| names.is_some()).count();
    Check::of("journal", of(overdue, "journal"), format!("up to now in {}", counted(vaults, "vault")))
}

fn drill(facts: &Facts<'_>, overdue: &[Overdue]) -> Check {
    let mut found = of(overdue, "drill");
    if let Some(Drill { failed: Some(reason), .. }) = facts.drill {
        found.push((State::Critical, format!("a rehearsed restore failed: {reason}")));
    }
    let fine = match facts.drill {
        _ if made(facts).is_empty() => "there is nothing to rehearse yet".to_owned(),
        None => "the first rehearsal is not due yet".to_owned(),
        Some(drill) => {
            let by = if drill.older.is_some() { ", with the journal" } else { "" };
            let at = moment(&drill.at).unwrap_or(facts.now);
            format!("a restore was rehearsed {} ago{by}", span(facts.now - at))
        }
    };
    Check::of("drill", found, fine)
}

/// The first few, and how many more.
pub(super) fn some(all: &[String]) -> String {
    let named = all.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::overdue::tests::{NOON, World};
    use super::*;
    use crate::backup::Problem;

    fn states(made: &[(Tier, i64)], now: i64) -> Vec<(&'static str, State)> {
        let checks = World::new(made).with(now, all);
        checks
            .into_iter()
            .filter(|check| check.state > State::Healthy && check.name != "drill")
            .map(|check| (check.name, check.state))
            .collect()
    }

    #[test]
    fn a_young_hub_is_healthy_and_one_whose_backups_stopped_is_not() {
        let first: Vec<(Tier, i64)> = [Tier::Hourly, Tier::Daily, Tier::Weekly, Tier::Monthly, Tier::Yearly]
            .map(|tier| (tier, NOON))
            .to_vec();
        assert_eq!(states(&first, NOON + 60), []);
        assert_eq!(
            states(&first, NOON + 2 * 3_600 + 1),
            [("freshness", State::Warning), ("counts", State::Warning)]
        );
        let mut hourly = first;
        hourly.extend((1..=20).map(|hour| (Tier::Hourly, NOON + hour * 3_600)));
        assert_eq!(states(&hourly, NOON + 20 * 3_600), [], "the next daily one is not due yet");
        let late = NOON + 30 * 3_600;
        hourly.extend((21..=30).map(|hour| (Tier::Hourly, NOON + hour * 3_600)));
        assert_eq!(states(&hourly, late), [("freshness", State::Warning)], "no daily one for 30 hours");
        assert_eq!(states(&[], NOON), [("freshness", State::Critical)]);
    }

    #[test]
    fn a_backup_whose_manifests_cannot_be_read_is_named() {
        let mut world = World::new(&[(Tier::Hourly, NOON)]);
        let what = "no vault has a manifest of it that can be read".to_owned();
        world.catalog.problems.push(Problem { kind: Kind::Critical, what: what.clone() });
        let copies = world.with(NOON, |facts| copies(facts, &[]));
        assert_eq!((copies.state, copies.what), (State::Critical, what));
    }

    #[test]
    fn copies_that_nobody_read_for_more_than_a_week_are_named() {
        let every = |day: i64| (Tier::Daily, NOON + day * DAY);
        let made: Vec<(Tier, i64)> = (0..=9).map(every).collect();
        let found = states(&made, NOON + 9 * DAY);
        assert!(found.contains(&("copies", State::Warning)), "{found:?}");
        let found = states(&made[2..], NOON + 9 * DAY);
        assert!(!found.contains(&("copies", State::Warning)), "{found:?}");
    }
}
