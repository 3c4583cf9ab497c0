//! What is overdue and was told: each breach once, and once more when it is over.
//!
//! What was told stands in `backups/overdue.json`, so that a daemon that starts again does not repeat it. It is written
//! after the telling: a crash in between tells twice rather than never.

use super::State;
use super::overdue::Overdue;
use crate::backup::calendar;
use crate::backup::record::{Kind, Problem};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::{fs, io};
use tt_migrations::durable;

/// A breach that was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Breach {
    key: String,
    /// UTC, when it was told.
    since: String,
    what: String,
}

/// All that were told and are not over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Breaches(Vec<Breach>);

fn path(root: &Path) -> PathBuf {
    root.join("overdue.json")
}

impl Breaches {
    /// As they were written last, by the folder of the backups.
    pub(crate) fn read(root: &Path) -> Self {
        // What cannot be read was never written: the file is replaced whole. Then it is told once more.
        fs::read(path(root)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Brings them to disk.
    pub(crate) fn write(&self, root: &Path) -> io::Result<()> {
        durable::write(&path(root), &serde_json::to_vec_pretty(self)?)
    }

    /// Takes note of what is overdue at `now` (seconds since 1970). Gives what is to be told: what is new, and what is
    /// over.
    pub(crate) fn follow(&mut self, overdue: &[Overdue], now: i64) -> Vec<Problem> {
        let covers = |key: &str, other: &str| {
            other.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        let at = calendar::utc(now);
        let (stay, over): (Vec<Breach>, Vec<Breach>) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|known| overdue.iter().any(|now| covers(&now.key, &known.key)));
        self.0 = stay;
        let mut told: Vec<Problem> = over
            .into_iter()
            .map(|breach| Problem {
                kind: Kind::Over,
                what: format!("over since {at}, told at {}: {}", breach.since, breach.what),
            })
            .collect();
        for new in overdue {
            if self.0.iter().any(|known| known.key == new.key) {
                continue;
            }
            let kind = if new.state == State::Critical { Kind::Critical } else { Kind::Warning };
            told.push(Problem { kind, what: new.what.clone() });
            let (key, what) = (new.key.clone(), new.what.clone());
            self.0.push(Breach { key, since: at.clone(), what });
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overdue(key: &str) -> Overdue {
        Overdue { check: "x", key: key.to_owned(), state: State::Warning, what: format!("{key} is late") }
    }

    fn told(breaches: &mut Breaches, keys: &[&str]) -> Vec<String> {
        let overdue: Vec<Overdue> = keys.iter().map(|key| overdue(key)).collect();
        let told = breaches.follow(&overdue, 1_795_953_600);
        told.iter().map(|problem| format!("{:?} {}", problem.kind, problem.what)).collect()
    }

    const OVER: &str = "Over over since 2026-11-29T12:00:00Z, told at 2026-11-29T12:00:00Z:";

    #[test]
    fn each_breach_is_told_once_and_once_when_it_is_over_also_after_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut breaches = Breaches::read(dir.path());
        assert_eq!(told(&mut breaches, &[]), [""; 0]);
        assert_eq!(
            told(&mut breaches, &["drill", "vault a"]),
            ["Warning drill is late", "Warning vault a is late"]
        );
        assert_eq!(told(&mut breaches, &["vault a", "drill"]), [""; 0]);
        breaches.write(dir.path()).unwrap();
        let mut started = Breaches::read(dir.path());
        assert_eq!(started, breaches);
        assert_eq!(
            told(&mut started, &["drill", "vault ab"]),
            [format!("{OVER} vault a is late"), "Warning vault ab is late".to_owned()]
        );
        assert_eq!(
            told(&mut started, &[]),
            [format!("{OVER} drill is late"), format!("{OVER} vault ab is late")]
        );
        assert_eq!(told(&mut started, &["drill"]), ["Warning drill is late"], "a new one");
    }

    #[test]
    fn what_nobody_can_see_any_more_is_not_over() {
        let mut breaches = Breaches::default();
        told(&mut breaches, &["backups hourly", "backups daily"]);
        assert_eq!(told(&mut breaches, &["backups"]), ["Warning backups is late"]);
        assert_eq!(
            told(&mut breaches, &["backups daily"]).len(),
            2,
            "the hourly ones and the whole are over"
        );
    }

    #[test]
    fn a_file_that_rots_tells_once_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut breaches = Breaches::default();
        told(&mut breaches, &["drill"]);
        breaches.write(dir.path()).unwrap();
        fs::write(path(dir.path()), b"[{\"key\":").unwrap();
        assert_eq!(told(&mut Breaches::read(dir.path()), &["drill"]).len(), 1);
    }
}
