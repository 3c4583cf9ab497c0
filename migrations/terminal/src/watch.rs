//! Shows a report again and again, until Ctrl-C.
//!
//! * On a terminal it is one screen, drawn in place: what does not fit is cut off, and at the end the last report is
//!   left on the ordinary screen.
//! * Without one, and as JSON, each report is written after the last: texts with an empty line in between, documents
//!   one a line.
//! * When there is no first report, that is the end of it. A later one that fails is said, and the next is tried.

use crate::draws;
use console::Term;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;
use tokio::time::sleep;

/// The other screen, without a cursor and without wrapping lines.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// Everything as it was.
const END: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

/// The flag of commands that show how something is now.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Watch {
    /// Show it again and again, every so many seconds, until Ctrl-C. With --json one document a line.
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "2",
        value_parser = seconds
    )]
    watch: Option<Duration>,
}

impl Watch {
    /// Between two reports; None when one is enough.
    #[must_use]
    pub const fn every(&self) -> Option<Duration> {
        self.watch
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let told = text.parse::<f64>().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    told.map(Duration::from_secs_f64).ok_or_else(|| "seconds, from 0.1 to a day".to_owned())
}

/// Shows what `look` gives, until Ctrl-C. `name` is the program's, for what fails.
///
/// # Errors
/// When the first look fails, or nobody reads any more.
pub fn repeat<E: Display + From<io::Error>>(
    (name, every, json): (&str, Duration, bool),
    look: &mut dyn FnMut() -> Result<String, E>,
) -> Result<(), E> {
    let terminal = std::env::var("TERM").ok();
    let mut report = look()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut screen = Screen::begin(draws(json, io::stdout().is_terminal(), terminal.as_deref()), every)?;
    runtime.block_on(async {
        let mut ended = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            screen.show(&report, json)?;
            tokio::select! {
                ended = &mut ended => return Ok(ended?),
                () = sleep(every) => {}
            }
            match look() {
                Ok(next) => report = next,
                Err(error) => {
                    screen.say(&format!("{name}: {error}"))?;
                    if screen.in_place {
                        report = format!("{name}: {error}\n");
                    }
                }
            }
        }
    })
}

struct Screen {
    in_place: bool,
    every: Duration,
    last: Option<String>,
}

impl Screen {
    fn begin(in_place: bool, every: Duration) -> io::Result<Self> {
        if in_place {
            write(BEGIN)?;
        }
        Ok(Self { in_place, every, last: None })
    }

    fn show(&mut self, report: &str, json: bool) -> io::Result<()> {
        if self.in_place {
            let (rows, _) = Term::stdout().size();
            write(&drawn(report, usize::from(rows), self.every))?;
        } else {
            let apart = if self.last.is_some() && !json { "\n" } else { "" };
            write(&format!("{apart}{report}"))?;
        }
        self.last = Some(report.to_owned());
        Ok(())
    }

    /// Where each report comes after the last, what failed is no report.
    fn say(&self, what: &str) -> io::Result<()> {
        if self.in_place { Ok(()) } else { writeln!(io::stderr(), "{what}") }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.in_place {
            // Whoever closed the terminal sees nothing of it.
            let _ = write(&format!("{END}{}", self.last.as_deref().unwrap_or_default()));
        }
    }
}

/// The screen with as much of the report as it has lines for.
fn drawn(report: &str, rows: usize, every: Duration) -> String {
    let foot = format!("every {} s; Ctrl-C ends", every.as_secs_f64());
    let room = rows.saturating_sub(2).max(1);
    let mut text = HOME.to_owned();
    for line in report.lines().take(room).chain(["", &foot]) {
        text.push_str(line);
        text.push_str(REST_OF_LINE);
        text.push_str("\r\n");
    }
    text.truncate(text.len() - 2);
    text.push_str(REST_OF_SCREEN);
    text
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_a_number_that_makes_sense() {
        assert_eq!(seconds("2"), Ok(Duration::from_secs(2)));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for odd in ["0", "-1", "nan", "inf", "1e9", "soon", ""] {
            assert!(seconds(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_screen_is_never_longer_than_the_terminal() {
        let report = "a\nb\nc\nd\n";
        let lines = |rows| drawn(report, rows, Duration::from_secs(2)).matches("\r\n").count() + 1;
        assert_eq!((lines(24), lines(6), lines(5), lines(4), lines(1)), (6, 6, 5, 4, 3));
        let text = drawn(report, 5, Duration::from_secs(2));
        assert_eq!(
            text,
            "\x1b[Ha\x1b[K\r\nb\x1b[K\r\nc\x1b[K\r\n\x1b[K\r\nevery 2 s; Ctrl-C ends\x1b[K\x1b[J"
        );
    }
}
