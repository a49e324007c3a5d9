//! The flags of settings, made from the registry, so that a setting can't lack its flag.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::config::{Flag, SETTINGS, Setting};

/// The settings that concern every command; the others are decided once, at setup.
const GENERAL: [&str; 6] = ["pool", "root", "udev-timeout", "lock-timeout", "device-timeout", "log-level"];

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

/// What their flags stand under in `--help`, behind the command's own.
pub(super) const GENERAL_HEADING: &str = "Options of every command";

fn is_general(setting: &Setting) -> bool {
    GENERAL.contains(&setting.name)
}

fn argument(setting: &'static Setting) -> Arg {
    let default = if setting.default.is_empty() { "none".to_owned() } else { setting.default.join(" ") };
    let docker = setting.docker_key.map(|key| format!("; Docker's {key}")).unwrap_or_default();
    Arg::new(setting.name)
        .long(setting.name)
        .value_name("VALUE")
        .help(format!("{} [default: {default}{docker}]", setting.help))
        .long_help(format!("{} Allowed: {}. [default: {default}{docker}]", setting.help, setting.allowed()))
        .action(if setting.is_list() { ArgAction::Append } else { ArgAction::Set })
        .allow_hyphen_values(true)
        .global(is_general(setting))
        .help_heading(is_general(setting).then_some(GENERAL_HEADING))
}

fn augment(command: Command, general: bool) -> Command {
    SETTINGS.iter().filter(|setting| is_general(setting) == general).map(argument).fold(command, Command::arg)
}

fn collect(matches: &ArgMatches, general: bool) -> Vec<Flag> {
    let settings = SETTINGS.iter().filter(|setting| is_general(setting) == general);
    settings
        .flat_map(|setting| {
            let values = matches.get_many::<String>(setting.name).into_iter().flatten();
            values.map(|value| Flag { name: setting.name.to_owned(), value: value.clone() })
        })
        .collect()
}

/// clap wants both halves of this for each of the two types; they differ in one word.
macro_rules! flags_of_settings {
    ($type:ident, $general:literal) => {
        impl FromArgMatches for $type {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
                Ok(Self { flags: collect(matches, $general) })
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
                self.flags = collect(matches, $general);
                Ok(())
            }
        }

        impl Args for $type {
            fn augment_args(command: Command) -> Command {
                augment(command, $general)
            }

            fn augment_args_for_update(command: Command) -> Command {
                augment(command, $general)
            }
        }
    };
}

flags_of_settings!(GeneralSettings, true);
flags_of_settings!(SetupSettings, false);
