//! The end of the story: what is on each node, and whether it is what it must be.

use crate::inspect;
use crate::writer::Written;
use std::path::Path;

/// What one node holds.
pub(super) struct Node {
    name: String,
    written: Written,
    digest: String,
    broken_references: i64,
    unsent: u64,
}

impl Node {
    pub(super) fn read(name: &str, db: &Path, unsent: u64) -> anyhow::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            written: totals(db)?,
            digest: inspect::digest(db)?,
            broken_references: inspect::number(db, "SELECT COUNT(*) FROM pragma_foreign_key_check")?,
            unsent,
        })
    }
}

/// Counts and tablets in a file.
pub(super) fn totals(db: &Path) -> anyhow::Result<Written> {
    Ok(Written {
        submissions: inspect::number(db, "SELECT COUNT(*) FROM warehouse_submissions")?,
        tablets: inspect::number(db, "SELECT SUM(good_count) FROM po_lines")?,
    })
}

/// True when all nodes hold what was expected, are equal, and have nothing left to do.
pub(super) fn holds(nodes: &[Node], expected: Written) -> bool {
    nodes.iter().all(|node| {
        node.written == expected
            && node.broken_references == 0
            && node.unsent == 0
            && nodes.first().is_some_and(|first| first.digest == node.digest)
    })
}

/// Prints the table.
pub(super) fn print(nodes: &[Node], expected: Written) {
    println!(
        "\n  {:<10} {:>8} {:>14}   {:<16}  {:>12} {:>7}",
        "node", "counts", "sum of counts", "digest", "foreign keys", "unsent"
    );
    for node in nodes {
        let Written { submissions, tablets } = node.written;
        let keys = if node.broken_references == 0 {
            "clean".to_owned()
        } else {
            format!("{} broken", node.broken_references)
        };
        println!(
            "  {:<10} {submissions:>8} {tablets:>14}   {:<16}  {keys:>12} {:>7}",
            node.name, node.digest, node.unsent
        );
    }
    println!("  {:<10} {:>8} {:>14}", "expected", expected.submissions, expected.tablets);
}
