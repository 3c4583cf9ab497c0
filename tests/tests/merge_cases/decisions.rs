//! The operator decides: each kind of entry, each decision, and every node has it afterwards.

use super::story::{FIRST, HUB, SECOND, Story};
use tt_hub::store::decide::Decision::{self, Dismiss, TakeLoser, TakeWinner};
use tt_protocol::value::Value;

fn edit<const N: usize>(values: [(&str, Value); N]) -> Decision {
    Decision::Edit(values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Both devices wrote the note of order 1; the second was later.
fn two_notes() -> Story {
    let mut story = Story::begin();
    story
        .write(FIRST, "UPDATE orders SET note = 'earlier' WHERE id = 1")
        .write(SECOND, "UPDATE orders SET note = 'later' WHERE id = 1")
        .meet()
        .lists("column orders note:later/earlier");
    story
}

const NOTE: &str = "SELECT note, good FROM orders WHERE id = 1";

#[test]
fn the_winner_is_confirmed_or_the_entry_dismissed_and_nothing_changes() {
    let mut story = two_notes();
    let before = story.world.hub_store().version();
    story.decide(1, &TakeWinner).finds(NOTE, "later|0").closed("1: the winner was confirmed");
    let mut other = two_notes();
    other.decide(1, &Dismiss).finds(NOTE, "later|0").closed("1: dismissed");
    assert_eq!([story.world.hub_store().version(), other.world.hub_store().version()], [before; 2]);
}

#[test]
fn a_column_takes_the_value_that_lost_or_another_one() {
    two_notes().decide(1, &TakeLoser).finds(NOTE, "earlier|0").closed("1: the loser was taken");
    let both = edit([("note", Value::text("both")), ("good", Value::Integer(7))]);
    two_notes().decide(1, &both).finds(NOTE, "both|7").closed("1: edited: note=both, good=7");
}

#[test]
fn the_loser_is_taken_whatever_the_row_has_become_meanwhile() {
    let mut story = two_notes();
    story
        .write(FIRST, "UPDATE orders SET note = 'newer', good = good + 3 WHERE id = 1")
        .meet()
        .decide(1, &TakeLoser)
        .finds(NOTE, "earlier|3");
    let mut story = two_notes();
    story.write(HUB, "UPDATE orders SET good = good + 1 WHERE id = 1");
    story.decide(1, &TakeLoser).finds(NOTE, "earlier|1");
}

#[test]
fn a_decision_counts_as_the_hubs_own_change_of_this_moment() {
    let mut story = two_notes();
    // The first device has not heard of the decision, and wrote before it was made.
    story.write(FIRST, "UPDATE orders SET note = 'away' WHERE id = 1");
    story.decide(1, &edit([("note", Value::text("decided"))])).finds(NOTE, "decided|0");
    story.lists("column orders note:later/earlier; column orders note:decided/away");
}

#[test]
fn an_entry_is_closed_once_and_must_be_there() {
    let mut story = two_notes();
    story.decide(1, &Dismiss).refuses(1, &TakeLoser, &["conflict 1 was closed 0 s ago: dismissed"]).refuses(
        2,
        &TakeLoser,
        &["there is no conflict 2"],
    );
}

#[test]
fn a_row_that_is_gone_and_a_column_that_is_unknown_are_reasons() {
    let mut story = two_notes();
    story
        .refuses(1, &edit([("nothing", Value::Null)]), &["orders has no column `nothing`"])
        .refuses(1, &edit([("id", Value::Integer(9))]), &["id is part of the key"])
        .refuses(1, &Decision::Edit(Vec::new()), &["at least one column"])
        .refuses(1, &edit([("number", Value::text("B"))]), &["unique values", "orders id=1"])
        .write(HUB, "DELETE FROM bags; DELETE FROM orders WHERE id = 1")
        .refuses(1, &TakeLoser, &["orders id=1 is not in the table any more"])
        .decide(1, &Dismiss)
        .finds("SELECT COUNT(*) FROM orders", "2");
}

/// The second device's count of 20 had no place beside the first one's.
fn too_much() -> Story {
    let mut story = Story::begin();
    story
        .write(FIRST, "UPDATE lines SET good = good + 80 WHERE id = 1")
        .write(SECOND, "UPDATE lines SET good = good + 20 WHERE id = 1")
        .meet()
        .lists("counter lines good:90/110");
    story
}

#[test]
fn of_a_counter_the_difference_that_was_held_is_added() {
    let good = "SELECT good FROM lines WHERE id = 1";
    too_much()
        .refuses(1, &TakeLoser, &["conflict 1 stays open", "lines id=1", "CHECK"])
        .write(FIRST, "UPDATE lines SET good = good - 50 WHERE id = 1")
        .meet()
        .decide(1, &TakeLoser)
        .finds(good, "60");
    too_much().decide(1, &edit([("good", Value::Integer(99))])).finds(good, "99");
    too_much().decide(1, &TakeWinner).finds(good, "90");
}

#[test]
fn a_sum_without_a_place_is_refused_until_there_is_one() {
    let mut story = Story::begin();
    story
        .write(FIRST, "UPDATE lines SET total = 9223372036854775807 WHERE id = 1")
        .write(SECOND, "UPDATE lines SET total = 3 WHERE id = 1")
        .meet()
        .refuses(1, &TakeLoser, &["total", "64 bits"])
        .write(HUB, "UPDATE lines SET total = 10 WHERE id = 1")
        .decide(1, &TakeLoser)
        .finds("SELECT total FROM lines WHERE id = 1", "13");
}

/// The second device's delete of line 1 was overruled by the first one's count.
fn overruled() -> Story {
    let mut story = Story::begin();
    story
        .write(FIRST, "UPDATE lines SET good = good + 5 WHERE id = 1")
        .write(SECOND, "DELETE FROM lines WHERE id = 1")
        .meet()
        .lists("delete lines good:15/null");
    story
}

#[test]
fn an_overruled_delete_happens_after_all_or_does_not() {
    let line = "SELECT id, good FROM lines WHERE id = 1";
    overruled().decide(1, &TakeLoser).finds(line, "").closed("1: the loser was taken");
    overruled().decide(1, &TakeWinner).finds(line, "1|15");
    overruled().decide(1, &Dismiss).finds(line, "1|15");
    overruled().decide(1, &edit([("good", Value::Integer(6))])).finds(line, "1|6");
}

#[test]
fn a_row_that_has_children_is_deleted_after_them() {
    Story::begin()
        .write(FIRST, "DELETE FROM orders WHERE id = 2")
        .write(SECOND, "INSERT INTO lines(order_id, note) VALUES (2, 'new')")
        .meet()
        .refuses(1, &TakeLoser, &["2 rows of lines point at it"])
        .write(FIRST, "DELETE FROM lines WHERE order_id = 2")
        .meet()
        .decide(1, &TakeLoser)
        .finds("SELECT id FROM orders", "1 3");
}

/// Both devices made the bag k.
fn two_bags() -> Story {
    let mut story = Story::begin();
    story
        .write(FIRST, "INSERT INTO bags(code, note, good) VALUES ('k', 'first', 1)")
        .write(SECOND, "INSERT INTO bags(code, note, good) VALUES ('k', 'second', 2)")
        .meet()
        .lists("key bags whole");
    story
}

#[test]
fn a_row_whose_key_was_taken_goes_in_under_another_or_when_it_is_free() {
    let bags = "SELECT code, note, good FROM bags WHERE code LIKE 'k%' ORDER BY code";
    two_bags().decide(1, &TakeWinner).finds(bags, "k|first|1");
    two_bags().decide(1, &Dismiss).finds(bags, "k|first|1");
    two_bags()
        .refuses(1, &TakeLoser, &["another row with this key", "bags code=k"])
        .refuses(1, &edit([("good", Value::Integer(3))]), &["another row with this key"])
        .refuses(1, &edit([("code", Value::Null)]), &["code is part of the key and has no value"])
        .decide(1, &edit([("code", Value::text("k2"))]))
        .finds(bags, "k|first|1 k2|second|2")
        .closed("1: edited: code=k2");
    two_bags()
        .write(FIRST, "DELETE FROM bags WHERE code = 'k'")
        .meet()
        .decide(1, &TakeLoser)
        .finds(bags, "k|second|2");
}

#[test]
fn a_new_id_is_one_of_the_hubs_own() {
    let mut story = Story::begin();
    story
        .write(FIRST, "INSERT INTO orders(id, note) VALUES (500, 'first')")
        .write(SECOND, "INSERT INTO orders(id, note) VALUES (500, 'second')")
        .meet()
        .lists("key orders whole");
    story.write(HUB, "INSERT INTO orders(note) VALUES ('hub')");
    story
        .decide(1, &edit([("id", Value::text("new")), ("note", Value::text("moved"))]))
        .finds("SELECT note FROM orders WHERE id >= 500 ORDER BY note", "first hub moved");
    let fresh: i64 = story.on(HUB, "SELECT id FROM orders WHERE note = 'moved'").parse().expect("one row");
    story.closed(&format!("1: edited: id={fresh}, note=moved"));
    // The next ones do not collide with it, wherever they are made.
    for node in [HUB, FIRST, SECOND] {
        story.write(node, "INSERT INTO orders(note) VALUES ('next')");
    }
    story.meet().finds("SELECT COUNT(*) FROM orders WHERE note = 'next'", "3").lists("key orders whole");
}

/// Both devices made an order N.
fn two_orders() -> Story {
    let mut story = Story::begin();
    story
        .write(FIRST, "INSERT INTO orders(number, note) VALUES ('N', 'first')")
        .write(SECOND, "INSERT INTO orders(number, note) VALUES ('N', 'second')")
        .meet()
        .lists("unique orders whole note:first/second");
    story
}

#[test]
fn a_row_whose_unique_value_was_taken_goes_in_with_another_or_when_it_is_free() {
    let orders = "SELECT number, note FROM orders WHERE id > 3 ORDER BY number";
    two_orders().decide(1, &Dismiss).finds(orders, "N|first");
    two_orders()
        .refuses(1, &TakeLoser, &["another row with this unique value"])
        .decide(1, &edit([("number", Value::text("N2"))]))
        .finds(orders, "N|first N2|second");
    let mut story = two_orders();
    story.write(FIRST, "UPDATE orders SET number = 'M' WHERE note = 'first'").meet();
    story.decide(1, &TakeLoser).finds(orders, "M|first N|second");
}

#[test]
fn a_unique_value_that_was_refused_is_set_when_it_is_free() {
    let mut story = Story::begin();
    story
        .write(FIRST, "INSERT INTO orders(number) VALUES ('N')")
        .write(SECOND, "UPDATE orders SET number = 'N' WHERE id = 3")
        .meet()
        .refuses(1, &TakeLoser, &["another row has one of the unique values"])
        .write(HUB, "DELETE FROM orders WHERE number = 'N'")
        .decide(1, &TakeLoser)
        .finds("SELECT number FROM orders ORDER BY id", "A B N");
}

#[test]
fn a_row_that_a_rule_refuses_goes_in_when_it_is_edited() {
    let mut story = Story::begin();
    story.world.program(FIRST).pragma_update(None, "ignore_check_constraints", true).expect("a setting");
    story
        .write(FIRST, "INSERT INTO lines(order_id, note, good) VALUES (1, 'many', 200)")
        .meet()
        .refuses(1, &TakeLoser, &["a rule of the table", "CHECK"])
        .refuses(1, &edit([("good", Value::Integer(101))]), &["CHECK"])
        .decide(1, &edit([("good", Value::Integer(100))]))
        .finds("SELECT order_id, good FROM lines WHERE note = 'many'", "1|100")
        .lists("rule lines whole");
}

#[test]
fn columns_that_a_rule_refused_are_set_when_they_fit() {
    let mut story = Story::begin();
    story
        .write(FIRST, "UPDATE spans SET low = 5")
        .write(SECOND, "UPDATE spans SET high = 3")
        .meet()
        .finds("SELECT low, high FROM spans", "5|10")
        .lists("rule spans high:10/3");
    story
        .refuses(1, &TakeLoser, &["spans id=1", "CHECK"])
        .write(SECOND, "UPDATE spans SET low = 2")
        .meet()
        .decide(1, &TakeLoser)
        .finds("SELECT low, high FROM spans", "2|3");
}

/// A line of the order 999, which nobody has.
fn alone() -> Story {
    let mut story = Story::begin();
    story.world.program(FIRST).pragma_update(None, "foreign_keys", false).expect("a setting");
    story
        .write(FIRST, "INSERT INTO lines(order_id, note) VALUES (999, 'alone')")
        .meet()
        .lists("parent lines whole");
    story
}

#[test]
fn a_child_goes_in_when_its_parent_is_there_or_under_another_one() {
    let line = "SELECT order_id FROM lines WHERE note = 'alone'";
    alone().decide(1, &TakeWinner).finds(line, "");
    alone()
        .refuses(1, &TakeLoser, &["its parent is not at the hub"])
        .write(SECOND, "INSERT INTO orders(id) VALUES (999)")
        .meet()
        .decide(1, &TakeLoser)
        .finds(line, "999");
    alone().decide(1, &edit([("order_id", Value::Integer(3))])).finds(line, "3");
}

#[test]
fn a_child_does_not_bring_back_a_parent_that_was_deleted_on_purpose() {
    let mut story = alone();
    story.write(SECOND, "INSERT INTO orders(id) VALUES (999)").meet();
    story.write(SECOND, "DELETE FROM orders WHERE id = 999").meet();
    story.refuses(1, &TakeLoser, &["it needs orders id=999, which was deleted"]);
}

#[test]
fn a_value_that_children_hold_is_given_up_when_they_are_gone() {
    Story::begin()
        .write(FIRST, "INSERT INTO bags(code, order_number) VALUES ('k', 'C')")
        .write(SECOND, "UPDATE orders SET number = 'CC' WHERE id = 3")
        .meet()
        .refuses(1, &TakeLoser, &["a row that was made elsewhere points at it"])
        .write(FIRST, "DELETE FROM bags WHERE code = 'k'")
        .meet()
        .decide(1, &TakeLoser)
        .finds("SELECT number FROM orders WHERE id = 3", "CC");
}

#[test]
fn what_is_known_of_a_missing_row_goes_in() {
    let mut story = Story::begin();
    story.write(HUB, "DELETE FROM lines WHERE id = 3").alone(FIRST);
    story.write(HUB, "DELETE FROM _sync_trash");
    story
        .write(SECOND, "UPDATE lines SET note = 'm' WHERE id = 3")
        .meet()
        .finds("SELECT COUNT(*) FROM lines WHERE id = 3", "0")
        .lists("missing lines whole");
    story
        .decide(1, &edit([("order_id", Value::Integer(2))]))
        .finds("SELECT order_id, note, good FROM lines WHERE id = 3", "2|m|0");
}
