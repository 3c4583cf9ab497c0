//! How a backup looks on a terminal.

use crate::backup::{CopyState, Listed, Placed};
use tt_protocol::counted::counted;

/// What was made, in words.
pub(super) fn line(backup: &Listed, vaults: &[Placed]) -> String {
    let manifest = &backup.manifest;
    let rows: u64 = manifest.contents.program_rows().map(|(_, rows)| rows).sum();
    format!(
        "{}: {} bytes, {}, version {}; {}\n",
        manifest.id,
        manifest.bytes,
        counted(rows, "row"),
        manifest.version,
        copies(backup, vaults)
    )
}

/// Many backups, newest last.
pub(super) fn table(backups: &[Listed], vaults: &[Placed]) -> Vec<Vec<String>> {
    let mut rows =
        vec![["BACKUP", "TAKEN", "SLOT", "VERSION", "BYTES", "COPIES"].map(str::to_owned).to_vec()];
    for backup in backups {
        let manifest = &backup.manifest;
        rows.push(vec![
            manifest.id.clone(),
            manifest.taken_at.clone(),
            manifest.slot.clone(),
            manifest.version.to_string(),
            manifest.bytes.to_string(),
            copies(backup, vaults),
        ]);
    }
    rows
}

fn copies(backup: &Listed, vaults: &[Placed]) -> String {
    let one = |(number, state): &(usize, CopyState)| {
        let word = if state.is_good() { state.word().to_owned() } else { state.word().to_uppercase() };
        format!("{} {word}", vaults[*number].vault.name())
    };
    backup.copies.iter().map(one).collect::<Vec<_>>().join(", ")
}
