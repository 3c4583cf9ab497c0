//! Pieces of a changeset that are held, and what becomes of them when the operator decides.

use super::story::{HUB, SECOND, Story};
use tt_hub::store::decide::Decision::{Dismiss, Edit, TakeLoser};
use tt_protocol::change::Kind;
use tt_protocol::frame::to_bytes;
use tt_protocol::pieces::PieceBuilder;
use tt_protocol::value::{Value, ValueRef};

/// Puts pieces of the first device on the list, which the hub has not merged.
fn held(story: &mut Story, kind: &str, changes: PieceBuilder) {
    let nothing: Vec<(String, Value)> = Vec::new();
    story.forget_snapshots();
    let sql = "INSERT INTO _sync_conflict(version, kind, tab, key, named_key, clashes, work, rows, lost_from, lost_at, action)
               VALUES (1, ?1, 'lines', x'', ?2, ?2, ?3, ?4, 1, 1, 'held')";
    let rows = i64::try_from(changes.rows()).expect("few rows");
    let values = (kind, to_bytes(&nothing), to_bytes(&changes.finish()), rows);
    story.world.program(HUB).execute(sql, values).expect("an entry");
}

/// The first device's delete of lines 2 and 3 as the hub had them in the beginning.
fn two_deletes() -> PieceBuilder {
    let mut changes = PieceBuilder::default();
    for (id, order) in [(2, 1), (3, 2)] {
        let row = [id, order].map(ValueRef::Integer).into_iter().chain([ValueRef::Null]);
        let row = row.chain([ValueRef::Integer(0), ValueRef::Null, ValueRef::Integer(1_000)]);
        changes.push(Kind::Delete, "lines", 1, &["id", "order_id", "note", "good", "total"], row);
    }
    changes
}

#[test]
fn held_pieces_are_merged_as_the_device_that_sent_them() {
    let mut story = Story::begin();
    story.write(SECOND, "UPDATE lines SET good = 4 WHERE id = 2").meet();
    held(&mut story, "deletes", two_deletes());
    story
        .refuses(1, &Edit(vec![("good".to_owned(), Value::Integer(1))]), &["it stands for 2 rows"])
        .decide(1, &TakeLoser)
        .finds("SELECT id FROM lines", "1 2")
        .lists("deletes lines; delete lines good:4/null");
}

#[test]
fn what_comes_of_held_pieces_is_told() {
    let mut story = Story::begin();
    story.write(SECOND, "UPDATE lines SET good = 4 WHERE id = 2").meet();
    held(&mut story, "deletes", two_deletes());
    let told = story.world.decide(1, &TakeLoser).expect("the entry closes").told;
    assert!(told[0].starts_with("conflict 2 came of it: lines id=2, the delete was overruled"), "{told:?}");
    let mut story = Story::begin();
    held(&mut story, "deletes", two_deletes());
    story.decide(1, &Dismiss).finds("SELECT id FROM lines", "1 2 3");
}

#[test]
fn released_rows_reach_also_the_device_that_sent_them() {
    let mut changes = PieceBuilder::default();
    let row = [ValueRef::Text(b"w"), ValueRef::Text(b"held"), ValueRef::Integer(1_000)];
    changes.push(Kind::Insert, "bags", 1, &["code", "note"], row);
    let mut story = Story::begin();
    held(&mut story, "role", changes);
    story.decide(1, &TakeLoser).finds("SELECT note, good FROM bags WHERE code = 'w'", "held|0");
}

#[test]
fn pieces_without_a_place_at_the_hub_are_held_on() {
    let mut changes = PieceBuilder::default();
    let row = [ValueRef::Integer(1), ValueRef::Text(b"x"), ValueRef::Integer(1_000)];
    changes.push(Kind::Insert, "later", 1, &["id", "note"], row);
    let mut story = Story::begin();
    held(&mut story, "schema", changes);
    story.refuses(1, &TakeLoser, &["later id=1", "does not have this table"]);
    story.write(HUB, "CREATE TABLE later(id INTEGER PRIMARY KEY, note TEXT)");
    story.decide(1, &TakeLoser).finds("SELECT id, note FROM later", "1|x");
}
