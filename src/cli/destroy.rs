//! `thinpool destroy`

use std::io::{self, IsTerminal};

use clap::Args;

use super::{CliError, Context, output};
use crate::boot;
use crate::pool::PoolError;
use crate::pool::status::State;
use crate::report;

/// How to destroy.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Do not ask.
    #[arg(long, short = 'y')]
    yes: bool,
    /// Give up what the pool lies on, if that is gone for good: a thin pool of somebody else's that isn't there any more.
    #[arg(long)]
    abandon: bool,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), CliError> {
    let (location, host) = (context.location(), context.host()?);
    let status = location.status(&host);
    // What isn't there is told without a question before.
    if !arguments.yes && status.state != State::Absent {
        let devices = status.known.as_ref().map(|known| known.devices).unwrap_or_default();
        let on = status.known.as_ref().and_then(|known| report::lies_on(&known.lies_on));
        confirm(&format!(
            "This removes the pool '{}' with its {} images and {} containers, for ever{}.",
            location.name,
            devices.images,
            devices.containers,
            on.map_or_else(String::new, |on| format!(" ({on})"))
        ))?;
    }
    let destroyed = location.destroy(&host, arguments.abandon);
    // Also for one that is gone already: the destroy that removed it may have been killed before this.
    if matches!(destroyed, Ok(()) | Err(PoolError::Absent { .. })) {
        boot::disable(&location.name, &location.root)?;
    }
    destroyed?;
    output::line(format!("The pool '{}' and everything in it is gone.", location.name))
}

/// Asks for a yes. Without a terminal to ask on, the answer is no.
pub(super) fn confirm(what: &str) -> Result<(), CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::Unconfirmed(format!("{what} Nothing was done: say --yes to mean it.")));
    }
    output::print(&format!("{what} Type yes to go on: "))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(CliError::Unconfirmed("Nothing was done.".to_owned())) }
}
