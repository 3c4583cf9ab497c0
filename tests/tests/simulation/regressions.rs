//! Seeds that once failed, each with what was wrong. `merge_cases/found.rs` tells the same faults as stories,
//! which do not depend on how a seed becomes a world.

use tt_tests::sim::run;

/// Two spellings of a NOCASE key came in one feed: the row was put in twice, and the edge asked for ever.
#[test]
fn seed_23_one_row_under_two_spellings_in_a_feed() {
    run::world(23);
}

/// A row of another device with an id out of this device's fresh block was taken for one of its own.
#[test]
fn seed_29_a_strange_row_among_the_fresh_ids() {
    run::world(29);
}

/// A child's two columns came from two devices, and together pointed at nothing.
#[test]
fn seed_81_two_halves_of_a_reference() {
    run::world(81);
}

/// A key was rewritten in another spelling while somebody counted: the row was held instead of merged.
#[test]
fn seed_96_a_respelled_key_meets_a_count() {
    run::world(96);
}

/// A feed held a row that a program at the hub had just deleted, and not its child: half of a transaction.
#[test]
fn seed_207_a_feed_between_a_write_at_the_hub_and_its_cut() {
    run::world(207);
}

/// A row that a program had touched without changing it was kept for ever when the hub deleted it.
#[test]
fn seed_291_touched_but_not_changed() {
    run::world(291);
}

/// The same key spelled otherwise at the hub and on a device that had changed another column.
#[test]
fn seed_406_a_count_under_another_spelling() {
    run::world(406);
}

/// An update of another device's row was written into a row held for somebody else.
#[test]
fn seed_1603_the_held_row_of_somebody_else() {
    run::world(1603);
}

/// An update made long after a row was held was written into the held row.
#[test]
fn seed_2031_a_held_row_is_not_the_one_that_came_later() {
    run::world(2031);
}

/// An update that a unique value refused did not list the columns in which it had lost already.
#[test]
fn seed_3219_lost_columns_of_a_refused_update() {
    run::world(3219);
}

/// A note keeps the spelling of its key; a row that the hub respelled under it never became equal.
#[test]
fn seed_4508_a_note_in_the_old_spelling() {
    run::world(4508);
}

/// A row that had become another one was given half of a reference: the whole pointed at nothing.
#[test]
fn seeds_405_and_552_a_reference_of_a_row_that_is_another_one_now() {
    run::world(405);
    run::world(552);
}

/// A table that was read for an earlier link was asked about on the next one before the hub had said Welcome.
#[test]
fn seed_549_a_question_of_the_link_before() {
    run::world(549);
}
