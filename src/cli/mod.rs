//! The command line: arguments in, words out. One file a command; what is to be done, the library decides.

mod activate;
mod check;
mod completions;
mod config;
mod container;
mod deferred;
mod destroy;
mod doctor;
mod error;
pub mod exit;
mod extend;
mod image;
mod journal;
mod listing;
pub mod manual;
mod metadata;
mod monitor;
mod output;
mod progress;
mod settings;
mod setup;
mod status;
mod top;
mod trim;
mod usage;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use error::CliError;

use self::deferred::Deferred;
use self::settings::GeneralSettings;
use crate::config::{ConfigFile, Flag, Inputs, LogLevel, Settings};
use crate::pool::{Host, Location};

/// Sets up, keeps and reports device-mapper thin pools, with a thin snapshot for every image and container.
#[derive(Debug, Parser)]
#[command(name = "thinpool", version, max_term_width = 110, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    general: General,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
struct General {
    /// Read settings from this file instead of /etc/thinpool/thinpool.toml.
    #[arg(long, value_name = "FILE", global = true, help_heading = settings::GENERAL_HEADING)]
    config: Option<PathBuf>,
    /// A setting by Docker's name for it, such as dm.basesize=20G; can be given several times.
    #[arg(long, value_name = "dm.KEY=VALUE", global = true, help_heading = settings::GENERAL_HEADING)]
    storage_opt: Vec<String>,
    #[command(flatten)]
    settings: GeneralSettings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a pool, on block devices or on two sparse files, and make it active.
    Setup(Deferred<setup::Arguments>),
    /// Tell how the pool is, in the words of `docker info` and some more.
    #[command(visible_alias = "info")]
    Status(Deferred<status::Arguments>),
    /// Watch a pool on the terminal: space, rates, the busiest devices, what happens.
    #[command(long_about = top::about())]
    Top(Deferred<top::Arguments>),
    /// Make a pool active again, with the containers that were activated: what its unit does after a reboot.
    Activate(Deferred<activate::Activation>),
    /// Make a pool inactive; nothing in it is lost.
    Deactivate(Deferred<activate::Deactivation>),
    /// Make a pool larger while it is in use.
    #[command(long_about = extend::about())]
    Extend(Deferred<extend::Arguments>),
    /// Give back what the file systems in mounted containers don't use, and what waits to be deleted.
    Trim,
    /// Watch over a pool, and make it larger before it is full: what its unit does.
    #[command(long_about = monitor::about())]
    Monitor(Deferred<monitor::Arguments>),
    /// Remove a pool, with everything in it.
    Destroy(Deferred<destroy::Arguments>),
    /// Tell who uses the pool's space: what each device has to itself, and what it shares.
    Usage(Deferred<output::Format>),
    /// Show the base, images and containers as a tree, with what each uses.
    Tree(Deferred<output::Format>),
    /// Images: import, list, inspect, history, tag, export, remove, prune.
    #[command(subcommand)]
    Image(Deferred<image::Command>),
    /// Containers: create, list, inspect, activate, mount, rename, resize, diff, commit, remove.
    #[command(subcommand)]
    Container(Deferred<container::Command>),
    /// Backups of the pool's metadata: backup, list, restore.
    #[command(subcommand)]
    Metadata(Deferred<metadata::Command>),
    /// Settings: show.
    #[command(subcommand)]
    Config(Deferred<config::Command>),
    /// Look for everything on this host that would bite a pool.
    #[command(long_about = doctor::about())]
    Doctor(Deferred<output::Format>),
    /// Compare what the catalog, the pool and this host say of each other.
    #[command(long_about = check::about())]
    Check(Deferred<check::Check>),
    /// Mend what a check finds; make a lost catalog anew.
    Repair(Deferred<check::Repair>),
    /// Print a shell's completion script.
    Completions(Deferred<completions::Arguments>),
    /// List images, as `image list` does.
    #[command(hide = true)]
    Images(Deferred<listing::Listing>),
    /// List containers, as `container list` does.
    #[command(hide = true)]
    Ps(Deferred<listing::Listing>),
}

/// What a command works with.
struct Context {
    settings: Settings,
    /// The configuration file, where another one was named.
    file: Option<PathBuf>,
}

impl Context {
    fn location(&self) -> Location {
        Location {
            name: self.settings.pool.get().clone(),
            root: self.settings.root.get().as_path().to_owned(),
            patience: self.settings.lock_timeout.get().duration(),
            device_patience: self.settings.device_timeout.get().duration(),
            metadata_backups: self.settings.metadata_backups.get().0,
        }
    }

    fn host(&self) -> Result<Host, CliError> {
        Ok(Host::system(self.settings.udev_timeout.get().duration())?)
    }
}

/// The command line, as the manual pages are made of it.
#[must_use]
pub fn command() -> clap::Command {
    // Without the command `help`: `man thinpool-setup` is the page that `thinpool help setup` shows.
    with_all_of_it(Cli::command().disable_help_subcommand(true))
}

/// The command line, as it is typed.
fn typed() -> clap::Command {
    with_all_of_it(Cli::command())
}

fn with_all_of_it(mut command: clap::Command) -> clap::Command {
    command.build();
    manual::complete(command)
}

/// What the process was started with. All of the command line is only made for who asks for help.
fn parse() -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    // Its hundreds of pieces need not be freed one by one: the process is about to do something, and then ends.
    std::mem::forget(command);
    let matches = match matches {
        Err(error) if is_help(&error) => typed().try_get_matches(),
        matches => matches,
    }?;
    Cli::from_arg_matches(&matches)
}

fn is_help(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap prints help to standard output and errors to standard error; a reader that has gone is no error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::DONE });
        }
    };
    match cli.run() {
        Ok(code) => ExitCode::from(code),
        Err(error) if error.is_broken_pipe() => ExitCode::from(exit::DONE),
        Err(error) => {
            output::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

impl Cli {
    fn run(self) -> Result<u8, CliError> {
        let (inputs, own_flags) = (self.general, self.command.own_settings());
        let file = inputs.config.clone().map_or_else(ConfigFile::default, ConfigFile::Named);
        let flags = inputs.settings.flags.into_iter().chain(own_flags).collect();
        let settings = Settings::load(&Inputs { flags, storage_opts: inputs.storage_opt, file })?;
        // What goes to a terminal that shows a screen would be written across it.
        if !(matches!(self.command, Command::Top(_)) && std::io::stderr().is_terminal()) {
            output::start_log(self.command.log_level(&settings));
        }
        let context = Context { settings, file: inputs.config };
        match self.command {
            Command::Setup(Deferred(arguments)) => return setup::run(&context, &arguments),
            Command::Status(Deferred(arguments)) => return status::run(&context, &arguments),
            Command::Activate(Deferred(how)) => return activate::activate(&context, &how),
            Command::Deactivate(Deferred(how)) => return activate::deactivate(&context, &how),
            Command::Trim => return trim::run(&context),
            Command::Monitor(Deferred(arguments)) => return monitor::run(&context, &arguments),
            Command::Check(Deferred(arguments)) => return check::check(&context, &arguments),
            Command::Repair(Deferred(arguments)) => return check::repair(&context, &arguments),
            Command::Metadata(Deferred(command)) => return metadata::run(&context, command),
            Command::Doctor(Deferred(format)) => return doctor::run(&context, format),
            Command::Top(Deferred(arguments)) => top::run(&context, &arguments),
            Command::Extend(Deferred(arguments)) => extend::run(&context, &arguments),
            Command::Destroy(Deferred(arguments)) => destroy::run(&context, &arguments),
            Command::Usage(Deferred(format)) => usage::usage(&context, format),
            Command::Tree(Deferred(format)) => usage::tree(&context, format),
            Command::Image(Deferred(command)) => image::run(&context, command),
            Command::Container(Deferred(command)) => container::run(&context, command),
            Command::Config(Deferred(command)) => config::run(&context, &command),
            Command::Completions(Deferred(arguments)) => completions::run(&arguments),
            Command::Images(Deferred(listing)) => image::list(&context, &listing),
            Command::Ps(Deferred(listing)) => container::list(&context, &listing),
        }?;
        Ok(exit::DONE)
    }
}

impl Command {
    /// How much is said. What a monitor does is all it has to say, so it does, unless somebody wants less.
    fn log_level(&self, settings: &Settings) -> LogLevel {
        match (self, settings.log_level.explicit()) {
            (Self::Monitor(_), None) => LogLevel::Info,
            _ => *settings.log_level.get(),
        }
    }

    /// The flags of settings that this command takes besides the general ones.
    fn own_settings(&self) -> Vec<Flag> {
        match self {
            Self::Setup(Deferred(setup::Arguments { settings, .. })) => settings.flags.clone(),
            Self::Monitor(Deferred(monitor::Arguments { settings, .. })) => settings.flags.clone(),
            Self::Config(Deferred(config::Command::Show { setup, monitor, .. })) => {
                [&setup.flags[..], &monitor.flags].concat()
            }
            _ => Vec::new(),
        }
    }
}
