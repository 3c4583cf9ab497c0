//! One test per line of the rules for a single row.

use super::*;

fn rule() -> TableRule {
    TableRule {
        counters: vec!["count".into()],
        greatest: vec!["updated_at".into()],
        together: vec![vec!["carrier".into(), "carrier_code".into()]],
        ..TableRule::ORDINARY
    }
}

fn column<'a>(name: &'a str, base: &'a Value, new: &'a Value, hub: &'a Value) -> Column<'a> {
    Column { name, base: base.as_ref(), new: new.as_ref(), hub: hub.as_ref() }
}

fn merge(name: &str, base: Value, new: Value, hub: Value, edge_at: i64) -> RowPlan {
    let stamp = |at, edge| Stamp { at, edge: EdgeId(edge) };
    merge_row(&rule(), &[column(name, &base, &new, &hub)], stamp(edge_at, 1), Some(stamp(100, 2)))
}

fn set(plan: &RowPlan) -> Option<Value> {
    plan.set.first().map(|(_, value)| value.clone())
}

#[test]
fn counters_add() {
    let plan = merge("count", Value::Integer(10), Value::Integer(15), Value::Integer(13), 1);
    assert_eq!(set(&plan), Some(Value::Integer(18)));
    assert!(plan.lost.is_empty() && plan.won.is_empty());
}

#[test]
fn two_devices_that_count_the_same_amount_both_count() {
    let plan = merge("count", Value::Integer(10), Value::Integer(15), Value::Integer(15), 1);
    assert_eq!(set(&plan), Some(Value::Integer(20)));
}

#[test]
fn a_null_counter_counts_as_zero_once_somebody_sets_a_number() {
    let plan = merge("count", Value::Null, Value::Integer(5), Value::Integer(3), 1);
    assert_eq!(set(&plan), Some(Value::Integer(8)));
}

#[test]
fn setting_a_counter_to_null_follows_the_ordinary_rule() {
    let plan = merge("count", Value::Integer(1), Value::Null, Value::Integer(3), 1);
    assert_eq!((set(&plan), plan.lost.len()), (None, 1));
}

#[test]
fn nothing_is_added_to_a_counter_that_the_hub_set_to_null() {
    let plan = merge("count", Value::Integer(1), Value::Integer(3), Value::Null, 1);
    assert_eq!((set(&plan), plan.lost.len()), (None, 1));
}

#[test]
fn a_sum_that_has_no_place_is_held() {
    let plan = merge("count", Value::Integer(0), Value::Integer(i64::MAX), Value::Integer(1), 1);
    assert_eq!((set(&plan), plan.overflow.len()), (None, 1));
}

#[test]
fn real_counters_add() {
    let plan = merge("count", Value::Real(1.0), Value::Real(1.5), Value::Real(3.0), 1);
    assert_eq!(set(&plan), Some(Value::Real(3.5)));
}

#[test]
fn one_side_changed_is_no_conflict() {
    let plan = merge("note", Value::text("a"), Value::text("b"), Value::text("a"), 1);
    assert_eq!(set(&plan), Some(Value::text("b")));
    assert!(plan.as_sent && plan.won.is_empty());
}

#[test]
fn the_same_value_on_both_sides_is_no_conflict() {
    let plan = merge("note", Value::text("a"), Value::text("b"), Value::text("b"), 1);
    assert_eq!(plan, RowPlan { as_sent: true, ..RowPlan::default() });
}

#[test]
fn the_later_writer_wins_and_the_loser_is_listed_with_both_values() {
    let early = merge("note", Value::text("a"), Value::text("b"), Value::text("c"), 99);
    assert_eq!((set(&early), early.lost[0].lost.clone()), (None, Value::text("b")));
    let late = merge("note", Value::text("a"), Value::text("b"), Value::text("c"), 101);
    assert_eq!((set(&late), late.won[0].lost.clone()), (Some(Value::text("b")), Value::text("c")));
}

#[test]
fn a_tie_goes_to_the_higher_device() {
    let plan = merge("note", Value::text("a"), Value::text("b"), Value::text("c"), 100);
    assert_eq!(plan.lost.len(), 1, "device 1 loses to device 2");
}

#[test]
fn the_greatest_wins_silently() {
    let up = merge("updated_at", Value::text("1"), Value::text("3"), Value::text("2"), 1);
    assert_eq!((set(&up), up.won.len()), (Some(Value::text("3")), 0));
    let down = merge("updated_at", Value::text("1"), Value::text("2"), Value::text("3"), 999);
    assert_eq!((set(&down), down.lost.len()), (None, 0));
}

#[test]
fn columns_kept_together_go_to_one_writer() {
    let values = ["ups", "UPS Inc", "fedex", "U", "F"].map(Value::text);
    let carrier = column("carrier", &values[0], &values[1], &values[0]);
    let code = column("carrier_code", &values[3], &values[3], &values[4]);
    let stamp = |at, edge| Stamp { at, edge: EdgeId(edge) };
    let plan = merge_row(&rule(), &[carrier, code], stamp(1, 1), Some(stamp(2, 2)));
    assert!(plan.set.is_empty(), "half of a pair must not be written: {plan:?}");
}

#[test]
fn columns_kept_together_are_equal_only_as_a_whole() {
    let values = ["c", "a", "", "x"].map(Value::text);
    // The hub has (a, ''), the device comes from (c, '') and wants (a, x).
    let carrier = column("carrier", &values[0], &values[1], &values[1]);
    let code = column("carrier_code", &values[2], &values[3], &values[2]);
    let stamp = |at, edge| Stamp { at, edge: EdgeId(edge) };
    let plan = merge_row(&rule(), &[carrier, code], stamp(1, 1), Some(stamp(2, 2)));
    assert_eq!(
        (plan.set.len(), plan.lost.len()),
        (0, 1),
        "the earlier writer loses the whole value: {plan:?}"
    );
}

#[test]
fn sums_have_no_date_and_all_else_has() {
    let dated = |base, new| merge("count", base, new, Value::Integer(1), 1).dated;
    assert!(!dated(Value::Integer(1), Value::Integer(3)), "a sum");
    assert!(dated(Value::Integer(1), Value::Null) && dated(Value::Integer(1), Value::text("many")));
}
