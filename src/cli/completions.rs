//! `thinpool completions`

use clap::Args;
use clap_complete::Shell;

use super::{CliError, output, typed};

/// For which shell.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut typed(), "thinpool", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
