//! `thinpool destroy`

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
        output::confirm(&format!(
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
