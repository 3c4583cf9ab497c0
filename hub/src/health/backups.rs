//! The backups: young enough, enough of them, every copy good and read back lately, every vault there.
//!
//! The ages and counts are those that the sites' guide asks for. A tier of which no backup can be due yet, because
//! the hub is young, is no alarm.

use super::{Check, State};
use crate::backup::calendar::{DAY, moment};
use crate::backup::tier::TierPlan;
use crate::backup::{Backups, Catalog, CopyState, Listed, Tier};
use crate::restore::drill::Drill;
use crate::span::span;

/// How old the newest backup of a tier may be, the time between two of them, and how many there should be.
struct Wanted {
    age_max: i64,
    interval: i64,
    least: usize,
}

/// A copy that nobody has read for longer may have rotted unseen.
const READ_WITHIN: i64 = 7 * DAY;
/// A rehearsal of a restore that is older says little.
const DRILLED_WITHIN: i64 = 2 * DAY;
/// What is named one by one before the rest is only counted.
const NAMED_MAX: usize = 3;

const fn wanted(tier: Tier) -> Wanted {
    let (age_max, interval, least) = match tier {
        Tier::Hourly => (2 * 3_600, 3_600, 6),
        Tier::Daily => (26 * 3_600, DAY, 7),
        Tier::Weekly => (8 * DAY, 7 * DAY, 4),
        Tier::Monthly => (33 * DAY, 31 * DAY, 3),
        Tier::Yearly => (368 * DAY, 366 * DAY, 1),
    };
    Wanted { age_max, interval, least }
}

/// All checks of backups. `now` is in seconds since 1970.
pub(super) fn all(backups: &Backups, catalog: &Catalog, now: i64) -> Vec<Check> {
    let plans: Vec<&TierPlan> = backups.plans().iter().filter(|plan| plan.keep > 0).collect();
    vec![
        freshness(&plans, catalog, now),
        counts(backups, &plans, catalog, now),
        copies(backups, catalog, now),
        vaults(backups, catalog),
    ]
}

fn taken(backup: &Listed) -> i64 {
    moment(&backup.manifest.taken_at).unwrap_or(0)
}

fn good(catalog: &Catalog) -> impl Iterator<Item = &Listed> {
    catalog.backups.iter().filter(|backup| backup.is_verified())
}

fn freshness(plans: &[&TierPlan], catalog: &Catalog, now: i64) -> Check {
    const NAME: &str = "freshness";
    let Some(newest) = good(catalog).map(taken).max() else {
        let what = "there is no verified backup: start the daemon, or make one with `tt-hub backup`";
        return Check::new(NAME, State::Critical, what.to_owned());
    };
    let first = good(catalog).map(taken).min().unwrap_or(now);
    let mut found = Vec::new();
    for plan in plans {
        let Wanted { age_max, .. } = wanted(plan.tier);
        let last = good(catalog).filter(|backup| backup.manifest.tier == plan.tier).map(taken).max();
        let age = now - last.unwrap_or(first);
        if age > age_max {
            let what = match last {
                Some(_) => format!("the newest {} backup is {} old", plan.tier, span(age)),
                None => format!(
                    "there is no {} backup, and it should have been made {} ago",
                    plan.tier,
                    span(age)
                ),
            };
            found.push((
                State::Warning,
                format!("{what}: is the daemon running? backup_alerts.log says more"),
            ));
        }
    }
    if newest > now + DAY {
        let what = "the newest backup is from the future: a clock was wrong then or is now".to_owned();
        found.push((State::Warning, what));
    }
    Check::of(NAME, found, format!("the newest verified backup is {} old", span(now - newest)))
}

/// Each vault has as many of each tier as can be asked of it by now.
fn counts(backups: &Backups, plans: &[&TierPlan], catalog: &Catalog, now: i64) -> Check {
    let first = good(catalog).map(taken).min().unwrap_or(now);
    let mut found = Vec::new();
    let mut total = 0;
    for (number, placed) in backups.vaults.iter().enumerate() {
        for plan in plans.iter().filter(|plan| placed.takes.contains(&plan.tier)) {
            let Wanted { interval, least, .. } = wanted(plan.tier);
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
    Check::of("counts", found, format!("{total} good copies of {} backups", catalog.backups.len()))
}

fn copies(backups: &Backups, catalog: &Catalog, now: i64) -> Check {
    let mut lost = Vec::new();
    let mut bad = Vec::new();
    let mut unread = Vec::new();
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
        let read = backup.manifest.verified.as_ref().and_then(|verified| moment(&verified.at));
        if read.is_some_and(|at| now - at > READ_WITHIN + DAY) {
            unread.push(id.clone());
        }
    }
    let mut found = Vec::new();
    if !lost.is_empty() {
        let what =
            format!("no vault has a good copy of {}: it is lost, `tt-hub prune` forgets it", some(&lost));
        found.push((State::Critical, what));
    }
    if !bad.is_empty() {
        found.push((
            State::Warning,
            format!("{}; `tt-hub verify` makes copies again from good ones", some(&bad)),
        ));
    }
    if !unread.is_empty() {
        let what = format!("not read back for more than a week: {}; run `tt-hub verify`", some(&unread));
        found.push((State::Warning, what));
    }
    Check::of("copies", found, "every copy is good by its last reading, none is older than a week".to_owned())
}

fn vaults(backups: &Backups, catalog: &Catalog) -> Check {
    let gone = |(number, _): &(usize, _)| catalog.names[*number].is_none();
    let gone: Vec<String> = backups
        .vaults
        .iter()
        .enumerate()
        .filter(gone)
        .map(|(_, placed)| format!("{} at {}", placed.vault.name(), placed.vault.place()))
        .collect();
    let count = backups.vaults.len();
    let state = if gone.len() == count { State::Critical } else { State::Warning };
    let found = gone
        .into_iter()
        .map(|vault| (state, format!("the vault {vault} cannot be listed: is its disk there?")));
    Check::of("vaults", found.collect(), format!("all {count} vaults answer"))
}

/// A restore is rehearsed every day, from the second day on.
pub(super) fn drill(last: Option<&Drill>, catalog: &Catalog, now: i64) -> Check {
    const NAME: &str = "drill";
    let Some(first) = good(catalog).map(taken).min() else {
        return Check::new(NAME, State::Healthy, "there is nothing to rehearse yet".to_owned());
    };
    let age = last.and_then(|drill| moment(&drill.at)).map(|at| now - at);
    match (last, age) {
        (Some(Drill { failed: Some(reason), .. }), _) => {
            Check::new(NAME, State::Critical, format!("a rehearsed restore failed: {reason}"))
        }
        (Some(drill), Some(age)) if age <= DRILLED_WITHIN => {
            let by = if drill.older.is_some() { ", with the journal" } else { "" };
            Check::new(NAME, State::Healthy, format!("a restore was rehearsed {} ago{by}", span(age)))
        }
        (None, _) if now - first <= DRILLED_WITHIN => {
            Check::new(NAME, State::Healthy, "the first rehearsal is not due yet".to_owned())
        }
        _ => {
            let what =
                "no restore was rehearsed for two days: is the daemon running? `tt-hub drill` does it now";
            Check::new(NAME, State::Warning, what.to_owned())
        }
    }
}

/// The first few, and how many more.
fn some(all: &[String]) -> String {
    let named = all.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::manifest::{Manifest, Verified};
    use crate::backup::{Placed, Settings, calendar};
    use crate::folder::Folder;

    const NOON: i64 = 1_795_953_600;

    /// A hub whose backups of a tier were made at these moments, all good in both vaults.
    fn catalog(backups: &Backups, made: &[(Tier, i64)]) -> Catalog {
        let listed = |(tier, at): &(Tier, i64)| {
            let mut manifest = Manifest::sample(*tier, calendar::utc(*at));
            manifest.verified = Some(Verified { at: calendar::utc(*at), how: String::new() });
            let takes = |(_, placed): &(usize, &Placed)| placed.takes.contains(tier);
            let vaults = backups.vaults.iter().enumerate().filter(takes);
            Listed { manifest, copies: vaults.map(|(number, _)| (number, CopyState::Verified)).collect() }
        };
        let names = backups.vaults.iter().map(|_| Some(Vec::new())).collect();
        Catalog { backups: made.iter().map(listed).collect(), problems: Vec::new(), names }
    }

    fn states(made: &[(Tier, i64)], now: i64) -> Vec<(&'static str, State)> {
        let dir = tempfile::tempdir().unwrap();
        let settings: Settings = toml::from_str("zone = \"UTC\"").unwrap();
        let backups = Backups::open(&Folder::new(dir.path()), &settings).unwrap();
        let checks = all(&backups, &catalog(&backups, made), now);
        checks
            .into_iter()
            .filter(|check| check.state > State::Healthy)
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
    fn copies_that_nobody_read_for_more_than_a_week_are_named() {
        let every = |day: i64| (Tier::Daily, NOON + day * DAY);
        let made: Vec<(Tier, i64)> = (0..=9).map(every).collect();
        let found = states(&made, NOON + 9 * DAY);
        assert!(found.contains(&("copies", State::Warning)), "{found:?}");
        let found = states(&made[2..], NOON + 9 * DAY);
        assert!(!found.contains(&("copies", State::Warning)), "{found:?}");
    }
}
