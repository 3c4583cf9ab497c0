//! `tt-edge`: the daemon on a device, and the commands around it.

use std::process::ExitCode;

fn main() -> ExitCode {
    tt_edge::cli::run(std::env::args_os())
}
