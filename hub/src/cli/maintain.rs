//! `maintain`: cuts the history, now and not only when it is old enough. With and without the daemon.

use super::{CliError, Place, output};
use crate::clock;
use crate::config::Config;
use crate::control::{self, Reply, Request};
use crate::daemon;
use crate::folder::Folder;
use crate::store::HubStore;
use crate::store::history::Cut;
use serde_json::json;
use tt_protocol::number::Version;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Cut the history of versions below this one; without it, what is older than the settings say. Devices that
    /// have not applied them take a snapshot when they come.
    #[arg(long, value_name = "VERSION")]
    forget_before: Option<u64>,
}

pub(super) fn run(place: &Place, arguments: &Arguments) -> Result<(), CliError> {
    let folder = Folder::of_hub(&place.data)?;
    let before = arguments.forget_before;
    let (forgotten, versions, images) = match control::ask(&folder, &Request::Forget { before })? {
        Some(Reply::Forgotten { forgotten, versions, images }) => (forgotten, versions, images),
        Some(Reply::Failed { reason }) => return Err(CliError::Refused(reason)),
        Some(other) => return Err(CliError::Refused(format!("the hub answered something else: {other:?}"))),
        None => {
            let Cut { forgotten, versions, images } = alone(&folder, before)?;
            (forgotten.0, versions, images)
        }
    };
    if place.json {
        return Ok(output::json(&json!({ "forgotten": forgotten, "versions": versions, "images": images }))?);
    }
    Ok(output::text(&format!(
        "{versions} versions and {images} images of deleted rows were cut; devices below version {forgotten} take a \
         snapshot when they come\n"
    ))?)
}

/// Without a daemon this command is the one writer.
fn alone(folder: &Folder, before: Option<u64>) -> Result<Cut, CliError> {
    let keep = Config::read(folder)?.retention;
    let path = folder.database();
    let mut store = HubStore::open(&path, daemon::kept_policy(&path)?)?;
    let cut = match before {
        Some(before) => store.forget_before(Version(before), clock::now())?,
        None => store.forget_old(keep, clock::now())?,
    };
    store.checkpoint()?;
    Ok(cut)
}
