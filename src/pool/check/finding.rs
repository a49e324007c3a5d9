//! What a check finds, and what a repair would do about it.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::catalog::{Device, Suspect};
use crate::dm;
use crate::pool::status::Severity;
use crate::units::{DeviceId, TransactionId};

/// Something that a check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Its name for programs, which never changes: one of [`super::KINDS`].
    pub kind: &'static str,
    /// How bad it is. Of what is only noted, nothing has to be done.
    pub severity: Severity,
    /// What is.
    pub sentence: String,
    /// What can be done about it.
    pub remedy: Remedy,
}

/// What can be done about a finding.
#[derive(Debug, Clone, PartialEq)]
pub enum Remedy {
    /// Nothing has to be.
    Nothing,
    /// A repair does it.
    Repair(Repair),
    /// It is for somebody who knows more than this program.
    ByHand(String),
}

/// One step of a repair. Each can be made again, or after a kill, without harm.
#[derive(Debug, Clone, PartialEq)]
pub enum Repair {
    /// Damaged metadata is made anew; the damaged is kept.
    RenewMetadata,
    /// The kernel's wish for a check is taken away, after one.
    ClearNeedsCheck,
    /// A record goes into quarantine.
    Quarantine(Suspect),
    /// A device of the pool's that no record knows becomes a container, or is deleted if that was asked for.
    Adopt {
        /// Its id in the pool.
        device: DeviceId,
        /// The pool's transaction id when it was made.
        made_at: TransactionId,
        /// Whether it is taken for the base that is missing.
        as_base: bool,
    },
    /// A device's size is measured and corrected.
    Measure(Device),
    /// The catalog takes over the pool's transaction id.
    TakeTransaction(TransactionId),
    /// A change that a process died in is completed or undone.
    Settle,
    /// A device that nobody needs is freed.
    Reap(Device),
    /// The base is made anew.
    MakeBase,
    /// A node goes, if nobody uses it.
    RemoveNode(dm::Name),
    /// An empty directory goes.
    RemoveDirectory(PathBuf),
    /// The file of a lock goes, if nobody holds it.
    RemoveLock(PathBuf),
}

/// When a step is made: each only when there is none left of those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::pool) enum Phase {
    /// As long as the metadata is damaged, what it says is nothing to go by.
    Metadata,
    /// Until every record is compared with what the pool has, nothing else may trust them.
    Records,
    /// From here on the pool can be changed.
    Transaction,
    /// What needs changes of the pool, or none.
    Rest,
}

impl Repair {
    pub(in crate::pool) fn phase(&self) -> Phase {
        match self {
            Self::RenewMetadata | Self::ClearNeedsCheck => Phase::Metadata,
            Self::Quarantine(_) | Self::Adopt { .. } | Self::Measure(_) => Phase::Records,
            Self::TakeTransaction(_) | Self::Settle => Phase::Transaction,
            Self::Reap(_)
            | Self::MakeBase
            | Self::RemoveNode(_)
            | Self::RemoveDirectory(_)
            | Self::RemoveLock(_) => Phase::Rest,
        }
    }

    /// Whether it can only be made while the pool is active.
    pub(in crate::pool) fn needs_pool(&self) -> bool {
        matches!(self, Self::Adopt { .. } | Self::Measure(_) | Self::Settle | Self::Reap(_) | Self::MakeBase)
    }
}

/// What it does, in the future that a dry run speaks of: "the record … goes into quarantine".
impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RenewMetadata => f.write_str(
                "make new metadata of what thin_repair can still read, or of the newest backup; the damaged is kept",
            ),
            Self::ClearNeedsCheck => f.write_str("check all of it, and let the kernel know that it is sound"),
            Self::Quarantine(Suspect { record, .. }) => {
                write!(f, "put the record of {record} into quarantine")?;
                if record.device().is_some() {
                    f.write_str("; a device that is in the pool becomes a container recovered-ID")?;
                }
                Ok(())
            }
            Self::Adopt { as_base: true, .. } => {
                f.write_str("make it the base, if there is a file system on it")
            }
            Self::Adopt { device, .. } => write!(f, "make it the container recovered-{device}"),
            Self::Measure(device) => write!(f, "measure {} and correct its size", device.node),
            Self::TakeTransaction(id) => {
                write!(
                    f,
                    "let the catalog take over the pool's transaction id {id}, after every record was compared"
                )
            }
            Self::Settle => f.write_str("complete or undo it, as the pool's transaction id says"),
            Self::Reap(device) => write!(f, "free {}", device.node),
            Self::MakeBase => f.write_str("make a new base"),
            Self::RemoveNode(name) => write!(f, "remove the node {name}"),
            Self::RemoveDirectory(path) | Self::RemoveLock(path) => write!(f, "remove {}", path.display()),
        }
    }
}

impl Finding {
    pub(super) fn new(
        kind: &'static str,
        severity: Severity,
        sentence: impl Into<String>,
        remedy: Remedy,
    ) -> Self {
        debug_assert!(super::KINDS.iter().any(|known| known.0 == kind), "{kind} is not listed");
        Self { kind, severity, sentence: sentence.into(), remedy }
    }

    pub(super) fn note(kind: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(kind, Severity::Note, sentence, Remedy::Nothing)
    }

    /// The step that a repair makes, if there is one.
    #[must_use]
    pub fn repair(&self) -> Option<&Repair> {
        match &self.remedy {
            Remedy::Repair(repair) => Some(repair),
            Remedy::Nothing | Remedy::ByHand(_) => None,
        }
    }

    /// Whether something is wrong.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.severity > Severity::Note
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Told<'a> {
            finding: &'a str,
            severity: Severity,
            sentence: &'a str,
            repair: Option<String>,
            by_hand: Option<&'a str>,
        }
        let by_hand = match &self.remedy {
            Remedy::ByHand(hint) => Some(hint.as_str()),
            Remedy::Nothing | Remedy::Repair(_) => None,
        };
        let repair = self.repair().map(ToString::to_string);
        let Self { kind: finding, severity, sentence, .. } = self;
        Told { finding, severity: *severity, sentence, repair, by_hand }.serialize(serializer)
    }
}
