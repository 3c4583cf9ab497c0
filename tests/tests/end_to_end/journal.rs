//! The journal of real processes: what it has after `kill -9`, what the vaults have, what devices may forget,
//! and what `history` says.

use crate::warehouse::{Done, Warehouse, sql};
use anyhow::{Context as _, ensure};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use tt_hub::journal::reader::Reader;
use tt_hub::journal::record::{Lsn, What};
use tt_hub::journal::replay::{Target, replay};
use tt_hub::store::HubStore;
use tt_migrations::policy;
use tt_tests::inspect;
use tt_tests::node::{Hub, until};

/// A copy of the hub's file as it is, to be replayed onto later.
pub(crate) fn snapshot(hub: &Hub) -> anyhow::Result<PathBuf> {
    let copy = hub.dir.join("journal-snapshot.db");
    inspect::open(&hub.db())?.execute("VACUUM INTO ?1", [copy.to_string_lossy()])?;
    Ok(copy)
}

/// Every changeset that the hub has merged is in its journal, and the journal gives from the snapshot what the
/// hub has.
pub(crate) fn prove(hub: &Hub, snapshot: &Path) -> Done {
    let journal = Reader::of_folder(&hub.dir.join("journal"));
    let mut told: Vec<(i64, i64, i64)> = Vec::new();
    for entry in journal.after(Lsn(0))? {
        let entry = entry?;
        if let What::Changeset { edge, seq, .. } = entry.what {
            told.push((edge.0.into(), i64::try_from(seq.0)?, i64::try_from(entry.version.0)?));
        }
    }
    told.sort_unstable();
    let conn = inspect::open(&hub.db())?;
    let mut statement = conn.prepare("SELECT edge, seq, version FROM _sync_merged ORDER BY 1, 2, 3")?;
    let merged: Vec<(i64, i64, i64)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    ensure!(!merged.is_empty() && merged == told, "the journal has {told:?}, the hub merged {merged:?}");
    let mut store = HubStore::open(snapshot, policy::shipped())?;
    let done = replay(&mut store, &journal, Target::default())?;
    let version = inspect::number(&hub.db(), "SELECT value FROM _sync_state WHERE name = 'version'")?;
    ensure!(i64::try_from(done.version.0)? == version, "the replay ends at {}", done.version);
    drop(store);
    ensure!(inspect::digests(snapshot)? == inspect::digests(&hub.db())?, "the replay gives other rows");
    Ok(())
}

#[test]
fn a_device_forgets_what_two_vaults_have_and_not_before() -> Done {
    let warehouse = Warehouse::open()?;
    let mut edge = warehouse.device("packing-1")?;
    edge.run()?;
    sql(&edge.db(), "UPDATE po_lines SET good_count = good_count + 5 WHERE id = 1")?;
    let counted = "SELECT COUNT(*) FROM _sync_outbox WHERE version IS NOT NULL";
    until("the count is acknowledged", || Ok((inspect::number(&edge.db(), counted)? > 0).then_some(())))?;
    let kept = "SELECT COUNT(*) FROM _sync_piece";
    ensure!(inspect::number(&edge.db(), kept)? > 0, "without a backup nothing is safe");
    let said = warehouse.hub.say(&["backup"])?;
    ensure!(said.code == 0, "{said:?}");
    until("the device forgets what is safe, although nothing else happens", || {
        Ok((inspect::number(&edge.db(), kept)? == 0).then_some(()))
    })?;
    let journal = until("every vault has all", || {
        let status: Json = serde_json::from_str(&warehouse.hub.say(&["status", "--json"])?.out)?;
        let journal = status["journal"].clone();
        let lags = journal["lag"].as_array().context("vaults")?;
        let all = lags.len() == 3 && lags.iter().all(|lag| lag["versions"] == 0 && lag["seconds"] == 0);
        Ok(all.then_some(journal))
    })?;
    ensure!(journal["segments"].as_u64() >= Some(1) && journal["from_version"] == 0, "{journal}");
    Ok(())
}

#[test]
fn the_history_of_a_row_names_who_changed_it_from_what_to_what() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.device("packing-1")?;
    sql(&edge.db(), "UPDATE po_lines SET line_item_name = 'theirs' WHERE id = 1")?;
    edge.sync("60")?;
    sql(&warehouse.hub.db(), "UPDATE po_lines SET line_item_name = 'ours' WHERE id = 1")?;
    let changes = until("both are told", || {
        let said = warehouse.hub.say(&["history", "po_lines", "1", "--json"])?;
        ensure!(said.code == 0, "{said:?}");
        let history: Json = serde_json::from_str(&said.out)?;
        let changes = history["changes"].as_array().context("changes")?.clone();
        Ok((changes.len() >= 2).then_some(changes))
    })?;
    let told: Vec<String> = changes
        .iter()
        .map(|change| {
            let columns = change["columns"].as_array().into_iter().flatten();
            let name = columns.clone().find(|column| column["name"] == "line_item_name");
            let name = name.cloned().unwrap_or_default();
            format!("{} {} {} to {}", change["by"], change["event"], name["from"], name["to"])
        })
        .collect();
    ensure!(
        told[0].starts_with("\"packing-1\" \"changed\"") && told[0].ends_with("to \"theirs\""),
        "{told:?}"
    );
    ensure!(told[1] == "\"hub\" \"changed\" \"theirs\" to \"ours\"", "{told:?}");
    let said = warehouse.hub.say(&["history", "po_lines", "id=1"])?;
    ensure!(said.out.contains("packing-1") && said.out.contains("The journal reaches back to"), "{said:?}");
    let said = warehouse.hub.say(&["history", "po_lines", "1", "2"])?;
    ensure!(said.code != 0, "a key of one column has one value: {said:?}");
    Ok(())
}
