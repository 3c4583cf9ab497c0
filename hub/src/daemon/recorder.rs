//! Remembers how devices are doing and writes it down every few seconds, all of them in one commit:
//! a report is not worth a disk write of its own.

use crate::devices::{self, Device, DeviceState, DevicesError};
use rusqlite::Connection;
use std::collections::HashMap;
use tt_protocol::frame::Report;
use tt_protocol::number::{EdgeId, Millis, Version};

/// How often what is new is written down.
const EVERY_MS: i64 = 5_000;
/// How often a device that is linked but silent is marked as seen.
const SEEN_EVERY_MS: i64 = 60_000;

#[derive(Default)]
pub(super) struct Recorder {
    known: HashMap<EdgeId, Known>,
    written_at: i64,
    seen_at: i64,
}

struct Known {
    address: String,
    state: DeviceState,
    is_new: bool,
}

impl Recorder {
    pub(super) fn linked(&mut self, device: &Device, address: &str) {
        let known = Known {
            address: address.to_owned(),
            state: device.state.clone(),
            is_new: true,
        };
        self.known.insert(device.device, known);
    }

    pub(super) fn unlinked(&mut self, edge: EdgeId) {
        self.change(edge, |_| {});
    }

    pub(super) fn report(&mut self, edge: EdgeId, cursor: Version, report: Report) {
        self.change(edge, |state| {
            *state = DeviceState {
                cursor: Some(cursor),
                unsent: Some(report.unsent),
                oldest_unsent_s: report.oldest_unsent_s,
                clock_offset_ms: Some(report.clock_offset_ms),
                schema: Some(report.schema),
                blocked: report.blocked,
            };
        });
    }

    /// The hub refuses the device as it is.
    pub(super) fn blocked(&mut self, edge: EdgeId, reason: &str) {
        self.change(edge, |state| state.blocked = Some(reason.to_owned()));
    }

    /// The hub has nothing against the device any more.
    pub(super) fn welcomed(&mut self, edge: EdgeId) {
        self.change(edge, |state| state.blocked = None);
    }

    fn change(&mut self, edge: EdgeId, change: impl FnOnce(&mut DeviceState)) {
        if let Some(known) = self.known.get_mut(&edge) {
            change(&mut known.state);
            known.is_new = true;
        }
    }

    pub(super) fn is_due(&self, now: Millis) -> bool {
        let news = self.known.values().any(|known| known.is_new);
        (news && now.0 - self.written_at >= EVERY_MS)
            || (!self.known.is_empty() && now.0 - self.seen_at >= SEEN_EVERY_MS)
    }

    /// Writes down what is new, and that those linked are seen now.
    pub(super) fn write(
        &mut self,
        conn: &Connection,
        linked: &[EdgeId],
        now: Millis,
    ) -> Result<(), DevicesError> {
        let due = |edge: &EdgeId, known: &Known| known.is_new || linked.contains(edge);
        if !self.known.iter().any(|(edge, known)| due(edge, known)) {
            return Ok(());
        }
        devices::atomically(conn, || {
            for (edge, known) in self.known.iter().filter(|(edge, known)| due(edge, known)) {
                devices::record_contact(conn, *edge, &known.address, now)?;
                devices::record_state(conn, *edge, &known.state)?;
            }
            Ok::<_, DevicesError>(())
        })?;
        (self.written_at, self.seen_at) = (now.0, now.0);
        self.known.retain(|edge, known| {
            known.is_new = false;
            linked.contains(edge)
        });
        Ok(())
    }
}
