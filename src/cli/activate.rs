//! `thinpool activate` and `thinpool deactivate`

use super::{CliError, Context, output};
use crate::pool::{Activated, Deactivated, Pool};

pub(super) fn activate(context: &Context) -> Result<(), CliError> {
    let host = context.host()?;
    let mut pool = Pool::open(&host, &context.location())?;
    output::line(match pool.activate()? {
        Activated::Now => format!("The pool '{}' is active.", pool.name()),
        Activated::Already => format!("The pool '{}' is active already; nothing to do.", pool.name()),
    })
}

pub(super) fn deactivate(context: &Context) -> Result<(), CliError> {
    let host = context.host()?;
    let mut pool = Pool::open(&host, &context.location())?;
    output::line(match pool.deactivate()? {
        Deactivated::Now => {
            format!("The pool '{}' is inactive; `thinpool activate` brings it back.", pool.name())
        }
        Deactivated::Already => format!("The pool '{}' is not active; nothing to do.", pool.name()),
    })
}
