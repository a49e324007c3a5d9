//! The command `thinpool`. Everything it does is a call of the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    thinpool::cli::run()
}
