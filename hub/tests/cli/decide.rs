//! `conflicts take`, `edit` and `dismiss`: with and without the daemon, one and many at once.

use crate::program::{Daemon, Folder};
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use tt_hub::store::{Changeset, HubStore};
use tt_migrations::policy;
use tt_protocol::change::Kind;
use tt_protocol::number::{EdgeId, Millis, Version};
use tt_protocol::pieces::{self, PieceBuilder};
use tt_protocol::value::ValueRef;

/// What devices sent long ago.
const AT: i64 = 1_700_000_000_000;

fn text(text: &str) -> ValueRef<'_> {
    ValueRef::Text(text.as_bytes())
}

/// A hub that two devices know, with rows that a program made.
fn hub(rows: &str) -> Folder {
    let folder = Folder::with_hub();
    let conn = Connection::open(folder.database()).unwrap();
    conn.execute_batch(&format!(
        "INSERT INTO _sync_edge(device, name, role, enrolled_at)
         VALUES (1, 'station-1', 'station', 1), (2, 'scanner-1', 'station', 1); {rows}"
    ))
    .unwrap();
    folder
}

/// Merges what a device sends.
fn send(folder: &Folder, device: u16, changes: PieceBuilder) {
    let mut store = HubStore::open(&folder.database(), policy::shipped()).unwrap();
    let pieces = changes.finish();
    let edge = EdgeId(device);
    let seq = store.merged(edge).unwrap().next();
    let changeset = Changeset { edge, seq, hash: pieces::hash(&pieces), pieces, cursor: Version(0) };
    store.merge(&[changeset], Millis(AT)).unwrap().remove(0).unwrap();
}

/// Device 1 and the hub disagree about the names of so many roles, device 2 about one row's key.
fn contested(roles: i64) -> Folder {
    let folder = hub(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {roles})
         INSERT INTO roles(id, role_name, display_name, permissions) SELECT i, 'u' || i, 'Hub', '' FROM n;"
    ));
    let mut changes = PieceBuilder::default();
    for id in 1..=roles {
        let row = [ValueRef::Integer(id), text("Old"), text("Device"), ValueRef::Integer(AT)];
        changes.push(Kind::Update, "roles", 1, &["id", "display_name"], row);
    }
    send(&folder, 1, changes);
    let mut changes = PieceBuilder::default();
    let row = [ValueRef::Integer(1), text("other"), text("Other"), text(""), ValueRef::Integer(AT)];
    changes.push(Kind::Insert, "roles", 1, &["id", "role_name", "display_name", "permissions"], row);
    send(&folder, 2, changes);
    folder
}

fn names(folder: &Folder) -> String {
    let conn = Connection::open(folder.database()).unwrap();
    let sql = "SELECT group_concat(display_name, ' ') FROM (SELECT display_name FROM roles ORDER BY id)";
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn ids(list: &Json) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|entry| entry["id"].as_i64().unwrap()).collect()
}

/// The same folder twice: once as it is, once with a daemon.
fn with_and_without_a_daemon(folder: impl Fn() -> Folder, check: impl Fn(&Folder)) {
    check(&folder());
    let folder = folder();
    let daemon: Daemon = folder.serve();
    check(&folder);
    drop(daemon);
}

#[test]
fn a_side_is_taken_and_the_entry_is_history() {
    with_and_without_a_daemon(
        || contested(2),
        |folder| {
            let shown = folder.hub(&["conflicts", "show", "1"]).fine().stdout;
            assert!(
                shown.contains("take 1 winner | take 1 loser | edit 1 COLUMN=VALUE | dismiss 1"),
                "{shown}"
            );
            assert_eq!(names(folder), "Device Device");
            assert_eq!(
                folder.hub(&["conflicts", "take", "1", "loser"]).fine().stdout,
                "conflict 1: the loser was taken\n"
            );
            assert_eq!(names(folder), "Hub Device");
            let closed = folder.json(&["conflicts", "take", "2", "winner"]);
            assert_eq!(ids(&closed), [2]);
            assert_eq!(names(folder), "Hub Device");
            assert_eq!(ids(&folder.json(&["conflicts"])), [3]);
            let all = folder.json(&["conflicts", "--all"]);
            assert_eq!(ids(&all), [1, 2, 3]);
            assert_eq!(all[1], closed[0]);
            assert_eq!(
                (&all[0]["state"], &all[0]["decision"]),
                (&json!("closed"), &json!("the loser was taken"))
            );
            assert!(all[0]["decided_at"].as_i64() > Some(AT) && all[2]["decided_at"].is_null());
            let shown = folder.hub(&["conflicts", "show", "1"]).fine().stdout;
            assert!(shown.contains("decided  the loser was taken, ") && !shown.contains("take 1"), "{shown}");
        },
    );
}

#[test]
fn the_keys_of_an_entry_are_a_contract() {
    let folder = contested(1);
    let entry = &folder.json(&["conflicts", "dismiss", "1"])[0];
    let keys: Vec<&str> = entry.as_object().unwrap().keys().map(String::as_str).collect();
    let contract = [
        "id",
        "kind",
        "table",
        "key",
        "columns",
        "row",
        "rows",
        "kept_from",
        "kept_at",
        "lost_from",
        "lost_at",
        "action",
        "state",
    ];
    assert_eq!(keys[..contract.len()], contract);
    assert_eq!(keys[contract.len()..], ["decision", "decided_at"]);
}

#[test]
fn an_edit_writes_what_the_operator_types() {
    with_and_without_a_daemon(
        || contested(1),
        |folder| {
            let said = folder.hub(&["conflicts", "edit", "1", "display_name=Ana = Eva", "permissions:=NULL"]);
            assert!(said.failure().contains("NOT NULL"), "a rule of the table holds for the operator, too");
            assert_eq!(names(folder), "Device");
            let said =
                folder.hub(&["conflicts", "edit", "1", "display_name=Ana = Eva", "description=0"]).fine();
            assert_eq!(said.stdout, "conflict 1: edited: display_name=Ana = Eva, description=0\n");
            let said = folder.hub(&["conflicts", "take", "2", "loser"]).failure();
            assert!(said.contains("another row with this key"), "{said}");
            let edited = folder.json(&["conflicts", "edit", "2", "id=new", "display_name=Second"]);
            assert!(edited[0]["decision"].as_str().unwrap().starts_with("edited: id="), "{edited}");
            assert_eq!(names(folder), "Ana = Eva Second");
            assert_eq!(folder.json(&["conflicts"]), json!([]));
        },
    );
}

#[test]
fn what_cannot_be_done_has_a_reason_and_an_exit_code() {
    with_and_without_a_daemon(
        || contested(1),
        |folder| {
            for (line, reason) in [
                (&["take", "7", "loser"][..], "no conflict 7"),
                (&["edit", "7", "a=b"], "no conflict 7"),
                (&["dismiss", "7"], "no conflict 7"),
                (&["edit", "1", "nome=Ana"], "roles has no column `nome`: its columns are id, role_name"),
                (&["edit", "1", "id=maybe"], "takes a number"),
                (&["edit", "1", "display_name"], "not COLUMN=VALUE"),
                (&["edit", "1", "display_name:=Ana"], "no SQL literal"),
                (&["edit", "1", "id=9"], "id is part of the key"),
                (&["dismiss", "all", "--device", "nobody"], "no device `nobody`"),
            ] {
                let said = folder.hub(&[&["conflicts"], line].concat()).failure();
                assert!(said.contains(reason), "{line:?}: {said}");
            }
            for line in [
                &["dismiss", "1", "--kind", "column"][..],
                &["show", "1", "--table", "roles"],
                &["dismiss", "all"],
                &["take", "all", "loser"],
            ] {
                let said = folder.hub(&[&["conflicts"], line].concat());
                assert_eq!(said.code, 2, "{line:?}: {}", said.stderr);
            }
            assert_eq!(ids(&folder.json(&["conflicts"])), [1, 2], "nothing was decided");
            folder.hub(&["conflicts", "dismiss", "1"]).fine();
            let said = folder.hub(&["conflicts", "take", "1", "loser"]).failure();
            assert!(said.contains("conflict 1 was closed") && said.contains("ago: dismissed"), "{said}");
        },
    );
}

#[test]
fn many_are_chosen_by_table_device_and_kind() {
    let folder = contested(3);
    let chosen = |filter: &[&str]| ids(&folder.json(&[&["conflicts"], filter].concat()));
    assert_eq!(chosen(&["--kind", "key"]), [4]);
    assert_eq!(chosen(&["--device", "scanner-1"]), [4]);
    assert_eq!(chosen(&["--device", "station-1", "--kind", "column"]), [1, 2, 3]);
    assert_eq!(chosen(&["--table", "ROLES"]), [1, 2, 3, 4]);
    assert_eq!(chosen(&["--table", "po_lines"]), [] as [i64; 0]);
    let closed = folder.json(&["conflicts", "take", "all", "loser", "--kind", "column"]);
    assert_eq!(ids(&closed), [1, 2, 3]);
    assert_eq!(names(&folder), "Hub Hub Hub");
    assert_eq!(chosen(&["--all", "--device", "station-1"]), [1, 2, 3]);
    let said = folder.hub(&["conflicts", "dismiss", "all", "--kind", "column"]).fine();
    assert_eq!(said.stdout, "0 of 0 conflicts closed\n");
    assert_eq!(chosen(&[]), [4]);
}

#[test]
fn one_that_fails_does_not_undo_the_others() {
    with_and_without_a_daemon(
        || contested(700),
        |folder| {
            let said = folder.hub(&["conflicts", "take", "all", "loser", "--yes"]);
            assert_eq!((said.code, said.stdout.as_str()), (1, "700 of 701 conflicts closed\n"));
            let lines: Vec<&str> = said.stderr.lines().collect();
            assert_eq!(lines.len(), 2, "{}", said.stderr);
            assert!(lines[0].contains("conflict 701 stays open: it still cannot go in: roles id=1"));
            assert!(lines[1].contains("1 of 701 conflicts could not be closed"));
            assert_eq!(names(folder), vec!["Hub"; 700].join(" "));
            let said = folder.hub(&["conflicts", "dismiss", "all", "--yes"]).fine();
            assert_eq!(said.stdout, "1 of 1 conflict closed\n");
        },
    );
}

#[test]
fn one_that_needs_another_is_tried_again_after_it() {
    let folder = hub("INSERT INTO purchase_orders(id, po_number) VALUES (1, 'PO-1');
         INSERT INTO po_lines(id, po_id, inventory_item_id) VALUES (1, 1, 'ITEM');");
    // Deletes of rows that have changed since: the parent's comes first in the list.
    for (table, column) in [("purchase_orders", "po_number"), ("po_lines", "inventory_item_id")] {
        let mut changes = PieceBuilder::default();
        let row = [ValueRef::Integer(1), text("as it was"), ValueRef::Integer(AT)];
        changes.push(Kind::Delete, table, 1, &["id", column], row);
        send(&folder, 1, changes);
    }
    let said = folder.hub(&["conflicts", "take", "1", "loser"]).failure();
    assert!(said.contains("1 row of po_lines points at it"), "{said}");
    let closed = folder.json(&["conflicts", "take", "all", "loser", "--kind", "delete"]);
    assert_eq!(ids(&closed), [1, 2]);
    let conn = Connection::open(folder.database()).unwrap();
    let left: i64 = conn.query_row("SELECT COUNT(*) FROM purchase_orders", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}
