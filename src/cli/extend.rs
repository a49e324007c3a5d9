//! `thinpool extend`

use std::path::PathBuf;

use clap::Args;

use super::{CliError, Context, output};
use crate::backing::Backing;
use crate::pool::Pool;
use crate::pool::extend::{By, Extended, Extension, Step};
use crate::units::Growth;

/// How much larger.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The new size of the data, such as 200G, or by how much it is to grow: +50G, +20%.
    #[arg(long, value_name = "SIZE")]
    data: Option<Growth>,
    /// The same of the metadata.
    #[arg(long, value_name = "SIZE")]
    metadata: Option<Growth>,
    /// Add this blank disk to the pool's volume group; can be given several times. For a pool that was set up with
    /// --device.
    #[arg(long, value_name = "DEVICE")]
    device: Vec<PathBuf>,
    /// Wipe whatever is on this device, if it is one of those that are added. One that is in use is refused all the same.
    #[arg(long, value_name = "DEVICE")]
    wipe: Vec<PathBuf>,
}

/// What the help of the command says.
pub(super) fn about() -> &'static str {
    "Make a pool larger while it is in use. Loop files get longer, volumes grow out of their volume group; other devices are for \
     you to make larger. Without a size the pool takes what its devices have grown by, and with --device its volumes get \
     their shares of the larger group. A pool never gets smaller."
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), CliError> {
    let host = context.host()?;
    let mut pool = Pool::open(&host, &context.location())?;
    let wanted = Extension {
        data: arguments.data,
        metadata: arguments.metadata,
        disks: arguments.device.clone(),
        wipe: arguments.wipe.clone(),
        by: By::Hand,
    };
    tell_overcommitment(&pool, &wanted)?;
    let extended = pool.extend(&wanted)?;
    output::line(told(&pool, &extended))
}

/// Says beforehand that a file will be longer than there is room for.
fn tell_overcommitment(pool: &Pool<'_>, wanted: &Extension) -> Result<(), CliError> {
    let Backing::Loop(loopback) = &pool.record().backing else { return Ok(()) };
    if !wanted.disks.is_empty() {
        return Ok(());
    }
    let (plan, room) = (pool.plan_extension(wanted)?, pool.room()?);
    let more = (plan.data.to - plan.data.from) + (plan.metadata.to - plan.metadata.from);
    if more > room.data {
        output::note(&format!(
            "warning: the pool is to grow by {more}, and the file system under {} has room for {} beyond what was promised \
             to it already; when that is full, writes into the pool fail, whatever its size says",
            loopback.files.data.display(),
            room.data
        ));
    }
    Ok(())
}

fn told(pool: &Pool<'_>, extended: &Extended) -> String {
    let Extended { data, metadata } = extended;
    if !data.is_growth() && !metadata.is_growth() {
        return format!(
            "The pool '{}' has as much already: {} for data, {} for metadata.",
            pool.name(),
            data.to,
            metadata.to
        );
    }
    let step = |step: &Step, what| {
        if step.is_growth() {
            format!("{} for {what} (it had {})", step.to, step.from)
        } else {
            format!("{} for {what}", step.to)
        }
    };
    format!("The pool '{}' has {}, {}.", pool.name(), step(data, "data"), step(metadata, "metadata"))
}
