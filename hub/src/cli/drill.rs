//! `drill`: rehearses a restore now, as the daemon does every day.

use super::{CliError, Place, output};
use crate::background;
use crate::clock;
use crate::config::Config;
use crate::folder::Folder;
use crate::restore::Restores;
use crate::restore::drill::Chance;
use std::sync::Arc;
use tt_migrations::progress::Progress;
use tt_protocol::counted::counted;
use tt_terminal::bar::Bar;

pub(super) fn run(place: &Place) -> Result<(), CliError> {
    let folder = Folder::of_hub(&std::path::absolute(&place.data)?)?;
    let config = Config::read(&folder)?;
    let progress: Arc<dyn Progress> = Arc::new(Bar::for_command(place.json));
    let restores = Restores::open(&folder, &config.backup)?.watched_by(&progress);
    background::give_way();
    let now = clock::now().0.div_euclid(1_000);
    let chance = Chance { dice: now.unsigned_abs(), now, keep_days: config.journal.keep_days };
    let drill = restores.drill(&restores.backups.lock()?, chance)?;
    progress.end();
    let Some(drill) = drill else {
        return Err(CliError::Refused(
            "there is no verified backup to rehearse with: make one with `tt-hub backup`".into(),
        ));
    };
    if place.json {
        output::json(&serde_json::to_value(&drill).map_err(std::io::Error::from)?)?;
    } else if drill.failed.is_none() {
        let (newest, version, tables) = (&drill.newest, drill.version, counted(drill.tables, "table"));
        let way = match drill.way() {
            way if way.is_empty() => way,
            way => format!("{way}, holds the same rows"),
        };
        let notes: String = drill.notes.iter().map(|note| format!("{note}\n")).collect();
        output::text(&format!("{newest} restores: version {version}, {tables}{way}\n{notes}"))?;
    }
    match drill.failed {
        Some(reason) => Err(CliError::Refused(reason)),
        None => Ok(()),
    }
}
