//! `/api/status`: what `tt-hub status` shows.
//!
//! Rows and digests need the whole database. They are kept by version, read by one at a time, and after a reading there
//! is a rest: whatever is asked how often, one thread has less than a twentieth of its time to do for it.

use super::Web;
use super::answer::{Refusal, told};
use super::overview::slow;
use super::read::At;
use crate::control::State as Daemon;
use crate::view::status::{self, Tables};
use axum::extract::State;
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;
use tokio::time::{Duration, Instant};
use tt_migrations::state;

/// The rest after a reading is so many times as long as the reading was.
const RESTS: u32 = 20;

/// A reading of all tables.
pub(super) struct Kept {
    tables: Tables,
    at_ms: i64,
    read_at: Instant,
    took: Duration,
}

impl Kept {
    fn holds(&self, version: (i64, i64), now: Instant) -> bool {
        let is_whole = !self.tables.uncut && (self.tables.version, self.tables.epoch) == version;
        is_whole || now.saturating_duration_since(self.read_at) < self.took * RESTS
    }
}

pub(super) async fn tell(State(web): At) -> Result<Response, Refusal> {
    let kept = kept(&web).await?;
    let journal = slow(&web).await?.journal.clone();
    web.read(move |web, conn| {
        let linked = web.line.linked();
        let daemon = Daemon { pid: std::process::id(), linked, failing: web.line.failing() };
        let Tables { version, epoch, uncut, .. } = kept.tables;
        let mut all = status::all(conn, &web.folder, Some(daemon), (&kept.tables, journal))?;
        all["tables_of"] = json!({ "version": version, "epoch": epoch, "unsent": uncut, "at": kept.at_ms });
        Ok(told(all))
    })
    .await
}

/// The newest reading that will do, or a new one.
async fn kept(web: &Arc<Web>) -> Result<Arc<Kept>, Refusal> {
    let mut place = web.tables.lock().await;
    let version = |conn: &_, name| Ok::<_, Refusal>(state::get(conn, name)?.unwrap_or(0));
    let now =
        web.read(move |_, conn| Ok((version(conn, state::VERSION)?, version(conn, state::EPOCH)?))).await?;
    if let Some(kept) = place.as_ref().filter(|kept| kept.holds(now, Instant::now())) {
        return Ok(Arc::clone(kept));
    }
    let begun = Instant::now();
    let tables = web.heavy(read).await?;
    let read_at = Instant::now();
    let kept = Kept { tables, at_ms: crate::clock::now().0, read_at, took: read_at.duration_since(begun) };
    Ok(Arc::clone(place.insert(Arc::new(kept))))
}

fn read(web: &Web) -> Result<Tables, Refusal> {
    let conn = crate::database::open(&web.folder.database()).map_err(Refusal::trouble)?;
    // All of it is of one moment.
    let moment = conn.unchecked_transaction()?;
    Ok(Tables::read(&moment)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(uncut: bool) -> Kept {
        let mut tables = Tables::default();
        (tables.version, tables.epoch, tables.uncut) = (7, 1, uncut);
        Kept { tables, at_ms: 0, read_at: Instant::now(), took: Duration::from_secs(1) }
    }

    #[test]
    fn a_reading_is_good_for_its_version_and_for_a_rest() {
        let one = kept(false);
        let after_the_rest = one.read_at + one.took * RESTS;
        assert!(one.holds((7, 1), after_the_rest), "nothing has changed");
        assert!(!one.holds((8, 1), after_the_rest) && !one.holds((7, 2), after_the_rest));
        assert!(one.holds((8, 1), one.read_at), "it is too soon for another");
        let uncut = kept(true);
        assert!(
            !uncut.holds((7, 1), uncut.read_at + uncut.took * RESTS),
            "what was no version yet may be another by now"
        );
    }
}
