//! `thinpool check` and `thinpool repair`

use std::path::PathBuf;

use clap::Args;

use super::setup::policy;
use super::{CliError, Context, exit, output};
use crate::pool::check::{Finding, KINDS, Repair as Step};
use crate::pool::{Host, Location, Orphans, Rebuild, RebuildFrom, Repaired};
use crate::report::{CheckJson, found_text, outlook_text, repaired_text};

/// How to check.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Do what can be done about what is found, as `thinpool repair` does.
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    how: How,
}

/// How to repair.
#[derive(Debug, Args)]
pub(super) struct Repair {
    #[command(flatten)]
    how: How,
    /// Make a new catalog where it is lost or damaged, of what can still be read of it and of what the pool itself knows.
    #[arg(long, conflicts_with = "delete_orphans")]
    rebuild_catalog: bool,
    /// The block device with the pool's data, where nothing else tells.
    #[arg(long, value_name = "DEVICE", requires_all = ["metadatadev", "rebuild_catalog"])]
    datadev: Option<PathBuf>,
    /// The block device with its metadata.
    #[arg(long, value_name = "DEVICE", requires_all = ["datadev", "rebuild_catalog"])]
    metadatadev: Option<PathBuf>,
    /// The directory with its loop files.
    #[arg(long, value_name = "DIRECTORY", requires = "rebuild_catalog", conflicts_with = "datadev")]
    dir: Option<PathBuf>,
    /// The thin pool, of somebody else's, that it is in.
    #[arg(long, value_name = "NAME", requires = "rebuild_catalog", conflicts_with_all = ["datadev", "dir"])]
    thinpooldev: Option<String>,
}

#[derive(Debug, Clone, Copy, Args)]
struct How {
    /// Repair without asking.
    #[arg(long, short = 'y')]
    yes: bool,
    /// Delete devices in the pool that the catalog doesn't know, with what is in them, instead of making containers of them.
    #[arg(long)]
    delete_orphans: bool,
    #[command(flatten)]
    format: output::Format,
}

/// What `--help` and the manual page say.
pub(super) fn about() -> String {
    let kinds: Vec<String> = KINDS.iter().map(|(kind, means)| format!("{kind}: {means}")).collect();
    format!(
        "Compare what the catalog, the pool and this host say of each other, and tell what a repair would do. Nothing is \
         changed, and the pool may be in use meanwhile. (What would bite a pool on this host, `thinpool doctor` finds.) The \
         findings:\n\n{}",
        kinds.join("\n\n")
    )
}

pub(super) fn check(context: &Context, arguments: &Check) -> Result<u8, CliError> {
    let (location, host, how) = (context.location(), context.host()?, arguments.how);
    if arguments.repair {
        return repair_found(&location, &host, how);
    }
    let found = location.check(&host)?;
    if how.format.json {
        output::json(&CheckJson::found(&found))?;
    } else {
        output::print(&found_text(&found))?;
    }
    Ok(code_of(&found))
}

pub(super) fn repair(context: &Context, arguments: &Repair) -> Result<u8, CliError> {
    let (location, host, how) = (context.location(), context.host()?, arguments.how);
    if !arguments.rebuild_catalog {
        return repair_found(&location, &host, how);
    }
    let rebuild = Rebuild { from: from(arguments), policy: policy(&context.settings, &*host.dm)? };
    if !how.yes {
        output::confirm(&format!(
            "This makes a new catalog for the pool '{}', and containers recovered-ID of what nothing else tells the name of. A \
             damaged catalog is kept beside it.",
            location.name
        ))?;
    }
    let done = location.rebuild_catalog(&host, &rebuild)?;
    if !how.format.json {
        let kept = done.kept.as_ref().map_or_else(String::new, |kept| {
            format!(
                "; {} records of the damaged one were read, which is now {}",
                done.salvaged,
                kept.display()
            )
        });
        output::line(format!("The pool '{}' has a new catalog{kept}.", location.name))?;
    }
    tell(&done.repaired, how.format)
}

/// What is to be done is told before it is done.
fn repair_found(location: &Location, host: &Host, how: How) -> Result<u8, CliError> {
    if !how.yes {
        let found = location.check(host)?;
        let is_something_to_do = found.iter().any(|finding| finding.repair().is_some());
        if how.format.json {
            output::json(&CheckJson::found(&found))?;
            // Whoever reads that is no one to ask.
            return if is_something_to_do { Err(unconfirmed()) } else { Ok(code_of(&found)) };
        }
        output::print(&found_text(&found))?;
        if !is_something_to_do {
            return Ok(code_of(&found));
        }
        if found.iter().any(|finding| finding.repair() == Some(&Step::RenewMetadata)) {
            let plan = location.plan_metadata_repair(host)?;
            output::line(format!("The new metadata would be made of {}.", plan.made_of))?;
            output::print(&outlook_text(&plan.outlook))?;
        }
        let orphans =
            if how.delete_orphans { " Devices that the catalog doesn't know are deleted." } else { "" };
        output::confirm(&format!("This is to be repaired as told.{orphans}"))?;
    }
    let orphans = if how.delete_orphans { Orphans::Delete } else { Orphans::Adopt };
    tell(&location.repair(host, orphans)?, how.format)
}

/// What was asked for without a yes, by a program.
pub(super) fn unconfirmed() -> CliError {
    CliError::Unconfirmed("Nothing was done, that is what would be: say --yes to mean it.".to_owned())
}

pub(super) fn tell(repaired: &Repaired, format: output::Format) -> Result<u8, CliError> {
    if format.json {
        output::json(&CheckJson::repaired(repaired))?;
    } else {
        output::print(&repaired_text(repaired))?;
    }
    let left = code_of(&repaired.left);
    Ok(match left {
        exit::DONE if repaired.done.iter().any(Finding::counts) => exit::REPAIRED,
        _ => left,
    })
}

fn code_of(found: &[Finding]) -> u8 {
    if found.iter().any(Finding::counts) { exit::DEGRADED } else { exit::DONE }
}

fn from(arguments: &Repair) -> Option<RebuildFrom> {
    let devices = match (&arguments.datadev, &arguments.metadatadev) {
        (Some(data), Some(metadata)) => {
            Some(RebuildFrom::Devices { data: data.clone(), metadata: metadata.clone() })
        }
        _ => None,
    };
    devices
        .or_else(|| arguments.dir.clone().map(RebuildFrom::Files))
        .or_else(|| arguments.thinpooldev.clone().map(RebuildFrom::ThinPool))
}
