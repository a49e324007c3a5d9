//! `thinpool activate` and `thinpool deactivate`

use std::time::Duration;

use clap::Args;

use super::{CliError, Context, exit, output};
use crate::backing::Backing;
use crate::boot;
use crate::config::Timeout;
use crate::pool::{Activated, Checking, Deactivated, Host, Location, Pool};
use crate::report::metadata_check;

/// Which pools.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// All pools there are under the root, not just one. The exit code is that of the first that failed.
    #[arg(long)]
    all: bool,
}

/// How to activate.
#[derive(Debug, Args)]
pub(super) struct Activation {
    #[command(flatten)]
    which: Which,
    /// Do not check the metadata before it is loaded. For somebody who knows better than thin_check: on damaged metadata
    /// every write may do more damage.
    #[arg(long)]
    no_check: bool,
}

/// How to deactivate.
#[derive(Debug, Args)]
pub(super) struct Deactivation {
    #[command(flatten)]
    which: Which,
    /// How long to wait for those who use the pool's devices, such as 30s or 2m; without, a pool in use is refused at
    /// once.
    #[arg(long, value_name = "TIME", default_value = "0s", hide_default_value = true, value_parser = time)]
    wait: Duration,
}

fn time(text: &str) -> Result<Duration, String> {
    text.parse::<Timeout>().map(Timeout::duration)
}

pub(super) fn activate(context: &Context, how: &Activation) -> Result<u8, CliError> {
    let checking = if how.no_check { Checking::Skip } else { Checking::AsNeeded };
    each(context, &how.which, |host, location| activate_one(host, location, checking))
}

pub(super) fn deactivate(context: &Context, how: &Deactivation) -> Result<u8, CliError> {
    each(context, &how.which, |host, location| deactivate_one(host, location, how.wait))
}

fn activate_one(host: &Host, location: &Location, checking: Checking) -> Result<u8, CliError> {
    let mut pool = Pool::open(host, location)?;
    let (told, code) = match pool.activate(checking)? {
        Activated::Now => (format!("is active.{}", told_check(&pool, checking)?), exit::DONE),
        Activated::Already => ("is active already; nothing to do.".to_owned(), exit::DONE),
        Activated::Unchangeable => {
            ("is active, but can only be read; `thinpool status` tells why.".to_owned(), exit::DEGRADED)
        }
    };
    output::line(format!("The pool '{}' {told}", pool.name()))?;
    let code = worse(code, activate_containers(&mut pool)?);
    // The pool is there all the same.
    if let Err(error) = boot::watch(&location.name, &location.root) {
        output::note(&format!(
            "warning: the monitor of the pool '{}' could not be started: {error}",
            location.name
        ));
    }
    Ok(code)
}

/// What the check of the metadata came to: it is for the journal, too.
fn told_check(pool: &Pool<'_>, checking: Checking) -> Result<String, CliError> {
    Ok(match pool.metadata_check()? {
        Some(check) if checking == Checking::AsNeeded => {
            format!(" Its metadata: {}.", metadata_check(&check))
        }
        _ => String::new(),
    })
}

/// The containers that are to be active whenever the pool is. Each that can't be is named.
pub(super) fn activate_containers(pool: &mut Pool<'_>) -> Result<u8, CliError> {
    let failed = pool.activate_remembered()?;
    for container in &failed {
        output::note(&format!(
            "warning: the container '{}' of the pool '{}' could not be activated: {}",
            container.name,
            pool.name(),
            container.error
        ));
    }
    Ok(if failed.is_empty() { exit::DONE } else { exit::DEGRADED })
}

fn deactivate_one(host: &Host, location: &Location, wait: Duration) -> Result<u8, CliError> {
    let mut pool = Pool::open(host, location)?;
    output::line(match pool.deactivate_within(wait)? {
        Deactivated::Now => match &pool.record().backing {
            Backing::ThinPool(existing) => format!(
                "No container of the pool '{}' is active any more; the thin pool {} is for whoever made it.",
                pool.name(),
                existing.name
            ),
            Backing::Loop(_) | Backing::Devices(_) => {
                format!("The pool '{}' is inactive; `thinpool activate` brings it back.", pool.name())
            }
        },
        Deactivated::Already => format!("The pool '{}' is not active; nothing to do.", pool.name()),
    })?;
    Ok(exit::DONE)
}

/// Does it to one pool, or to each there is: then one that fails keeps no other from its turn.
fn each(
    context: &Context,
    which: &Which,
    one: impl Fn(&Host, &Location) -> Result<u8, CliError>,
) -> Result<u8, CliError> {
    let (host, location) = (context.host()?, context.location());
    if !which.all {
        return one(&host, &location);
    }
    let mut code = exit::DONE;
    for location in location.all_under_its_root()? {
        let ended = match one(&host, &location) {
            Err(error) if error.is_broken_pipe() => return Err(error),
            Err(error) => {
                output::note(&format!("the pool '{}': {error}", location.name));
                error.exit_code()
            }
            Ok(ended) => ended,
        };
        code = worse(code, ended);
    }
    Ok(code)
}

/// The first code that tells of a failure; a pool that works in part is no failure where another failed.
fn worse(first: u8, second: u8) -> u8 {
    match (first, second) {
        (exit::DONE | exit::DEGRADED, second) if second != exit::DONE => second,
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_hides_behind_a_pool_that_did_well_or_nearly_so() {
        assert_eq!(
            [exit::DONE, exit::DEGRADED, exit::BUSY, exit::DONE].into_iter().fold(0, worse),
            exit::BUSY
        );
        assert_eq!([exit::BUSY, exit::ABSENT, exit::DEGRADED].into_iter().fold(0, worse), exit::BUSY);
        assert_eq!([exit::DONE, exit::DEGRADED, exit::DONE].into_iter().fold(0, worse), exit::DEGRADED);
    }
}
