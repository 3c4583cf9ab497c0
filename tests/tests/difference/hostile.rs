//! Answers that are damaged, sums that agree by chance, questions that ask for too much, and what no device must see.

use crate::scene::Scene;
use rusqlite::Connection;
use tt_edge::store::Verdict;
use tt_edge::store::difference::Compared;
use tt_hub::store::{HubStore, snapshot};
use tt_protocol::difference::{Answer, Cells, Parts, Question, RANGES_MAX, WINDOW_BLOCKS, numbers};
use tt_protocol::digest::row_hash;
use tt_protocol::policy::Policy;
use tt_protocol::value::ValueRef;
use tt_tests::inspect;

const ROWS: u32 = 3_000;

fn scene() -> Scene {
    Scene::new(&format!(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER);
         WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {ROWS}) INSERT INTO t SELECT n, n FROM c"
    ))
}

fn low(id: i64, n: i64) -> u16 {
    let columns = [("id", ValueRef::Integer(id)), ("n", ValueRef::Integer(n))];
    tt_protocol::difference::cell::low(row_hash(columns, &mut Vec::new()))
}

#[test]
fn a_difference_that_no_sum_shows_is_found_by_the_digest() {
    let mut scene = scene();
    let id = 700;
    let same = (1_000_000..).find(|n| low(id, *n) == low(id, id)).unwrap();
    scene.unseen(&format!(
        "UPDATE t SET n = {same} WHERE id = {id}; UPDATE t SET n = 0 WHERE id IN (690, 2000)"
    ));
    let wire = scene.reseed();
    scene.assert_equal();
    assert!(wire.for_rows > 1, "its range was fetched whole: {wire:?}");
}

/// Whatever an answer becomes, the device fetches the whole snapshot or has the hub's rows: never others.
fn tampered(name: &str, tamper: &mut dyn FnMut(Answer) -> Answer) {
    let mut scene = scene();
    scene.unseen("UPDATE t SET n = -1 WHERE id % 90 = 0; DELETE FROM t WHERE id BETWEEN 1000 AND 1700");
    let mut snapshot = scene.snapshot();
    let mut changed = 0;
    let mut change = |_: &Question, answer: Answer| {
        let told = answer.clone();
        let answer = tamper(answer);
        changed += u32::from(answer != told);
        answer
    };
    let compared = scene.fetch_over(&mut snapshot, 500, &mut change);
    assert!(changed > 0, "{name}: nothing was changed");
    match compared {
        Compared::Rows => {
            assert_eq!(scene.write(&snapshot), Verdict::Applied, "{name}");
            scene.assert_equal();
        }
        Compared::Whole(_) => {}
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn a_damaged_answer_never_brings_a_wrong_row() {
    let parts = |mut parts: Parts, change: &dyn Fn(&mut Parts)| {
        change(&mut parts);
        parts
    };
    let on_parts = |name: &str, change: &dyn Fn(&mut Parts)| {
        tampered(name, &mut |answer| match answer {
            Answer::Ranges(of) => Answer::Ranges(parts(of, change)),
            Answer::Blocks { total, parts: of } => Answer::Blocks { total, parts: parts(of, change) },
            other => other,
        });
    };
    on_parts("no parts", &|parts| parts.digests.clear());
    on_parts("one part more", &|parts| parts.digests.push(parts.digests[0]));
    on_parts("one part less", &|parts| parts.digests.truncate(parts.digests.len() - 1));
    on_parts("another digest", &|parts| parts.digests[0].sum ^= 1);
    on_parts("more rows than there are", &|parts| parts.digests[0].rows = u64::MAX);
    on_parts("no keys", &|parts| parts.uppers.clear());
    tampered("another number of blocks", &mut |answer| match answer {
        Answer::Blocks { parts, .. } => Answer::Blocks { total: 7, parts },
        other => other,
    });
    tampered("other sums", &mut |answer| match answer {
        Answer::Sums(bytes) => Answer::Sums(bytes.iter().map(|byte| byte ^ 1).collect()),
        other => other,
    });
    tampered("too few sums", &mut |answer| match answer {
        Answer::Sums(bytes) => Answer::Sums(bytes[1..].to_vec()),
        other => other,
    });
    tampered("other hashes", &mut |answer| match answer {
        Answer::Marks { counts, hashes } => {
            Answer::Marks { counts, hashes: hashes.iter().map(|byte| byte ^ 1).collect() }
        }
        other => other,
    });
    tampered("another kind of answer", &mut |_| Answer::Sums(Vec::new()));
}

#[test]
fn damaged_rows_are_never_written() {
    tampered("no rows", &mut |answer| match answer {
        Answer::Rows { .. } => Answer::Rows { counts: numbers::pack(&[]), pieces: Vec::new() },
        other => other,
    });
    tampered("rows without a count", &mut |answer| match answer {
        Answer::Rows { pieces, .. } => Answer::Rows { counts: numbers::pack(&[1]), pieces },
        other => other,
    });
    tampered("counts beyond any", &mut |answer| match answer {
        Answer::Rows { pieces, .. } => Answer::Rows { counts: numbers::pack(&[u64::MAX, 1]), pieces },
        other => other,
    });
    tampered("rows in another order", &mut |answer| match answer {
        Answer::Rows { counts, mut pieces } => {
            pieces.reverse();
            pieces.iter_mut().for_each(|piece| piece.reverse());
            Answer::Rows { counts, pieces }
        }
        other => other,
    });
    // The rows of one answer in place of those of another.
    let mut before: Option<Answer> = None;
    tampered("other rows", &mut |answer| match answer {
        Answer::Rows { .. } => before.replace(answer.clone()).unwrap_or(answer),
        other => other,
    });
}

#[test]
fn the_hub_answers_no_question_that_asks_for_too_much() {
    let mut scene = scene();
    let snapshot = scene.snapshot();
    let table = || "t".to_owned();
    let cells = |depth, numbers: &[u64]| Cells::new(depth, numbers);
    let refused = |question: Question| {
        let answer = snapshot.answerer.answer(&question);
        assert!(matches!(answer, Answer::Refused(_)), "{question:?}: {answer:?}");
    };
    refused(Question::Blocks { table: "nothing".into(), from: 0 });
    refused(Question::Blocks { table: "_sync_state".into(), from: 0 });
    refused(Question::Blocks { table: table(), from: 9 });
    refused(Question::Ranges { table: table(), blocks: vec![] });
    refused(Question::Ranges { table: table(), blocks: vec![0, 0] });
    refused(Question::Ranges { table: table(), blocks: vec![1] });
    refused(Question::Ranges { table: table(), blocks: vec![0; WINDOW_BLOCKS + 1] });
    refused(Question::Sums { table: table(), cells: cells(0, &[0]), bits: 0 });
    refused(Question::Sums { table: table(), cells: cells(0, &[0]), bits: 5 });
    refused(Question::Sums { table: table(), cells: cells(14, &[0]), bits: 4 });
    refused(Question::Sums { table: table(), cells: cells(0, &[6]), bits: 4 });
    refused(Question::Marks { table: table(), cells: cells(17, &[0]) });
    refused(Question::Marks { table: table(), cells: Cells { depth: 0, numbers: vec![1, 2, 3] } });
    let many: Vec<u64> = (0..=RANGES_MAX as u64).collect();
    refused(Question::Marks { table: table(), cells: cells(0, &many) });
    // Not even when each asks for the same again.
    refused(Question::Marks { table: table(), cells: cells(0, &vec![0; 32_768]) });
    refused(Question::Rows { table: table(), cells: cells(0, &[]), places: Vec::new() });
    refused(Question::Rows { table: table(), cells: cells(0, &[0]), places: numbers::pack(&[512]) });
    refused(Question::Rows { table: table(), cells: cells(0, &[0, 1]), places: numbers::pack(&[1]) });
    // As many rows as fit, and no more.
    let all = Question::Rows { table: table(), cells: cells(0, &vec![0; 32_768]), places: Vec::new() };
    let Answer::Rows { counts, .. } = snapshot.answerer.answer(&all) else { panic!("it is answered") };
    assert_eq!(numbers::unpack(&counts, 100).unwrap(), [512; 16]);
}

#[test]
fn a_snapshot_holds_nothing_of_the_hubs_own_not_even_in_its_gaps() {
    let dir = tempfile::tempdir().unwrap();
    for (incremental, name) in [(true, "gives-back"), (false, "does-not")] {
        let (hub, copy) = (dir.path().join(name), dir.path().join(format!("{name}.copy")));
        let conn = Connection::open(&hub).unwrap();
        conn.execute_batch(&format!(
            "PRAGMA auto_vacuum = {}; CREATE TABLE t(id INTEGER PRIMARY KEY, v);
             WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 2000)
             INSERT INTO t SELECT n, 'row ' || n FROM c",
            if incremental { 2 } else { 0 }
        ))
        .unwrap();
        drop(HubStore::open(&hub, Policy::default()).unwrap());
        let secret = "INSERT INTO _sync_text VALUES (?1, 'known to the hub alone')";
        (0..500).for_each(|number| assert_eq!(conn.execute(secret, [format!("secret {number}")]), Ok(1)));
        snapshot::write(&hub, &copy).unwrap();
        let bytes = std::fs::read(&copy).unwrap();
        let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(has("row 1999") && !has("known to the hub alone") && !has("secret 7"), "{name}");
        let number = |pragma| inspect::number(&copy, pragma).unwrap();
        assert_eq!(number("PRAGMA freelist_count"), 0, "{name}");
        let sound = "SELECT COUNT(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'";
        assert_eq!(number(sound), 1, "{name}");
    }
}
