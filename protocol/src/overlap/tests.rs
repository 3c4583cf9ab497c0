//! What is common goes in once, what is further goes in as a difference, what is unclear is held.

use super::*;

const INSERT: Kind = Kind::Insert;
const UPDATE: Kind = Kind::Update;
const DELETE: Kind = Kind::Delete;

/// A row of `t(id, n)`: id, values, time.
type Line<'l> = (Kind, i64, &'l [i64], i64);
/// Rows of pieces, with all that they hold.
type Rows = Vec<(Kind, Vec<i64>)>;

fn changeset(rows: &[Line<'_>]) -> Vec<Vec<u8>> {
    let mut builder = PieceBuilder::default();
    for (kind, id, values, at) in rows {
        let row = [id].into_iter().chain(values.iter()).chain([at]).map(|value| ValueRef::Integer(*value));
        builder.push(*kind, "t", 1, &["id", "n"], row.collect::<Vec<_>>());
    }
    builder.finish()
}

fn told(pieces: &[Vec<u8>]) -> Rows {
    let mut rows = Vec::new();
    for change in pieces.iter().flat_map(|piece| decode_piece(piece).unwrap()) {
        for row in 0..change.rows.rows() {
            let values = change.rows.slice(row, 0, change.rows.width()).map(|value| match value {
                ValueRef::Integer(value) => value,
                other => panic!("{other:?}"),
            });
            rows.push((change.kind, values.collect()));
        }
    }
    rows
}

/// What goes in, what is held, and how many rows are the same.
fn of(first: &[Line<'_>], second: &[Line<'_>], is_later: bool) -> (Rows, Rows, u64) {
    let rest = rest(&changeset(first), &changeset(second), is_later, &|_, column| column == "n").unwrap();
    assert_eq!(rest.unclear_rows, told(&rest.unclear).len() as u64);
    (told(&rest.goes), told(&rest.unclear), rest.same)
}

#[test]
fn the_same_work_is_recognised_whoever_is_later() {
    let work: [Line<'_>; 3] = [(DELETE, 1, &[5], 10), (UPDATE, 2, &[0, 7], 20), (INSERT, 3, &[1], 30)];
    // A new row has the time of its cut, and an offset that was measured again moves the others a little.
    let again: [Line<'_>; 3] = [(DELETE, 1, &[5], 12), (UPDATE, 2, &[0, 7], 22), (INSERT, 3, &[1], 9_000)];
    for is_later in [false, true] {
        assert_eq!(of(&work, &again, is_later), (vec![], vec![], 3));
    }
}

#[test]
fn what_the_device_did_further_is_a_change_of_what_the_copy_left() {
    let copy: [Line<'_>; 4] = [
        (UPDATE, 1, &[0, 10], 100),
        (INSERT, 2, &[1], 200),
        (UPDATE, 3, &[3, 4], 100),
        (INSERT, 9, &[9], 200),
    ];
    let device: [Line<'_>; 5] = [
        (DELETE, 3, &[3], 500),
        (UPDATE, 1, &[0, 15], 500),
        (INSERT, 2, &[8], 900),
        (INSERT, 9, &[9], 900),
        (INSERT, 10, &[1], 900),
    ];
    let goes = vec![
        (DELETE, vec![3, 4, 500]),
        (UPDATE, vec![1, 10, 15, 500]),
        (UPDATE, vec![2, 1, 8, 900]),
        (INSERT, vec![10, 1, 900]),
    ];
    assert_eq!(of(&copy, &device, true), (goes, vec![], 1));
}

#[test]
fn a_count_goes_on_from_a_base_that_a_feed_has_moved() {
    let (copy, device): ([Line<'_>; 1], [Line<'_>; 1]) =
        ([(UPDATE, 1, &[0, 10], 100)], [(UPDATE, 1, &[50, 65], 500)]);
    assert_eq!(of(&copy, &device, true).0, [(UPDATE, vec![1, 60, 65, 500])], "five more");
    let overflow: [Line<'_>; 1] = [(UPDATE, 1, &[i64::MAX, 65], 500)];
    assert_eq!(of(&copy, &overflow, true).0, [(UPDATE, vec![1, 10, 65, 500])]);
}

#[test]
fn what_nobody_can_know_is_held() {
    let merged: [Line<'_>; 2] = [(UPDATE, 1, &[0, 15], 500), (INSERT, 2, &[1], 900)];
    let older: [Line<'_>; 3] = [(UPDATE, 1, &[0, 10], 100), (INSERT, 2, &[1], 200), (INSERT, 3, &[1], 200)];
    let unclear = vec![(UPDATE, vec![1, 0, 10, 100]), (INSERT, vec![3, 1, 200])];
    assert_eq!(of(&merged, &older, false), (vec![], unclear, 1));
    // The same count at another time is the same one touched again, or another one; and a row cannot be older
    // in the later file.
    for line in [(UPDATE, 1, &[0, 15][..], 800), (UPDATE, 1, &[0, 15], 100), (UPDATE, 1, &[0, 20], 100)] {
        let (goes, unclear, same) = of(&merged, &[line, (INSERT, 2, &[1], 900)], true);
        assert_eq!((goes.len(), unclear.len(), same), (0, 1, 1), "{line:?}");
    }
}

#[test]
fn a_file_that_was_used_in_two_places_has_two_lives() {
    let one: [Line<'_>; 2] = [(UPDATE, 1, &[0, 10], 100), (INSERT, 2, &[1], 200)];
    let other: [Line<'_>; 2] = [(UPDATE, 1, &[0, 10], 400), (INSERT, 2, &[7], 500)];
    for is_later in [false, true] {
        assert_eq!(of(&one, &other, is_later), (told(&changeset(&other)), vec![], 0));
    }
    // With anything in common they are one life, as far as anybody can tell.
    let common: [Line<'_>; 3] = [(UPDATE, 1, &[0, 10], 100), (INSERT, 2, &[7], 500), (INSERT, 3, &[1], 500)];
    assert_eq!(of(&one, &common, true).0, [(UPDATE, vec![2, 1, 7, 500]), (INSERT, vec![3, 1, 500])]);
}

#[test]
fn what_is_not_about_rows_stays() {
    let made = crate::step::encode_made(3);
    let work = changeset(&[(INSERT, 3, &[1], 30)]);
    let second: Vec<Vec<u8>> = [made.clone()].into_iter().chain(work.clone()).collect();
    let rest = rest(&work, &second, true, &|_, _| false).unwrap();
    assert_eq!((rest.goes, rest.same), (vec![made], 1));
}
