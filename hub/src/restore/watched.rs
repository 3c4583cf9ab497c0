//! A restore or a drill that tells how far it is. Where two things go on at the same time, only one of them is told: a
//! bar that goes to and fro says nothing.

use super::Restores;
use std::sync::Arc;
use tt_migrations::progress::Progress;

impl Restores {
    /// Tells it from now on.
    pub(crate) fn watched_by(mut self, progress: &Arc<dyn Progress>) -> Self {
        // Nobody else has the backups yet: it is asked for right after they were opened.
        if let Some(backups) = Arc::get_mut(&mut self.backups) {
            backups.watch(Arc::clone(progress));
        }
        self
    }
}
