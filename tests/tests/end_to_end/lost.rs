//! The hub's machine is lost an hour after the last backup. A new one is set up from a copy of `ca` and `hub.toml`
//! and what the vaults have, and every count that a device had handed in is there once.
//!
//! What is lost with the machine: the database, the vault on its disk, and its journal.

use crate::warehouse::{Done, Warehouse, sql};
use anyhow::{Context as _, ensure};
use serde_json::Value as Json;
use std::fs;
use tt_tests::inspect;
use tt_tests::node::{Edge, until};

const GOOD: &str = "SELECT good_count FROM po_lines WHERE id = 1";
const DAMAGED: &str = "SELECT damaged_count FROM po_lines WHERE id = 1";
const KEPT: &str = "SELECT count(*) FROM _sync_piece";

/// Three devices, and a vault on another machine.
struct Site {
    warehouse: Warehouse,
    edges: Vec<Edge>,
    /// The backup that was made last.
    id: String,
}

fn json(warehouse: &Warehouse, args: &[&str]) -> anyhow::Result<Json> {
    let said = warehouse.hub.say(&[args, &["--json"]].concat())?;
    ensure!(said.code == 0, "{args:?}: {said:?}");
    Ok(serde_json::from_str(&said.out)?)
}

/// A purchase order with a line, and a count of it, as one device makes them.
fn order(edge: &Edge, name: &str) -> Done {
    sql(
        &edge.db(),
        &format!(
            "INSERT INTO purchase_orders(po_number) VALUES ('{name}');
             INSERT INTO po_lines(po_id, po_number, inventory_item_id, good_count)
               SELECT id, po_number, 'item-{name}', 5 FROM purchase_orders WHERE po_number = '{name}';
             INSERT INTO warehouse_submissions(employee_name, product_name, loose_tablets, assigned_po_id)
               SELECT '{name}', 'x', 5, id FROM purchase_orders WHERE po_number = '{name}';"
        ),
    )
}

fn count(edge: &Edge, good: i64) -> Done {
    sql(&edge.db(), &format!("UPDATE po_lines SET good_count = good_count + {good} WHERE id = 1"))
}

impl Site {
    /// A backup in the vaults, and then an hour of work in which everything is handed in.
    fn open(vaults: &[&str]) -> anyhow::Result<Self> {
        let mut warehouse = Warehouse::open()?;
        warehouse.stop_hub()?;
        let settings = warehouse.hub.dir.join("hub.toml");
        let text = fs::read_to_string(&settings)?;
        let (head, _) = text.split_once("[backup]").context("the settings have a part for backups")?;
        let mut text = format!("{head}[backup]\nzone = \"UTC\"\n");
        for name in vaults {
            let path = match *name {
                // On the machine that will be lost.
                "primary" => "backups/primary".to_owned(),
                name => warehouse.path(name).display().to_string(),
            };
            if *name != "primary" {
                fs::create_dir(&path)?;
            }
            text.push_str(&format!("[[backup.vault]]\nname = \"{name}\"\npath = \"{path}\"\n"));
        }
        fs::write(&settings, text)?;
        warehouse.serve()?;
        let names = ["packing-1", "packing-2", "scanner-1"];
        let edges = names.iter().map(|name| warehouse.linked(name)).collect::<anyhow::Result<Vec<_>>>()?;
        let mut site = Self { warehouse, edges, id: String::new() };
        for (edge, name) in site.edges.iter().zip(names) {
            order(edge, &format!("before-{name}"))?;
            count(edge, 1)?;
        }
        site.in_step()?;
        let made = json(&site.warehouse, &["backup", "--tier", "hourly"])?;
        site.id = made["id"].as_str().context("an id")?.to_owned();
        if vaults.contains(&"away") {
            fs::remove_dir_all(site.warehouse.path("away"))?;
        }
        site.work()?;
        Ok(site)
    }

    fn in_step(&self) -> Done {
        // Twice: what the last device hands in must still reach the first.
        for edge in self.edges.iter().chain(&self.edges) {
            let mut reason = String::new();
            let asked = until("the device is in step", || {
                Ok(edge.sync("20").map_err(|error| reason = error.to_string()).ok())
            });
            asked.with_context(|| {
                let log = fs::read_to_string(self.warehouse.hub.dir.join("hub.log")).unwrap_or_default();
                format!("{}: {reason}; the hub says: {log}", edge.dir.display())
            })?;
        }
        Ok(())
    }

    /// Children, deletes, counts on one line, and a conflict that the operator decides.
    fn work(&self) -> Done {
        for (number, edge) in self.edges.iter().enumerate() {
            order(edge, &format!("after-{number}"))?;
            count(edge, 10)?;
        }
        self.in_step()?;
        let [one, two, three] = &self.edges[..] else { anyhow::bail!("three devices") };
        sql(&one.db(), "DELETE FROM warehouse_submissions WHERE employee_name = 'before-packing-2'")?;
        sql(&three.db(), "DELETE FROM po_lines WHERE inventory_item_id = 'item-after-1'")?;
        self.in_step()?;
        // Both write the same column while the wireless is down.
        self.warehouse.relay.cut();
        sql(&one.db(), "UPDATE po_lines SET line_item_name = 'from one' WHERE id = 1")?;
        sql(&two.db(), "UPDATE po_lines SET line_item_name = 'from two' WHERE id = 1")?;
        self.warehouse.relay.mend();
        self.in_step()?;
        let list = self.warehouse.conflicts()?;
        let id = list.first().and_then(|entry| entry["id"].as_u64()).context("a conflict")?;
        json(&self.warehouse, &["conflicts", "take", &id.to_string(), "loser"])?;
        self.in_step()
    }

    /// The machine is gone. Only what somebody had copied elsewhere is brought to the new one.
    fn lose_the_machine(&mut self) -> Done {
        let dir = self.warehouse.hub.dir.clone();
        let saved = self.warehouse.path("saved");
        fs::create_dir(&saved)?;
        fs::rename(dir.join("hub.toml"), saved.join("hub.toml"))?;
        fs::rename(dir.join("ca"), saved.join("ca"))?;
        self.warehouse.kill_hub()?;
        fs::remove_dir_all(&dir)?;
        fs::create_dir(&dir)?;
        for name in ["hub.toml", "ca"] {
            fs::rename(saved.join(name), dir.join(name))?;
        }
        json(&self.warehouse, &["init"]).map(drop)
    }

    /// What devices had handed in, by table.
    fn rows(&self) -> anyhow::Result<Vec<i64>> {
        let hub = self.warehouse.hub.db();
        let sums = [
            GOOD,
            "SELECT count(*) FROM warehouse_submissions",
            "SELECT sum(loose_tablets) FROM warehouse_submissions",
            "SELECT count(*) FROM purchase_orders",
            "SELECT count(*) FROM po_lines",
            "SELECT sum(good_count) FROM po_lines",
        ];
        sums.iter().map(|sql| Ok(inspect::number(&hub, sql)?)).collect()
    }
}

#[test]
fn devices_hand_in_again_what_a_new_machine_lacks_when_no_journal_is_left() -> Done {
    // A vault whose disk goes after the backup: what only one vault has is not safe, and devices keep it.
    let mut site = Site::open(&["away", "secondary"])?;
    let before = site.rows()?;
    for edge in &site.edges {
        ensure!(inspect::number(&edge.db(), KEPT)? > 0, "it keeps what it sent");
    }
    let epoch = site.edges[0].status()?["epoch"].as_u64().context("an epoch")?;
    site.lose_the_machine()?;
    fs::remove_dir_all(site.warehouse.path("secondary/journal"))?;
    let id = site.id.clone();
    let done = json(&site.warehouse, &["restore", &id, "--force"])?;
    ensure!(done["epoch"].as_u64() > Some(epoch), "{done}");
    // The delete of a row comes before the row.
    site.edges.reverse();
    site.warehouse.serve()?;
    site.in_step()?;
    ensure!(site.rows()? == before, "{:?} instead of {before:?}", site.rows()?);
    let edges: Vec<&Edge> = site.edges.iter().collect();
    site.warehouse.agree(&edges)
}

#[test]
fn a_new_machine_has_all_that_the_hub_had_when_a_vault_has_the_journal() -> Done {
    let mut site = Site::open(&["primary", "secondary"])?;
    let hub = site.warehouse.hub.db();
    sql(&hub, "UPDATE po_lines SET damaged_count = damaged_count + 3 WHERE id = 1")?;
    let late = site.warehouse.linked("packing-4")?;
    order(&late, "late")?;
    late.sync("60")?;
    site.edges.push(late);
    site.in_step()?;
    for edge in &site.edges {
        until("the device keeps nothing that is safe", || {
            Ok((inspect::number(&edge.db(), KEPT)? == 0).then_some(()))
        })?;
    }
    let before = site.rows()?;
    let (damaged, conflicts) = (inspect::number(&hub, DAMAGED)?, site.warehouse.conflicts()?);
    let digests = inspect::digests(&hub)?;
    let lost = site.edges.pop().context("the device that enrolled last")?;
    drop(lost);
    site.lose_the_machine()?;
    let done = json(&site.warehouse, &["restore", "--at", "2100-01-01T00:00:00Z", "--force"])?;
    ensure!(done["notes"].to_string().contains("the vault secondary"), "{done}");
    ensure!(inspect::digests(&hub)? == digests, "the rows of a device that never comes back are there, too");
    ensure!(inspect::number(&hub, DAMAGED)? == damaged);
    site.warehouse.serve()?;
    site.in_step()?;
    ensure!(site.rows()? == before, "{:?} instead of {before:?}", site.rows()?);
    ensure!(site.warehouse.conflicts()? == conflicts, "what was decided stays decided");
    let edges: Vec<&Edge> = site.edges.iter().collect();
    site.warehouse.agree(&edges)?;
    // Numbers of devices that the new machine never saw are not given out again.
    let next = site.warehouse.device("packing-5")?;
    let numbers = "SELECT count(*) FROM _sync_edge WHERE name = 'packing-4' AND device <
                   (SELECT device FROM _sync_edge WHERE name = 'packing-5')";
    ensure!(inspect::number(&hub, numbers)? == 1);
    next.sync("60")
}

/// The journal burns with the machine: nobody knows what programs at the hub did after the backup.
fn ids_are_not_given_again(vaults: &[&str], keeps: bool) -> Done {
    let mut site = Site::open(vaults)?;
    let hub = site.warehouse.hub.db();
    let id_of = |name: &str| {
        inspect::number(&hub, &format!("SELECT id FROM purchase_orders WHERE po_number = '{name}'"))
    };
    // Its label is printed, and a device makes a line under it.
    sql(&hub, "INSERT INTO purchase_orders(po_number) VALUES ('label-1')")?;
    site.in_step()?;
    let given = id_of("label-1")?;
    let line = "INSERT INTO po_lines(po_id, po_number, inventory_item_id) VALUES";
    sql(&site.edges[0].db(), &format!("{line} ({given}, 'label-1', 'of-label-1')"))?;
    site.in_step()?;
    for edge in site.edges.iter().filter(|_| !keeps) {
        until("the device keeps nothing that is safe", || {
            Ok((inspect::number(&edge.db(), KEPT)? == 0).then_some(()))
        })?;
    }
    site.lose_the_machine()?;
    fs::remove_dir_all(site.warehouse.path("secondary/journal"))?;
    let id = site.id.clone();
    json(&site.warehouse, &["restore", &id, "--force"])?;
    site.warehouse.serve()?;
    site.in_step()?;
    sql(&hub, "INSERT INTO purchase_orders(po_number) VALUES ('label-2')")?;
    site.in_step()?;
    ensure!(id_of("label-2")? > given, "label-2 has the id {}, after {given}", id_of("label-2")?);
    let mixed = "SELECT count(*) FROM po_lines l JOIN purchase_orders o ON o.id = l.po_id WHERE l.po_number <> o.po_number";
    ensure!(inspect::number(&hub, mixed)? == 0, "a line of one order is under another");
    let edges: Vec<&Edge> = site.edges.iter().collect();
    site.warehouse.agree(&edges)
}

#[test]
fn ids_that_programs_at_the_hub_had_given_are_not_given_again_by_a_new_machine() -> Done {
    ids_are_not_given_again(&["away", "secondary"], true)
}

#[test]
fn what_neither_a_device_nor_a_journal_has_is_passed_over_and_every_device_is_soon_in_step() -> Done {
    ids_are_not_given_again(&["primary", "secondary"], false)
}

#[test]
fn a_new_machine_takes_from_the_vaults_journal_what_devices_no_longer_keep() -> Done {
    let mut site = Site::open(&["primary", "secondary"])?;
    for edge in &site.edges {
        until("the device keeps nothing that is safe", || {
            Ok((inspect::number(&edge.db(), KEPT)? == 0).then_some(()))
        })?;
    }
    let before = site.rows()?;
    site.lose_the_machine()?;
    let id = site.id.clone();
    json(&site.warehouse, &["restore", &id, "--force"])?;
    site.warehouse.serve()?;
    site.in_step()?;
    ensure!(site.rows()? == before, "{:?} instead of {before:?}", site.rows()?);
    // The journal goes on in the vaults, and the next loss finds it whole.
    count(&site.edges[0], 1)?;
    site.in_step()?;
    until("the vaults have the journal", || {
        let status = json(&site.warehouse, &["status"])?;
        let lag = status["journal"]["lag"].as_array().context("how far the vaults are")?.clone();
        Ok(lag.iter().all(|vault| vault["problem"].is_null() && vault["versions"] == 0).then_some(()))
    })
}
