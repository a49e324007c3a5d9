//! What makes and mends metadata, from thin-provisioning-tools: run, never linked.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lvm::{NotInstalled, RunError};
use thiserror::Error;

use crate::units::{BlockSize, DataBlocks, MetaBlocks, TransactionId};

/// Makes metadata that no pool has loaded: by thin_restore and thin_repair, or as a test wants it.
pub trait MetadataTools: Send + Sync {
    /// Makes metadata of the XML in a file, in a file or on a device that is large enough.
    fn restore(&self, xml: &Path, into: &Path, limit: Duration) -> Result<(), ToolError>;

    /// Makes metadata of what can still be read of damaged metadata. What is known of the pool stands in for a superblock
    /// that says nothing any more.
    fn repair(
        &self,
        damaged: &Path,
        into: &Path,
        known: Option<&Known>,
        limit: Duration,
    ) -> Result<(), ToolError>;

    /// Takes the kernel's wish for a check away, from metadata that is found to be sound.
    fn clear_needs_check(&self, metadata: &Path, limit: Duration) -> Result<(), ToolError>;
}

/// What the superblock would say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// How far the pool got.
    pub transaction_id: TransactionId,
    /// The size of its blocks.
    pub block_size: BlockSize,
    /// How many of them it has for data.
    pub data_blocks: DataBlocks,
}

/// Why a tool made nothing.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It isn't there.
    #[error(transparent)]
    NotInstalled(#[from] NotInstalled),
    /// It failed, or didn't come to its end.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// thin-provisioning-tools, as they are installed here.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThinProvisioningTools;

impl MetadataTools for ThinProvisioningTools {
    fn restore(&self, xml: &Path, into: &Path, limit: Duration) -> Result<(), ToolError> {
        run("thin_restore", limit, |command| command.arg("-i").arg(xml).arg("-o").arg(into))
    }

    fn repair(
        &self,
        damaged: &Path,
        into: &Path,
        known: Option<&Known>,
        limit: Duration,
    ) -> Result<(), ToolError> {
        run("thin_repair", limit, |command| {
            command.arg("-i").arg(damaged).arg("-o").arg(into);
            if let Some(known) = known {
                command
                    .args(["--transaction-id", &known.transaction_id.to_string()])
                    .args(["--data-block-size", &known.block_size.sectors().0.to_string()])
                    .args(["--nr-data-blocks", &known.data_blocks.0.to_string()]);
            }
            command
        })
    }

    fn clear_needs_check(&self, metadata: &Path, limit: Duration) -> Result<(), ToolError> {
        run("thin_check", limit, |command| command.arg("--clear-needs-check-flag").arg(metadata))
    }
}

fn run(
    tool: &'static str,
    limit: Duration,
    arguments: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<(), ToolError> {
    let mut command = Command::new(lvm::find_tool(tool, "thin-provisioning-tools")?);
    lvm::run(arguments(command.env("LC_ALL", "C")), limit)?;
    Ok(())
}

/// How long a tool may take that reads and writes so much metadata: two minutes, and ten milliseconds for each block. A
/// disk that seeks for each comes to an end in that time.
#[must_use]
pub fn longest(blocks: MetaBlocks) -> Duration {
    Duration::from_secs(120) + Duration::from_millis(blocks.0.saturating_mul(10))
}
