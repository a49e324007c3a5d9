//! `thinpool container diff`

use clap::Args;
use serde::Serialize;

use super::{CliError, Context, output};
use crate::image::{self, EntryName, FileChange, FileChangeKind};
use crate::pool::Host;

pub(super) const ABOUT: &str = "\
Tell what changed in a container since it was made of its image.

One line for each file, as `docker diff` prints them: A for what was added, C for what was changed (a directory also if \
something in it was), D for what was deleted. The container may be in use: it is looked at as it was at one moment.";

/// Which container.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Which.
    name: String,
    #[command(flatten)]
    format: output::Format,
}

/// A change for programs; `docs/json.md` explains the keys.
#[derive(Debug, Serialize)]
struct ChangeJson {
    path: String,
    change: &'static str,
}

pub(super) fn run(context: &Context, host: &Host, arguments: &Arguments) -> Result<(), CliError> {
    let changes = image::container_changes(host, &context.location(), &arguments.name.parse()?)?;
    if arguments.format.json {
        let told = |change: FileChange| {
            let (_, word) = words(change.kind);
            ChangeJson { path: String::from_utf8_lossy(&change.path).into_owned(), change: word }
        };
        return output::json(&changes.into_iter().map(told).collect::<Vec<_>>());
    }
    let line = |FileChange { path, kind }| format!("{} {}\n", words(kind).0, EntryName(path));
    output::print(&changes.into_iter().map(line).collect::<String>())
}

fn words(kind: FileChangeKind) -> (char, &'static str) {
    match kind {
        FileChangeKind::Changed => ('C', "changed"),
        FileChangeKind::Added => ('A', "added"),
        FileChangeKind::Deleted => ('D', "deleted"),
    }
}
