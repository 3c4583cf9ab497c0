//! How results look on a terminal: JSON, columns, and a report that is shown again and again.

use super::{CliError, Place};
use serde_json::Value as Json;
use std::io::{self, Write as _};
pub(super) use tt_protocol::span::span;
use tt_terminal::watch::{self, Watch};

/// Prints one JSON value.
pub(super) fn json(value: &Json) -> io::Result<()> {
    writeln!(io::stdout(), "{value:#}")
}

/// Prints lines.
pub(super) fn text(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}

/// What a command that shows how something is has to say.
pub(super) enum Report {
    Json(Json),
    Text(String),
}

/// Shows it once, or as often as somebody wants to see it.
pub(super) fn show(
    place: &Place,
    watch: &Watch,
    look: &mut dyn FnMut() -> Result<Report, CliError>,
) -> Result<(), CliError> {
    let Some(every) = watch.every() else {
        match look()? {
            Report::Json(value) => json(&value)?,
            Report::Text(lines) => text(&lines)?,
        }
        return Ok(());
    };
    watch::repeat(("tt-hub", every, place.json), &mut || {
        Ok(match look()? {
            Report::Json(value) => format!("{value}\n"),
            Report::Text(lines) => lines,
        })
    })
}

/// Columns side by side; the first row is the heading.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// A value, or a dash where there is none.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_do_not_trail() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = columns(&[row(["NAME", "ROLE"]), row(["a-long-one", "x"]), row(["b", ""])]);
        assert_eq!(text, "NAME        ROLE\na-long-one  x\nb\n");
    }
}
