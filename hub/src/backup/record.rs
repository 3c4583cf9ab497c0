//! `backup.log` and `backup_alerts.log`: one line per run, one line per problem, for people and their scripts.
//!
//! Both only grow, and each has one format. The kinds of alerts are those that the sites' scripts know:
//! `BACKUP_FAILED` (there is no new backup), `CRITICAL` (a backup is lost), `WARNING` (one copy or vault, or something
//! that is overdue); `RESTORE_FAILED` (everything is as it was before); and `RESOLVED` (what was overdue is so no more).

use super::calendar;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// What was told before is over.
    Over,
    Warning,
    Critical,
    BackupFailed,
    RestoreFailed,
}

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

impl Kind {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Over => "RESOLVED",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::BackupFailed => "BACKUP_FAILED",
            Self::RestoreFailed => "RESTORE_FAILED",
        }
    }
}

impl Problem {
    /// One copy or vault, and no backup is lost.
    pub(crate) fn is_warning(&self) -> bool {
        self.kind == Kind::Warning
    }

    pub(crate) fn warning(what: String) -> Self {
        Self { kind: Kind::Warning, what }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.kind.word(), self.what.replace('\n', " "))
    }
}

/// Writes one line about a run, and one per problem. `now` is in seconds since 1970.
pub(crate) fn write(folder: &Path, now: i64, run: &str, problems: &[Problem]) -> io::Result<()> {
    for problem in problems {
        alert(folder, now, problem)?;
    }
    let at = calendar::utc(now);
    let count = match problems.len() {
        0 => "no problems".to_owned(),
        count => format!("{count} problems, see backup_alerts.log"),
    };
    append(folder.join("backup.log"), &format!("[{at}] {run}; {count}"))
}

/// Writes one line about a problem that came up after its run.
pub(crate) fn alert(folder: &Path, now: i64, problem: &Problem) -> io::Result<()> {
    append(folder.join("backup_alerts.log"), &format!("[{}] {problem}", calendar::utc(now)))
}

fn append(path: PathBuf, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    // One write, so that two writers' lines never mix.
    file.write_all(format!("{}\n", line.replace('\n', " ")).as_bytes())
}
