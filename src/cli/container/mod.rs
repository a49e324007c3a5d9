//! `thinpool container`

mod change;
mod commit;
mod create;
mod diff;
mod inspect;
mod list;

use std::path::PathBuf;

use clap::Subcommand;

use super::listing::Listing;
use super::{CliError, Context, output};
use crate::pool::{Host, Pool};

pub(super) use list::list;

/// What to do with containers.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a container of an image, and print its name.
    ///
    /// With --mount or --activate it is put to use at once, and what is printed is where. If that fails, the container is removed again.
    Create(create::Arguments),
    /// List the containers.
    ///
    /// Filters: name (a part of it, or a pattern with * and ?), image (all of it, or a pattern), label (KEY or KEY=VALUE), mounted,
    /// active, kept (true or false each).
    #[command(visible_aliases = ["ls", "ps"])]
    List(Listing),
    /// Tell everything that is known of containers, and who keeps them busy.
    Inspect(inspect::Arguments),
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
    /// Mount a container, and print where. No other mount namespace gets the mount, and device nodes in it are dead.
    Mount {
        /// Which.
        name: String,
        /// The directory, which must exist; without, the pool makes one of its own.
        directory: Option<PathBuf>,
        /// Let nothing be written. (After a crash the file system still repairs itself from its journal first.)
        #[arg(long)]
        read_only: bool,
        /// Mount options besides those of the pool, joined by commas: noatime,dev,exec…; shared lets other mount namespaces have
        /// the mount.
        #[arg(long, short, value_name = "OPTIONS")]
        options: Vec<String>,
    },
    /// Unmount a container, in other mount namespaces too, and take its device node away unless it was activated.
    #[command(visible_alias = "umount")]
    Unmount {
        /// Which.
        name: String,
    },
    /// Give a container another name, and its device node, also while it is in use.
    Rename {
        /// Which.
        name: String,
        /// What it is to be called.
        new_name: String,
    },
    /// Make a container larger, and the file system in it, mounted or not, and print its size.
    Resize {
        /// Which.
        name: String,
        /// How large it is to be, 40G, or how much larger, +10G.
        size: String,
    },
    /// Tell what changed in a container since it was made of its image.
    #[command(long_about = diff::ABOUT)]
    Diff(diff::Arguments),
    /// Make an image of a container, as it is at this moment.
    #[command(long_about = commit::ABOUT)]
    Commit(commit::Arguments),
    /// Remove containers, with everything in them.
    #[command(visible_alias = "rm")]
    Remove {
        /// Which.
        #[arg(required = true)]
        names: Vec<String>,
        /// Unmount them first, wherever they are mounted, and whoever uses them.
        #[arg(long, short)]
        force: bool,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Result<(), CliError> {
    match command {
        Command::Create(arguments) => create::run(context, arguments),
        Command::List(listing) => list(context, &listing),
        Command::Inspect(arguments) => inspect::run(context, &arguments),
        Command::Activate { name } => {
            let path = open(context, &context.host()?)?.activate_container(&name.parse()?)?;
            output::line(path.display())
        }
        Command::Deactivate { name } => {
            Ok(open(context, &context.host()?)?.deactivate_container(&name.parse()?)?)
        }
        Command::Mount { name, directory, read_only, options } => {
            change::mount(context, &name, directory, read_only, options)
        }
        Command::Unmount { name } => change::unmount(context, &name),
        Command::Rename { name, new_name } => change::rename(context, &name, &new_name),
        Command::Resize { name, size } => change::resize(context, &name, &size),
        Command::Diff(arguments) => diff::run(context, &context.host()?, &arguments),
        Command::Commit(arguments) => commit::run(context, &context.host()?, &arguments),
        Command::Remove { names, force } => change::remove(context, &names, force),
    }
}

fn open<'h>(context: &Context, host: &'h Host) -> Result<Pool<'h>, CliError> {
    Ok(Pool::open(host, &context.location())?)
}
