//! A large transaction is seen whole or not at all; a feed that arrives under changes that are not cut.

use super::story::{FIRST, HUB, SECOND, Story};

const ROWS: i64 = 50_000;

/// True when the node has all of the batch; never some.
#[track_caller]
fn has_all(story: &Story, node: usize) -> bool {
    let conn = story.world.reader(node).expect("a node");
    let count: i64 = conn.query_row("SELECT COUNT(*) FROM batch_row", [], |row| row.get(0)).expect("reads");
    assert!(count == 0 || count == ROWS, "node {node} sees {count} of {ROWS} rows");
    count == ROWS
}

#[test]
fn a_large_transaction_is_never_seen_in_part_also_when_the_link_is_cut() {
    let mut story = Story::begin();
    let sql = format!(
        "INSERT INTO batch_head(id, tag, size) VALUES (1, 't', {ROWS});
         WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {ROWS})
         INSERT INTO batch_row(head, n) SELECT 1, i FROM c"
    );
    story.write(FIRST, &sql);
    story.world.link(0);
    story.world.link(1);
    let mut cuts = 0;
    for step in 0..400 {
        for edge in [0, 1] {
            story.world.step_edge(edge);
            story.world.deliver_up(edge, false);
        }
        story.world.step_hub();
        let (hub, _) = (has_all(&story, HUB), has_all(&story, SECOND));
        if step % 6 == 5 && !hub && cuts < 3 {
            cuts += 1;
            story.world.link(0);
        }
    }
    assert_eq!(cuts, 3, "the link was cut while the changeset was under way");
    assert!(has_all(&story, HUB) && has_all(&story, SECOND));
    story.meet();
}

#[test]
fn a_feed_goes_under_a_count_that_is_not_cut() {
    let mut story = Story::begin();
    story.write(FIRST, "UPDATE lines SET good = good + 5 WHERE id = 1").alone(FIRST);
    story.world.link(1);
    // The second device counts whenever it likes while the feed is on its way.
    for step in 0..40 {
        if step % 4 == 0 {
            story.write(SECOND, "UPDATE lines SET good = good + 1 WHERE id = 1");
        }
        story.world.step_edge(1);
        story.world.deliver_up(1, false);
        story.world.step_hub();
    }
    story.meet().finds("SELECT good FROM lines WHERE id = 1", "25").lists("");
}

#[test]
fn a_literal_total_is_the_difference_that_the_program_saw() {
    let mut story = Story::begin();
    story.write(FIRST, "UPDATE lines SET good = 15 WHERE id = 1").alone(FIRST);
    story.write(SECOND, "UPDATE lines SET good = 30 WHERE id = 1").alone(SECOND);
    assert_eq!(story.on(SECOND, "SELECT good FROM lines WHERE id = 1"), "35");
    story.write(SECOND, "UPDATE lines SET good = 40 WHERE id = 1");
    story.meet().finds("SELECT good FROM lines WHERE id = 1", "40").lists("");
}
