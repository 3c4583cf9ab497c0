//! What the journal costs on disk.

use crate::bench::Bench;

#[test]
fn a_row_in_bulk_costs_at_most_25_bytes_and_a_small_commit_at_most_300() {
    let mut bench = Bench::new();
    bench.merge_some(1);
    let length = |bench: &Bench| -> u64 {
        bench.segments().iter().map(|path| std::fs::metadata(path).expect("a length").len()).sum()
    };
    let before = length(&bench);
    bench.merge_some(100);
    let small = (length(&bench) - before) as f64 / 100.0;
    let before = length(&bench);
    let changeset = bench.changeset(2_000_000..2_100_000);
    bench.merge(&changeset, 0);
    let bulk = (length(&bench) - before) as f64 / 100_000.0;
    println!("{small:.0} bytes per small commit, {bulk:.1} bytes per row in bulk");
    assert!(small <= 300.0 && bulk <= 25.0, "{small:.0} bytes per commit, {bulk:.1} bytes per row");
}
