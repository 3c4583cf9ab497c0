//! The operator's part in a world: numbered migrations at the hub.

use super::World;
use tt_hub::store::migrate::MigrateError;
use tt_migrations::runner::Migration;
use tt_protocol::number::Millis;

impl World {
    /// The operator applies a migration at the hub, which must be running.
    ///
    /// # Errors
    /// When it fails, with what the operator reads.
    ///
    /// # Panics
    /// When the hub is down.
    pub fn migrate(&mut self, number: u32, sql: &str) -> Result<bool, MigrateError> {
        self.pass(1_000);
        let migration =
            Migration { number, name: format!("number_{number}").into(), sql: sql.to_owned().into() };
        let now = Millis(self.now);
        self.hub.as_mut().expect("the hub runs").migrate(&migration, now)
    }
}
