//! Tells by itself what is overdue, by the same list that `tt-hub health` goes by.
//!
//! Nobody asks a hub every day how it is. A run that failed tells of itself; a run that did not happen cannot, so the
//! daemon looks once an hour what is missing, whatever the reason, and tells each breach once, and when it is over.

use crate::backup::Backups;
use crate::backup::record::Kind;
use crate::health::breaches::Breaches;
use crate::health::overdue::{self, Facts};
use crate::journal::standing::Standing;
use crate::restore::{Restores, drill};
use tt_protocol::number::Millis;

/// In seconds. A look lists all vaults and reads all manifests.
const LOOK_EVERY: i64 = 3_600;

/// What was told, and when it was last looked.
pub(super) struct Alarms {
    /// None before the first look.
    known: Option<Breaches>,
    looked: Option<i64>,
}

impl Alarms {
    pub(super) const fn new() -> Self {
        Self { known: None, looked: None }
    }

    /// Looks when an hour has passed, or the clock was set. `now` is in seconds since 1970.
    pub(super) fn look(&mut self, restores: &Restores, now: i64) {
        if self.looked.is_some_and(|at| (at..at + LOOK_EVERY).contains(&now)) {
            return;
        }
        self.looked = Some(now);
        let backups: &Backups = &restores.backups;
        let (catalog, drill) = (backups.catalog(), drill::last(restores.root()));
        let standing = Standing::read(restores.journal(), (Some(backups), &catalog), Millis(now * 1_000));
        let facts = Facts { backups, catalog: &catalog, standing: &standing, drill: drill.as_ref(), now };
        let known = self.known.get_or_insert_with(|| Breaches::read(restores.root()));
        let mut problems = known.follow(&overdue::all(&facts), now);
        if problems.is_empty() {
            return;
        }
        for problem in &problems {
            match problem.kind {
                Kind::Over => tracing::info!(what = problem.what, "what was overdue is over"),
                _ => tracing::error!(what = problem.what, "something is overdue"),
            }
        }
        let over = problems.iter().filter(|problem| problem.kind == Kind::Over).count();
        let run = format!("overdue: {} new, {over} over", problems.len() - over);
        backups.record(now, &run, &mut problems);
        if let Err(error) = known.write(restores.root()) {
            tracing::error!(%error, "what is overdue cannot be written down, and is told again after the next start");
        }
    }
}
