//! A feed that the file refuses is asked for again at once when the file's tables or indexes change, and
//! otherwise slowly: each try brings the whole feed.

use crate::store::{EdgeStore, StoreError};
use tt_protocol::number::Millis;

/// Somebody may put it right in the hub's rows, or in this file's, without a change of the schema.
const TRY_AGAIN_MS: i64 = 15_000;

/// What the file did not take, and when that was last tried.
pub(super) struct RefusedFeed {
    reason: String,
    tried_at: Millis,
    schema_version: i64,
}

impl RefusedFeed {
    pub(super) fn new(reason: String, store: &EdgeStore, now: Millis) -> Result<Self, StoreError> {
        Ok(Self { reason, tried_at: now, schema_version: store.schema_version()? })
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    /// When it is to be tried again, if nothing happens before.
    pub(super) const fn due_at(&self) -> Millis {
        Millis(self.tried_at.0.saturating_add(TRY_AGAIN_MS))
    }

    /// True when it is to be tried again now. It counts as tried then.
    pub(super) fn is_due(&mut self, store: &EdgeStore, now: Millis) -> Result<bool, StoreError> {
        let schema_version = store.schema_version()?;
        // A clock that was set back must not make it wait for longer.
        let waited = now.0.saturating_sub(self.tried_at.0).saturating_abs();
        let due = schema_version != self.schema_version || waited >= TRY_AGAIN_MS;
        if due {
            (self.tried_at, self.schema_version) = (now, schema_version);
        }
        Ok(due)
    }
}
