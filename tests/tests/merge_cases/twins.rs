//! The same thing made on two devices: one row survives, counts add, children follow.

use super::story::{FIRST, HUB, SECOND, Story};
use tt_hub::store::decide::Decision;
use tt_protocol::value::Value;

const CHILD: &str =
    "INSERT INTO lines(order_id, note, good) SELECT id, note, 1 FROM orders WHERE number = 'N'";

#[test]
fn an_equal_row_made_twice_is_one_row_and_its_counts_add() {
    Story::begin()
        .write(FIRST, "INSERT INTO orders(number, note, good) VALUES ('N', 'same', 5)")
        .write(SECOND, "INSERT INTO orders(number, note, good) VALUES ('N', 'same', 3)")
        .meet()
        .finds("SELECT note, good FROM orders WHERE number = 'N'", "same|8")
        .lists("");
}

#[test]
fn of_two_that_differ_the_first_stays_whole_and_the_second_is_listed() {
    Story::begin()
        .write(FIRST, &format!("INSERT INTO orders(number, note, good) VALUES ('N', 'first', 5); {CHILD}"))
        .write(SECOND, &format!("INSERT INTO orders(number, note, good) VALUES ('N', 'second', 3); {CHILD}"))
        .meet()
        .finds("SELECT note, good FROM orders WHERE number = 'N'", "first|8")
        .finds(
            "SELECT l.note, l.good FROM orders o JOIN lines l ON l.order_id = o.id WHERE number = 'N' ORDER BY 1",
            "first|1 second|1",
        )
        .lists("unique orders whole note:first/second");
}

#[test]
fn the_hubs_program_and_a_device_make_the_same_row() {
    Story::begin()
        .write(HUB, &format!("INSERT INTO orders(number, note, good) VALUES ('N', 'same', 1); {CHILD}"))
        .write(FIRST, &format!("INSERT INTO orders(number, note, good) VALUES ('N', 'same', 2); {CHILD}"))
        .write(SECOND, &format!("INSERT INTO orders(number, note, good) VALUES ('N', 'same', 4); {CHILD}"))
        .meet()
        .finds("SELECT good FROM orders WHERE number = 'N'", "7")
        .finds("SELECT COUNT(*), COUNT(DISTINCT order_id) FROM lines WHERE order_id > 3", "3|1")
        .lists("");
}

#[test]
fn what_was_on_its_way_for_the_vanished_row_goes_to_the_survivor() {
    let mut story = Story::begin();
    story
        .write(FIRST, "INSERT INTO orders(number, note, good) VALUES ('N', 'first', 5)")
        .write(SECOND, "INSERT INTO orders(number, note, good) VALUES ('N', 'second', 3)")
        .cut(SECOND)
        .write(SECOND, "UPDATE orders SET good = good + 2, note = 'newer' WHERE number = 'N'")
        .cut(SECOND)
        .write(SECOND, CHILD)
        .meet()
        .finds("SELECT note, good FROM orders WHERE number = 'N'", "first|10")
        .finds("SELECT l.note FROM orders o JOIN lines l ON l.order_id = o.id WHERE number = 'N'", "newer")
        .lists("unique orders whole note:first/newer");
}

#[test]
fn a_vanished_row_that_its_device_deletes_takes_its_counts_back() {
    Story::begin()
        .write(FIRST, "INSERT INTO orders(number, good) VALUES ('N', 5)")
        .write(SECOND, "INSERT INTO orders(number, note, good) VALUES ('N', 'x', 3)")
        .cut(SECOND)
        .write(SECOND, "DELETE FROM orders WHERE number = 'N'")
        .cut(SECOND)
        .meet()
        .finds("SELECT note, good FROM orders WHERE number = 'N'", "-|5");
}

#[test]
fn a_child_under_a_vanished_row_is_changed_and_deleted_without_alarm() {
    Story::begin()
        .write(FIRST, "INSERT INTO orders(number) VALUES ('N')")
        .write(SECOND, &format!("INSERT INTO orders(number) VALUES ('N'); {CHILD}; {CHILD}"))
        .cut(SECOND)
        .write(SECOND, "UPDATE lines SET good = 7 WHERE id = (SELECT MAX(id) FROM lines)")
        .write(SECOND, "DELETE FROM lines WHERE id = (SELECT MAX(id) - 1 FROM lines)")
        .cut(SECOND)
        .write(SECOND, "UPDATE lines SET order_id = 2 WHERE id = (SELECT MAX(id) FROM lines)")
        .meet()
        .finds("SELECT order_id, good FROM lines WHERE id > 3", "2|7")
        .lists("");
}

#[test]
fn children_that_are_twins_themselves_become_one() {
    let schema = "CREATE TABLE trays(id INTEGER PRIMARY KEY, number TEXT UNIQUE);
        CREATE TABLE slots(id INTEGER PRIMARY KEY, tray INTEGER REFERENCES trays(id), name TEXT, good INTEGER, UNIQUE(tray, name));
        CREATE TABLE pills(slot INTEGER REFERENCES slots(id), kind TEXT, good INTEGER, PRIMARY KEY(slot, kind));";
    let both = |good: i64, kind: &str| {
        format!(
            "INSERT INTO trays(number) VALUES ('T');
             INSERT INTO slots(tray, name, good) SELECT id, 's', {good} FROM trays;
             INSERT INTO pills(slot, kind, good) SELECT id, '{kind}', 1 FROM slots"
        )
    };
    Story::with(schema)
        .write(FIRST, &both(5, "a"))
        .write(SECOND, &both(3, "b"))
        .meet()
        .finds("SELECT COUNT(*) FROM trays", "1")
        .finds("SELECT name, good FROM slots", "s|8")
        .finds("SELECT kind, p.good FROM pills p JOIN slots s ON s.id = p.slot ORDER BY 1", "a|1 b|1")
        .lists("");
    Story::with(schema)
        .write(FIRST, &both(5, "a"))
        .write(SECOND, &both(3, "a"))
        .meet()
        .finds("SELECT kind, p.good FROM pills p JOIN slots s ON s.id = p.slot ORDER BY 1", "a|2")
        .lists("");
}

#[test]
fn a_natural_key_without_a_constraint_is_one_row_too() {
    let schema = "CREATE TABLE things(id INTEGER PRIMARY KEY, name TEXT, size TEXT, good INTEGER, made TEXT DEFAULT CURRENT_TIMESTAMP);
        CREATE TABLE parts(id INTEGER PRIMARY KEY, thing INTEGER REFERENCES things(id));";
    let mut story = Story::with(schema);
    story
        .write(FIRST, "INSERT INTO things(name, size, good) VALUES ('n', 's', 5), ('n', NULL, 1)")
        .write(
            SECOND,
            "INSERT INTO things(name, size, good, made) VALUES ('n', 's', 3, 'x'), ('n', NULL, 1, 'x');
             INSERT INTO parts(thing) SELECT id FROM things WHERE size = 's'",
        )
        .meet()
        .finds("SELECT size, good FROM things ORDER BY 1, 2", "-|1 -|1 s|8")
        .finds("SELECT size FROM parts p JOIN things t ON t.id = p.thing", "s")
        .lists("");
}

#[test]
fn unique_values_that_ignore_case_or_hold_for_some_rows_only() {
    let schema = "CREATE TABLE cards(id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE UNIQUE, good INTEGER);
        CREATE TABLE places(id INTEGER PRIMARY KEY, slot TEXT, open INTEGER, good INTEGER);
        CREATE UNIQUE INDEX one_open ON places(lower(slot)) WHERE open;";
    Story::with(schema)
        .write(FIRST, "INSERT INTO cards(name, good) VALUES ('Card', 1); INSERT INTO places(slot, open, good) VALUES ('A', 1, 1), ('b', 0, 1)")
        .write(SECOND, "INSERT INTO cards(name, good) VALUES ('cARD', 2); INSERT INTO places(slot, open, good) VALUES ('a', 1, 2), ('b', 0, 2)")
        .meet()
        .finds("SELECT name, good FROM cards", "Card|3")
        .finds("SELECT slot, good FROM places ORDER BY slot, good", "A|3 b|1 b|2")
        .lists("unique places whole slot:A/a");
}

#[test]
fn a_row_replaced_under_another_id_while_somebody_counted_on_it() {
    Story::begin()
        .write(FIRST, "UPDATE orders SET good = good + 5 WHERE id = 3; INSERT INTO lines(order_id, note) VALUES (3, 'child')")
        .write(SECOND, "INSERT OR REPLACE INTO orders(id, number, note, good) VALUES (77, 'C', 'new', 2)")
        .meet()
        .finds("SELECT id, note, good FROM orders WHERE number = 'C'", "77|new|7")
        .finds("SELECT order_id FROM lines WHERE note = 'child'", "77")
        .lists("");
}

#[test]
fn a_row_whose_device_renamed_the_other_is_nobodys_twin() {
    Story::begin()
        .write(FIRST, "INSERT INTO orders(number) VALUES ('D')")
        .write(
            SECOND,
            "UPDATE orders SET number = 'D' WHERE id = 3; INSERT INTO orders(number, good) VALUES ('C', 4)",
        )
        .meet()
        .finds("SELECT good FROM orders WHERE id = 3", "0")
        .lists("unique orders number:C/D; unique orders whole");
}

#[test]
fn a_survivor_that_was_deleted_meanwhile_comes_back_for_a_child() {
    let mut story = Story::begin();
    story
        .write(FIRST, "INSERT INTO orders(number, note) VALUES ('N', 'same')")
        .write(SECOND, "INSERT INTO orders(number, note) VALUES ('N', 'same')")
        .cut(SECOND)
        .write(SECOND, CHILD)
        .cut(SECOND);
    story.alone(FIRST);
    story.pushes(SECOND, 1);
    story
        .write(HUB, "DELETE FROM orders WHERE number = 'N'")
        .meet()
        .finds("SELECT l.note FROM orders o JOIN lines l ON l.order_id = o.id WHERE number = 'N'", "same")
        .lists("delete orders");
}

#[test]
fn a_released_row_gets_its_counts_and_its_children_back() {
    let schema = "CREATE TABLE trays(id INTEGER PRIMARY KEY, number TEXT UNIQUE, note TEXT);
        CREATE TABLE slots(id INTEGER PRIMARY KEY, tray INTEGER REFERENCES trays(id), name TEXT, good INTEGER, UNIQUE(tray, name));
        CREATE TABLE pills(slot INTEGER REFERENCES slots(id), kind TEXT, good INTEGER, PRIMARY KEY(slot, kind));";
    let both = |note: &str, good: i64| {
        format!(
            "INSERT INTO trays(number, note) VALUES ('T', '{note}');
             INSERT INTO slots(tray, name, good) SELECT id, 's', {good} FROM trays;
             INSERT INTO slots(tray, name, good) SELECT id, '{note}', {good} FROM trays;
             INSERT INTO pills(slot, kind, good) SELECT id, 'p', 1 FROM slots"
        )
    };
    let all = "SELECT t.number, t.note, s.name, s.good, p.good FROM trays t JOIN slots s ON s.tray = t.id
        JOIN pills p ON p.slot = s.id ORDER BY t.number, s.name";
    let mut story = Story::with(schema);
    story
        .write(FIRST, &both("first", 5))
        .write(SECOND, &both("second", 3))
        .meet()
        .finds(all, "T|first|first|5|1 T|first|s|8|2 T|first|second|3|1")
        .lists("unique trays whole note:first/second");
    story
        .refuses(1, &Decision::TakeLoser, &["another row with this unique value"])
        .write(FIRST, "UPDATE slots SET good = good + 10 WHERE name = 's'")
        .decide(1, &Decision::Edit(vec![("number".to_owned(), Value::text("U"))]))
        .finds(all, "T|first|first|5|1 T|first|s|15|1 U|second|s|3|1 U|second|second|3|1");
}

#[test]
fn a_row_that_is_dismissed_stays_what_it_became() {
    let mut story = Story::begin();
    story
        .write(FIRST, "INSERT INTO orders(number, note, good) VALUES ('N', 'first', 5)")
        .write(SECOND, "INSERT INTO orders(number, note, good) VALUES ('N', 'second', 3)")
        .meet()
        .decide(1, &Decision::Dismiss)
        .finds("SELECT note, good FROM orders WHERE number = 'N'", "first|8");
}

#[test]
fn a_replaced_row_that_would_be_given_a_parent_which_nobody_has_keeps_its_own() {
    let schema = "CREATE TABLE shelves(aisle INTEGER, slot TEXT, PRIMARY KEY(aisle, slot));
        CREATE TABLE bins(id INTEGER PRIMARY KEY, code TEXT UNIQUE, aisle INTEGER, slot TEXT,
          FOREIGN KEY(aisle, slot) REFERENCES shelves(aisle, slot));
        INSERT INTO shelves VALUES (1, 'a'), (1, 'b'), (2, 'c');
        INSERT INTO bins VALUES (1, 'x', 1, 'a');";
    Story::with(schema)
        .write(FIRST, "INSERT OR REPLACE INTO bins VALUES (77, 'x', 2, 'c')")
        .write(SECOND, "UPDATE bins SET slot = 'b' WHERE id = 1")
        .meet()
        .finds("SELECT id, aisle, slot FROM bins", "77|2|c");
}

#[test]
fn a_row_whose_key_is_taken_is_nobodys_twin_by_its_name() {
    let schema = "CREATE TABLE things(id INTEGER PRIMARY KEY, name TEXT, size TEXT, good INTEGER);";
    Story::with(schema)
        .write(FIRST, "INSERT INTO things VALUES (500, 'other', 's', 1), (501, 'n', 's', 5)")
        .write(SECOND, "INSERT INTO things VALUES (500, 'n', 's', 3)")
        .cut(SECOND)
        .write(SECOND, "UPDATE things SET good = 4 WHERE id = 500")
        .cut(SECOND)
        .meet()
        .finds("SELECT id, name, good FROM things ORDER BY 1", "500|other|1 501|n|5")
        .lists("key things whole");
}

#[test]
fn a_count_that_is_not_there_adds_nothing() {
    Story::begin()
        .write(FIRST, "INSERT INTO orders(number, good) VALUES ('N', 5)")
        .write(SECOND, "INSERT INTO orders(number, good) VALUES ('N', NULL)")
        .meet()
        .finds("SELECT good FROM orders WHERE number = 'N'", "5")
        .lists("");
}

#[test]
fn counts_that_cannot_be_taken_back_stay_and_are_listed() {
    let schema =
        "CREATE TABLE cards(id INTEGER PRIMARY KEY, name TEXT UNIQUE, good INTEGER CHECK (good <= 10));";
    let mut story = Story::with(schema);
    story
        .write(FIRST, "INSERT INTO cards(name, good) VALUES ('N', 9)")
        .write(SECOND, "INSERT INTO cards(name, good) VALUES ('N', -5)")
        .cut(SECOND)
        .write(SECOND, "DELETE FROM cards")
        .cut(SECOND);
    story.alone(FIRST);
    story.pushes(SECOND, 1);
    story
        .write(HUB, "UPDATE cards SET good = good + 6")
        .meet()
        .finds("SELECT good FROM cards", "10")
        .lists("counter cards good:10/15");
}
