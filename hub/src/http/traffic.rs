//! How many bytes of frames go to and come from each device, and how that was in the last minutes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tt_protocol::number::EdgeId;

/// How often a sample is taken, and how many are kept: five minutes.
pub(super) const EVERY: Duration = Duration::from_secs(10);
const SAMPLES_MAX: usize = 30;

/// Bytes since the start, counted by the links.
#[derive(Debug, Default)]
pub(crate) struct Traffic(Mutex<BTreeMap<u16, (u64, u64)>>);

impl Traffic {
    pub(crate) fn sent(&self, edge: EdgeId, bytes: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(edge.0).or_default().0 += bytes as u64;
    }

    pub(crate) fn received(&self, edge: EdgeId, bytes: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(edge.0).or_default().1 += bytes as u64;
    }

    /// Sent and received, of all devices.
    pub(super) fn totals(&self) -> (u64, u64) {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.values().fold((0, 0), |(sent, received), one| (sent + one.0, received + one.1))
    }

    fn by_device(&self) -> BTreeMap<u16, u64> {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.iter().map(|(device, (sent, received))| (*device, sent + received)).collect()
    }
}

/// How the traffic was in the last minutes.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<Samples>);

#[derive(Debug, Default)]
struct Samples {
    last: BTreeMap<u16, u64>,
    /// By device, the newest last.
    kept: BTreeMap<u16, VecDeque<u64>>,
}

impl History {
    pub(super) fn sample(&self, traffic: &Traffic) {
        let now = traffic.by_device();
        let Samples { last, kept: samples } = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (device, bytes) in &now {
            let kept = samples.entry(*device).or_default();
            kept.push_back(bytes - last.get(device).copied().unwrap_or(0).min(*bytes));
            if kept.len() > SAMPLES_MAX {
                kept.pop_front();
            }
        }
        *last = now;
    }

    pub(super) fn of(&self, device: u16) -> Vec<u64> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.kept.get(&device).into_iter().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_differences_and_bounded() {
        let (traffic, history) = (Traffic::default(), History::default());
        for round in 0..100_u64 {
            traffic.sent(EdgeId(3), round as usize);
            traffic.received(EdgeId(3), 1);
            history.sample(&traffic);
        }
        assert_eq!(history.of(3), (71..=100).collect::<Vec<_>>());
        assert_eq!((traffic.totals(), history.of(4)), ((4_950, 100), Vec::new()));
    }
}
