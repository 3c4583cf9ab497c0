//! The hub's side of a compare: buckets that differ, and its rows in them.

use super::{HubStore, StoreError};
use tt_migrations::audit;
use tt_protocol::audit::{BUCKETS, Compare, Compared, Finding};
use tt_protocol::change::Kind;
use tt_protocol::number::Millis;
use tt_protocol::pieces::PieceBuilder;
use tt_protocol::value::Value;

/// Bytes of rows in one answer, so that it stays below the frame limit. What is left out differs again
/// at the next compare.
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;

impl HubStore {
    /// Compares a table with an edge's.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn compare(&mut self, compare: &Compare, now: Millis) -> Result<Compared, StoreError> {
        self.cut_local(now)?;
        let finding = self.finding(compare)?;
        Ok(Compared { table: compare.table.clone(), version: compare.version, finding })
    }

    fn finding(&self, compare: &Compare) -> Result<Finding, StoreError> {
        let Some(tracked) = self.replica().get(&compare.table) else {
            return Ok(Finding::NotNow);
        };
        let same_columns = audit::columns(tracked) == compare.columns;
        if compare.version != self.version() || !same_columns || compare.buckets.len() != BUCKETS {
            return Ok(Finding::NotNow);
        }
        let own = audit::digests(&self.conn, tracked, &compare.columns)?;
        let pairs = own.iter().zip(&compare.buckets).enumerate();
        let differing = pairs
            .filter(|(_, (own, theirs))| own != theirs)
            .filter_map(|(place, _)| u8::try_from(place).ok());
        let mut buckets: Vec<u8> = differing.collect();
        if buckets.is_empty() {
            return Ok(Finding::Equal);
        }
        loop {
            let mut builder = PieceBuilder::default();
            let names: Vec<&str> = tracked.names.iter().map(String::as_str).collect();
            audit::rows_in(&self.conn, tracked, &buckets, |row| {
                let values = row.iter().map(Value::as_ref);
                builder.push(Kind::Put, &tracked.table.name, tracked.keys(), &names, values);
                Ok(())
            })?;
            let pieces = builder.finish();
            let bytes: usize = pieces.iter().map(Vec::len).sum();
            if bytes <= ANSWER_BYTES_MAX || buckets.len() == 1 {
                return Ok(Finding::Differs { buckets, pieces });
            }
            buckets.truncate(buckets.len() / 2);
        }
    }
}
