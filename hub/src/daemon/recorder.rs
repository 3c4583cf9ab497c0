//! Remembers how devices are doing and writes it down every few seconds, all of them in one commit:
//! a report is not worth a disk write of its own. Only the first of a link is, because a person who has just joined a
//! device looks at the list.

use crate::devices::{self, Device, DeviceState, DevicesError};
use rusqlite::Connection;
use std::collections::HashMap;
use tt_protocol::frame::Report;
use tt_protocol::number::{EdgeId, Millis, Version};

/// How often what is new is written down.
const EVERY_MS: i64 = 5_000;
/// The same for devices that have just been linked: when all come back at once, most share a commit.
const FIRST_EVERY_MS: i64 = 500;
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
    /// It has just been linked, and what it says first is not written down yet.
    is_first: bool,
    is_heard: bool,
}

impl Recorder {
    pub(super) fn linked(&mut self, device: &Device, address: &str) {
        let known = Known {
            address: address.to_owned(),
            state: device.state.clone(),
            is_new: true,
            is_first: true,
            is_heard: false,
        };
        self.known.insert(device.device, known);
    }

    pub(super) fn unlinked(&mut self, edge: EdgeId) {
        self.change(edge, |_| {});
    }

    pub(super) fn report(&mut self, edge: EdgeId, cursor: Version, report: Report) {
        if let Some(known) = self.known.get_mut(&edge) {
            known.is_heard = true;
        }
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

    /// What the hub itself knows of a linked device's cursor; 0 before it has said hello.
    pub(super) fn cursor(&mut self, edge: EdgeId, cursor: Version) {
        if let Some(known) = self.known.get_mut(&edge)
            && cursor > Version(0)
        {
            known.state.cursor = Some(cursor);
        }
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
        let first = self.known.values().any(|known| known.is_new && known.is_first);
        let every = if first { FIRST_EVERY_MS } else { EVERY_MS };
        (news && now.0 - self.written_at >= every)
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
            known.is_first &= !known.is_heard;
            linked.contains(edge)
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked() -> (Connection, Recorder, EdgeId) {
        let conn = Connection::open_in_memory().unwrap();
        devices::create_tables(&conn).unwrap();
        conn.execute(
            "INSERT INTO _sync_edge(device, name, role, enrolled_at) VALUES (1, 'a', 'station', 1)",
            [],
        )
        .unwrap();
        let device = devices::by_name(&conn, "a").unwrap().unwrap();
        let mut recorder = Recorder::default();
        recorder.linked(&device, "10.0.0.1:5");
        (conn, recorder, device.device)
    }

    #[test]
    fn many_reports_are_one_write() {
        let (conn, mut recorder, edge) = linked();
        assert!(recorder.is_due(Millis(10_000)));
        for unsent in 0..100 {
            let report = Report { unsent, ..Report::default() };
            recorder.report(edge, Version(7), report);
        }
        recorder.write(&conn, &[edge], Millis(10_000)).unwrap();
        let device = devices::by_name(&conn, "a").unwrap().unwrap();
        assert_eq!((device.state.unsent, device.state.cursor), (Some(99), Some(Version(7))));
        assert_eq!(device.last_seen, Some(Millis(10_000)));
        assert_eq!(device.address.as_deref(), Some("10.0.0.1:5"));
        recorder.report(edge, Version(8), Report::default());
        assert!(!recorder.is_due(Millis(10_999)), "not on every report");
        assert!(recorder.is_due(Millis(15_000)));
    }

    #[test]
    fn the_first_report_of_a_link_does_not_wait_for_the_others() {
        let (conn, mut recorder, edge) = linked();
        recorder.write(&conn, &[edge], Millis(10_000)).unwrap();
        assert!(!recorder.is_due(Millis(11_000)), "nothing is new");
        recorder.report(edge, Version(7), Report::default());
        assert!(!recorder.is_due(Millis(10_100)), "many that come together share a commit");
        assert!(recorder.is_due(Millis(11_000)), "the link was written down before the device said anything");
        recorder.write(&conn, &[edge], Millis(11_000)).unwrap();
        recorder.report(edge, Version(8), Report::default());
        assert!(!recorder.is_due(Millis(12_000)), "this is not the first");
    }

    #[test]
    fn a_refusal_shows_until_the_device_is_welcome_again() {
        let (conn, mut recorder, edge) = linked();
        recorder.blocked(edge, "a copy");
        recorder.unlinked(edge);
        recorder.write(&conn, &[], Millis(1)).unwrap();
        let device = devices::by_name(&conn, "a").unwrap().unwrap();
        assert_eq!(device.state.blocked.as_deref(), Some("a copy"));
        recorder.linked(&device, "10.0.0.1:6");
        recorder.welcomed(edge);
        recorder.write(&conn, &[edge], Millis(2)).unwrap();
        let device = devices::by_name(&conn, "a").unwrap().unwrap();
        assert_eq!(device.state.blocked, None);
    }
}
