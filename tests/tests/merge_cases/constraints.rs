//! Primary keys, UNIQUE and CHECK.

use super::story::{FIRST, SECOND, Story};

#[test]
fn the_same_key_twice_holds_the_second_whole() {
    Story::begin()
        .write(FIRST, "INSERT INTO bags(code, note, good) VALUES ('k', 'first', 1)")
        .write(SECOND, "INSERT INTO bags(code, note, good) VALUES ('k', 'second', 2)")
        .meet()
        .finds("SELECT note, good FROM bags WHERE code = 'k'", "first|1")
        .lists("key bags whole");
}

#[test]
fn equal_rows_are_one_row() {
    Story::begin()
        .write(FIRST, "INSERT INTO bags(code, note) VALUES ('k', 'same')")
        .write(SECOND, "INSERT INTO bags(code, note) VALUES ('k', 'same')")
        .meet()
        .finds("SELECT note FROM bags WHERE code = 'k'", "same")
        .lists("");
}

#[test]
fn a_change_to_a_taken_unique_value_is_refused_and_the_rest_goes_in() {
    Story::begin()
        .write(FIRST, "INSERT INTO orders(number) VALUES ('N')")
        .write(SECOND, "UPDATE orders SET number = 'N' WHERE id = 3; UPDATE lines SET good = 1 WHERE id = 3")
        .meet()
        .finds("SELECT number FROM orders WHERE id = 3", "C")
        .finds("SELECT good FROM lines WHERE id = 3", "1")
        .lists("unique orders number:C/N");
}

#[test]
fn unique_values_swap_and_rotate_in_one_changeset() {
    Story::begin()
        .write(
            FIRST,
            "UPDATE orders SET number = 't' WHERE id = 2; UPDATE orders SET number = 'B' WHERE id = 3;
             UPDATE orders SET number = 'C' WHERE id = 1; UPDATE orders SET number = 'A' WHERE id = 2",
        )
        .meet()
        .finds("SELECT number FROM orders ORDER BY id", "C A B")
        .lists("");
    Story::begin()
        .write(
            FIRST,
            "UPDATE orders SET number = 't' WHERE id = 2; UPDATE orders SET number = 'B' WHERE id = 3;
             UPDATE orders SET number = 'C' WHERE id = 2",
        )
        .meet()
        .finds("SELECT number FROM orders ORDER BY id", "A C B")
        .lists("");
}

#[test]
fn a_replaced_row_takes_its_children_along() {
    Story::begin()
        .write(FIRST, "INSERT OR REPLACE INTO orders(id, number, note) VALUES (77, 'C', 'new')")
        .write(SECOND, "INSERT INTO lines(order_id, note) VALUES (3, 'child')")
        .meet()
        .finds("SELECT id, note FROM orders WHERE number = 'C'", "77|new")
        .finds("SELECT order_id FROM lines WHERE note = 'child'", "77")
        .lists("");
}

#[test]
fn a_row_replaced_under_its_own_key_is_an_update() {
    Story::begin()
        .write(FIRST, "UPDATE people SET good = good + 5")
        .write(SECOND, "INSERT OR REPLACE INTO people(name, good) VALUES ('ANNA', 2)")
        .meet()
        .finds("SELECT name, good FROM people", "ANNA|7")
        .lists("");
}

#[test]
fn a_changed_key_is_another_row() {
    Story::begin()
        .write(FIRST, "UPDATE bags SET code = 'y' WHERE code = 'x'")
        .meet()
        .finds("SELECT code, order_number FROM bags", "y|A")
        .lists("");
}

#[test]
fn a_key_in_another_spelling_reaches_every_node() {
    Story::begin()
        .write(FIRST, "UPDATE people SET name = 'ANNA'")
        .write(SECOND, "UPDATE people SET good = good + 1 WHERE name = 'anna'")
        .meet()
        .finds("SELECT name, good FROM people", "ANNA|1");
}

#[test]
fn a_sum_that_breaks_a_check_holds_the_later_count_and_takes_the_rest() {
    Story::begin()
        .write(FIRST, "UPDATE lines SET good = good + 80 WHERE id = 1")
        .write(SECOND, "UPDATE lines SET good = good + 20, note = 'n' WHERE id = 1")
        .meet()
        .finds("SELECT good, note FROM lines WHERE id = 1", "90|n")
        .lists("counter lines good:90/110");
}
