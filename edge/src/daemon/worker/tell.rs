//! What the file's thread tells: whoever asked, the commands, the log and the hub.

use super::Thread;
use crate::clock;
use tt_protocol::frame::{EdgeFrame, Report};

impl Thread {
    /// A feed that the file does not take is told to everybody who could do something about it, once.
    pub(super) fn tell_of_refused_feed(&mut self) {
        let reason = self.engine.feed_refused().map(str::to_owned);
        if reason != self.feed_refused {
            self.feed_refused.clone_from(&reason);
            match &reason {
                Some(reason) => tracing::error!(%reason, "the hub's rows do not go into the file and wait"),
                None if self.engine.is_up() => tracing::info!("the hub's rows go into the file again"),
                None => {}
            }
            let since = clock::now().0;
            if self.engine.is_up() {
                let waiting_for = reason.clone().map(|reason| (reason, since));
                self.state.send_modify(|state| state.waiting_for = waiting_for);
            }
        }
        let Some(reason) = reason.filter(|_| self.engine.is_stuck()) else { return };
        self.report(Some(&reason));
        // What was written here is with the hub: only the hub's rows wait, and not for whoever asked.
        for ask in self.asks.drain(..).chain(self.compares.drain(..)) {
            let _ = ask.send(Err(reason.clone()));
        }
    }

    pub(super) fn welcomed(&mut self) {
        if let Err(error) = self.engine.store().set_blocked(None) {
            return self.failed(&error);
        }
        self.state.send_modify(|state| {
            state.connected = true;
            state.refused = None;
            state.waiting_for = None;
        });
        tracing::info!("the hub has accepted this device");
    }

    pub(super) fn in_step(&mut self) {
        let now = clock::now().0;
        for ask in self.asks.drain(..) {
            // Whoever asked may have gone away.
            let _ = ask.send(Ok(()));
        }
        self.state.send_modify(|state| state.last_sync = Some(now));
        self.report(None);
        if !self.compares.is_empty() {
            self.answer_compares();
        }
    }

    /// Answers when every table was compared.
    fn answer_compares(&mut self) {
        let none_is_left = match self.engine.store().audits() {
            Ok(audits) => audits.iter().all(|audit| !audit.due),
            Err(error) => return self.failed(&error),
        };
        if none_is_left {
            for answer in self.compares.drain(..) {
                // Whoever asked may have gone away.
                let _ = answer.send(Ok(()));
            }
        }
    }

    /// Tells the hub how this device is doing, when that has changed.
    fn report(&mut self, blocked: Option<&str>) {
        let Ok(clock_offset_ms) = self.engine.store().clock_offset() else {
            return;
        };
        let schema = self.engine.store().schema_name();
        let blocked = blocked.map(str::to_owned);
        let report = Report { clock_offset_ms, schema, blocked, ..Report::default() };
        if self.reported.as_ref() == Some(&report) {
            return;
        }
        if let Some(link) = &self.link
            && link.frames.try_send(EdgeFrame::Report(report.clone())).is_ok()
        {
            self.reported = Some(report);
        }
    }

    pub(super) fn refused(&mut self, reason: String) {
        // It may be told twice, in a frame and by the end of the link.
        if self.state.borrow().refused.as_ref() != Some(&reason) {
            tracing::error!(%reason, "the hub refuses this device");
        }
        if let Err(error) = self.engine.store().set_blocked(Some(&reason)) {
            tracing::error!(%error, "the reason could not be kept");
        }
        for ask in self.asks.drain(..).chain(self.compares.drain(..)) {
            let _ = ask.send(Err(format!("the hub refuses: {reason}")));
        }
        self.engine.end();
        self.link = None;
        self.state.send_modify(|state| {
            state.connected = false;
            state.refused = Some(reason);
        });
    }
}
