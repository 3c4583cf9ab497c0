//! The operator at the hub.

use super::World;
use tt_hub::store::decide::{DecideError, Decided, Decision};
use tt_protocol::number::Millis;

impl World {
    /// The operator decides about an entry of the hub's conflict list.
    ///
    /// # Errors
    /// When the entry cannot be closed.
    ///
    /// # Panics
    /// When the hub is down or its store fails.
    pub fn decide(&mut self, id: i64, decision: &Decision) -> Result<Decided, DecideError> {
        let hub = self.hub.as_mut().expect("the hub runs");
        let outcomes = hub.decide(&[id], decision, Millis(self.now)).expect("the store answers");
        outcomes.into_iter().next().expect("one entry, one outcome")
    }
}
