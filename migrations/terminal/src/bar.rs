//! Draws how far long work is: one line on stderr, which goes away when the work is done.
//!
//! * It is drawn only where a person sees it: on a terminal that can move its cursor, and not beside JSON.
//! * It has no colours, so that it looks the same with `NO_COLOR`.
//! * It never goes back, and never stands still at its end: when the total is reached and the phase goes on, only the
//!   time goes on.

use crate::draws;
use indicatif::{
    HumanDuration, HumanFloatCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};
use std::fmt::Write;
use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tt_migrations::progress::{Progress, Unit};

/// Between two drawings of a phase in which nothing is told.
const TICK: Duration = Duration::from_millis(120);
/// Drawings in a second at most.
const DRAWINGS: u8 = 15;

const OPEN: &str = "{spinner} {msg}  {elapsed}";

/// One line on a terminal, or nothing.
pub struct Bar {
    drawn: bool,
    under_way: Mutex<Option<Phase>>,
}

struct Phase {
    line: ProgressBar,
    total: Option<u64>,
    done: u64,
}

impl Bar {
    /// For a command, which may have been asked for JSON.
    #[must_use]
    pub fn for_command(json: bool) -> Self {
        let terminal = std::env::var("TERM").ok();
        Self::new(draws(json, io::stderr().is_terminal(), terminal.as_deref()))
    }

    fn new(drawn: bool) -> Self {
        Self { drawn, under_way: Mutex::new(None) }
    }

    /// Whether anybody sees it.
    #[must_use]
    pub const fn is_drawn(&self) -> bool {
        self.drawn
    }

    fn with(&self, change: impl FnOnce(&mut Option<Phase>)) {
        change(&mut self.under_way.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Progress for Bar {
    fn phase(&self, what: &str, total: Option<u64>, unit: Unit) {
        if !self.drawn {
            return;
        }
        let total = total.filter(|total| *total > 0);
        self.with(|under_way| {
            clear(under_way);
            let line = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(DRAWINGS));
            line.set_style(style(total, unit));
            line.set_message(what.to_owned());
            line.enable_steady_tick(TICK);
            *under_way = Some(Phase { line, total, done: 0 });
        });
    }

    fn advance(&self, done: u64) {
        if !self.drawn {
            return;
        }
        self.with(|under_way| {
            let Some(phase) = under_way else { return };
            let before = phase.done;
            phase.done = phase.done.saturating_add(done);
            match phase.total {
                Some(total) if phase.done >= total => {
                    if before < total {
                        phase.line.set_style(line(OPEN));
                    }
                }
                _ => phase.line.set_position(phase.done),
            }
        });
    }

    fn end(&self) {
        self.with(clear);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.end();
    }
}

fn clear(under_way: &mut Option<Phase>) {
    if let Some(phase) = under_way.take() {
        phase.line.finish_and_clear();
    }
}

fn style(total: Option<u64>, unit: Unit) -> ProgressStyle {
    match (total, unit) {
        (None, Unit::Bytes) => line("{spinner} {msg}  {binary_bytes}  {elapsed}"),
        (None, _) => line(OPEN),
        (Some(_), Unit::Bytes) => line(
            "{spinner} {msg}  [{wide_bar}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {left}",
        ),
        (Some(_), Unit::Rows) => counted("rows"),
        (Some(_), Unit::Versions) => counted("versions"),
        (Some(_), Unit::Files) => counted("files"),
    }
}

fn counted(unit: &str) -> ProgressStyle {
    line(&format!("{{spinner}} {{msg}}  [{{wide_bar}}] {{human_pos}}/{{human_len}} {unit} {{rate}} {{left}}"))
}

fn line(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("templates are in this file");
    style.tick_chars("-\\|/ ").progress_chars("=> ").with_key("left", left).with_key("rate", rate)
}

/// Nobody knows it before the first piece is done.
fn left(state: &ProgressState, out: &mut dyn Write) {
    if state.pos() > 0 {
        // A line that cannot be drawn now is drawn at the next tick.
        let _ = write!(out, "{:#} left", HumanDuration(state.eta()));
    }
}

/// Whole ones in a second.
fn rate(state: &ProgressState, out: &mut dyn Write) {
    let _ = write!(out, "{}/s", HumanFloatCount(state.per_sec().round()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_style_is_one() {
        for unit in [Unit::Bytes, Unit::Rows, Unit::Versions, Unit::Files] {
            style(None, unit);
            style(Some(7), unit);
        }
    }

    #[test]
    fn more_than_was_said_is_never_shown() {
        let bar = Bar::new(true);
        bar.phase("reading", Some(10), Unit::Bytes);
        let position = |bar: &Bar| {
            let under_way = bar.under_way.lock().unwrap();
            under_way.as_ref().map(|phase| phase.line.position())
        };
        bar.advance(4);
        assert_eq!(position(&bar), Some(4));
        bar.advance(40);
        assert_eq!(position(&bar), Some(4), "the time goes on in its place");
        bar.end();
        assert_eq!(position(&bar), None);
    }
}
