//! What every list of images or containers can be asked.

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::{CliError, output};
use crate::report::{Form, List};

/// Which items, and in which form.
#[derive(Debug, Args)]
pub(super) struct Listing {
    /// Only those: KEY=VALUE, see below; can be given several times.
    #[arg(long = "filter", short = 'f', value_name = "KEY=VALUE")]
    filters: Vec<String>,
    /// A line for each, made of this template, as Docker's: '{{.Name}}\t{{.Size}}'; after 'table ' with headers.
    #[arg(long, value_name = "TEMPLATE", conflicts_with_all = ["columns", "quiet", "json"])]
    format: Option<String>,
    /// These columns, by the keys of the JSON: name,device_bytes.
    #[arg(long, value_name = "KEY", value_delimiter = ',', conflicts_with_all = ["quiet", "json"])]
    columns: Vec<String>,
    /// Print the names alone.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    #[command(flatten)]
    output: output::Format,
}

impl Listing {
    /// Prints those items that were asked for, as they were asked for.
    pub(super) fn print(&self, list: &List, items: &[impl Serialize]) -> Result<(), CliError> {
        let items = items.iter().map(serde_json::to_value).collect::<Result<Vec<Value>, _>>()?;
        let chosen = list.choose(items, &self.filters)?;
        if self.output.json {
            return output::json(&chosen);
        }
        output::print(&list.text(&chosen, &self.form())?)
    }

    fn form(&self) -> Form {
        match (&self.format, self.quiet) {
            (Some(template), _) => Form::Template(template.clone()),
            (None, true) => Form::Names,
            (None, false) if self.columns.is_empty() => Form::Usual,
            (None, false) => Form::Columns(self.columns.clone()),
        }
    }
}
