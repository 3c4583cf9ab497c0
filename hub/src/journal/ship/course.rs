//! How far the journal on this disk goes, told by who writes to those who ship, and how far they have come.

use crate::journal::record::Lsn;
use crate::journal::writer::Tail;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use tt_protocol::number::Epoch;

/// Shared between the writer and the vaults' threads.
#[derive(Debug, Default)]
pub(crate) struct Course {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    tail: Tail,
    epoch: Epoch,
    /// Threads that have not yet said that they shipped the last entry.
    vaults: usize,
    arrived: usize,
    ended: bool,
}

impl Course {
    /// So many vaults take the journal.
    pub(super) fn expect(&self, vaults: usize) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).vaults = vaults;
    }

    /// The journal on disk goes so far.
    pub(crate) fn go_on(&self, tail: Tail, epoch: Epoch) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if (state.tail, state.epoch) != (tail, epoch) {
            (state.tail, state.epoch, state.arrived) = (tail, epoch, 0);
            self.news.notify_all();
        }
    }

    /// A vault has all up to this entry.
    pub(super) fn arrived(&self, last: Lsn) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.tail.last == last {
            state.arrived += 1;
            self.news.notify_all();
        }
    }

    /// Waits for something above `shipped`, or for the time to pass; with `eager` false, only for the time.
    /// `None` when it has ended and there is nothing more to try.
    pub(super) fn wait(&self, shipped: Lsn, time: Duration, eager: bool) -> Option<(Tail, Epoch)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let has_news = |state: &State| state.ended || (eager && state.tail.last > shipped);
        let idle = |state: &mut State| !has_news(state);
        let waited = self.news.wait_timeout_while(state, time, idle);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let over = state.ended && (state.tail.last <= shipped || !eager);
        (!over).then_some((state.tail, state.epoch))
    }

    /// Nothing more comes. Waits until every vault has all, but not for ever: one may be gone. Gives the number of vaults
    /// that lack the last of it then.
    pub(crate) fn end(&self, time: Duration) -> usize {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.ended = true;
        self.news.notify_all();
        let waiting = |state: &mut State| state.tail.last > Lsn(0) && state.arrived < state.vaults;
        let waited = self.news.wait_timeout_while(state, time, waiting);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if waiting(&mut state) { state.vaults - state.arrived } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn the_end_waits_for_vaults_that_come_and_names_how_many_do_not() {
        let course = Arc::new(Course::default());
        course.expect(2);
        assert_eq!(course.end(Duration::ZERO), 0, "nothing was ever written");
        let course = Arc::new(Course::default());
        course.expect(2);
        let tail = Tail { last: Lsn(7), ..Tail::default() };
        course.go_on(tail, Epoch(1));
        course.arrived(Lsn(7));
        assert_eq!(course.end(Duration::ZERO), 1, "one vault has it");
        let late = Arc::clone(&course);
        let vault = thread::spawn(move || late.arrived(Lsn(7)));
        assert_eq!(course.end(Duration::from_secs(60)), 0, "the other was waited for");
        vault.join().unwrap();
    }
}
