//! The flags of settings, made from the registry, so that a setting can't lack its flag.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::config::{Flag, SETTINGS, Setting};

/// The settings that concern every command.
const GENERAL: [&str; 6] = ["pool", "root", "udev-timeout", "lock-timeout", "device-timeout", "log-level"];

/// The settings that concern a monitor. All others are decided once, at setup.
const MONITOR: [&str; 4] = ["when-full", "hooks", "metrics-listen", "metadata-backup-changes"];

/// Flags that every command takes.
#[derive(Debug, Clone, Default)]
pub(super) struct GeneralSettings {
    pub flags: Vec<Flag>,
}

/// Flags that only setup takes.
#[derive(Debug, Clone, Default)]
pub(super) struct SetupSettings {
    pub flags: Vec<Flag>,
}

/// Flags that only a monitor takes.
#[derive(Debug, Clone, Default)]
pub(super) struct MonitorSettings {
    pub flags: Vec<Flag>,
}

/// Who takes the flag of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taker {
    Every,
    Monitor,
    Setup,
}

impl Taker {
    fn of(setting: &Setting) -> Self {
        if is_general(setting.name) {
            Self::Every
        } else if MONITOR.contains(&setting.name) {
            Self::Monitor
        } else {
            Self::Setup
        }
    }

    fn settings(self) -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(move |setting| Self::of(setting) == self)
    }
}

/// What their flags stand under in `--help`, behind the command's own.
pub(super) const GENERAL_HEADING: &str = "Options of every command";

/// Whether every command takes the flag of the setting of this name.
pub(super) fn is_general(name: &str) -> bool {
    GENERAL.contains(&name)
}

fn argument(setting: &'static Setting) -> Arg {
    let is_general = Taker::of(setting) == Taker::Every;
    let default = if setting.default.is_empty() { "none".to_owned() } else { setting.default.join(" ") };
    let docker = setting.docker_key.map(|key| format!("; Docker's {key}")).unwrap_or_default();
    Arg::new(setting.name)
        .long(setting.name)
        .value_name("VALUE")
        .help(format!("{} [default: {default}{docker}]", setting.help))
        .long_help(format!("{} Allowed: {}. [default: {default}{docker}]", setting.help, setting.allowed()))
        .action(if setting.is_list() { ArgAction::Append } else { ArgAction::Set })
        .allow_hyphen_values(true)
        .global(is_general)
        .help_heading(is_general.then_some(GENERAL_HEADING))
}

fn collect(matches: &ArgMatches, taker: Taker) -> Vec<Flag> {
    taker
        .settings()
        .flat_map(|setting| {
            let values = matches.get_many::<String>(setting.name).into_iter().flatten();
            values.map(|value| Flag { name: setting.name.to_owned(), value: value.clone() })
        })
        .collect()
}

/// clap wants both halves of this for each of the types; they differ in one word.
macro_rules! flags_of_settings {
    ($type:ident, $taker:ident) => {
        impl FromArgMatches for $type {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
                Ok(Self { flags: collect(matches, Taker::$taker) })
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
                self.flags = collect(matches, Taker::$taker);
                Ok(())
            }
        }

        impl Args for $type {
            fn augment_args(command: Command) -> Command {
                Taker::$taker.settings().map(argument).fold(command, Command::arg)
            }

            fn augment_args_for_update(command: Command) -> Command {
                Self::augment_args(command)
            }
        }
    };
}

flags_of_settings!(GeneralSettings, Every);
flags_of_settings!(SetupSettings, Setup);
flags_of_settings!(MonitorSettings, Monitor);
