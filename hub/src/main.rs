//! `tt-hub`, the program: everything is in the library, so that others can be this program, too.

use std::process::ExitCode;

fn main() -> ExitCode {
    tt_hub::cli::run(std::env::args_os())
}
