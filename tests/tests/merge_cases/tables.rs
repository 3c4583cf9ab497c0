//! The tables in `tests/cases/*.md`, each line of which is a case: what devices did apart, what every node
//! has afterwards, and what the conflict list says. The pages are the documentation, and this runs them.
//!
//! * The first `sql` block of a page is its schema with the rows that all know, the first `toml` block its
//!   policy.
//! * Columns whose name ends in `does` hold SQL in backticks, and happen one second after another from left
//!   to right: `first device does`, `second …`, `third …`, `hub does`. `before` all know; `clocks` are the
//!   devices' errors in milliseconds.
//! * `every node has` holds a query and its answer: columns with a space, rows with a comma, NULL as `-`.
//! * Devices meet the hub in their order. Under a heading that says "either order" they also do it the other
//!   way round; under one that says "at the same moment" no time passes between them.
//! * An empty last cell means that the list is empty.

use std::panic::{AssertUnwindSafe, catch_unwind};
use tt_hub::store::conflict;
use tt_protocol::policy::Policy;
use tt_tests::sim::checks;
use tt_tests::sim::schemas::Shape;
use tt_tests::sim::world::World;

/// One page: schema, policy, cases.
struct Page {
    sql: String,
    policy: Policy,
    cases: Vec<Case>,
}

/// One line of a table.
#[derive(Clone, Default)]
struct Case {
    name: String,
    before: String,
    /// Node and SQL, in the order of time.
    does: Vec<(usize, String)>,
    clocks: Vec<i64>,
    has: Vec<(String, String)>,
    lists: Vec<String>,
    either_order: bool,
    at_once: bool,
}

#[test]
fn every_line_of_the_tables_holds() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/cases");
    let mut failures = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of the tables") {
        let path = entry.expect("an entry").path();
        let page = page(&std::fs::read_to_string(&path).expect("a page"));
        for case in &page.cases {
            count += 1;
            let orders: &[bool] = if case.either_order { &[false, true] } else { &[false] };
            for backwards in orders {
                let outcome = catch_unwind(AssertUnwindSafe(|| play(&page, case, *backwards)));
                if outcome.is_err() {
                    let order = if *backwards { " (the other order)" } else { "" };
                    failures.push(format!("{}: {}{order}", path.display(), case.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "these lines do not hold:\n{}", failures.join("\n"));
    assert!(count > 40, "only {count} lines were read");
}

fn page(text: &str) -> Page {
    let block = |language: &str| {
        let (_, rest) = text.split_once(&format!("```{language}\n")).expect("the block is there");
        rest.split_once("```").expect("the block ends").0.to_owned()
    };
    let policy = tt_migrations::policy::parse("the page", &block("toml")).expect("a policy");
    let mut cases = Vec::new();
    let (mut heading, mut names) = ("", Vec::new());
    for line in text.lines() {
        if line.starts_with('#') {
            heading = line;
            names.clear();
        } else if line.starts_with("| name") {
            names = cells(line);
        } else if line.starts_with('|') && !line.starts_with("|-") && !names.is_empty() {
            cases.push(case(heading, &names, &cells(line)));
        }
    }
    Page { sql: block("sql"), policy, cases }
}

/// A pipe inside of a cell has a backslash.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|').replace("\\|", "\u{1}");
    line.trim_end_matches('|').split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
}

fn case(heading: &str, names: &[String], cells: &[String]) -> Case {
    let mut case = Case {
        either_order: heading.contains("either order"),
        at_once: heading.contains("at the same moment"),
        ..Case::default()
    };
    assert_eq!(names.len(), cells.len(), "cells of {cells:?}");
    for (name, cell) in names.iter().zip(cells) {
        let parts = || cell.split("<br>").map(str::trim).filter(|part| !part.is_empty());
        match name.as_str() {
            "name" => case.name.clone_from(cell),
            "before" => case.before = code(cell),
            "clocks" => {
                case.clocks = cell.split_whitespace().map(|part| part.parse().expect("a number")).collect()
            }
            "every node has" => case.has = parts().map(answer).collect(),
            "the list says" => case.lists = parts().map(str::to_owned).collect(),
            name => {
                let who = ["hub does", "first device does", "second device does", "third device does"];
                let node = who.iter().position(|who| *who == name).expect("a known column");
                case.does.push((node, code(cell)));
            }
        }
    }
    case.lists.sort();
    case
}

/// What stands in backticks.
fn code(cell: &str) -> String {
    cell.split('`').skip(1).step_by(2).collect::<Vec<_>>().join("; ")
}

fn answer(part: &str) -> (String, String) {
    let (query, answer) = part.rsplit_once('→').expect("a query → its answer");
    (code(query), answer.trim().trim_matches('`').to_owned())
}

fn play(page: &Page, case: &Case, backwards: bool) {
    let devices = case.does.iter().map(|(node, _)| *node).max().unwrap_or(0).max(2);
    // A shape is `Copy`: its text lives as long as the test.
    let shape = Shape { name: "page", sql: Box::leak(page.sql.clone().into_boxed_str()), tables: &[] };
    let mut world = World::new(&shape, page.policy.clone(), u16::try_from(devices).expect("few"));
    world.remember_snapshot();
    write(&mut world, 0, &case.before);
    world.settle();
    (0..devices).for_each(|edge| world.unlink(edge));
    for (edge, error) in case.clocks.iter().enumerate() {
        world.edges[edge].clock_ms = *error;
    }
    for (node, sql) in &case.does {
        world.pass(if case.at_once { 0 } else { 1_000 });
        write(&mut world, *node, sql);
    }
    let mut order: Vec<usize> = (0..devices).collect();
    if backwards {
        order.reverse();
    }
    order.into_iter().for_each(|edge| alone(&mut world, edge));
    world.settle();
    checks::converged(&world);
    checks::nothing_unsent(&world);
    for node in 0..=devices {
        checks::consistent_cut(&world, node);
        for (query, expected) in &case.has {
            assert_eq!(&found(&world, node, query), expected, "{}: node {node}: {query}", case.name);
        }
    }
    assert_eq!(listed(&world), case.lists, "{}: the conflict list", case.name);
    checks::no_echo(&mut world);
}

/// All or nothing, with foreign keys off where the SQL says so.
fn write(world: &mut World, node: usize, sql: &str) {
    if !sql.is_empty() {
        world.program(node).execute_batch(&format!("BEGIN; {sql}; COMMIT")).expect("the program may do this");
        world.step_hub();
    }
}

/// Only one device has a link, until it is in step.
fn alone(world: &mut World, edge: usize) {
    world.link(edge);
    for _ in 0..1_000 {
        world.step_edge(edge);
        world.deliver_up(edge, false);
        world.step_hub();
        if world.is_in_step(edge) {
            break;
        }
    }
    world.unlink(edge);
}

fn found(world: &World, node: usize, sql: &str) -> String {
    let mut statement = world.program(node).prepare(sql).expect("a query");
    let width = statement.column_count();
    let mut rows = statement.query([]).expect("reads");
    let mut all = Vec::new();
    while let Some(row) = rows.next().expect("reads") {
        let value = |at| match row.get(at).expect("a value") {
            rusqlite::types::Value::Null => "-".to_owned(),
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Real(number) => format!("{number:?}"),
            rusqlite::types::Value::Text(text) => text,
            rusqlite::types::Value::Blob(bytes) => format!("{bytes:?}"),
        };
        all.push((0..width).map(value).collect::<Vec<_>>().join(" "));
    }
    all.join(", ")
}

/// Kind and table of each entry, `whole` for a row, columns with what stayed and what lost.
fn listed(world: &World) -> Vec<String> {
    let entries = conflict::list(world.program(0), true, |device| device.to_string()).expect("reads");
    let text = |entry: &serde_json::Value| {
        let word = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let columns = entry["columns"].as_array().into_iter().flatten();
        let columns: String = columns
            .map(|column| format!(" {}:{}/{}", column["name"], column["kept"], column["lost"]))
            .collect();
        let row = if entry["row"].is_null() { "" } else { " whole" };
        format!("{} {}{row}{columns}", word("kind"), word("table")).replace('"', "")
    };
    let mut lines: Vec<String> = entries.iter().map(text).collect();
    lines.sort();
    lines
}
