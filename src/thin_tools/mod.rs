//! The checker of a pool's metadata, from thin-provisioning-tools: run, never linked. And those who make it anew.

mod make;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lvm::RunError;
use serde::{Deserialize, Serialize};

pub use make::{Known, MetadataTools, ThinProvisioningTools, ToolError, longest};

/// Checks metadata that no pool has loaded: by thin_check, or as a test wants it.
pub trait MetadataChecker: Send + Sync {
    /// Checks the metadata on a device or in a file, for at most this long. Nothing is changed.
    fn check(&self, metadata: &Path, depth: Depth, limit: Duration) -> Result<Checked, RunError>;
}

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// The superblock and what it says of the devices: as long as the number of devices is small, a few blocks.
    Quick,
    /// Every mapping and every count: all the metadata that is in use is read.
    Full,
}

/// A check that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// How much was looked at.
    pub depth: Depth,
    /// What came out.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// What came out of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing is wrong.
    Sound,
    /// Blocks are counted as used that nobody uses. Nothing is lost by that but their room.
    Leaks,
    /// Something is wrong.
    Damaged {
        /// What the checker said.
        said: String,
    },
    /// It had not come to its end in time.
    Unfinished {
        /// How long it had.
        limit: Duration,
    },
    /// thin_check isn't installed.
    NoTool,
    /// Somebody wanted none.
    Skipped,
}

/// How long somebody else may have the device for himself.
const CLAIM_PATIENCE: Duration = Duration::from_secs(10);
const CLAIM_PAUSE: Duration = Duration::from_millis(100);

/// thin_check, as it is installed here.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThinCheck;

impl MetadataChecker for ThinCheck {
    fn check(&self, metadata: &Path, depth: Depth, limit: Duration) -> Result<Checked, RunError> {
        let begun = Instant::now();
        let outcome = outcome(metadata, depth, limit)?;
        Ok(Checked { depth, outcome, took: begun.elapsed() })
    }
}

/// Before the metadata is called damaged, it is made sure that thin_check could have it: it opens a device for itself alone,
/// and fails where another process has done so just now.
fn outcome(metadata: &Path, depth: Depth, limit: Duration) -> Result<Outcome, RunError> {
    let deadline = Instant::now() + CLAIM_PATIENCE;
    loop {
        match attempt(metadata, depth, limit) {
            Ok(Outcome::Damaged { .. }) if is_claimed(metadata) && Instant::now() < deadline => {
                std::thread::sleep(CLAIM_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// Whether another process has the device for itself alone. Nothing tells when it no longer has.
fn is_claimed(metadata: &Path) -> bool {
    use std::os::unix::fs::OpenOptionsExt;
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_EXCL).open(metadata);
    opened.is_err_and(|error| error.raw_os_error() == Some(nix::libc::EBUSY))
}

fn attempt(metadata: &Path, depth: Depth, limit: Duration) -> Result<Outcome, RunError> {
    let Ok(tool) = lvm::find_tool("thin_check", "thin-provisioning-tools") else {
        return Ok(Outcome::NoTool);
    };
    let run = |options: &[&str]| {
        let mut command = Command::new(&tool);
        lvm::run(command.env("LC_ALL", "C").args(options).arg(metadata), limit)
    };
    let quick: &[&str] = match depth {
        Depth::Quick => &["--skip-mappings"],
        Depth::Full => &[],
    };
    match run(quick) {
        Ok(_) => Ok(Outcome::Sound),
        Err(RunError::TimedOut { .. }) => Ok(Outcome::Unfinished { limit }),
        // Killed, by whomever: that says nothing of the metadata.
        Err(RunError::Failed(failed)) if failed.status.code().is_none() => Err(failed.into()),
        // thin_check fails on a leaked block as on a lost one; with this option only on what is really damaged.
        Err(RunError::Failed(failed)) => match run(&[quick, &["--ignore-non-fatal-errors"]].concat()) {
            Ok(_) => Ok(Outcome::Leaks),
            Err(RunError::TimedOut { .. }) => Ok(Outcome::Unfinished { limit }),
            Err(RunError::Failed(_)) => Ok(Outcome::Damaged { said: last_lines(&failed.stderr) }),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// The end of what a tool said: the reason stands there.
fn last_lines(said: &str) -> String {
    const LINES: usize = 3;
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_complaint_the_reason_is_kept() {
        assert_eq!(last_lines("examining superblock\n\n  one\n two\nthree\n"), "one; two; three");
        assert_eq!(last_lines(""), "");
    }
}
