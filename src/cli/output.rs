//! What is printed, and how.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use serde::Serialize;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use super::{CliError, journal};
use crate::config::LogLevel;

/// How a listing is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Format {
    /// Print JSON, with sizes in bytes and times in seconds since 1970.
    #[arg(long)]
    pub json: bool,
}

/// Prints a text as it is.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints a line.
pub(super) fn line(text: impl std::fmt::Display) -> Result<(), CliError> {
    print(&format!("{text}\n"))
}

/// Prints a value as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
    line(serde_json::to_string_pretty(value)?)
}

/// Tells an error where people look for it. Red only on a terminal.
pub(super) fn error(error: &CliError) {
    let (red, plain) = if io::stderr().is_terminal() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    // Should even this fail, the exit code still tells.
    let _ = writeln!(io::stderr(), "{red}thinpool:{plain} {error}");
}

/// Tells something that people should know, though nothing is wrong.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "thinpool: {text}");
}

/// Asks for a yes. Without a terminal to ask on, the answer is no.
pub(super) fn confirm(what: &str) -> Result<(), CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::Unconfirmed(format!("{what} Nothing was done: say --yes to mean it.")));
    }
    print(&format!("{what} Type yes to go on: "))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(CliError::Unconfirmed("Nothing was done.".to_owned())) }
}

/// The variable that beats the setting of how much is logged.
pub(super) const LOG_FILTER: &str = "THINPOOL_LOG";

/// Sends logs to standard error. THINPOOL_LOG beats the setting, for a look at one command.
pub(super) fn start_log(level: LogLevel) {
    let wanted = std::env::var(LOG_FILTER).ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = wanted.or_else(|| level.as_str().parse().ok()).unwrap_or_default();
    let to_journal = journal::is_stderr();
    let format = fmt::format().without_time().with_target(false).with_level(!to_journal);
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .event_format(journal::Prioritised { format, to_journal });
    let started = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    // Only a second call could fail.
    debug_assert!(started.is_ok());
}
