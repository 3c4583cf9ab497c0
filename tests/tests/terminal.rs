//! What a person at a terminal sees of both programs, and what a script sees that is none.
//!
//! * `pty`: runs a command on a terminal of its own
//! * `bars`: what takes long says how far it is, on a terminal and nowhere else
//! * `watch`: a report that is shown again and again, and how that ends
//! * `man`: every command has a manual page
//! * `screens`: what every command prints, held to files

#[path = "terminal/bars.rs"]
mod bars;
#[path = "terminal/man.rs"]
mod man;
#[path = "terminal/pty.rs"]
mod pty;
#[path = "terminal/screens.rs"]
mod screens;
#[path = "end_to_end/warehouse.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod warehouse;
#[path = "terminal/watch.rs"]
mod watch;
