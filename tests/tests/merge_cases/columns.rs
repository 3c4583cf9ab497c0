//! One row, changed on two devices.

use super::story::{FIRST, HUB, SECOND, Story};

#[test]
fn a_counter_changed_on_both_sides_is_the_sum() {
    Story::begin()
        .write(FIRST, "UPDATE lines SET good = good + 5 WHERE id = 1")
        .write(SECOND, "UPDATE lines SET good = 17 WHERE id = 1")
        .meet()
        .finds("SELECT good FROM lines WHERE id = 1", "22")
        .lists("");
}

#[test]
fn the_same_total_written_twice_is_two_counts() {
    Story::begin()
        .write(FIRST, "UPDATE lines SET good = 15 WHERE id = 1")
        .write(SECOND, "UPDATE lines SET good = 15 WHERE id = 1")
        .meet()
        .finds("SELECT good FROM lines WHERE id = 1", "20")
        .lists("");
}

#[test]
fn a_counter_that_was_null_counts_as_nothing() {
    Story::begin()
        .write(FIRST, "UPDATE lines SET total = 5 WHERE id = 1")
        .write(SECOND, "UPDATE lines SET total = 3 WHERE id = 1")
        .meet()
        .finds("SELECT total FROM lines WHERE id = 1", "8")
        .lists("");
}

#[test]
fn a_sum_without_a_place_in_64_bits_is_held() {
    Story::begin()
        .write(FIRST, "UPDATE lines SET total = 9223372036854775807 WHERE id = 1")
        .write(SECOND, "UPDATE lines SET total = 3, note = 'n' WHERE id = 1")
        .meet()
        .finds("SELECT total, note FROM lines WHERE id = 1", "9223372036854775807|n")
        .lists("counter lines total:9223372036854775807/3");
}

#[test]
fn different_columns_both_stay() {
    Story::begin()
        .write(FIRST, "UPDATE orders SET note = 'first' WHERE id = 1")
        .write(SECOND, "UPDATE orders SET number = 'AA' WHERE id = 3")
        .write(SECOND, "UPDATE orders SET good = 4 WHERE id = 1")
        .meet()
        .finds("SELECT note, good FROM orders WHERE id = 1", "first|4")
        .lists("");
}

#[test]
fn the_same_value_twice_is_no_conflict() {
    Story::begin()
        .write(FIRST, "UPDATE orders SET note = 'same' WHERE id = 1")
        .write(SECOND, "UPDATE orders SET note = 'same' WHERE id = 1")
        .meet()
        .finds("SELECT note FROM orders WHERE id = 1", "same")
        .lists("");
}

#[test]
fn of_two_values_the_later_wins_whoever_comes_first() {
    Story::begin()
        .write(FIRST, "UPDATE orders SET note = 'earlier' WHERE id = 1")
        .write(SECOND, "UPDATE orders SET note = 'later' WHERE id = 1")
        .write(FIRST, "UPDATE orders SET note = 'last' WHERE id = 2")
        .write(SECOND, "UPDATE people SET note = 'x'")
        .meet()
        .finds("SELECT note FROM orders WHERE id < 3", "later last")
        .lists("column orders note:later/earlier");
    Story::begin()
        .write(SECOND, "UPDATE orders SET note = 'earlier' WHERE id = 1")
        .write(FIRST, "UPDATE orders SET note = 'later' WHERE id = 1")
        .meet()
        .finds("SELECT note FROM orders WHERE id = 1", "later")
        .lists("column orders note:later/earlier");
}

#[test]
fn a_delete_of_an_untouched_row_deletes() {
    Story::begin()
        .write(FIRST, "DELETE FROM lines WHERE id = 1")
        .write(SECOND, "UPDATE lines SET good = 1 WHERE id = 2")
        .meet()
        .finds("SELECT id FROM lines", "2 3")
        .lists("");
}

#[test]
fn a_change_wins_over_a_delete_whoever_comes_first() {
    Story::begin()
        .write(FIRST, "DELETE FROM lines WHERE id = 1")
        .write(SECOND, "UPDATE lines SET good = good + 5 WHERE id = 1")
        .meet()
        .finds("SELECT id, good FROM lines WHERE id = 1", "1|15")
        .lists("delete lines");
    Story::begin()
        .write(FIRST, "UPDATE lines SET good = good + 5 WHERE id = 1")
        .write(SECOND, "DELETE FROM lines WHERE id = 1")
        .meet()
        .finds("SELECT id, good FROM lines WHERE id = 1", "1|15")
        .lists("delete lines good:15/null");
}

#[test]
fn a_program_at_the_hub_is_a_device_like_any() {
    Story::begin()
        .write(HUB, "UPDATE lines SET good = good + 1 WHERE id = 1")
        .write(FIRST, "UPDATE lines SET good = good + 2 WHERE id = 1")
        .write(SECOND, "UPDATE lines SET good = 14 WHERE id = 1")
        .meet()
        .finds("SELECT good FROM lines WHERE id = 1", "17")
        .lists("");
}
