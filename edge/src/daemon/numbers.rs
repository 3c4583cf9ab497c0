//! What `status` says of the file, read by the file's thread or by a command while no daemon runs.

use crate::clock;
use crate::engine::Engine;
use crate::store::{Audit, Outcome, StoreError};
use tt_protocol::number::Millis;

/// What `status` says, apart from what needs no file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    /// Rows that differ from what the hub has acknowledged.
    pub unsent: u64,
    /// Versions that are known and not applied; None when nobody knows.
    pub unread: Option<u64>,
    /// Age of the oldest unsent row in seconds.
    pub oldest_unsent_s: Option<u64>,
    /// The version applied.
    pub version: u64,
    /// The hub's incarnation.
    pub epoch: u64,
    /// Why the hub refuses the device.
    pub blocked: Option<String>,
    /// Why the hub's rows do not go into the file.
    pub feed_refused: Option<String>,
    /// Share of the id space that is used, 0 to 1.
    pub id_space_used: f64,
    /// Tables that cannot be replicated because they have no primary key.
    pub keyless: Vec<String>,
    /// What a person should know about this device's clock.
    pub clock: Option<String>,
    /// Triggers of the program that do not fire when rows arrive, although something depends on them.
    pub left_out: Vec<String>,
    /// Changesets cut since the device joined.
    pub cuts: u64,
    /// Feeds applied since the daemon started.
    pub applied_feeds: u64,
    /// The device's clock minus the hub's, milliseconds.
    pub clock_offset_ms: i64,
    /// Tables that differ from the hub's after all was tried, with the number of rows.
    pub differing: Vec<(String, u64)>,
}

/// Reads what `status` says from the file.
///
/// # Errors
/// When the file cannot be read.
pub fn numbers(engine: &Engine) -> Result<Numbers, StoreError> {
    let store = engine.store();
    let now = clock::now();
    let (uncut, touched) = store.uncut(now)?;
    let (cut, cut_at) = store.unacknowledged()?;
    let oldest = touched.into_iter().chain(cut_at).min();
    Ok(Numbers {
        unsent: uncut + cut,
        unread: engine.unread(),
        oldest_unsent_s: oldest.map(|at| age_s(now, at)),
        version: store.cursor()?.0,
        epoch: store.epoch()?.0,
        blocked: store.blocked()?,
        feed_refused: store.feed_refused()?,
        id_space_used: store.id_space_used()?,
        keyless: store.replica().keyless.clone(),
        clock: store.clock_trouble()?,
        left_out: store.left_out()?.iter().map(ToString::to_string).collect(),
        cuts: store.last_cut()?.0.0,
        applied_feeds: store.applied_feeds(),
        clock_offset_ms: store.clock_offset()?,
        differing: differing(&store.audits()?),
    })
}

fn differing(audits: &[Audit]) -> Vec<(String, u64)> {
    let differs = audits.iter().filter(|audit| audit.outcome == Some(Outcome::Differs));
    differs.map(|audit| (audit.table.clone(), audit.rows)).collect()
}

fn age_s(now: Millis, at: i64) -> u64 {
    u64::try_from((now.0 - at) / 1000).unwrap_or(0)
}
