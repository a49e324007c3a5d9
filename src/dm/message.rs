//! The messages a thin-pool target takes (Documentation/admin-guide/device-mapper/thin-provisioning.rst).

use std::fmt;

use crate::units::{DeviceId, TransactionId};

/// A message to a pool. Its text, as the kernel parses it, is its `Display`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMessage {
    /// A new, empty thin device.
    CreateThin(DeviceId),
    /// A snapshot. If the origin is active it must be suspended, and the kernel does not check: a snapshot of a
    /// running origin is silently torn.
    CreateSnap {
        /// The new device.
        device: DeviceId,
        /// What it is a snapshot of.
        origin: DeviceId,
    },
    /// Deletes a thin device; refused with EBUSY while it is active.
    Delete(DeviceId),
    /// Compare-and-swap of the transaction id.
    SetTransactionId {
        /// What it must be now.
        from: TransactionId,
        /// What it becomes.
        to: TransactionId,
    },
    /// Keeps today's metadata readable for tools.
    ReserveMetadataSnap,
    /// Lets go of it.
    ReleaseMetadataSnap,
}

impl fmt::Display for PoolMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateThin(device) => write!(f, "create_thin {device}"),
            Self::CreateSnap { device, origin } => write!(f, "create_snap {device} {origin}"),
            Self::Delete(device) => write!(f, "delete {device}"),
            Self::SetTransactionId { from, to } => write!(f, "set_transaction_id {from} {to}"),
            Self::ReserveMetadataSnap => f.write_str("reserve_metadata_snap"),
            Self::ReleaseMetadataSnap => f.write_str("release_metadata_snap"),
        }
    }
}
