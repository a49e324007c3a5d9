//! `thinpool activate` and `thinpool deactivate`

use super::{CliError, Context, exit, output};
use crate::pool::{Activated, Checking, Deactivated, Pool};

pub(super) fn activate(context: &Context) -> Result<u8, CliError> {
    let host = context.host()?;
    let mut pool = Pool::open(&host, &context.location())?;
    let (told, code) = match pool.activate(Checking::AsNeeded)? {
        Activated::Now => ("is active.", exit::DONE),
        Activated::Already => ("is active already; nothing to do.", exit::DONE),
        Activated::Unchangeable => {
            ("is active, but can only be read; `thinpool status` tells why.", exit::DEGRADED)
        }
    };
    output::line(format!("The pool '{}' {told}", pool.name()))?;
    Ok(code)
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
