//! What the command lines of both programs draw on a terminal.
//!
//! Only the `cli` modules of hub and edge use it, and it knows nothing of devices and hubs: `bar` draws how far long
//! work is, `watch` shows a report again and again, `man` makes manual pages out of the definition of a command line.

pub mod bar;
pub mod man;
pub mod watch;

/// Whether a person sees what is drawn. A terminal without a name, or a dumb one, cannot take back what was written.
fn draws(json: bool, is_terminal: bool, terminal: Option<&str>) -> bool {
    !json && is_terminal && terminal.is_some_and(|name| !name.is_empty() && name != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_drawn_only_where_a_person_sees_it() {
        assert!(draws(false, true, Some("xterm")));
        assert!(!draws(true, true, Some("xterm")), "beside JSON");
        assert!(!draws(false, false, Some("xterm")), "into a file");
        assert!(
            !draws(false, true, Some("dumb")) && !draws(false, true, None) && !draws(false, true, Some(""))
        );
    }
}
