//! `thinpool usage` and `thinpool tree`

use std::io::IsTerminal;

use super::{CliError, Context, output};
use crate::pool::Pool;
use crate::report::{Lines, TreeJson, UsageJson, tree_text, usage_text};

/// `thinpool usage`
pub(super) fn usage(context: &Context, format: output::Format) -> Result<(), CliError> {
    let host = context.host()?;
    let usage = Pool::open(&host, &context.location())?.space_usage()?;
    if format.json { output::json(&UsageJson::from(&usage)) } else { output::print(&usage_text(&usage)) }
}

/// `thinpool tree`
pub(super) fn tree(context: &Context, format: output::Format) -> Result<(), CliError> {
    let host = context.host()?;
    let (branches, why) = Pool::open(&host, &context.location())?.family_tree()?;
    if let Some(why) = &why {
        output::note(&format!("what the devices use is not shown: {why}"));
    }
    if format.json {
        return output::json(&TreeJson::new(&branches, why.map(|why| why.to_string())));
    }
    output::print(&tree_text(&branches, lines()))
}

/// Unicode for a terminal whose locale has it, as libc finds it.
fn lines() -> Lines {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let utf8 = locale.is_some_and(|locale| locale.to_ascii_lowercase().replace('-', "").contains("utf8"));
    if utf8 && std::io::stdout().is_terminal() { Lines::Unicode } else { Lines::Ascii }
}
