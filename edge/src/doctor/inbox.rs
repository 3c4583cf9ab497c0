//! The inbox: whether its configuration can be used, and what lies in it.

use super::Check;
use crate::inbox::config::Config;
use crate::inbox::folder;
use std::path::Path;
use tt_protocol::counted::counted;

/// None where there is no inbox.
pub(crate) fn inbox(dir: &Path) -> Option<Check> {
    let config = match Config::load(dir) {
        Ok(None) => return None,
        Ok(Some(config)) => config,
        Err(error) => {
            return Some(Check::fail("inbox", error.to_string(), "put it right: it is read again by itself"));
        }
    };
    let (waiting, rejected) = match folder::waiting(&config) {
        Ok(found) => found,
        Err(error) => {
            return Some(Check::fail("inbox", error.to_string(), "give tt-edge the right to use it"));
        }
    };
    let found = format!(
        "{}: waiting: {}, in rejected/: {}",
        config.folder.display(),
        counted(waiting, "file"),
        counted(rejected, "file")
    );
    Some(match rejected {
        0 => Check::ok("inbox", found),
        _ => Check::warn(
            "inbox",
            found,
            "put them right by the .reasons file beside each, move them back into the inbox, and remove the rest",
        ),
    })
}
