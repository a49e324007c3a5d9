//! What can go wrong.

use std::path::PathBuf;

use thiserror::Error;

use crate::amounts::Bytes;
use crate::names::{LvId, Tag, VgName};
use crate::report::ReportError;
use crate::run::{Failed, RunError};
use crate::signatures::{self, Signature};
use crate::version::{Version, VersionError};

/// Anything that can go wrong with LVM.
#[derive(Debug, Error)]
pub enum LvmError {
    /// A tool isn't there.
    #[error(transparent)]
    NotInstalled(#[from] NotInstalled),
    /// LVM is there, but not of what version.
    #[error("{} did not tell its version: {source}", path.display())]
    NoVersion {
        /// Which `lvm`.
        path: PathBuf,
        /// Why.
        source: VersionError,
    },
    /// LVM is there, but can't do what is needed.
    #[error("{} is version {found}; {what} needs {needed} or later", path.display())]
    TooOld {
        /// Which `lvm`.
        path: PathBuf,
        /// Its version.
        found: Version,
        /// The version that can.
        needed: Version,
        /// What it can't do.
        what: &'static str,
    },
    /// The command didn't succeed, for a reason that only its own words tell.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The command succeeded, and what it printed can't be read.
    #[error("`lvm {command}` can't be understood: {source}")]
    Report {
        /// Which report.
        command: &'static str,
        /// Why.
        source: ReportError,
    },
    /// Not done, for a reason that was found by looking.
    #[error("{refusal}")]
    Refused {
        /// The reason.
        refusal: Refusal,
        /// LVM's own words, if it was LVM that refused.
        #[source]
        failed: Option<Box<Failed>>,
    },
    /// A device can't be looked at.
    #[error("{} can't be looked at: {source}", device.display())]
    Device {
        /// Which.
        device: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A tool isn't there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{tool} is not installed (Debian: apt-get install {package})")]
pub struct NotInstalled {
    /// Its name.
    pub tool: &'static str,
    /// The Debian package it is in.
    pub package: &'static str,
}

/// Why something was not done. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The device has a signature.
    #[error(
        "{} is not blank: it has {}; if nothing of that is needed, let it be wiped",
        device.display(), signatures::told(found)
    )]
    Signatures {
        /// The device.
        device: PathBuf,
        /// What was found.
        found: Vec<Signature>,
    },
    /// Somebody has the device, or a partition of it.
    #[error("{} is in use: mounted, or part of something else (`lsblk` shows what)", device.display())]
    Busy {
        /// The device.
        device: PathBuf,
    },
    /// The device belongs to LVM already.
    #[error("{} is a physical volume of LVM already, {}", device.display(), of_group(vg.as_ref()))]
    IsPv {
        /// The device.
        device: PathBuf,
        /// The group it is in.
        vg: Option<VgName>,
    },
    /// The device doesn't belong to LVM.
    #[error("{} is no physical volume of LVM; it has to be made one first", device.display())]
    NotPv {
        /// The device.
        device: PathBuf,
    },
    /// There is a group of this name.
    #[error("a volume group {vg} exists already; choose another name, or remove it if nobody needs it")]
    VgExists {
        /// Its name.
        vg: VgName,
    },
    /// There is no group of this name.
    #[error("there is no volume group {vg} (`vgs` shows those there are)")]
    NoVg {
        /// The name.
        vg: VgName,
    },
    /// There are several groups of this name.
    #[error("{count} volume groups are called {vg}; rename all but one, by uuid (`vgrename UUID NAME`)")]
    AmbiguousVg {
        /// The name.
        vg: VgName,
        /// How many.
        count: usize,
    },
    /// The group has volumes in it.
    #[error("the volume group {vg} still has volumes in it: {}", list(lvs))]
    NotEmpty {
        /// The group.
        vg: VgName,
        /// The volumes.
        lvs: Vec<LvId>,
    },
    /// Disks of the group are gone.
    #[error(
        "{missing} of the disks of volume group {vg} can't be found, so LVM changes nothing in it (`pvs` shows which); \
         bring them back, or give them up with `vgreduce --removemissing {vg}`"
    )]
    MissingDisks {
        /// The group.
        vg: VgName,
        /// How many.
        missing: u64,
    },
    /// There is a volume of this name.
    #[error("the volume {lv} exists already")]
    LvExists {
        /// Its name.
        lv: LvId,
    },
    /// There is no volume of this name.
    #[error("there is no volume {lv} (`lvs {}` shows those there are)", lv.vg)]
    NoLv {
        /// The name.
        lv: LvId,
    },
    /// The group has not enough room.
    #[error(
        "the volume group {vg} has {free} free, and {needed} more are needed; add a disk (`vgextend {vg} DEVICE`)"
    )]
    NoRoom {
        /// The group.
        vg: VgName,
        /// How much is needed.
        needed: Bytes,
        /// How much there is.
        free: Bytes,
    },
    /// Somebody has the volume open.
    #[error("the volume {lv} is in use: mounted, or part of something else (`lsblk /dev/{lv}` shows what)")]
    InUse {
        /// The volume.
        lv: LvId,
    },
    /// LVM said it activated the volume, and it isn't.
    #[error("LVM did not activate the volume {lv}: {why}")]
    NotActivated {
        /// The volume.
        lv: LvId,
        /// The likely reason.
        why: &'static str,
    },
    /// It isn't marked as ours.
    #[error("{what} does not have the tag {tag}, so it is somebody else's and is left alone")]
    NotOurs {
        /// The group or the volume.
        what: String,
        /// The tag it should have.
        tag: Tag,
    },
    /// LVM said it removed something, and it is there.
    #[error("{what} is still there although LVM said that it removed it")]
    StillThere {
        /// What.
        what: String,
    },
}

impl LvmError {
    /// The reason it was refused for, if one was found.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }

    /// Puts what was found by looking before what LVM said. Looking may fail or find nothing; then LVM's words stand.
    pub(crate) fn explained(self, look: impl FnOnce() -> Result<Option<Refusal>, Self>) -> Self {
        let Self::Run(RunError::Failed(failed)) = self else { return self };
        match look() {
            Ok(Some(refusal)) => Self::Refused { refusal, failed: Some(Box::new(failed)) },
            _ => Self::Run(RunError::Failed(failed)),
        }
    }
}

impl From<Refusal> for LvmError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { refusal, failed: None }
    }
}

fn of_group(vg: Option<&VgName>) -> String {
    match vg {
        Some(vg) => format!("in the volume group {vg}"),
        None => "in no volume group (`pvremove` makes it a plain disk again)".to_owned(),
    }
}

fn list(lvs: &[LvId]) -> String {
    lvs.iter().map(|id| id.lv.as_str()).collect::<Vec<_>>().join(", ")
}
