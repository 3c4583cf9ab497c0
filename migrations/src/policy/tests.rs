//! The shipped policy, the errors of a hand-written one, and the warnings against real schemas.

use super::{PolicyError, SHIPPED, parse, read, shipped, warnings};
use rusqlite::Connection;
use tt_protocol::policy::{Additive, HoldDeletes, Policy, TableRule};

fn refusal(text: &str) -> String {
    parse("my.toml", text).expect_err(text).to_string()
}

#[test]
fn the_shipped_policy_says_what_the_program_means() {
    let policy = shipped();
    assert_eq!(policy.trash_keep_days, 90);
    assert_eq!(policy.schema.additive, Additive::Adopt);
    for counter in ["good_count", "damaged_count", "machine_good_count", "machine_damaged_count"] {
        assert!(policy.table("po_lines").is_counter(counter));
    }
    assert!(policy.table("PURCHASE_ORDERS").is_counter("remaining_quantity"));
    assert!(policy.table("shipments").group("carrier_code").is_some());
    assert!(!policy.table("employees").may_write("station") && policy.table("employees").may_write("hub"));
    assert!(!policy.table("alembic_version").replicate);
    assert_eq!(policy.table("warehouse_submissions"), &TableRule::ORDINARY);
}

#[test]
fn every_key_of_the_shipped_policy_is_explained() {
    let comments: String = SHIPPED.lines().filter(|line| line.starts_with('#')).collect();
    for key in [
        "counters",
        "greatest",
        "together",
        "key",
        "writers",
        "replicate",
        "hold_deletes",
        "rows",
        "share",
        "adopt",
        "hold",
    ] {
        assert!(comments.contains(key), "{key}");
    }
}

#[test]
fn an_empty_policy_is_all_defaults() {
    assert_eq!(parse("my.toml", "").expect("empty"), Policy::default());
    let partly = parse("my.toml", "[table.t]\nhold_deletes = { rows = 5 }").expect("partly");
    assert_eq!(partly.table("t").hold_deletes, HoldDeletes { rows: 5, share: 0.5 });
}

#[test]
fn errors_name_file_line_and_key() {
    for (text, start, part) in [
        ("trash_keep = 90", "my.toml:1: trash_keep: ", "unknown field"),
        ("[table.t]\ncounter = []", "my.toml:2: table.t.counter: ", "unknown field `counter`"),
        ("\n[table.t]\n\ncounters = 3", "my.toml:4: table.t.counters: ", "invalid type"),
        ("[table.t]\ncounters = [\n  \"a\",\n  1,\n]", "my.toml:4: table.t.counters: ", "invalid type"),
        ("[schema]\nadditive = \"maybe\"", "my.toml:2: schema.additive: ", "unknown variant `maybe`"),
        ("trash_keep_days = -1", "my.toml:1: trash_keep_days: ", "invalid value"),
        ("[table.t]\nwriters = [\"a\"", "my.toml:2: table.t.writers: ", ""),
        ("[table.t]\nhold_deletes = { row = 1 }", "my.toml:2: table.t.hold_deletes: ", "unknown field `row`"),
    ] {
        let error = refusal(text);
        assert!(error.starts_with(start) && error.contains(part), "{text:?} gave {error:?}");
        assert!(!error.contains('\n'), "{error:?}");
    }
}

#[test]
fn contradictions_are_refused() {
    for (text, expected) in [
        (
            "\n[table.t]\ncounters = [\"a\"]\ngreatest = [\"A\"]",
            "my.toml:2: table.t.greatest: column \"A\" can follow only one rule",
        ),
        ("[table.t]\ntogether = [[\"a\"]]", "my.toml:1: table.t.together: a group has two columns or more"),
        (
            "[table.t]\ntogether = [[\"a\", \"b\"], [\"B\", \"c\"]]",
            "my.toml:1: table.t.together: column \"B\" can follow only one rule",
        ),
        (
            "[table.t]\ncounters = [\"a\"]\nkey = [\"a\"]",
            "my.toml:1: table.t.key: column \"a\" is a counter: it cannot name a row",
        ),
        (
            "[table.t]\nhold_deletes = { share = 1.5 }",
            "my.toml:1: table.t.hold_deletes: share is 1.5, not 0.0 to 1.0",
        ),
        ("[table.t]\n[table.u]\n[table.T]", "my.toml:3: table.t: this table is named twice, apart from case"),
    ] {
        assert_eq!(refusal(text).to_lowercase(), expected.to_lowercase());
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = read(std::path::Path::new("no/such/policy.toml")).expect_err("missing");
    assert!(matches!(error, PolicyError::Unreadable { .. }));
    assert!(error.to_string().contains("no/such/policy.toml"), "{error}");
}

#[test]
fn names_that_the_schema_lacks_are_warnings() {
    let conn = Connection::open_in_memory().expect("memory");
    conn.execute_batch("CREATE TABLE Counts(id INTEGER PRIMARY KEY, Good INT, bad INT)").expect("table");
    let text = "[table.counts]\ncounters = [\"good\", \"ugly\"]\nkey = [\"Bad\", \"x\"]\n[table.nowhere]\nreplicate = false";
    let policy = parse("my.toml", text).expect("policy");
    assert_eq!(
        warnings(&policy, &conn).expect("warnings"),
        [
            "the policy names columns of \"counts\" that this database does not have: \"ugly\", \"x\"",
            "the policy names table \"nowhere\", which this database does not have",
        ]
    );
}
