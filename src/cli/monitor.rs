//! `thinpool monitor`

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::settings::{MonitorSettings, is_general};
use super::{CliError, Context, exit, output};
use crate::config::Source;
use crate::monitor::hooks::run_all;
use crate::monitor::serve::serve;
use crate::monitor::{Ended, Hooks, Manner, Notice, Schedule, watch};
use crate::report;

/// How long a backup may take. The largest metadata, 16 GiB, is read in less on a disk of 10 MB a second.
const LONGEST_BACKUP: Duration = Duration::from_secs(3600);

/// How to watch.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Run every hook once with an event that says it is a test, tell what came of it, and watch over nothing.
    #[arg(long)]
    test_hooks: bool,
    #[command(flatten)]
    pub settings: MonitorSettings,
}

/// What the help of the command says.
pub(super) fn about() -> &'static str {
    "Watch over a pool that is active, until it no longer is or a signal ends it. It sleeps until device-mapper says that \
     something has happened, and makes the pool larger when its data is as full as autoextend-threshold says, or its metadata by \
     seven tenths: out of the room that there is for it, and never at the cost of what isn't its own. As long as there is room, \
     writes to a full pool wait for it; when there is none, that is said, and tried again every 10 seconds. When many devices were \
     made or removed, or much was written, it has the metadata backed up, as metadata-backup-changes says. There is one monitor for \
     a pool; its unit is thinpool-monitor@POOL.service, which setup enables."
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8, CliError> {
    if arguments.test_hooks {
        return test_hooks(context);
    }
    let (settings, location) = (&context.settings, context.location());
    let manner = Manner {
        when_full: *settings.when_full.get(),
        hooks: Hooks::new(settings.hooks.get().as_path().to_owned()),
        backups: backups(context),
    };
    let host = context.host()?;
    let (told, host_of_metrics) = (location.clone(), context.host()?);
    let metrics = move || report::prometheus(&[told.status(&host_of_metrics)]);
    match watch(&host, &location, manner, || serve(settings.metrics_listen.get(), metrics))? {
        Ended::PoolInactive => tracing::info!(pool = %location.name, "it is no longer active"),
        Ended::Asked => tracing::info!(pool = %location.name, "no longer watching"),
    }
    Ok(exit::DONE)
}

/// When the metadata is backed up, and by which command: ours, as somebody would type it.
fn backups(context: &Context) -> Option<Schedule> {
    let settings = &context.settings;
    let changes = settings.metadata_backup_changes.get().0;
    if changes == 0 || settings.metadata_backups.get().0 == 0 {
        return None;
    }
    let words = words_of_backup(context);
    let take = move || {
        let mut command = Command::new(own_program());
        // What it says goes to the journal as one line: why it failed, and nothing else.
        command.arg0("thinpool").args(&words).env_remove(output::LOG_FILTER);
        let said = lvm::run(&mut command, LONGEST_BACKUP)?;
        Ok(String::from_utf8_lossy(&said).trim_end().to_owned())
    };
    Some(Schedule { changes, take: Arc::new(take) })
}

/// With what of ours was not decided by default.
fn words_of_backup(context: &Context) -> Vec<OsString> {
    let file = context.file.iter().flat_map(|file| [OsString::from("--config"), file.into()]);
    let decided = context.settings.effective().into_iter().filter(|setting| {
        is_general(setting.name) && setting.source != Source::Default && setting.name != "log-level"
    });
    let decided = decided.map(|setting| format!("--{}={}", setting.name, setting.value).into());
    file.chain(decided).chain(["--log-level=error", "metadata", "backup"].map(OsString::from)).collect()
}

/// The file that this process runs, or the process's own view of it where an upgrade has replaced that.
fn own_program() -> PathBuf {
    std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| "/proc/self/exe".into())
}

fn test_hooks(context: &Context) -> Result<u8, CliError> {
    let path = context.settings.hooks.get().as_path();
    let told = run_all(path, &Notice::test(context.settings.pool.get()));
    if told.is_empty() {
        output::line(format!("There is no hook: nothing that can be executed is in {}.", path.display()))?;
    }
    for told in &told {
        match &told.outcome {
            Ok(()) => output::line(format!("{}: done", told.hook.display()))?,
            Err(error) => output::line(format!("{}: {error}", told.hook.display()))?,
        }
    }
    let failed = told.iter().any(|told| told.outcome.is_err());
    Ok(if failed { exit::FAILED } else { exit::DONE })
}
