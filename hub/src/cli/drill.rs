//! `drill`: rehearses a restore now, as the daemon does every day.

use super::{CliError, Place, output};
use crate::clock;
use crate::config::Config;
use crate::folder::Folder;
use crate::restore::Restores;

pub(super) fn run(place: &Place) -> Result<(), CliError> {
    let folder = Folder::of_hub(&std::path::absolute(&place.data)?)?;
    let config = Config::read(&folder)?;
    let restores = Restores::open(&folder, &config.backup)?;
    let now = clock::now().0.div_euclid(1_000);
    let drill = restores.drill(&restores.backups.lock()?, now.unsigned_abs(), now)?;
    let Some(drill) = drill else {
        return Err(CliError::Refused(
            "there is no verified backup to rehearse with: make one with `tt-hub backup`".into(),
        ));
    };
    if place.json {
        output::json(&serde_json::to_value(&drill).map_err(std::io::Error::from)?)?;
    } else if drill.failed.is_none() {
        let by = drill.older.as_ref().map_or_else(String::new, |older| {
            format!(", and {older}, brought on by the journal, holds the same rows")
        });
        let (newest, version, tables) = (&drill.newest, drill.version, drill.tables);
        output::text(&format!("{newest} restores: version {version}, {tables} tables{by}\n"))?;
    }
    match drill.failed {
        Some(reason) => Err(CliError::Refused(reason)),
        None => Ok(()),
    }
}
