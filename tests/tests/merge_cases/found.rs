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
fn a_row_touched_and_left_as_it_was_goes_when_the_hub_deletes_it() {
    Story::begin()
        .write(FIRST, "DELETE FROM lines WHERE id = 3")
        .write(SECOND, "UPDATE lines SET good = good WHERE id = 3")
        .meet()
        .finds("SELECT id FROM lines", "1 2")
        .lists("");
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
fn a_counter_set_to_null_is_not_counted_on() {
    Story::begin()
        .write(FIRST, "UPDATE lines SET total = 4 WHERE id = 1")
        .meet()
        .write(SECOND, "UPDATE lines SET total = total + 2 WHERE id = 1")
        .write(FIRST, "UPDATE lines SET total = NULL WHERE id = 1")
        .meet()
        .finds("SELECT total FROM lines WHERE id = 1", "-")
        .lists("column lines total:null/6");
}

#[test]
fn a_row_comes_back_with_the_unique_value_that_it_was_given_in_a_swap() {
    Story::begin()
        .write(
            SECOND,
            "UPDATE orders SET number = 't' WHERE id = 2; UPDATE orders SET number = 'B' WHERE id = 3;
             UPDATE orders SET number = 'C' WHERE id = 2",
        )
        .write(FIRST, "DELETE FROM orders WHERE id = 3")
        .meet()
        .finds("SELECT number FROM orders ORDER BY id", "A C B")
        .lists("delete orders");
}

#[test]
fn one_count_that_breaks_a_check_does_not_take_the_other_with_it() {
    Story::begin()
        .write(FIRST, "UPDATE lines SET good = good + 80 WHERE id = 1")
        .write(SECOND, "UPDATE lines SET good = good + 20, total = 5 WHERE id = 1")
        .meet()
        .finds("SELECT good, total FROM lines WHERE id = 1", "90|5")
        .lists("counter lines good:90/110");
}
