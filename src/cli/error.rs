//! What a command can end with.

use std::io;

use lvm::{LvmError, Refusal};
use thiserror::Error;

use super::exit;
use crate::backing::VolumesError;
use crate::backing::block::{BlockError, Obstacle};
use crate::boot::BootError;
use crate::catalog::CatalogError;
use crate::config::ConfigError;
use crate::dm;
use crate::image::{
    AddError, ChangeError, CommitError, ConfigError as ImageConfigError, ExportError, ImportError,
};
use crate::monitor::MonitorError;
use crate::pool::{ExtendError, LabelRefused, NameRefused, PoolError};
use crate::report::{ListError, TextfileError};
use crate::units::SizeError;

/// An error of a command.
#[derive(Debug, Error)]
pub enum CliError {
    /// Of the pool.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Of a setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Of a name.
    #[error(transparent)]
    Name(#[from] NameRefused),
    /// Of a label.
    #[error(transparent)]
    Label(#[from] LabelRefused),
    /// Of what a list was asked.
    #[error(transparent)]
    List(#[from] ListError),
    /// Of a size.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// Of an import.
    #[error(transparent)]
    Image(#[from] AddError),
    /// Of a commit, or of a look at what changed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Of an export.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Of a change of an image's configuration.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Of an image's configuration.
    #[error(transparent)]
    ImageConfig(#[from] ImageConfigError),
    /// Of device-mapper, before any pool was looked at.
    #[error(transparent)]
    Dm(#[from] dm::Error),
    /// Of what makes the pool active at boot.
    #[error("what happens to the pool at boot could not be changed: {0}")]
    Boot(#[from] BootError),
    /// Of the monitor.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// Of the file with the metrics.
    #[error(transparent)]
    Textfile(#[from] TextfileError),
    /// Of JSON.
    #[error("this can't be told as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Of the standard output.
    #[error("can't write to the standard output: {0}")]
    Output(#[from] io::Error),
    /// Of the terminal.
    #[error("the terminal can't be used: {0}")]
    Terminal(#[source] io::Error),
    /// There is no terminal to draw on.
    #[error(
        "this needs a terminal to draw on; `thinpool status` tells the same once, with --json or --prometheus for programs"
    )]
    NoTerminal,
    /// Somebody has to say yes, and nobody is there.
    #[error("{0}")]
    Unconfirmed(String),
}

impl CliError {
    /// Whether nobody reads what we print any more: then there is nothing left to do.
    pub(super) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Name(_)
            | Self::Size(_)
            | Self::Change(_)
            | Self::NoTerminal
            | Self::Label(_)
            | Self::Textfile(TextfileError::Name(_))
            | Self::List(_) => exit::USAGE,
            Self::Pool(error)
            | Self::Monitor(MonitorError::Pool(error))
            | Self::Commit(CommitError::Pool(error))
            | Self::Export(ExportError::Pool(error))
            | Self::Image(AddError::Pool(error) | AddError::Import(ImportError::Store { error, .. })) => {
                of_pool(error)
            }
            Self::Unconfirmed(_) | Self::Export(ExportError::Exists(_) | ExportError::Terminal) => {
                exit::REFUSED
            }
            Self::Commit(_)
            | Self::Export(_)
            | Self::ImageConfig(_)
            | Self::Image(_)
            | Self::Dm(_)
            | Self::Boot(_)
            | Self::Monitor(_)
            | Self::Textfile(_)
            | Self::Terminal(_)
            | Self::Json(_)
            | Self::Output(_) => exit::FAILED,
        }
    }
}

fn of_pool(error: &PoolError) -> u8 {
    match error {
        PoolError::NotActive(_)
        | PoolError::ExistingNotActive(_)
        | PoolError::ExistingUnreachable(_)
        | PoolError::PartMissing { .. } => exit::NOT_ACTIVE,
        PoolError::Absent { .. } | PoolError::NoSuch { .. } => exit::ABSENT,
        // What is on a device, and in nobody's use, would be lost.
        PoolError::Obstacles { obstacles, .. } if obstacles.iter().all(Obstacle::can_be_wiped) => {
            exit::REFUSED
        }
        PoolError::Lock(_)
        | PoolError::MetadataSnapshotHeld { .. }
        | PoolError::MetadataChanged(_)
        | PoolError::Obstacles { .. }
        | PoolError::InUse { .. }
        | PoolError::Mounted { .. }
        | PoolError::Covered(_)
        | PoolError::Busy { .. }
        | PoolError::MountedOtherwise { .. }
        | PoolError::MountedReadOnly { .. }
        | PoolError::NameLingers(_)
        | PoolError::AttachedElsewhere { .. }
        | PoolError::Block(BlockError::InUse { .. }) => exit::BUSY,
        PoolError::Differs { .. }
        | PoolError::Foreign { .. }
        | PoolError::Mismatch { .. }
        | PoolError::BlockSizeMismatch { .. }
        | PoolError::OtherDevices { .. }
        | PoolError::Superblock { .. }
        | PoolError::PartTooShort { .. }
        | PoolError::MetadataDamaged { .. }
        | PoolError::UsedByPool { .. }
        | PoolError::NotBlank(_)
        | PoolError::NoIdentity(_)
        | PoolError::NotAThinPool { .. }
        | PoolError::ExistingUnmarked(_)
        | PoolError::ExistingInUse { .. }
        | PoolError::LoopFile(_)
        | PoolError::NameTaken { .. }
        | PoolError::Needed { .. }
        | PoolError::UdevRaces(_)
        | PoolError::CatalogMissing { .. }
        | PoolError::CatalogDamaged { .. }
        | PoolError::CatalogReadable(_)
        | PoolError::OrphansOfAnotherMoment(_)
        | PoolError::Catalog(CatalogError::Damaged { .. })
        | PoolError::Block(BlockError::Ambiguous { .. } | BlockError::Replaced { .. }) => exit::REFUSED,
        PoolError::TooFull { .. }
        | PoolError::RanFull(_)
        | PoolError::IdsExhausted
        | PoolError::SnapshotsExhausted { .. } => exit::FULL,
        PoolError::TooSmall { .. }
        | PoolError::BackingUnknown(_)
        | PoolError::NotSmaller { .. }
        | PoolError::Size(_)
        | PoolError::LessThanABlock { .. }
        | PoolError::SameDevice(_)
        | PoolError::WipeOfStranger(_)
        | PoolError::NoMetadataDevice { .. }
        | PoolError::DeviceTooSmall { .. }
        | PoolError::Options(_)
        | PoolError::Block(BlockError::NotThere { .. } | BlockError::NotABlockDevice { .. })
        | PoolError::Volumes(VolumesError::TooSmall { .. }) => exit::USAGE,
        PoolError::Lvm(error) | PoolError::Volumes(VolumesError::Lvm(error)) => of_lvm(error),
        PoolError::Extend(error) => of_extend(error),
        PoolError::CleanUp { cause, .. } => of_pool(cause),
        _ => exit::FAILED,
    }
}

fn of_extend(error: &ExtendError) -> u8 {
    match error {
        ExtendError::Shrink { .. }
        | ExtendError::TooMuchMetadata { .. }
        | ExtendError::BeyondCounting { .. }
        | ExtendError::NoMetadata { .. }
        | ExtendError::NoGroup { .. } => exit::USAGE,
        ExtendError::SomebodyElses { .. } | ExtendError::DeviceGone { .. } => exit::REFUSED,
        ExtendError::DeviceTooSmall { .. } | ExtendError::NoRoomOnHost { .. } => exit::FULL,
        ExtendError::NotGrown { .. } => exit::FAILED,
    }
}

fn of_lvm(error: &LvmError) -> u8 {
    match error.refusal() {
        Some(Refusal::Busy { .. } | Refusal::InUse { .. }) => exit::BUSY,
        Some(Refusal::NoRoom { .. }) => exit::FULL,
        Some(_) => exit::REFUSED,
        None => exit::FAILED,
    }
}
