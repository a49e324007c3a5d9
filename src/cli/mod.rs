//! The command line: arguments in, words out. One file a command; what is to be done, the library decides.

mod activate;
mod check;
mod completions;
mod config;
mod container;
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

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use error::CliError;

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
    Setup(setup::Arguments),
    /// Tell how the pool is, in the words of `docker info` and some more.
    #[command(visible_alias = "info")]
    Status(status::Arguments),
    /// Watch a pool on the terminal: space, rates, the busiest devices, what happens.
    #[command(long_about = top::about())]
    Top(top::Arguments),
    /// Make a pool active again, with the containers that were activated: what its unit does after a reboot.
    Activate(activate::Activation),
    /// Make a pool inactive; nothing in it is lost.
    Deactivate(activate::Deactivation),
    /// Make a pool larger while it is in use.
    #[command(long_about = extend::about())]
    Extend(extend::Arguments),
    /// Give back what the file systems in mounted containers don't use, and what waits to be deleted.
    Trim,
    /// Watch over a pool, and make it larger before it is full: what its unit does.
    #[command(long_about = monitor::about())]
    Monitor(monitor::Arguments),
    /// Remove a pool, with everything in it.
    Destroy(destroy::Arguments),
    /// Tell who uses the pool's space: what each device has to itself, and what it shares.
    Usage(output::Format),
    /// Show the base, images and containers as a tree, with what each uses.
    Tree(output::Format),
    /// Images: import, list, inspect, history, tag, export, remove, prune.
    #[command(subcommand)]
    Image(image::Command),
    /// Containers: create, list, inspect, activate, mount, rename, resize, diff, commit, remove.
    #[command(subcommand)]
    Container(container::Command),
    /// Backups of the pool's metadata: backup, list, restore.
    #[command(subcommand)]
    Metadata(metadata::Command),
    /// Settings: show.
    #[command(subcommand)]
    Config(config::Command),
    /// Look for everything on this host that would bite a pool.
    #[command(long_about = doctor::about())]
    Doctor(output::Format),
    /// Compare what the catalog, the pool and this host say of each other.
    #[command(long_about = check::about())]
    Check(check::Check),
    /// Mend what a check finds; make a lost catalog anew.
    Repair(check::Repair),
    /// Print a shell's completion script.
    Completions(completions::Arguments),
    /// List images, as `image list` does.
    #[command(hide = true)]
    Images(listing::Listing),
    /// List containers, as `container list` does.
    #[command(hide = true)]
    Ps(listing::Listing),
}

/// What a command works with.
struct Context {
    settings: Settings,
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

/// The command line, as the manual pages and the completions are made of it.
#[must_use]
pub fn command() -> clap::Command {
    manual::complete(Cli::command())
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
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
        let file = inputs.config.map_or_else(ConfigFile::default, ConfigFile::Named);
        let flags = inputs.settings.flags.into_iter().chain(own_flags).collect();
        let settings = Settings::load(&Inputs { flags, storage_opts: inputs.storage_opt, file })?;
        // What goes to a terminal that shows a screen would be written across it.
        if !(matches!(self.command, Command::Top(_)) && std::io::stderr().is_terminal()) {
            output::start_log(self.command.log_level(&settings));
        }
        let context = Context { settings };
        match self.command {
            Command::Setup(arguments) => return setup::run(&context, &arguments),
            Command::Status(arguments) => return status::run(&context, &arguments),
            Command::Activate(how) => return activate::activate(&context, &how),
            Command::Deactivate(how) => return activate::deactivate(&context, &how),
            Command::Trim => return trim::run(&context),
            Command::Monitor(arguments) => return monitor::run(&context, &arguments),
            Command::Check(arguments) => return check::check(&context, &arguments),
            Command::Repair(arguments) => return check::repair(&context, &arguments),
            Command::Metadata(command) => return metadata::run(&context, command),
            Command::Doctor(format) => return doctor::run(&context, format),
            Command::Top(arguments) => top::run(&context, &arguments),
            Command::Extend(arguments) => extend::run(&context, &arguments),
            Command::Destroy(arguments) => destroy::run(&context, &arguments),
            Command::Usage(format) => usage::usage(&context, format),
            Command::Tree(format) => usage::tree(&context, format),
            Command::Image(command) => image::run(&context, command),
            Command::Container(command) => container::run(&context, command),
            Command::Config(command) => config::run(&context, &command),
            Command::Completions(arguments) => completions::run(&arguments),
            Command::Images(listing) => image::list(&context, &listing),
            Command::Ps(listing) => container::list(&context, &listing),
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
            Self::Setup(setup::Arguments { settings, .. }) => settings.flags.clone(),
            Self::Monitor(monitor::Arguments { settings, .. }) => settings.flags.clone(),
            Self::Config(config::Command::Show { setup, monitor, .. }) => {
                [&setup.flags[..], &monitor.flags].concat()
            }
            _ => Vec::new(),
        }
    }
}
