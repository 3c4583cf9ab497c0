//! Parents and children.

use super::story::{FIRST, SECOND, Story};

#[test]
fn a_changed_child_brings_back_its_deleted_parent() {
    Story::begin()
        .write(FIRST, "UPDATE lines SET good = good + 1 WHERE id = 3")
        .write(SECOND, "DELETE FROM orders WHERE id = 2")
        .meet()
        .finds(
            "SELECT o.number, l.good FROM orders o JOIN lines l ON l.order_id = o.id WHERE o.id = 2",
            "B|1",
        );
}

#[test]
fn a_child_without_any_parent_is_held_whole_and_the_device_follows() {
    let mut story = Story::begin();
    story.world.program(FIRST).pragma_update(None, "foreign_keys", false).expect("a setting");
    story
        .write(
            FIRST,
            "INSERT INTO lines(order_id, note) VALUES (999, 'alone'); UPDATE lines SET good = 1 WHERE id = 3",
        )
        .meet()
        .finds("SELECT COUNT(*) FROM lines WHERE note = 'alone'", "0")
        .finds("SELECT good FROM lines WHERE id = 3", "1")
        .lists("parent lines whole");
}

#[test]
fn a_unique_value_that_moved_takes_its_own_children_back() {
    Story::begin()
        .write(FIRST, "INSERT INTO bags(code, order_number) VALUES ('k', 'A')")
        .write(SECOND, "UPDATE orders SET number = 'AA' WHERE id = 1")
        .meet()
        .finds("SELECT number FROM orders WHERE id = 1", "A")
        .finds("SELECT DISTINCT order_number FROM bags", "A");
}

#[test]
fn a_child_in_another_spelling_finds_its_parent() {
    Story::begin()
        .write(FIRST, "INSERT INTO badges(id, owner) VALUES (1, 'ANNA')")
        .write(SECOND, "DELETE FROM people")
        .meet()
        .finds("SELECT name FROM people", "Anna")
        .lists("delete people");
}

#[test]
fn a_child_of_another_class_finds_its_parent() {
    Story::begin()
        .write(FIRST, "DELETE FROM lines WHERE id = 3")
        .write(SECOND, "INSERT INTO badges(id, line) VALUES (1, '3')")
        .meet()
        .finds("SELECT l.id FROM badges b JOIN lines l ON l.id = b.line", "3")
        .lists("delete lines");
}
