//! `thinpool status`

use clap::Args;

use super::{CliError, Context, output};
use crate::report;

/// How the status is told.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON, with every size in bytes.
    #[arg(long, conflicts_with = "docker")]
    json: bool,
    /// Print exactly the rows that `docker info` printed for its devicemapper driver, and no others.
    #[arg(long)]
    docker: bool,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8, CliError> {
    let status = context.location().status(&context.host()?);
    let text = if arguments.json {
        report::json(&status)?
    } else if arguments.docker {
        report::print_rows(&report::docker_rows(&status))
    } else {
        report::text(&status)
    };
    output::print(&text)?;
    Ok(status.verdict().exit_code())
}
