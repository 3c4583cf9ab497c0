//! The daemon takes files without a link, and what they hold arrives at the hub.

use crate::warehouse::{Done, Warehouse, until_number};
use anyhow::{Context as _, ensure};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use tt_tests::inspect;
use tt_tests::node::{Edge, until};

/// What the example says, with short waits.
const CONFIG: &str = r#"
settle_s = 0.05
rescan_s = 0.5

[[file]]
name = "packed-*.csv"
count = "packaged"
delimiter = ";"
columns = { employee = "Badge", product = "Item", receipt = "Receipt", box = "Box", bag = "Bag", displays = "Displays" }
constants = { notes = "from a scanner" }
lookup.employee = { table = "employees", by = ["username", "full_name"], give = "full_name" }
lookup.product = { table = "product_details", by = ["product_name", "id"], give = "product_name" }

[[file]]
name = "machine-*.jsonl"
count = "machine"
columns = { employee = "who", product = "what", box = "box", bag = "bag", receipt = "receipt", machine = "machine", counter = "turns" }
lookup.machine = { table = "machines", by = ["machine_name"], give = "id" }

[[file]]
name = "shipments-*.txt"
table = "shipments"
header = false
delimiter = "tab"
columns = { tracking_number = 1, carrier = 2, po_id = 3 }
"#;

pub(crate) fn inbox(edge: &Edge, name: &str) -> PathBuf {
    edge.dir.join("inbox").join(name)
}

/// As a scanner does that can rename.
pub(crate) fn drop_in(edge: &Edge, name: &str, text: &str) -> Done {
    fs::create_dir_all(edge.dir.join("inbox"))?;
    let part = inbox(edge, &format!("{name}.part"));
    fs::write(&part, text)?;
    Ok(fs::rename(part, inbox(edge, name))?)
}

fn until_there(edge: &Edge, name: &str) -> anyhow::Result<String> {
    let path = inbox(edge, name);
    until(&format!("{name} is there"), || Ok(fs::read_to_string(&path).ok()))
}

#[test]
fn files_are_taken_without_a_link_and_what_they_hold_arrives_at_the_hub() -> Done {
    let mut warehouse = Warehouse::open()?;
    let mut edge = warehouse.linked("scanner-1")?;
    warehouse.stop_hub()?;
    // Lies there before there is any configuration, and before the daemon starts again.
    drop_in(
        &edge,
        "packed-1.csv",
        "Badge;Item;Receipt;Box;Bag;Displays\r\nacc-st1;1;INBOX-1;1;2;3\r\nACC station two;acc blue 4CT;INBOX-2;1;2;4\r\n\
         nobody;1;INBOX-3;1;2;5\r\nacc-st1;1;INBOX-1;1;2;6\r\n",
    )?;
    fs::write(edge.dir.join("inbox.toml"), CONFIG)?;
    edge.daemon.take().context("it runs")?.stop()?;
    edge.run()?;
    until_there(&edge, "done/packed-1.csv")?;
    let line = "SELECT machine_good_count FROM po_lines WHERE id = 1";
    let before = inspect::number(&edge.db(), line)?;
    drop_in(
        &edge,
        "machine-1.jsonl",
        "{\"who\": \"Ana\", \"what\": \"ACC Blue 4ct\", \"box\": 1, \"bag\": 2, \"receipt\": 900, \"machine\": \"acc sealer\", \"turns\": 100}\n\
         {\"who\": \"Ana\", \"what\": \"ACC Blue 4ct\", \"box\": 1, \"bag\": 2, \"receipt\": 901, \"machine\": \"ACC Blister\", \"turns\": \"10\"}\n",
    )?;
    drop_in(&edge, "shipments-1.txt", "1Z999\tUPS\t1\n\tDHL\t\n1Z998\tUPS\tfirst\n")?;
    for name in ["done/machine-1.jsonl", "done/shipments-1.txt"] {
        until_there(&edge, name)?;
    }
    let reasons = until_there(&edge, "rejected/packed-1.csv.reasons")?;
    ensure!(reasons.starts_with("line 4: no row of employees has `nobody`"), "{reasons}");
    ensure!(reasons.contains("line 5: this receipt was counted already"), "{reasons}");
    let kept = until_there(&edge, "rejected/packed-1.csv")?;
    ensure!(kept.lines().count() == 3 && kept.starts_with("Badge;"), "{kept}");
    let reasons = until_there(&edge, "rejected/shipments-1.txt.reasons")?;
    ensure!(reasons == "line 3: po_id is `first`, and a whole number is expected\n", "{reasons}");
    // 100 turns of 3 cards and 10 presses of 2 blisters, of 4 tablets each.
    ensure!(inspect::number(&edge.db(), line)? == before + 1200 + 80, "machine counts add to the line");
    warehouse.serve()?;
    warehouse.agree(&[&edge])?;
    for (sql, expected) in [
        (
            "SELECT SUM(displays_made) FROM warehouse_submissions WHERE admin_notes = 'from a scanner' AND bag_id = 15
             AND submission_type = 'packaged' AND employee_name IN ('ACC Station One', 'ACC Station Two')",
            7,
        ),
        ("SELECT COUNT(*) FROM machine_counts WHERE employee_name = 'Ana' AND machine_count IN (100, 10)", 2),
        ("SELECT COUNT(*) FROM warehouse_submissions WHERE receipt_number IN ('900', '901') AND bag_id = 15", 2),
        ("SELECT COUNT(*) FROM shipments WHERE carrier IN ('UPS', 'DHL')", 2),
        ("SELECT COUNT(*) FROM shipments WHERE tracking_number IS NULL AND po_id IS NULL", 1),
    ] {
        ensure!(inspect::number(&warehouse.hub.db(), sql)? == expected, "{sql}");
    }
    Ok(())
}

#[test]
fn a_configuration_that_is_wrong_takes_nothing_until_it_is_put_right() -> Done {
    let warehouse = Warehouse::open()?;
    let mut edge = warehouse.device("scanner-1")?;
    fs::write(edge.dir.join("inbox.toml"), CONFIG.replace("delimiter", "delimeter"))?;
    drop_in(&edge, "shipments-1.txt", "1Z999\tUPS\t1\n")?;
    let secret = warehouse.path("secret.txt");
    fs::write(&secret, "secret\tUPS\t1\n")?;
    symlink(&secret, inbox(&edge, "shipments-2.txt"))?;
    edge.run()?;
    let said = || -> anyhow::Result<Option<()>> {
        let log = edge.daemon.as_ref().context("it runs")?.log()?;
        Ok(log.contains("unknown field `delimeter`").then_some(()))
    };
    until("the log says what is wrong", said)?;
    let doctor = edge.say(&["doctor"])?;
    ensure!(doctor.code == 1 && doctor.out.contains("FAIL  inbox:"), "{doctor:?}");
    ensure!(inbox(&edge, "shipments-1.txt").exists(), "nothing is touched");
    fs::write(edge.dir.join("inbox.toml"), CONFIG)?;
    until_number(&edge.db(), "SELECT COUNT(*) FROM shipments WHERE carrier = 'UPS'", 1)?;
    let reasons = until_there(&edge, "rejected/shipments-2.txt.reasons")?;
    ensure!(reasons.contains("links, folders and devices are not read"), "{reasons}");
    ensure!(
        fs::read_to_string(&secret)? == "secret\tUPS\t1\n",
        "what a link leads to is neither read nor moved"
    );
    let doctor = edge.say(&["doctor"])?;
    ensure!(doctor.code == 0 && doctor.out.contains("in rejected/: 1 file"), "{doctor:?}");
    warehouse.agree(&[&edge])
}
