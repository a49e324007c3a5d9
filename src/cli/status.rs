//! `thinpool status`

use std::path::PathBuf;

use clap::Args;

use super::{CliError, Context, exit, output};
use crate::pool::status::Status;
use crate::report;

/// How the status is told.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    form: Form,
    /// Tell the metrics of all pools there are under the root, not of one. The exit code is that of the worst.
    #[arg(long, requires = "prometheus")]
    all: bool,
    /// Write the metrics to this file instead, for node_exporter's textfile collector. The name must end in .prom; the file
    /// is replaced as a whole.
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    textfile: Option<PathBuf>,
}

/// Text, unless one of these is wanted.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Form {
    /// Print JSON, with every size in bytes.
    #[arg(long)]
    json: bool,
    /// Print exactly the rows that `docker info` printed for its devicemapper driver, and no others.
    #[arg(long)]
    docker: bool,
    /// Print metrics in Prometheus' text format.
    #[arg(long)]
    prometheus: bool,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8, CliError> {
    if arguments.form.prometheus {
        return metrics(context, arguments);
    }
    let status = context.location().status(&context.host()?);
    let text = if arguments.form.json {
        report::json(&status)?
    } else if arguments.form.docker {
        report::print_rows(&report::docker_rows(&status))
    } else {
        report::text(&status)
    };
    output::print(&text)?;
    Ok(status.verdict().exit_code())
}

fn metrics(context: &Context, arguments: &Arguments) -> Result<u8, CliError> {
    let (host, location) = (context.host()?, context.location());
    let pools = if arguments.all { location.all_under_its_root()? } else { vec![location] };
    let statuses: Vec<Status> = pools.iter().map(|pool| pool.status(&host)).collect();
    match &arguments.textfile {
        Some(path) => report::write_textfile(path, &statuses)?,
        None => output::print(&report::prometheus(&statuses))?,
    }
    Ok(statuses.iter().map(|status| status.verdict().exit_code()).max().unwrap_or(exit::DONE))
}
