//! `thinpool config`

use clap::Subcommand;

use super::settings::{MonitorSettings, SetupSettings};
use super::{CliError, Context, output};
use crate::report::{Column, Table};

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show every setting with its value and where that came from. Takes the flags of `setup` and `monitor`, to try them out.
    Show {
        #[command(flatten)]
        format: output::Format,
        #[command(flatten)]
        setup: SetupSettings,
        #[command(flatten)]
        monitor: MonitorSettings,
    },
}

pub(super) fn run(context: &Context, command: &Command) -> Result<(), CliError> {
    let Command::Show { format, .. } = command;
    let effective = context.settings.effective();
    if format.json {
        return output::json(&effective);
    }
    let mut table = Table::new(["SETTING", "VALUE", "FROM"].map(Column::left));
    for setting in effective {
        table.row([setting.name, &setting.value, &setting.source.to_string()]);
    }
    output::print(&table.to_string())
}
