//! Clocks that are wrong, are set right or lose their time: of two values the one that was really written
//! later wins, whatever the clocks showed and whoever comes first.

use super::story::{FIRST, HUB, SECOND, Story};
use tt_hub::store::conflict;
use tt_tests::sim::random::Random;

const SECOND_MS: i64 = 1_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 86_400_000;
/// How far off a device is whose clock begins at 1970 again.
const TO_1970: i64 = -1_800_000_000_000;

const NOTE: &str = "SELECT note FROM orders WHERE id = 1";

fn note(text: &str) -> String {
    format!("UPDATE orders SET note = '{text}' WHERE id = 1")
}

fn edge(node: usize) -> usize {
    node - 1
}

/// Tells the same story with the devices in both roles, and so in both orders of arrival.
fn in_both_orders(tell: impl Fn(&mut Story, usize, usize)) {
    for (one, other) in [(FIRST, SECOND), (SECOND, FIRST)] {
        tell(&mut Story::begin(), one, other);
    }
}

impl Story {
    fn clock(&mut self, node: usize, clock_ms: i64) -> &mut Self {
        self.world.set_clock(edge(node), clock_ms);
        self
    }

    /// The daemon has a moment, without a link.
    fn looks(&mut self, node: usize) -> &mut Self {
        self.world.step_edge(edge(node));
        self
    }

    fn restart(&mut self, node: usize, clock_ms: i64) -> &mut Self {
        self.world.restart_device(edge(node), clock_ms);
        self
    }

    fn daemon_starts(&mut self, node: usize) -> &mut Self {
        self.world.start_edge(edge(node));
        self.looks(node)
    }

    fn pass(&mut self, milliseconds: i64) -> &mut Self {
        self.world.pass(milliseconds);
        self
    }
}

#[test]
fn a_clock_that_is_off_neither_wins_nor_loses_by_it() {
    for off in [DAY, -DAY, TO_1970] {
        in_both_orders(|story, wrong, right| {
            story.clock(wrong, off).alone(wrong);
            story.write(wrong, &note("earlier")).write(right, &note("later")).meet().finds(NOTE, "later");
            story.write(right, &note("earlier still")).write(wrong, &note("last")).meet().finds(NOTE, "last");
        });
    }
}

#[test]
fn a_clock_that_was_never_measured_is_measured_before_the_first_cut() {
    for off in [DAY, -DAY, TO_1970] {
        in_both_orders(|story, wrong, right| {
            story.clock(wrong, off).looks(wrong);
            story.write(wrong, &note("earlier")).write(right, &note("later")).meet().finds(NOTE, "later");
        });
    }
}

#[test]
fn a_clock_set_between_the_write_and_the_cut_takes_its_notes_along() {
    for (before, after) in [(DAY, 0), (-DAY, 0), (TO_1970, 0), (0, DAY), (0, -DAY), (0, 5 * SECOND_MS)] {
        in_both_orders(|story, wrong, right| {
            story.clock(wrong, before).alone(wrong);
            story.write(wrong, &note("earlier")).write(right, &note("later"));
            story.clock(wrong, after).meet().finds(NOTE, "later");
            story.clock(wrong, before).alone(wrong);
            story.write(right, &note("earlier still")).write(wrong, &note("last"));
            story.clock(wrong, after).meet().finds(NOTE, "last");
        });
    }
}

#[test]
fn a_clock_set_between_two_writes_orders_both_of_them() {
    for (before, after) in [(DAY, 0), (-DAY, 0), (TO_1970, 0), (0, DAY), (0, -DAY)] {
        in_both_orders(|story, wrong, right| {
            let second = "UPDATE orders SET note = 'second' WHERE id = 2";
            story.clock(wrong, before).alone(wrong);
            story.write(wrong, &note("one")).looks(wrong).write(right, &note("two"));
            story.write(right, "UPDATE orders SET note = 'first' WHERE id = 2");
            story.clock(wrong, after).write(wrong, second).looks(wrong).pass(HOUR);
            story.meet().finds(NOTE, "two").finds("SELECT note FROM orders WHERE id = 2", "second");
        });
    }
}

#[test]
fn after_a_flat_battery_what_is_written_at_1970_is_later_than_all_before() {
    in_both_orders(|story, flat, right| {
        story.write(flat, &note("one")).looks(flat).write(right, &note("two"));
        // The device lies in a drawer for a day. Its program is up before our daemon.
        story.pass(DAY).restart(flat, TO_1970 - DAY);
        story.write(flat, "UPDATE orders SET note = 'fresh' WHERE id = 2");
        story.daemon_starts(flat);
        story.write(flat, "UPDATE orders SET note = 'fresh' WHERE id = 3").looks(flat);
        story.meet().finds(NOTE, "two");
        assert_eq!(story.on(HUB, "SELECT note FROM orders WHERE id > 1"), "fresh fresh");
    });
}

#[test]
fn after_a_flat_battery_what_somebody_wrote_while_the_device_was_off_loses() {
    in_both_orders(|story, flat, right| {
        story.write(flat, "UPDATE orders SET note = 'old' WHERE id = 2").looks(flat).pass(HOUR);
        story.write(right, &note("while it was off")).pass(HOUR);
        story.restart(flat, TO_1970).daemon_starts(flat);
        story.write(flat, &note("after")).meet().finds(NOTE, "after");
    });
}

#[test]
fn a_time_server_that_comes_before_the_hub_changes_nothing() {
    in_both_orders(|story, flat, right| {
        story.write(flat, &note("one")).looks(flat).write(right, &note("two")).pass(HOUR);
        story.restart(flat, TO_1970);
        story.write(flat, "UPDATE orders SET note = 'at 1970' WHERE id = 2");
        story.write(right, "UPDATE orders SET note = 'after that' WHERE id = 2");
        // With and without a look of the daemon before the clock is set.
        if right == SECOND {
            story.daemon_starts(flat);
        }
        story.pass(60 * SECOND_MS).clock(flat, 0).daemon_starts(flat);
        story.meet().finds(NOTE, "two");
        story.finds("SELECT note FROM orders WHERE id = 2", "after that");
    });
}

#[test]
fn the_daemon_need_not_run_while_the_clock_is_set() {
    for after in [DAY, -DAY, TO_1970] {
        in_both_orders(|story, wrong, right| {
            story.write(wrong, &note("earlier")).looks(wrong).write(right, &note("later"));
            story.world.crash_edge(edge(wrong));
            story.pass(SECOND_MS).clock(wrong, after).daemon_starts(wrong);
            story.meet().finds(NOTE, "later");
        });
    }
}

#[test]
fn what_was_written_in_the_future_is_written_now() {
    // A clock that was set there and back while no daemon ran leaves a time that nobody can correct.
    let mut story = Story::begin();
    story.alone(FIRST).world.crash_edge(edge(FIRST));
    story.clock(FIRST, 9 * DAY).write(FIRST, &note("nine days ahead")).clock(FIRST, 0);
    story.world.start_edge(edge(FIRST));
    story.alone(FIRST).write(SECOND, &note("later")).meet().finds(NOTE, "later");
}

#[test]
fn what_was_written_at_1970_was_written_after_the_last_cut() {
    let mut story = Story::begin();
    story.write(SECOND, &note("before"));
    story
        .write(FIRST, "UPDATE orders SET note = 'x' WHERE id = 2")
        .alone(FIRST)
        .world
        .crash_edge(edge(FIRST));
    story.clock(FIRST, TO_1970).write(FIRST, &note("at 1970")).clock(FIRST, 0);
    story.world.start_edge(edge(FIRST));
    story.meet().finds(NOTE, "at 1970");
}

#[test]
fn a_device_that_lies_about_the_time_does_not_win_for_ever() {
    let mut story = Story::begin();
    story.alone(FIRST);
    story.write(FIRST, &note("from the future"));
    let lie = format!("UPDATE _sync_state SET value = {} WHERE name = 'clock_offset_ms'", -400 * DAY);
    story.world.edge_store(edge(FIRST)).connection().execute_batch(&lie).expect("its own file");
    story.alone(FIRST).write(SECOND, &note("later")).meet().finds(NOTE, "later");
    let entries = conflict::list(story.world.program(HUB), true, |device| device.to_string()).expect("reads");
    let at = |name: &str| entries[0][name].as_i64().expect("a time");
    assert!(at("lost_at") < at("kept_at"), "{entries:?}");
}

/// Two devices write in turn while their clocks are set, lose their time and drift; the daemons look now
/// and then. Whoever wrote last wins, every time.
#[test]
fn whatever_the_clocks_do_the_last_write_wins() {
    for seed in 0..40 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let mut story = Story::begin();
        for round in 0..4 {
            let mut last = String::new();
            for write in 0..1 + random.below(5) {
                let node = random.pick(&[FIRST, SECOND]);
                let off = random.pick(&[0, 0, DAY, -DAY, 40 * SECOND_MS, -300 * SECOND_MS]);
                last = format!("round {round} write {write}");
                story.pass(10 * SECOND_MS).write(node, &note(&last)).looks(node);
                let unlucky = random.pick(&[FIRST, SECOND]);
                match random.below(6) {
                    0 => _ = story.pass(HOUR).restart(unlucky, off).daemon_starts(unlucky),
                    1 | 2 => _ = story.pass(SECOND_MS).clock(unlucky, off).looks(unlucky),
                    _ => {}
                }
            }
            if random.once_in(2) {
                story.alone(SECOND);
            }
            story.meet().finds(NOTE, &last);
        }
    }
}
