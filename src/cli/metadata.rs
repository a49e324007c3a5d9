//! `thinpool metadata backup`, `list` and `restore`

use std::path::Path;
use std::time::SystemTime;

use clap::{Args, Subcommand};

use super::check::{tell, unconfirmed};
use super::{CliError, Context, exit, output};
use crate::files;
use crate::pool::{Generation, Pool};
use crate::report::{BackupJson, RestorePlanJson, backups_json, backups_table, restore_text};

/// What to do with backups.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Back the metadata up now, whether the pool is in use or not.
    Backup(output::Format),
    /// List the backups there are.
    #[command(visible_alias = "ls")]
    List(output::Format),
    /// Make a backup the pool's metadata. The old metadata is kept.
    Restore(Restore),
}

/// Which backup.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The backup's number, as the list has it; without one, the newest.
    generation: Option<Generation>,
    /// Restore without asking.
    #[arg(long, short = 'y')]
    yes: bool,
    #[command(flatten)]
    format: output::Format,
}

pub(super) fn run(context: &Context, command: Command) -> Result<u8, CliError> {
    match command {
        Command::Backup(format) => backup(context, format),
        Command::List(format) => list(context, format),
        Command::Restore(how) => restore(context, &how),
    }
}

fn backup(context: &Context, format: output::Format) -> Result<u8, CliError> {
    be_killed_like_others();
    let host = context.host()?;
    let made = Pool::open(&host, &context.location())?.back_up_metadata()?;
    if format.json {
        output::json(&BackupJson::from(&made))?;
    } else {
        output::line(format!("Backup {}: {}", made.generation, made.path.display()))?;
    }
    Ok(exit::DONE)
}

/// A monitor is spared when memory runs out (`OOMScoreAdjust`), and so would be what it starts; a backup can be taken again.
fn be_killed_like_others() {
    let path = Path::new("/proc/self/oom_score_adj");
    let is_spared = std::fs::read_to_string(path).is_ok_and(|score| score.starts_with('-'));
    if is_spared && let Err(error) = files::tell_kernel(path, "0") {
        tracing::debug!(%error, "spared when memory runs out");
    }
}

fn list(context: &Context, format: output::Format) -> Result<u8, CliError> {
    let backups = context.location().metadata_backups()?;
    if format.json {
        output::json(&backups_json(&backups))?;
    } else {
        output::print(&backups_table(&backups, SystemTime::now()))?;
    }
    Ok(exit::DONE)
}

fn restore(context: &Context, how: &Restore) -> Result<u8, CliError> {
    let (location, host) = (context.location(), context.host()?);
    if !how.yes || !how.format.json {
        let plan = location.plan_restore(&host, how.generation)?;
        if how.format.json {
            // Whoever reads that is no one to ask.
            output::json(&RestorePlanJson::from(&plan))?;
            return Err(unconfirmed());
        }
        output::print(&restore_text(&plan, SystemTime::now()))?;
    }
    if !how.yes {
        output::confirm(&format!("The metadata of the pool '{}' is to be replaced.", location.name))?;
    }
    let done = location.restore_metadata(&host, how.generation)?;
    if !how.format.json {
        let generation = done.backup.generation;
        output::line(format!(
            "The pool '{}' has the metadata of backup {generation}. {}",
            location.name, done.kept
        ))?;
    }
    match tell(&done.repaired, how.format)? {
        exit::REPAIRED => Ok(exit::DONE),
        code => Ok(code),
    }
}
