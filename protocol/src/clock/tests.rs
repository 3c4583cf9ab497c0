//! Each story is told by the clocks alone: what they show at a look, and where notes end up.

use super::*;

const DAY: i64 = 86_400_000;
const NOON: i64 = 1_800_000_000_000;

/// A device whose clock was right when it was started at `NOON`, measured, and last seen a minute later.
fn seen() -> Record {
    Record { cut_ms: NOON + 1_000, ..Record::new(reading(NOON + 60_000, 1, 60_000), Some(0)) }
}

fn reading(wall: i64, id: i64, elapsed_ms: i64) -> Reading {
    Reading { wall: Millis(wall), boot: Some(Boot { id, elapsed_ms }) }
}

/// Where a note ends up, as the store does it in SQL.
fn moved(shift: Shift, at: i64) -> i64 {
    if (shift.from_ms..=shift.to_ms).contains(&at) {
        return at;
    }
    let moved = at + shift.by_ms;
    if moved < shift.floor_ms { shift.from_ms } else { moved.min(shift.ceiling_ms) }
}

#[test]
fn a_clock_that_goes_on_moves_nothing() {
    let look = look(&seen(), reading(NOON + 3_600_000, 1, 3_600_000 - 1_500));
    assert_eq!(look.shift, None);
    assert_eq!(look.record, Record { seen_ms: NOON + 3_600_000, ..seen() });
}

#[test]
fn small_steps_that_add_up_are_a_step() {
    let first = look(&seen(), reading(NOON + 70_000 + 1_500, 1, 70_000));
    assert_eq!(first.shift, None);
    let second = look(&first.record, reading(NOON + 80_000 + 3_000, 1, 80_000));
    assert_eq!((second.shift.unwrap().by_ms, second.record.offset_ms), (3_000, 3_000));
}

#[test]
fn a_step_forward_takes_the_notes_and_the_offset_with_it() {
    let look = look(&seen(), reading(NOON + 70_000 + DAY, 1, 70_000));
    let shift = look.shift.unwrap();
    assert_eq!(look.record.offset_ms, DAY);
    assert_eq!(moved(shift, NOON + 30_000), NOON + 30_000 + DAY, "noted before the look");
    assert_eq!(moved(shift, NOON + 65_000), NOON + 65_000 + DAY, "noted between the look and the step");
    assert_eq!(moved(shift, NOON + 66_000 + DAY), NOON + 66_000 + DAY, "noted after the step");
    assert_eq!(look.record.cut_ms, NOON + 1_000 + DAY);
}

#[test]
fn a_step_back_takes_the_notes_and_the_offset_with_it() {
    let look = look(&seen(), reading(NOON + 70_000 - DAY, 1, 70_000));
    let shift = look.shift.unwrap();
    assert_eq!(look.record.offset_ms, -DAY);
    assert_eq!(moved(shift, NOON + 30_000), NOON + 30_000 - DAY);
    assert_eq!(moved(shift, NOON + 65_000), NOON + 65_000 - DAY);
    assert_eq!(moved(shift, NOON + 66_000 - DAY), NOON + 66_000 - DAY);
}

#[test]
fn a_step_there_and_back_between_two_looks_leaves_no_note_before_the_last_cut_or_after_now() {
    let there = look(&seen(), reading(NOON + 70_000 + DAY, 1, 70_000));
    let shift = there.shift.unwrap();
    let lost = 5_000;
    assert_eq!(moved(shift, lost), NOON + 60_000 + DAY, "noted while the clock stood at 1970");
    assert_eq!(moved(shift, NOON + 9 * DAY), NOON + 70_000 + DAY, "noted while it was nine days ahead");
}

#[test]
fn a_start_with_a_good_clock_moves_nothing_and_waits_for_a_measurement() {
    let look = look(&seen(), reading(NOON + DAY, 2, 20_000));
    let shift = look.shift.unwrap();
    assert_eq!((shift.by_ms, look.record.offset_ms), (0, 0));
    assert_eq!(look.record.measured, Measured::BeforeStart);
    assert_eq!(moved(shift, NOON + 30_000), NOON + 30_000);
    assert_eq!(moved(shift, NOON + DAY - 10_000), NOON + DAY - 10_000);
    assert_eq!(moved(shift, 3_000), NOON + DAY - 20_000, "noted at 1970, before the clock was set");
}

#[test]
fn after_a_flat_battery_corrected_time_goes_on_and_the_measurement_tells_the_rest() {
    let started = look(&seen(), reading(30_000, 2, 30_000));
    let shift = started.shift.unwrap();
    let guess = started.record.offset_ms;
    assert_eq!(30_000 - guess, NOON + 60_000 + 30_000, "corrected time goes on from the last one seen");
    let (old, late, fresh) = (moved(shift, NOON + 30_000), moved(shift, NOON + 75_000), moved(shift, 20_000));
    assert_eq!(old - guess, NOON + 30_000, "an old note keeps its corrected time");
    assert!(late < 0, "what was noted after the last look still counts as noted before the start");
    assert_eq!(fresh, 20_000);

    // In truth the device lay in a drawer for a day.
    let offset = -(NOON + DAY);
    let measured = measure(&started.record, offset);
    let shift = measured.shift.unwrap();
    assert_eq!(moved(shift, old) - offset, NOON + 30_000);
    assert_eq!(moved(shift, late) - offset, NOON + 60_000 - 1);
    assert_eq!(moved(shift, fresh) - offset, NOON + DAY + 20_000, "a new note gets its true time");
    assert_eq!(measured.record.measured, Measured::SinceStart);
    assert_eq!(measure(&measured.record, offset + 40).shift, None, "later measurements move nothing");
}

#[test]
fn a_clock_set_right_after_a_flat_battery_and_before_the_hub_is_met_is_a_step_like_any() {
    let started = look(&seen(), reading(30_000, 2, 30_000));
    let old = moved(started.shift.unwrap(), NOON + 30_000);
    let fresh = 20_000;
    // After forty seconds the time server answers.
    let set = look(&started.record, reading(NOON + DAY + 40_000, 2, 40_000));
    let shift = set.shift.unwrap();
    let (old, fresh) = (moved(shift, old), moved(shift, fresh));
    assert_eq!(fresh, NOON + DAY + 20_000);
    let measured = measure(&set.record, 0);
    let shift = measured.shift.unwrap();
    assert_eq!(moved(shift, fresh), NOON + DAY + 20_000);
    assert_eq!(moved(shift, old), NOON + 30_000);
}

#[test]
fn a_device_that_was_never_measured_has_one_offset_for_all_its_notes() {
    let first = Record::new(reading(NOON + DAY, 1, 60_000), None);
    assert_eq!(first.measured, Measured::Never);
    let again = look(&first, reading(NOON + DAY + 600_000, 2, 10_000));
    assert_eq!(measure(&again.record, DAY).shift, None);
}

#[test]
fn without_a_clock_since_the_start_nothing_is_guessed() {
    let reading = Reading { wall: Millis(5), boot: None };
    let look = look(&seen(), reading);
    assert_eq!((look.shift, look.record.offset_ms), (None, 0));
}

#[test]
fn times_at_the_ends_of_the_scale_do_not_overflow() {
    for wall in [i64::MIN, i64::MAX, 0] {
        for elapsed in [0, i64::MAX] {
            for id in [1, 2] {
                let looked = look(&seen(), reading(wall, id, elapsed));
                let _ = measure(&looked.record, i64::MIN);
                let _ = look(&looked.record, reading(NOON, 1, 60_000));
            }
        }
    }
}

#[test]
fn the_shortest_round_trip_of_the_recent_ones_counts() {
    let mut samples = Samples::default();
    assert_eq!(samples.add(Millis(1_000), Millis(1_400), Millis(0)), Some(1_200));
    assert_eq!(samples.add(Millis(2_000), Millis(2_020), Millis(1_000)), Some(1_010));
    assert_eq!(samples.add(Millis(3_000), Millis(5_000), Millis(0)), Some(1_010), "a slow one says less");
    assert_eq!(samples.add(Millis(9_000), Millis(8_000), Millis(0)), None, "the clock was set meanwhile");
    for _ in 0..SAMPLES {
        samples.add(Millis(9_000), Millis(9_100), Millis(8_000));
    }
    assert_eq!(samples.add(Millis(9_000), Millis(9_300), Millis(0)), Some(1_050), "old ones are forgotten");
    samples.clear();
    assert_eq!(samples.add(Millis(0), Millis(4), Millis(0)), Some(2));
}
