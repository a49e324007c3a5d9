//! What was about to be done when a process died.

use rusqlite::{OptionalExtension, Transaction};

use super::pool::transaction_id;
use super::{Catalog, CatalogError, Device, DeviceState, Durability, Prepared, devices};
use crate::units::{DeviceId, TransactionId};

/// A change that was recorded before the kernel was asked for it. There is at most one: changes of a pool are
/// made one after the other, under its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// What is to be done.
    pub action: Action,
    /// The pool's transaction id before the change. After it, it is the next one.
    pub before: TransactionId,
}

/// A change of what a pool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A new device, empty or a snapshot.
    Create {
        /// The new device.
        device: DeviceId,
        /// What it is a snapshot of, if it is one.
        origin: Option<DeviceId>,
        /// What it is once the pool has it.
        becomes: DeviceState,
    },
    /// A device is deleted.
    Delete {
        /// Which.
        device: DeviceId,
    },
}

impl Catalog {
    /// The change that is not known to be finished, if any.
    pub fn intent(&self) -> Result<Option<Intent>, CatalogError> {
        self.read(|connection| {
            let query = "SELECT * FROM intent";
            connection
                .ask(query, [], |row| {
                    let device = row.get("device")?;
                    let action = match row.get::<_, String>("action")?.as_str() {
                        "create" => Action::Create {
                            device,
                            origin: row.get("origin")?,
                            becomes: row.get("becomes")?,
                        },
                        "delete" => Action::Delete { device },
                        other => {
                            let wrong = format!("the intent '{other}' is not known");
                            return Err(rusqlite::Error::FromSqlConversionFailure(
                                0,
                                rusqlite::types::Type::Text,
                                wrong.into(),
                            ));
                        }
                    };
                    Ok(Intent { action, before: transaction_id(row, "transaction_id")? })
                })
                .optional()
        })
    }

    /// Records, durably, that a device is about to be made. What else belongs to it (a container's name) is
    /// written in the same step by `and`. `None`, and nothing is written, if the origin is no longer there to be
    /// snapshotted, or if `and` says that what it depends on is not: whoever removes either does it in a step of
    /// its own, so one of the two comes first.
    pub fn intend_create(
        &mut self,
        device: &Device,
        becomes: DeviceState,
        before: TransactionId,
        and: impl FnOnce(&Transaction<'_>) -> Result<bool, rusqlite::Error>,
    ) -> Result<Option<Intent>, CatalogError> {
        let action = Action::Create { device: device.id, origin: device.origin, becomes };
        let intent = Intent { action, before };
        self.change_if(Durability::Synced, |transaction| {
            if let Some(origin) = device.origin
                && !devices::is_ready(transaction, origin)?
            {
                return Ok(None);
            }
            devices::insert(transaction, &Device { state: DeviceState::Pending, ..device.clone() }, before)?;
            if !and(transaction)? {
                return Ok(None);
            }
            write(transaction, intent)?;
            Ok(Some(intent))
        })
    }

    /// Records, durably, that a device is about to be deleted.
    pub fn intend_delete(&mut self, device: DeviceId, before: TransactionId) -> Result<Intent, CatalogError> {
        let intent = Intent { action: Action::Delete { device }, before };
        self.change(Durability::Synced, |transaction| {
            devices::set_state(transaction, device, DeviceState::Deleted)?;
            write(transaction, intent)
        })?;
        Ok(intent)
    }

    /// Records that the change was made. Not synced: the transaction id in the pool says the same.
    pub fn carried_out(&mut self, intent: Intent) -> Result<(), CatalogError> {
        self.change(Durability::Ordered, |transaction| {
            match intent.action {
                Action::Create { device, becomes, .. } => devices::set_state(transaction, device, becomes)?,
                Action::Delete { device } => devices::delete(transaction, device)?,
            }
            transaction
                .tell("UPDATE pool SET transaction_id = ?1", [intent.before.next().0.cast_signed()])?;
            transaction.tell("DELETE FROM intent", []).map(drop)
        })
    }

    /// Records that the change was not made, and forgets what was to be made. A deletion can't be called off.
    pub fn called_off(&mut self, intent: Intent) -> Result<(), CatalogError> {
        self.change(Durability::Ordered, |transaction| {
            if let Action::Create { device, .. } = intent.action {
                devices::delete(transaction, device)?;
            }
            transaction.tell("DELETE FROM intent", []).map(drop)
        })
    }

    /// The pool's transaction id, as far as outcomes are known.
    pub fn transaction_id(&self) -> Result<TransactionId, CatalogError> {
        self.read(super::pool::known_transaction_id)
    }
}

fn write(transaction: &Transaction<'_>, intent: Intent) -> Result<(), rusqlite::Error> {
    let (action, device, origin, becomes) = match intent.action {
        Action::Create { device, origin, becomes } => ("create", device, origin, becomes),
        Action::Delete { device } => ("delete", device, None, DeviceState::Deleted),
    };
    transaction
        .tell(
            "INSERT INTO intent (one, action, device, origin, becomes, transaction_id) VALUES (1, ?1, ?2, ?3, ?4, ?5)",
            (action, device, origin, becomes, intent.before.0.cast_signed()),
        )
        .map(drop)
}
