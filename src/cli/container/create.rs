//! `thinpool container create`

use std::path::PathBuf;

use clap::Args;

use super::list::ContainerJson;
use super::{CliError, Context, open, output};
use crate::catalog::Container;
use crate::pool::{ContainerStatus, Labels, MountRequest, NewContainer};
use crate::units::Bytes;

/// What to make.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The image.
    image: String,
    /// What the container is to be called; without, a name is made up.
    #[arg(long)]
    name: Option<String>,
    /// How large it is to be, if larger than the image: 20G. The file system in it grows too.
    #[arg(long)]
    size: Option<String>,
    /// Note something on it; can be given several times.
    #[arg(long = "label", short, value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Mount it, at this directory, which must exist, or at one of the pool's own, and print where, as `container mount` does.
    #[arg(long, value_name = "DIRECTORY", num_args = 0..=1, require_equals = true)]
    #[allow(clippy::option_option, reason = "as clap has an option whose value can be left out")]
    mount: Option<Option<PathBuf>>,
    /// Give it its device node, and print that, as `container activate` does.
    #[arg(long, conflicts_with = "mount")]
    activate: bool,
    #[command(flatten)]
    format: output::Format,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<(), CliError> {
    let new = NewContainer {
        image: arguments.image.parse()?,
        name: arguments.name.map(|name| name.parse()).transpose()?,
        size: arguments.size.map(|size| size.parse::<Bytes>()).transpose()?,
        labels: Labels::parse(&arguments.labels)?,
    };
    let host = context.host()?;
    let mut pool = open(context, &host)?;
    let (container, at) = match arguments.mount {
        Some(at) => {
            let elsewhere = at.is_some();
            let made = pool.create_and_mount(&new, &MountRequest { at, ..MountRequest::default() })?;
            if elsewhere && new.name.is_none() && !arguments.format.json {
                output::note(&format!("note: the container is called '{}'", made.0.name));
            }
            made
        }
        None if arguments.activate => pool.create_and_activate(&new)?,
        None => return told(pool.create_container(&new)?, arguments.format),
    };
    if arguments.format.json {
        return output::json(&ContainerJson::new(&pool.container(&container.name.parse()?)?));
    }
    output::line(at.display())
}

/// One that nobody uses yet.
fn told(container: Container, format: output::Format) -> Result<(), CliError> {
    if format.json {
        let status = ContainerStatus { container, path: None, mounts: Vec::new(), mapped: None };
        return output::json(&ContainerJson::new(&status));
    }
    output::line(container.name)
}
