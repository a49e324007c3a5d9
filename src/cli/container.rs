//! `thinpool container`

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::image::since;
use super::{CliError, Context, output};
use crate::catalog::Container;
use crate::pool::{ContainerName, ContainerStatus, Host, NewContainer, Pool};
use crate::report::{Column, Table};
use crate::units::Bytes;

/// What to do with containers.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a container of an image, and print its name.
    Create {
        /// The image.
        image: String,
        /// What the container is to be called; without, a name is made up.
        #[arg(long)]
        name: Option<String>,
        /// How large it is to be, if larger than the image: 20G. The file system in it grows too.
        #[arg(long)]
        size: Option<String>,
        #[command(flatten)]
        format: output::Format,
    },
    /// List the containers.
    #[command(visible_aliases = ["ls", "ps"])]
    List(output::Format),
    /// Give a container its device node, for a virtual machine or a mount of your own, and print its path. It has the
    /// node again whenever the pool is activated, as after a reboot, so that a line in fstab can name it.
    Activate {
        /// Which.
        name: String,
    },
    /// Take a container's device node away, until it is activated again; nothing in it is lost.
    Deactivate {
        /// Which.
        name: String,
    },
    /// Mount a container, and print where.
    Mount {
        /// Which.
        name: String,
        /// The directory, which must exist; without, the pool makes one of its own.
        directory: Option<PathBuf>,
    },
    /// Unmount a container, and take its device node away unless the container was activated.
    #[command(visible_alias = "umount")]
    Unmount {
        /// Which.
        name: String,
    },
    /// Tell what changed in a container since it was made of its image.
    #[command(long_about = super::diff::ABOUT)]
    Diff(super::diff::Arguments),
    /// Make an image of a container, as it is at this moment.
    #[command(long_about = super::commit::ABOUT)]
    Commit(super::commit::Arguments),
    /// Remove a container, with everything in it.
    #[command(visible_alias = "rm")]
    Remove {
        /// Which.
        #[arg(required = true)]
        names: Vec<String>,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Result<(), CliError> {
    if let Command::List(format) = command {
        return list(context, format);
    }
    let host = context.host()?;
    match command {
        Command::Create { image, name, size, format } => create(context, &host, &image, name, size, format),
        Command::List(_) => Ok(()),
        Command::Activate { name } => {
            let path = open(context, &host)?.activate_container(&name.parse()?)?;
            output::line(path.display())
        }
        Command::Deactivate { name } => Ok(open(context, &host)?.deactivate_container(&name.parse()?)?),
        Command::Mount { name, directory } => {
            let at = open(context, &host)?.mount_container(&name.parse()?, directory.as_deref())?;
            output::line(at.display())
        }
        Command::Unmount { name } => Ok(open(context, &host)?.unmount_container(&name.parse()?)?),
        Command::Diff(arguments) => super::diff::run(context, &host, &arguments),
        Command::Commit(arguments) => super::commit::run(context, &host, &arguments),
        Command::Remove { names } => {
            let names: Vec<ContainerName> =
                names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
            let mut pool = open(context, &host)?;
            names.iter().try_for_each(|name| {
                pool.remove_container(name)?;
                output::line(name)
            })
        }
    }
}

fn open<'h>(context: &Context, host: &'h Host) -> Result<Pool<'h>, CliError> {
    Ok(Pool::open(host, &context.location())?)
}

fn create(
    context: &Context,
    host: &Host,
    image: &str,
    name: Option<String>,
    size: Option<String>,
    format: output::Format,
) -> Result<(), CliError> {
    let new = NewContainer {
        image: image.parse()?,
        name: name.map(|name| name.parse()).transpose()?,
        size: size.map(|size| size.parse::<Bytes>()).transpose()?,
    };
    let container = open(context, host)?.create_container(&new)?;
    if format.json {
        let status = ContainerStatus { container, path: None, mounts: Vec::new(), mapped: None };
        return output::json(&ContainerJson::new(&status));
    }
    output::line(container.name)
}

/// `thinpool container list`
pub(super) fn list(context: &Context, format: output::Format) -> Result<(), CliError> {
    let host = context.host()?;
    let containers = open(context, &host)?.containers()?;
    if format.json {
        return output::json(&containers.iter().map(ContainerJson::new).collect::<Vec<_>>());
    }
    let mut table = Table::new([
        Column::left("NAME"),
        Column::left("IMAGE"),
        Column::right("SIZE"),
        Column::right("MAPPED"),
        Column::left("CREATED"),
        Column::left("MOUNTED AT"),
    ]);
    for status in &containers {
        let Container { name, image, device, created, .. } = &status.container;
        let mounts: Vec<String> = status.mounts.iter().map(|at| at.display().to_string()).collect();
        table.row([
            name.clone(),
            image.clone(),
            device.size.to_string(),
            status.mapped.map_or_else(|| "-".to_owned(), |mapped| mapped.to_string()),
            since(*created),
            if mounts.is_empty() { "-".to_owned() } else { mounts.join(", ") },
        ]);
    }
    output::print(&table.to_string())
}

/// A container for programs; `docs/json.md` explains the keys.
#[derive(Debug, Serialize)]
struct ContainerJson<'a> {
    name: &'a str,
    image: &'a str,
    device_bytes: u64,
    device_id: u32,
    mapped_bytes: Option<u64>,
    device: Option<&'a PathBuf>,
    kept_active: bool,
    mounted_at: &'a [PathBuf],
    created_at: i64,
}

impl<'a> ContainerJson<'a> {
    fn new(status: &'a ContainerStatus) -> Self {
        let Container { name, image, device, created, active } = &status.container;
        Self {
            name,
            image,
            device_bytes: device.size.0,
            device_id: device.id.get(),
            mapped_bytes: status.mapped.map(|mapped| mapped.0),
            device: status.path.as_ref(),
            kept_active: *active,
            mounted_at: &status.mounts,
            created_at: *created,
        }
    }
}
