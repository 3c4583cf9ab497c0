//! Finds what is wrong with a device: looks only, and says for each thing looked at whether it is well,
//! what was found and what to do.
//!
//! * `file`: the database as SQLite sees it
//! * `capture`: triggers, tables that are not replicated, ids, compares with the hub
//! * `inbox`: the folder where scanners leave files
//! * `machine`: the disk, and which SQLite libraries other processes use on the file

pub(crate) mod capture;
pub(crate) mod file;
pub(crate) mod inbox;
pub(crate) mod machine;

use serde::Serialize;

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    /// Well.
    Ok,
    /// Somebody should know; work goes on.
    Warn,
    /// Something is broken.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What was looked at, in a word or two.
    pub(crate) check: String,
    /// How it is.
    pub(crate) state: Health,
    /// What was found.
    pub(crate) found: String,
    /// What to do, unless it is well.
    pub(crate) advice: Option<String>,
}

impl Check {
    pub(crate) fn ok(check: &str, found: impl Into<String>) -> Self {
        Self { check: check.to_owned(), state: Health::Ok, found: found.into(), advice: None }
    }

    pub(crate) fn warn(check: &str, found: impl Into<String>, advice: &str) -> Self {
        Self { state: Health::Warn, advice: Some(advice.to_owned()), ..Self::ok(check, found) }
    }

    pub(crate) fn fail(check: &str, found: impl Into<String>, advice: &str) -> Self {
        Self { state: Health::Fail, advice: Some(advice.to_owned()), ..Self::ok(check, found) }
    }

    /// A check that could not be made at all.
    pub(crate) fn impossible(check: &str, error: &dyn std::error::Error) -> Self {
        Self::fail(check, format!("this cannot be looked at: {error}"), file::DAMAGED)
    }
}
