//! Which transactions of the hub's own programs are in its database: a restore takes back what was done at the hub.
//!
//! The promise of a restore, exactly:
//!
//! * What a device's programs have committed is there afterwards, whether the backup had it or not.
//! * Of a program at the hub there is what the restored moment had, and what it does afterwards. The restored moment has
//!   all up to some transaction: for a moment in which the program rests, up to its last one; for a backup that was made
//!   while it wrote, up to one between the last that was committed before and the last that was begun before its end.
//! * `restore undo` brings back the database as it was just before the restore: what was taken back is there again, and
//!   what programs at the hub did after the restore is taken back.

use std::collections::BTreeMap;

/// Numbers of transactions, both ends included.
pub(super) type Ranges = Vec<(u64, u64)>;
/// Of each program at the hub, what is in a database.
pub(super) type State = BTreeMap<String, Ranges>;

/// One program at the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    kept: Ranges,
    /// From here on all counts, until a restore says otherwise.
    from: u64,
}

/// All programs at the hub.
#[derive(Clone, Debug, Default)]
pub(super) struct Past(BTreeMap<String, Line>);

impl Past {
    pub(super) fn begin(programs: impl IntoIterator<Item = String>) -> Self {
        Self(programs.into_iter().map(|who| (who, Line { kept: Vec::new(), from: 1 })).collect())
    }

    /// Whether a transaction is in the hub's database. Those of devices always are.
    pub(super) fn has(&self, who: &str, number: u64) -> bool {
        let within = |range: &(u64, u64)| (range.0..=range.1).contains(&number);
        self.0.get(who).is_none_or(|line| number >= line.from || line.kept.iter().any(within))
    }

    /// What is in the database when programs have come to these transactions.
    pub(super) fn now(&self, last: &BTreeMap<String, u64>) -> State {
        let state = self.0.iter().map(|(who, line)| {
            let mut kept = line.kept.clone();
            let last = last.get(who).copied().unwrap_or(0);
            if last >= line.from {
                kept.push((line.from, last));
            }
            (who.clone(), kept)
        });
        state.collect()
    }

    /// The hub has this state again, and programs go on after these transactions.
    pub(super) fn go_back(&mut self, state: &State, last: &BTreeMap<String, u64>) {
        for (who, line) in &mut self.0 {
            line.kept = state.get(who).cloned().unwrap_or_default();
            line.from = last.get(who).copied().unwrap_or(0) + 1;
        }
    }
}

/// Up to this transaction only.
pub(super) fn up_to(ranges: &Ranges, last: u64) -> Ranges {
    let reached = ranges.iter().filter(|(from, _)| *from <= last);
    reached.map(|(from, to)| (*from, *to.min(&last))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([("office-1".to_owned(), number)])
    }

    #[test]
    fn a_restore_takes_back_what_was_done_at_the_hub_since_and_undo_brings_it_again() {
        let mut past = Past::begin(["office-1".to_owned()]);
        let of = |past: &Past| (1..=40).filter(|number| past.has("office-1", *number)).collect::<Vec<u64>>();
        let backup = past.now(&at(10));
        let before = past.now(&at(20));
        past.go_back(&backup, &at(20));
        assert_eq!(of(&past), (1..=10).chain(21..=40).collect::<Vec<_>>());
        let second = past.now(&at(25));
        assert_eq!(second["office-1"], [(1, 10), (21, 25)]);
        past.go_back(&before, &at(30));
        assert_eq!(of(&past), (1..=20).chain(31..=40).collect::<Vec<_>>());
        assert!(past.has("packing-1a", 25), "what devices wrote is never taken back");
        assert_eq!(up_to(&second["office-1"], 22), [(1, 10), (21, 22)]);
        assert_eq!(up_to(&second["office-1"], 7), [(1, 7)]);
    }
}
