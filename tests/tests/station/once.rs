//! However often an entry is sent, and whatever dies between, it counts once.

use crate::http::{begin, packaged, post};
use crate::warehouse::{Done, Warehouse};
use anyhow::{Context as _, ensure};
use tt_tests::inspect;
use tt_tests::node::until;

const COUNTED: &str = "SELECT COUNT(*) FROM warehouse_submissions WHERE receipt_number LIKE 'ONCE-%'";

#[test]
fn a_double_post_counts_once() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let (page, entry) = (edge.page()?, packaged("ONCE-1", 3));
    let first = post(&page, "/api/entries/key-00000001", &entry)?.json()?;
    let second = post(&page, "/api/entries/key-00000001", &entry)?.json()?;
    ensure!(first["saved"] == true && first["again"] == false, "{first}");
    ensure!(second["saved"] == true && second["again"] == true && second["id"] == first["id"], "{second}");
    ensure!(inspect::number(&edge.db(), COUNTED)? == 1);
    let third = post(&page, "/api/entries/key-00000002", &entry)?;
    ensure!(third.status == 409 && third.json()?["error"] == "receipt-used", "{}", third.body);
    warehouse.agree(&[&edge])
}

#[test]
fn posts_of_one_entry_at_the_same_time_count_once() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let page = edge.page()?;
    std::thread::scope(|scope| {
        let one = || post(&page, "/api/entries/key-00000001", &packaged("ONCE-1", 3));
        let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        for one in all {
            let answer = one.join().map_err(|_| anyhow::anyhow!("a post panicked"))??;
            ensure!(answer.status == 200, "{}", answer.body);
        }
        Ok(())
    })?;
    ensure!(inspect::number(&edge.db(), COUNTED)? == 1);
    Ok(())
}

/// The page never hears the answer: the daemon dies once the rows are there, in another round whenever it likes.
#[test]
fn a_count_whose_answer_was_lost_to_kill_9_counts_once() -> Done {
    let warehouse = Warehouse::open()?;
    let mut edge = warehouse.device("packing-1")?;
    for round in 1..=4 {
        edge.run()?;
        let page = edge.page()?;
        let (key, entry) =
            (format!("/api/entries/key-0000000{round}"), packaged(&format!("ONCE-{round}"), 1));
        let lines = [&format!("host: {page}"), "x-tablettracker: 1", "content-type: application/json"];
        let unread = begin(&page, &format!("POST {key}"), &lines, &entry.to_string())?;
        if round % 2 == 0 {
            let there = || Ok((inspect::number(&edge.db(), COUNTED)? == round).then_some(()));
            until("the count is committed", there)?;
        }
        edge.daemon.take().context("it runs")?.kill()?;
        drop(unread);
        edge.run()?;
        let again = post(&edge.page()?, &key, &entry)?;
        ensure!(again.status == 200, "{}", again.body);
        ensure!(inspect::number(&edge.db(), COUNTED)? == round, "round {round}");
        edge.daemon.take().context("it runs")?.stop()?;
    }
    warehouse.agree(&[&edge])
}
