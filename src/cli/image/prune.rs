//! `thinpool image prune`

use clap::Args;
use serde::Serialize;

use crate::cli::output::confirm;
use crate::cli::{CliError, Context, output};
use crate::pool::Pool;

/// How to remove what nothing needs.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Do not ask.
    #[arg(long, short = 'y')]
    yes: bool,
    /// Only tell which images would be removed.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    format: output::Format,
}

/// What was removed, for programs; `docs/json.md` explains the keys.
#[derive(Debug, Serialize)]
struct PrunedJson<'a> {
    images: &'a [String],
    content_bytes: u64,
    freed_bytes: Option<u64>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), CliError> {
    let host = context.host()?;
    let mut pool = Pool::open(&host, &context.location())?;
    let unused = pool.unused_images()?;
    let told = |images, freed_bytes| PrunedJson { images, content_bytes: unused.content.0, freed_bytes };
    let list = lines(&unused.names);
    if arguments.dry_run || unused.names.is_empty() {
        return if arguments.format.json {
            output::json(&told(&unused.names, None))
        } else {
            output::print(&format!(
                "{list}{} would be removed, with layers that unpacked to {}.\n",
                images(unused.names.len()),
                unused.content
            ))
        };
    }
    if !arguments.yes {
        confirm(&format!(
            "This removes {} that no container was made of, with layers that unpacked to {}: {}.",
            images(unused.names.len()),
            unused.content,
            unused.names.join(", ")
        ))?;
    }
    let pruned = pool.prune_images(&unused.names)?;
    if arguments.format.json {
        return output::json(&told(&pruned.names, Some(pruned.freed.0)));
    }
    let list = lines(&pruned.names);
    output::print(&format!(
        "{list}{} removed; {} of the pool are free again.\n",
        images(pruned.names.len()),
        pruned.freed
    ))
}

fn lines(names: &[String]) -> String {
    names.iter().flat_map(|name| [name, "\n"]).collect()
}

fn images(count: usize) -> String {
    if count == 1 { "1 image".to_owned() } else { format!("{count} images") }
}
