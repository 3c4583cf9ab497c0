//! Faults that simulated worlds found, each as a story.

use super::story::{FIRST, HUB, SECOND, Story};

#[test]
fn a_program_that_picks_the_next_id_by_itself_does_not_take_the_neighbours() {
    let mut story = Story::begin();
    story.write(FIRST, "INSERT INTO orders(note) VALUES ('one')").meet();
    // The second device counts on from what it sees, and lands in the first one's block.
    story
        .write(SECOND, "INSERT INTO orders(id, note) SELECT MAX(id) + 1, 'guessed' FROM orders")
        .write(FIRST, "INSERT INTO orders(note) VALUES ('two')")
        .alone(SECOND)
        .meet()
        .finds("SELECT COUNT(*) FROM orders WHERE note = 'guessed'", "1")
        .lists("key orders whole");
}

#[test]
fn a_guessed_id_that_nobody_else_took_goes_everywhere_once() {
    let mut story = Story::begin();
    story.write(FIRST, "INSERT INTO orders(note) VALUES ('one')").meet();
    let version = "SELECT value FROM _sync_state WHERE name = 'version'";
    story.write(SECOND, "INSERT INTO orders(id, note) SELECT MAX(id) + 1, 'guessed' FROM orders").meet();
    let before = story.on(HUB, version);
    story.meet().finds(version, &before).lists("");
}

#[test]
fn a_feed_never_holds_half_of_what_a_program_at_the_hub_wrote() {
    let mut story = Story::begin();
    story.write(FIRST, "UPDATE orders SET note = 'touched' WHERE id = 2").alone(FIRST);
    story.world.link(1);
    // The order and its line go while the feed is being asked for: not cut, so not in any version yet.
    for step in 0..60 {
        story.world.step_edge(1);
        story.world.deliver_up(1, false);
        if step == 3 {
            story.write(HUB, "DELETE FROM orders WHERE id = 2");
        }
        story.world.step_hub();
        tt_tests::sim::checks::consistent_cut(&story.world, SECOND);
    }
    story.meet().finds("SELECT id FROM orders", "1 3").finds("SELECT id FROM lines", "1 2").lists("");
}

#[test]
fn a_later_change_does_not_go_into_a_row_that_is_held_under_the_same_key() {
    let mut story = Story::begin();
    story
        .write(FIRST, "INSERT INTO bags(code, note) VALUES ('k', 'first')")
        .write(SECOND, "INSERT INTO bags(code, note) VALUES ('k', 'second')")
        .meet()
        .write(FIRST, "DELETE FROM bags WHERE code = 'k'")
        .write(SECOND, "UPDATE bags SET note = 'changed' WHERE code = 'k'")
        .meet()
        .finds("SELECT note FROM bags WHERE code = 'k'", "changed")
        .lists("key bags whole; delete bags");
}

#[test]
fn a_change_to_a_taken_value_lists_what_it_had_lost_as_well() {
    Story::begin()
        .write(SECOND, "UPDATE orders SET number = 'N', note = 'early' WHERE id = 3")
        .write(FIRST, "INSERT INTO orders(number) VALUES ('N'); UPDATE orders SET note = 'late' WHERE id = 3")
        .meet()
        .finds("SELECT number, note FROM orders WHERE id = 3", "C|late")
        .lists("column orders note:late/early; unique orders number:C/N");
}

#[test]
fn two_halves_of_a_reference_that_point_at_nothing_go_back() {
    Story::begin()
        .write(
            HUB,
            "INSERT INTO shelf VALUES (1, 'a'), (1, 'b'), (2, 'a'); INSERT INTO bin VALUES (1, 1, 'a')",
        )
        .meet()
        .write(FIRST, "UPDATE bin SET aisle = 2")
        .write(SECOND, "UPDATE bin SET slot = 'b'")
        .meet()
        .finds("SELECT aisle, slot FROM bin", "2|a")
        .lists("parent bin slot:a/b");
}

#[test]
fn a_row_with_the_id_minus_one_is_a_row_like_any() {
    Story::begin()
        .write(
            HUB,
            "INSERT INTO bin(id, aisle) VALUES (-1, NULL); INSERT INTO badges(id, owner) VALUES (-1, 'Anna')",
        )
        .meet()
        .write(FIRST, "UPDATE badges SET line = 1 WHERE id = -1")
        .meet()
        .finds("SELECT owner, line FROM badges", "Anna|1")
        .lists("");
}

#[test]
fn a_change_of_a_held_row_is_not_mixed_into_the_one_that_has_its_key() {
    let mut story = Story::begin();
    story
        .write(FIRST, "INSERT INTO bags(code, note, good) VALUES ('k', 'first', 2)")
        .write(SECOND, "INSERT INTO bags(code, note, good) VALUES ('k', 'second', 2)")
        .alone(FIRST);
    // The second device is merged, and loses its link before it hears that its row is held.
    let version = story.world.hub_store().version();
    story.world.link(1);
    while story.world.hub_store().version() == version {
        story.world.step_edge(1);
        story.world.deliver_up(1, false);
        story.world.step_hub();
    }
    story.world.unlink(1);
    story
        .write(SECOND, "UPDATE bags SET good = good + 5, note = 'changed' WHERE code = 'k'")
        .meet()
        .finds("SELECT note, good FROM bags WHERE code = 'k'", "first|2")
        .lists("key bags whole");
    let entries = tt_hub::store::conflict::list(story.world.program(HUB), true, |device| device.to_string());
    let row = &entries.expect("reads")[0]["row"];
    assert_eq!(
        (row["note"].as_str(), row["good"].as_i64()),
        (Some("changed"), Some(7)),
        "what is held: {row}"
    );
}

#[test]
fn a_row_keeps_its_time_when_its_key_is_spelled_otherwise() {
    Story::begin()
        .write(SECOND, "INSERT OR REPLACE INTO people(name, note) VALUES ('ANNA', 'early')")
        .write(FIRST, "INSERT OR REPLACE INTO people(name, note) VALUES ('ANNA', 'late')")
        .meet()
        .finds("SELECT name, note FROM people", "ANNA|late")
        .lists("column people note:late/early");
}

#[test]
fn a_swap_with_a_row_that_was_touched_and_left_as_it_was() {
    let mut story = Story::begin();
    story.write(HUB, "INSERT INTO orders(id, number) VALUES (-1, 'M')").meet();
    story
        .write(
            FIRST,
            "UPDATE orders SET number = 't' WHERE id = -1; UPDATE orders SET number = 'M' WHERE id = 3;
             UPDATE orders SET number = 'C' WHERE id = -1",
        )
        .meet()
        .finds("SELECT number FROM orders ORDER BY id", "C A B M")
        .lists("");
}

#[test]
fn a_row_replaced_under_a_fresh_id_is_dated_by_the_replacement() {
    Story::begin()
        .write(FIRST, "INSERT OR REPLACE INTO orders(number, note) VALUES ('A', 'early')")
        .write(HUB, "UPDATE orders SET note = 'late' WHERE id = 1")
        .meet()
        .finds("SELECT note FROM orders WHERE number = 'A'", "late")
        .lists("column orders note:late/early");
}

#[test]
fn a_delete_of_a_row_that_somebody_replaced_is_overruled_and_listed() {
    Story::begin()
        .write(FIRST, "INSERT OR REPLACE INTO orders(number, note) VALUES ('C', 'new')")
        .write(SECOND, "DELETE FROM orders WHERE id = 3")
        .meet()
        .finds("SELECT note FROM orders WHERE number = 'C'", "new")
        .lists("delete orders");
    // Who replaces it as well deletes nothing.
    Story::begin()
        .write(FIRST, "INSERT OR REPLACE INTO orders(number, good) VALUES ('C', 2)")
        .write(SECOND, "INSERT OR REPLACE INTO orders(number, good) VALUES ('C', 3)")
        .meet()
        .finds("SELECT good FROM orders WHERE number = 'C'", "5")
        .lists("");
}

#[test]
fn a_change_of_what_is_held_goes_into_the_same_entry() {
    let mut story = Story::begin();
    story
        .write(SECOND, "UPDATE orders SET good = 2 WHERE id = 3")
        .cut(SECOND)
        .write(HUB, "DELETE FROM orders WHERE id = 3")
        .alone(FIRST)
        .write(FIRST, "INSERT INTO orders(number) VALUES ('C')")
        .alone(FIRST)
        .write(SECOND, "UPDATE orders SET good = 6, note = 'more' WHERE id = 3")
        .meet()
        .lists("missing orders whole");
}
