//! `thinpool image history`

use clap::Args;
use serde::Serialize;

use super::since;
use crate::cli::{CliError, Context, output};
use crate::image::{ImageConfig, Step, history};
use crate::pool::Pool;
use crate::report::short;
use crate::report::{Column, Table};

/// As many characters of a command are shown, as by Docker.
const SHOWN: usize = 45;

/// Which image.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Which.
    name: String,
    /// Print commands and digests in full.
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    format: output::Format,
}

/// A step for programs; `docs/json.md` explains the keys.
#[derive(Debug, Serialize)]
struct StepJson<'a> {
    layer: Option<&'a str>,
    created_at: Option<i64>,
    created_by: Option<&'a str>,
    content_bytes: u64,
    author: Option<&'a str>,
    comment: Option<&'a str>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), CliError> {
    let host = context.host()?;
    let pool = Pool::open(&host, &context.location())?;
    let image = pool.image(&arguments.name.parse()?)?;
    let config = image.config.as_deref().map(ImageConfig::parse).transpose()?;
    let steps = history(config.as_ref(), &pool.layers_of(&image.chain)?);
    if arguments.format.json {
        return output::json(&steps.iter().map(StepJson::new).collect::<Vec<_>>());
    }
    let mut table = Table::new([
        Column::left("LAYER"),
        Column::left("CREATED"),
        Column::left("CREATED BY"),
        Column::right("SIZE"),
        Column::left("COMMENT"),
    ]);
    for step in &steps {
        let layer = step.layer.as_deref().unwrap_or("-");
        let created_by = step.told.created_by.as_deref().unwrap_or("-");
        table.row([
            if arguments.no_trunc { layer.to_owned() } else { short(layer) },
            step.created.map_or_else(|| "-".to_owned(), since),
            if arguments.no_trunc { created_by.to_owned() } else { cut(created_by) },
            step.size.to_string(),
            step.told.comment.clone().unwrap_or_default(),
        ]);
    }
    output::print(&table.to_string())
}

fn cut(text: &str) -> String {
    // Builders write commands over several lines.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN - 1).chain(['…']).collect()
}

impl<'a> StepJson<'a> {
    fn new(step: &'a Step) -> Self {
        Self {
            layer: step.layer.as_deref(),
            created_at: step.created,
            created_by: step.told.created_by.as_deref(),
            content_bytes: step.size.0,
            author: step.told.author.as_deref(),
            comment: step.told.comment.as_deref(),
        }
    }
}
