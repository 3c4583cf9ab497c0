//! What is not let in: tables that a role may not write, and changesets that delete too much.

use super::story::{FIRST, HUB, SECOND, Story};

const SCHEMA: &str = "
CREATE TABLE staff(id INTEGER PRIMARY KEY, name TEXT UNIQUE, pay INTEGER);
CREATE TABLE tally(id INTEGER PRIMARY KEY, staff INTEGER REFERENCES staff(id), good INTEGER);
CREATE TABLE mass(id INTEGER PRIMARY KEY, name TEXT UNIQUE, good INTEGER DEFAULT 0);
CREATE TABLE under(id INTEGER PRIMARY KEY, mass INTEGER REFERENCES mass(id) ON DELETE CASCADE, good INTEGER);
INSERT INTO staff VALUES (1, 'Ann', 10), (2, 'Bob', 20);
INSERT INTO tally VALUES (1, 1, 0);
INSERT INTO mass(id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e'), (6, 'f');
INSERT INTO under(id, mass) VALUES (1, 1);";

#[test]
fn a_refused_write_goes_back_and_does_not_hold_the_counts_up() {
    Story::with(SCHEMA)
        .write(FIRST, "UPDATE staff SET pay = 99 WHERE id = 1; UPDATE tally SET good = good + 5")
        .write(SECOND, "DELETE FROM staff WHERE id = 2; UPDATE tally SET good = good + 3")
        .meet()
        .finds("SELECT pay FROM staff", "10 20")
        .finds("SELECT good FROM tally", "8")
        .lists("role staff whole; role staff whole");
}

#[test]
fn the_hub_may_write_what_its_devices_may_not() {
    Story::with(SCHEMA)
        .write(HUB, "UPDATE staff SET pay = 11 WHERE id = 1")
        .meet()
        .finds("SELECT pay FROM staff", "11 20")
        .lists("");
}

#[test]
fn a_refused_row_holds_what_hangs_on_it_and_nothing_else() {
    Story::with(SCHEMA)
        .write(
            FIRST,
            "INSERT INTO staff(id, name) VALUES (77, 'Eve'); INSERT INTO tally(staff, good) VALUES (77, 4), (1, 6)",
        )
        .cut(FIRST)
        .write(FIRST, "UPDATE staff SET pay = 5 WHERE id = 77")
        .meet()
        .finds("SELECT id FROM staff", "1 2")
        .finds("SELECT staff, good FROM tally ORDER BY good", "1|0 1|6")
        .lists("role staff whole; parent tally whole");
}

#[test]
fn a_refused_row_that_the_hub_has_already_is_no_alarm() {
    Story::with(SCHEMA)
        .write(HUB, "INSERT INTO staff(id, name, pay) VALUES (50, 'Eve', 7)")
        .write(
            FIRST,
            "INSERT INTO staff(id, name, pay) VALUES (77, 'Eve', 7); INSERT INTO tally(staff, good) VALUES (77, 4)",
        )
        .meet()
        .finds("SELECT id FROM staff WHERE name = 'Eve'", "50")
        .finds("SELECT staff FROM tally WHERE good = 4", "50")
        .lists("");
}

#[test]
fn too_many_deletes_hold_the_changeset_whole() {
    let mut story = Story::with(SCHEMA);
    story
        .write(FIRST, "DELETE FROM under; DELETE FROM mass WHERE id < 5; UPDATE tally SET good = good + 5")
        .cut(FIRST)
        .write(FIRST, "UPDATE tally SET good = good + 1")
        .cut(FIRST)
        .write(SECOND, "UPDATE mass SET good = 4 WHERE id = 1; UPDATE tally SET good = good + 3")
        .meet()
        .finds("SELECT COUNT(*), SUM(good) FROM mass", "6|4")
        .finds("SELECT good FROM tally", "3")
        .lists("deletes mass");
    story
        .write(FIRST, "UPDATE tally SET good = good + 2")
        .meet()
        .finds("SELECT good FROM tally", "5")
        .lists("deletes mass");
}

#[test]
fn what_a_device_does_after_it_heard_that_its_deletes_are_held_goes_in() {
    let mut story = Story::with(SCHEMA);
    story.write(FIRST, "DELETE FROM mass WHERE id < 5").cut(FIRST).write(FIRST, "UPDATE tally SET good = 1");
    // The daemon learns in one breath that its changeset is held, takes its rows back, and cuts what came after.
    story
        .meet()
        .finds("SELECT COUNT(*) FROM mass", "6")
        .finds("SELECT good FROM tally", "1")
        .lists("deletes mass");
}

#[test]
fn deletes_within_the_bounds_and_rows_made_again_are_let_through() {
    Story::with(SCHEMA)
        .write(FIRST, "DELETE FROM mass WHERE id IN (4, 5, 6)")
        .meet()
        .finds("SELECT COUNT(*) FROM mass", "3")
        .lists("");
    Story::with(SCHEMA)
        .write(FIRST, "INSERT OR REPLACE INTO mass(id, name, good) SELECT id + 100, name, 1 FROM mass")
        .meet()
        .finds("SELECT MIN(id), COUNT(*) FROM mass", "101|6")
        .lists("");
}

#[test]
fn rows_that_are_gone_already_are_no_mass_delete() {
    Story::with(SCHEMA)
        .write(HUB, "DELETE FROM mass WHERE id > 1")
        .write(FIRST, "DELETE FROM mass WHERE id > 1")
        .meet()
        .finds("SELECT COUNT(*) FROM mass", "1")
        .lists("");
}
