//! Backups as JSON, which is a contract with scripts.

use crate::backup::{CopyState, Listed, Placed};
use serde_json::{Map, Value as Json, json};

/// One backup in JSON. `path` is the vault's folder, `file` the name in it.
pub(crate) fn backup(backup: &Listed, vaults: &[Placed]) -> Json {
    let manifest = &backup.manifest;
    let rows: Map<String, Json> =
        manifest.contents.program_rows().map(|(name, rows)| (name.to_owned(), json!(rows))).collect();
    let copy = |(number, state): &(usize, CopyState)| {
        let vault = &vaults[*number].vault;
        json!({ "name": vault.name(), "path": vault.place(), "state": state.word() })
    };
    json!({
        "id": manifest.id,
        "tier": manifest.tier,
        "file": manifest.file,
        "sha256": manifest.sha256,
        "bytes": manifest.bytes,
        "version": manifest.version,
        "epoch": manifest.epoch,
        "rows": rows,
        "vaults": backup.copies.iter().map(copy).collect::<Vec<_>>(),
    })
}
