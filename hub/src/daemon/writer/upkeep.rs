//! The database is looked after between merges: statistics, and free pages given back a few at each tick.

use super::Writer;
use crate::clock;
use crate::upkeep::{self, Due, Look};
use tt_protocol::number::Millis;

/// How often it is looked what is due.
const EVERY_MS: i64 = 600_000;

/// What the writer knows of it.
#[derive(Default)]
pub(super) struct Upkeep {
    pub(super) settings: upkeep::Settings,
    /// When it was last looked; None before the first tick.
    looked_at: Option<Millis>,
    /// Free pages are being given back.
    giving: bool,
}

impl Upkeep {
    pub(super) fn new(settings: upkeep::Settings) -> Self {
        Self { settings, ..Self::default() }
    }
}

impl Writer {
    /// Does what is due, at most one short commit of it.
    pub(super) fn look_after(&mut self) {
        let now = clock::now();
        // Devices that come back after a start have more urgent things to hand in.
        let looked_at = *self.upkeep.looked_at.get_or_insert(now);
        let is_time = !(0..EVERY_MS).contains(&(now.0 - looked_at.0));
        if !is_time && !self.upkeep.giving {
            return;
        }
        if is_time {
            self.upkeep.looked_at = Some(now);
        }
        if let Err(error) = self.look_after_now(now) {
            self.upkeep.giving = false;
            tracing::warn!(%error, "the database was not looked after; trying again later");
        }
    }

    pub(super) fn look_after_now(&mut self, now: Millis) -> rusqlite::Result<()> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        let conn = engine.store_mut().connection();
        if self.upkeep.giving {
            self.upkeep.giving = upkeep::give_back(conn, now)?;
            if !self.upkeep.giving {
                let bytes = Look::at(conn)?.bytes;
                tracing::info!(bytes, "free pages of the database were given back");
            }
            return Ok(());
        }
        let look = Look::at(conn)?;
        let Due { analyse, vacuum } = look.due(&self.upkeep.settings, now);
        if analyse.is_some() {
            upkeep::analyse(conn, now)?;
        }
        let room = || self.path.parent().and_then(|folder| upkeep::no_room(folder, &look));
        match vacuum {
            // That would hold the file for seconds: `status` and `maintain --dry-run` say it.
            Some(_) if !look.in_steps => {}
            Some(why) => match room() {
                Some(reason) => tracing::warn!(reason, "free pages of the database are not given back"),
                None => {
                    tracing::info!(why, "free pages of the database are given back in small steps");
                    self.upkeep.giving = true;
                }
            },
            None => {}
        }
        Ok(())
    }
}
