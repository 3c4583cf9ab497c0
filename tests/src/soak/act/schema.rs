//! The operator changes the schema while everybody works: what programs do not name changes under them.

use crate::soak::site::Site;
use std::fs;

/// In this order, one at a time.
const MIGRATIONS: [(&str, &str); 3] = [
    (
        "0001_halls.sql",
        "CREATE TABLE halls(id INTEGER PRIMARY KEY AUTOINCREMENT, hall_name TEXT UNIQUE NOT NULL);
         INSERT INTO halls(hall_name) VALUES ('north'), ('south');
         ALTER TABLE po_lines ADD COLUMN hall_id INTEGER REFERENCES halls(id);
         UPDATE po_lines SET hall_id = (SELECT id FROM halls WHERE hall_name = 'north');",
    ),
    (
        "0002_renamed.sql",
        "ALTER TABLE warehouse_submissions RENAME COLUMN admin_notes TO notes;
         ALTER TABLE po_lines RENAME COLUMN machine_good_count TO machine_good;",
    ),
    ("0003_dropped.sql", "ALTER TABLE warehouse_submissions DROP COLUMN repack_vendor_return_notes;"),
];

/// Moments of before are not brought back afterwards.
pub(super) fn migrate(site: &mut Site) -> anyhow::Result<Option<String>> {
    let Some((name, sql)) = MIGRATIONS.get(site.migrations) else { return Ok(None) };
    let folder = site.hub.dir.join("migrations");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), sql)?;
    site.hub_must(&["migrate", "up"])?;
    site.migrations += 1;
    site.points.clear();
    site.before_restore = None;
    Ok(Some(format!("the schema was changed: {name}")))
}
