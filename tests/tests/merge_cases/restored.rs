//! A hub that was put back hears of a delete before it hears of the row.

use crate::story::{FIRST, HUB, SECOND, Story};

const NODES: [usize; 3] = [HUB, FIRST, SECOND];
const OPEN: &str = "SELECT group_concat(kind || ' ' || tab) FROM _sync_conflict WHERE state = 'open'";
const ROW: &str = "SELECT number, note, good FROM orders WHERE number = 'N'";

/// The first device makes a row that no backup has, and both know it.
fn made_after_a_backup() -> (Story, tt_tests::sim::world::Copy) {
    let mut story = Story::begin();
    let copy = story.world.copy_hub();
    story.write(FIRST, "INSERT INTO orders(number, note, good) VALUES ('N', 'new', 5)").meet();
    (story, copy)
}

impl Story {
    /// The hub is put back, and hears the second device first.
    fn put_back(&mut self, copy: &tt_tests::sim::world::Copy) -> &mut Self {
        // The journal went with the hub.
        self.world.forget_snapshots();
        self.world.restore_hub(copy);
        self.world.start_hub();
        self.alone(SECOND);
        let waiting = "SELECT count(*) FROM _sync_conflict WHERE kind = 'missing'";
        assert_ne!(self.on(HUB, waiting), "0", "the delete came first");
        self
    }
}

#[test]
fn a_delete_that_comes_before_its_row_waits_for_it() {
    let (mut story, copy) = made_after_a_backup();
    story.write(SECOND, "DELETE FROM orders WHERE number = 'N'").meet();
    story.put_back(&copy);
    assert_eq!(story.on(HUB, OPEN), "-", "nobody has to decide anything");
    story.meet();
    for node in NODES {
        assert_eq!(story.on(node, ROW), "", "deleted on {node}");
    }
    assert_eq!(story.on(HUB, OPEN), "-");
}

#[test]
fn a_delete_waits_until_its_row_is_what_was_deleted() {
    let (mut story, copy) = made_after_a_backup();
    story.write(FIRST, "UPDATE orders SET note = 'newer', good = good + 1 WHERE number = 'N'").meet();
    story.write(SECOND, "UPDATE orders SET good = good + 2 WHERE number = 'N'").meet();
    story.write(SECOND, "DELETE FROM orders WHERE number = 'N'").meet();
    story.put_back(&copy).meet();
    for node in NODES {
        assert_eq!(story.on(node, ROW), "", "deleted on {node}");
    }
    assert_eq!(story.on(HUB, OPEN), "-");
}

#[test]
fn a_count_that_the_deleting_device_did_not_know_brings_the_row_back() {
    let (mut story, copy) = made_after_a_backup();
    story.write(FIRST, "UPDATE orders SET good = good + 1 WHERE number = 'N'");
    story.write(SECOND, "DELETE FROM orders WHERE number = 'N'").meet();
    let before = story.on(HUB, ROW);
    assert_eq!(before, "N|new|6");
    story.put_back(&copy).meet();
    for node in NODES {
        assert_eq!(story.on(node, ROW), before, "on {node}");
    }
    assert_eq!(story.on(HUB, OPEN), "delete orders");
}

#[test]
fn a_delete_whose_row_came_otherwise_is_on_the_list() {
    let (mut story, copy) = made_after_a_backup();
    // What programs at the hub wrote is lost with it: the row can never be again what was deleted.
    story.write(HUB, "UPDATE orders SET note = 'hub' WHERE number = 'N'").meet();
    story.write(SECOND, "DELETE FROM orders WHERE number = 'N'").meet();
    story.put_back(&copy).meet();
    for node in NODES {
        assert_eq!(story.on(node, ROW), "N|new|5", "nothing is lost on {node}");
    }
    assert_eq!(story.on(HUB, OPEN), "missing orders");
}

#[test]
fn two_deletes_of_one_row_wait_for_it_together() {
    let (mut story, copy) = made_after_a_backup();
    story.write(SECOND, "DELETE FROM orders WHERE number = 'N'");
    story.write(FIRST, "DELETE FROM orders WHERE number = 'N'").meet();
    story.put_back(&copy).meet();
    assert_eq!(story.on(HUB, "SELECT count(*) FROM orders WHERE number = 'N'"), "0");
    let waiting = "SELECT count(*) FROM _sync_conflict WHERE decision = 'waits for its row'";
    assert_eq!(story.on(HUB, waiting), "0");
}

/// Both devices make the same order, and the first one's stays. The second counts on it and makes a line under it. The
/// hub that was put back hears the second device first: there its own order stays, and what it did to the other one
/// comes before anybody knows that the two are one.
#[test]
fn what_was_done_to_the_survivor_of_twins_goes_to_the_one_that_survives_now() {
    let mut story = Story::begin();
    let copy = story.world.copy_hub();
    story.write(FIRST, "INSERT INTO orders(number, good) VALUES ('N', 5)");
    story.write(SECOND, "INSERT INTO orders(number, good) VALUES ('N', 7)").meet();
    let line = "INSERT INTO lines(order_id, note) SELECT id, 'child' FROM orders WHERE number = 'N'";
    story.write(SECOND, line).write(SECOND, "UPDATE orders SET good = good + 2 WHERE number = 'N'").meet();
    story.put_back(&copy).meet();
    let all = "SELECT o.good, l.note FROM orders o LEFT JOIN lines l ON l.order_id = o.id WHERE number = 'N'";
    for node in NODES {
        assert_eq!(story.on(node, all), "14|child", "on {node}");
    }
    assert_eq!(story.on(HUB, OPEN), "-", "nobody has to decide anything");
}
