//! The main property: whatever a program does, a cut reports exactly what differs from the last cut.
//!
//! `SEED=n cargo test -p tt-migrations --test capture random` replays one seed on every schema, `SEEDS=n`
//! tries more of them.

use crate::dice::{Dice, seeds};
use crate::program::Program;
use crate::schemas::ALL;
use crate::station::Station;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tt_protocol::value::Value;

const SEEDS: u64 = 5;
const STEPS: usize = 250;

/// Seeds that once found a fault: a unique index over a generated column.
const REGRESSIONS: &[u64] = &[50, 101];

#[test]
fn random_programs_are_captured_exactly() {
    let mut failed = Vec::new();
    for (name, schema) in ALL {
        for seed in seeds(SEEDS).iter().chain(REGRESSIONS) {
            let outcome = catch_unwind(AssertUnwindSafe(|| one_world(schema, *seed)));
            let what = match outcome {
                Ok(Ok(())) => continue,
                Ok(Err(what)) => what,
                Err(_) => "panicked, see above".to_owned(),
            };
            println!("SEED={seed}, {name}: {what}");
            failed.push((*name, *seed));
        }
    }
    assert!(failed.is_empty(), "failing worlds: {failed:?}");
}

/// One file, one program, many cuts. The error tells the statements since the last good cut.
fn one_world(schema: &str, seed: u64) -> Result<(), String> {
    let mut dice = Dice::new(seed);
    let mut station = Station::new(schema);
    station.run(dice.pick(&["PRAGMA foreign_keys = ON", "PRAGMA foreign_keys = OFF"]));
    station.run(dice.pick(&["PRAGMA journal_mode = WAL", "PRAGMA journal_mode = DELETE"]));
    station.run("PRAGMA synchronous = OFF");
    station.daemon.execute_batch("PRAGMA synchronous = OFF").expect("pragma");
    let program = Program::new(&station.program);
    let mut since_cut = Vec::new();
    for _ in 0..STEPS {
        let sql = program.statement(&mut dice);
        let outcome = station.program.execute_batch(&sql);
        since_cut
            .push(format!("{sql}; -- {}", outcome.err().map_or("ok".to_owned(), |error| error.to_string())));
        if !dice.chance(12) {
            continue;
        }
        if !station.program.is_autocommit() {
            let end = dice.pick(&["COMMIT", "ROLLBACK"]);
            let _ = station.program.execute_batch(end);
            let _ = station.program.execute_batch("ROLLBACK");
            since_cut.push(end.to_owned());
        }
        if dice.chance(15) {
            let sql = Program::upkeep(&mut dice);
            let _ = station.program.query_row(sql, [], |_| Ok(()));
            since_cut.push(sql.to_owned());
        }
        if dice.chance(25) {
            since_cut.push("-- a foreign row above all others".to_owned());
            foreign_row(&mut station, &mut dice);
        }
        if let Err(what) = station.check_cut() {
            return Err(format!("{what}\n    {}", since_cut.join("\n    ")));
        }
        since_cut.clear();
    }
    Ok(())
}

/// The daemon applies an id of another device above everything that this one knows, so that the ids move
/// to another block while rows are waiting for their cut.
fn foreign_row(station: &mut Station, dice: &mut Dice) {
    let tables: Vec<_> =
        station.replica.tables.values().filter(|tracked| tracked.table.rowid_key).cloned().collect();
    if tables.is_empty() {
        return;
    }
    let tracked = dice.one(&tables);
    let id = station.place(&tracked.table.name).hi + 300_000;
    let insert = format!(
        "INSERT INTO {0}({1}) SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM {0} WHERE {1} >= ?1)",
        tt_migrations::quote::ident(&tracked.table.name),
        tt_migrations::quote::ident(&tracked.names[0])
    );
    // Where the row cannot be made from its id alone, the ids settle all the same.
    if station.daemon.execute(&insert, [id]) == Ok(1) {
        let mut select = station.daemon.prepare(&tracked.select).expect("select");
        let row: Vec<Value> = select
            .query_row([id], |row| tt_migrations::value::copy(row, 0, tracked.names.len()))
            .expect("foreign row");
        station.shadow.add(&tracked, row);
    }
    station.settle();
}
