//! What a monitor tells.

use std::fmt;

use super::notice::Kind;
use crate::backing::Part;
use crate::dm::{Mode, PoolStatus};
use crate::pool::extend::{Room, RoomIn, Step};
use crate::pool::status::Problem;
use crate::units::PoolName;

/// Something that happened to a pool that is watched over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A part of it has grown.
    Grown {
        /// Data or metadata.
        part: Part,
        /// From how much to how much.
        step: Step,
    },
    /// It isn't full yet, and couldn't grow if it were.
    CouldNotGrow(Room),
    /// It should grow, and there is no room.
    NoRoom(Room),
    /// There is room again.
    RoomAgain,
    /// There is still no room to grow, and no need of any.
    EnoughFree,
    /// It should have grown, and that failed.
    Failed {
        /// Why.
        why: String,
    },
    /// Its metadata should be backed up, and that failed.
    BackupFailed {
        /// Why.
        why: String,
    },
    /// Its metadata is backed up, after that had failed.
    BackedUpAgain,
    /// Something is wrong with it: the kernel says so, or something runs out in its life.
    Trouble(Problem),
    /// That is over.
    Over(Problem),
}

impl Event {
    /// Says it where a monitor's words go: to the journal, or to whoever started it.
    pub fn tell(&self, pool: &PoolName) {
        let (event, told) = (self.kind().as_str(), Told { event: self, pool });
        match self.kind() {
            Kind::Extend | Kind::Recovered | Kind::Test => tracing::info!(%pool, event, "{told}"),
            Kind::Warn => tracing::warn!(%pool, event, "{told}"),
            Kind::Full | Kind::NeedsCheck | Kind::Failed => tracing::error!(%pool, event, "{told}"),
        }
    }

    /// What it is to whoever has to act on it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Grown { .. } => Kind::Extend,
            Self::CouldNotGrow(_)
            | Self::NoRoom(_)
            | Self::Failed { .. }
            | Self::BackupFailed { .. }
            | Self::Trouble(
                Problem::DataNearlyFull { .. }
                | Problem::MetadataNearlyFull { .. }
                | Problem::IdsScarce { .. }
                | Problem::SnapshotsScarce { .. },
            ) => Kind::Warn,
            Self::RoomAgain | Self::EnoughFree | Self::BackedUpAgain | Self::Over(_) => Kind::Recovered,
            Self::Trouble(Problem::OutOfDataSpace | Problem::OutOfMetadataSpace) => Kind::Full,
            Self::Trouble(Problem::NeedsCheck) => Kind::NeedsCheck,
            Self::Trouble(_) => Kind::Failed,
        }
    }

    /// What happened, as one word for programs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Grown { .. } => "grown",
            Self::CouldNotGrow(_) => "could_not_grow",
            Self::NoRoom(_) => "no_room",
            Self::RoomAgain => "room_again",
            Self::EnoughFree => "enough_free",
            Self::Failed { .. } => "growth_failed",
            Self::BackupFailed { .. } => "backup_failed",
            Self::BackedUpAgain => "backed_up_again",
            Self::Trouble(problem) | Self::Over(problem) => problem.key(),
        }
    }

    /// What happened, in words.
    #[must_use]
    pub fn sentence(&self, pool: &PoolName) -> String {
        Told { event: self, pool }.to_string()
    }
}

/// What happened, in words.
struct Told<'a> {
    event: &'a Event,
    pool: &'a PoolName,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Event::Grown { part, step } => write!(f, "it has {} for {part}; it had {}", step.to, step.from),
            Event::CouldNotGrow(room) => write!(f, "it could not grow if it were full: {}", lack(room)),
            Event::NoRoom(room) => write!(
                f,
                "nearly full, and it can't grow: {}. Writes to a full pool fail at once until it can; that is tried every {} s",
                lack(room),
                super::RETRY.as_secs()
            ),
            Event::RoomAgain => f.write_str("it can grow again"),
            Event::EnoughFree => f.write_str("enough of it is free again; it still can't grow"),
            Event::Failed { why } => {
                write!(
                    f,
                    "it could not be made larger, which is tried again in {} s: {why}",
                    super::RETRY.as_secs()
                )
            }
            Event::BackupFailed { why } => write!(
                f,
                "its metadata could not be backed up, which is tried again in {} min: {why}",
                super::REST.as_secs() / 60
            ),
            Event::BackedUpAgain => f.write_str("its metadata is backed up"),
            Event::Trouble(problem) => f.write_str(&problem.sentence(self.pool)),
            Event::Over(Problem::DataNearlyFull { .. }) => f.write_str("enough of its data is free again"),
            Event::Over(Problem::MetadataNearlyFull { .. }) => {
                f.write_str("enough of its metadata is free again")
            }
            Event::Over(Problem::IdsScarce { .. }) => f.write_str("it has enough ids for devices again"),
            Event::Over(Problem::SnapshotsScarce { .. }) => {
                f.write_str("fewer snapshots were made in it than it seemed: enough are left")
            }
            Event::Over(problem) => write!(f, "it is no longer {}", problem.key().replace('_', " ")),
        }
    }
}

/// Where room is wanting, and what helps.
fn lack(room: &Room) -> String {
    match &room.lies_in {
        RoomIn::FileSystem(path) => format!(
            "the file system under {} has room for {} beyond what was promised to the pool already",
            path.display(),
            room.data
        ),
        RoomIn::VolumeGroup(vg) => format!(
            "the volume group {vg} has {} left for its data and {} for its metadata; `thinpool extend --device` or `vgextend` \
             adds a disk",
            room.data, room.metadata
        ),
        RoomIn::Devices | RoomIn::Nowhere => format!(
            "its devices have {} more than it takes, and are not its own to make larger; `thinpool extend` takes what you make \
             them larger by",
            room.data
        ),
    }
}

/// What the kernel's status says is wrong.
pub(super) fn troubles(status: &PoolStatus) -> Vec<Problem> {
    let PoolStatus::Working(usage) = status else { return vec![Problem::Failed] };
    let metadata_is_out = usage.metadata.free().0 == 0;
    let found = [
        usage.needs_check.then_some(Problem::NeedsCheck),
        metadata_is_out.then_some(Problem::OutOfMetadataSpace),
        (usage.mode == Mode::ReadOnly && !usage.needs_check && !metadata_is_out).then_some(Problem::ReadOnly),
        (usage.mode == Mode::OutOfDataSpace).then_some(Problem::OutOfDataSpace),
    ];
    found.into_iter().flatten().collect()
}
