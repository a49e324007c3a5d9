//! `thinpool monitor`

use super::{CliError, Context, exit};
use crate::monitor::{Ended, watch};

/// What the help of the command says.
pub(super) fn about() -> &'static str {
    "Watch over a pool that is active, until it no longer is or a signal ends it. It sleeps until device-mapper says that \
     something has happened, and makes the pool larger when its data is as full as autoextend-threshold says, or its metadata by \
     seven tenths: out of the room that there is for it, and never at the cost of what isn't its own. As long as there is room, \
     writes to a full pool wait for it; when there is none, that is said, and tried again every 10 seconds. There is one monitor for \
     a pool; its unit is thinpool-monitor@POOL.service, which setup enables."
}

pub(super) fn run(context: &Context) -> Result<u8, CliError> {
    let location = context.location();
    match watch(&context.host()?, &location)? {
        Ended::PoolInactive => tracing::info!(pool = %location.name, "it is no longer active"),
        Ended::Asked => tracing::info!(pool = %location.name, "no longer watching"),
    }
    Ok(exit::DONE)
}
