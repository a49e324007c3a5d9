//! Changes of what a pool holds: intent, kernel, outcome.
//!
//! The order of a change, and what each step buys:
//!
//! 1. The intent goes to the catalog and is synced. From here on a crash is noticed.
//! 2. The kernel makes or deletes the device, and commits its metadata.
//! 3. The kernel raises the transaction id, and commits again. This is the moment at which the change has
//!    happened: before it a crash undoes the change, after it a crash completes it.
//! 4. The outcome goes to the catalog, unsynced: the transaction id says the same.

use nix::errno::Errno;
use rusqlite::Transaction;

use super::device::visibility;
use super::lock::Lock;
use super::{Pool, PoolError, now};
use crate::backing::FileSpace;
use crate::catalog::{Action, Clock, Device, DeviceKind, DeviceState, Intent};
use crate::dm::{self, Mode, PoolMessage, PoolStatus, PoolUsage, Suspended};
use crate::fs::{Hurried, end_hurry};
use crate::units::{Bytes, DeviceId, TransactionId};

/// How many ids in a row may be found taken in the pool by devices that the catalog doesn't know.
const UNKNOWN_DEVICES: u32 = 64;

/// The right to change a pool, with everything settled that an earlier process left half done.
pub(super) struct Change<'a, 'h> {
    pub(super) pool: &'a mut Pool<'h>,
    transaction: TransactionId,
    usage: PoolUsage,
    _lock: Lock,
}

/// A device to be made.
pub(super) struct NewThin<'a> {
    pub(super) kind: DeviceKind,
    /// What it is a snapshot of.
    pub(super) origin: Option<&'a Device>,
    pub(super) size: Bytes,
    /// What it is when it is made: ready, or still to be filled.
    pub(super) becomes: DeviceState,
}

impl<'h> Pool<'h> {
    /// Waits for the right to change the pool, and settles what is open.
    pub(super) fn change(&mut self) -> Result<Change<'_, 'h>, PoolError> {
        let lock = Lock::exclusive(&self.paths.change_lock(), self.patience)?;
        self.must_be_active()?;
        let usage = self.usage()?;
        let mut change = Change { transaction: usage.transaction_id, usage, pool: self, _lock: lock };
        change.settle()?;
        Ok(change)
    }

    /// The pool's numbers, if it can be changed at all.
    pub(super) fn usage(&self) -> Result<PoolUsage, PoolError> {
        let unusable = |what| PoolError::Unusable { pool: self.name.to_string(), what };
        match self.host.dm.pool_status(&self.device)? {
            PoolStatus::Fail | PoolStatus::Error => Err(unusable("it has failed")),
            PoolStatus::Working(usage) if usage.needs_check => Err(unusable("its metadata needs a check")),
            PoolStatus::Working(usage) if usage.mode == Mode::ReadOnly => {
                Err(unusable("it is read-only, or out of metadata space"))
            }
            PoolStatus::Working(usage) => Ok(usage),
        }
    }
}

impl Change<'_, '_> {
    /// Makes a device. What else belongs to it is written by `and` in the step that records the intent; it says
    /// `false` if what it depends on is gone.
    pub(super) fn create(
        &mut self,
        new: &NewThin<'_>,
        node: impl Fn(DeviceId) -> Result<dm::Name, dm::NameError>,
        and: impl Fn(&Transaction<'_>, &Device) -> Result<bool, rusqlite::Error>,
    ) -> Result<Device, PoolError> {
        self.refuse_if_too_full()?;
        if let Some(origin) = new.origin {
            self.refuse_if_clock_ends()?;
            self.refuse_to_freeze_when_full(origin)?;
        }
        // 0 is never given out: the kernel takes it, but tools print it as "none".
        let mut after = DeviceId::default();
        for _ in 0..UNKNOWN_DEVICES {
            let id = self.pool.catalog.free_id(after)?.ok_or(PoolError::IdsExhausted)?;
            let device = Device {
                id,
                node: node(id)?,
                kind: new.kind,
                state: new.becomes,
                origin: new.origin.map(|origin| origin.id),
                size: new.size,
                created: now(),
                growing: false,
            };
            let catalog = &mut self.pool.catalog;
            let intent = catalog
                .intend_create(&device, new.becomes, self.transaction, |tx| and(tx, &device))?
                .ok_or_else(|| PoolError::Vanished { what: "image or layer", name: told(new.origin) })?;
            match self.ask_for(&device, new.origin) {
                Ok(()) => {
                    self.complete(intent)?;
                    return Ok(device);
                }
                Err(PoolError::Dm(error)) if error.errno() == Some(Errno::EEXIST) => {
                    tracing::warn!(%id, "the pool has a device of this id that the catalog does not know; taking the next");
                    self.pool.catalog.called_off(intent)?;
                    after = id;
                }
                Err(cause) => return Err(self.call_off(intent, cause)),
            }
        }
        Err(PoolError::UnknownDevices(UNKNOWN_DEVICES))
    }

    /// Deletes a device that is not active.
    pub(super) fn delete(&mut self, device: &Device) -> Result<(), PoolError> {
        let intent = self.pool.catalog.intend_delete(device.id, self.transaction)?;
        match self.message(PoolMessage::Delete(device.id)) {
            Err(error) if error.errno() == Some(Errno::ENODATA) => {
                tracing::warn!(id = %device.id, "the pool had no device of this id any more");
            }
            Err(error) => {
                self.pool.catalog.called_off(intent)?;
                return Err(error.into());
            }
            Ok(()) => {}
        }
        self.complete(intent)
    }

    /// Asks the kernel for a device. An origin that is active is suspended meanwhile: the kernel would take a
    /// torn snapshot of it without a word. Its file system is frozen for that, and a pool that has become full since it was looked at
    /// can't grow while one waits for room.
    fn ask_for(&self, device: &Device, origin: Option<&Device>) -> Result<(), PoolError> {
        let Some(origin) = origin else { return Ok(self.message(PoolMessage::CreateThin(device.id))?) };
        let snap = PoolMessage::CreateSnap { device: device.id, origin: origin.id };
        let Some(active) = self.pool.active_device(origin)? else { return Ok(self.message(snap)?) };
        let _hurried = Hurried::on(&*self.pool.host.fs, active.device);
        let suspended = Suspended::new(&*self.pool.host.dm, &active.name, visibility(origin.kind))?;
        // A freeze succeeds as well where what it wrote found no room (`xfs_log_cover` does, when XFS has just given up).
        self.refuse_a_torn_snapshot(&self.pool.usage()?)?;
        self.message(snap)?;
        Ok(suspended.resume()?)
    }

    /// The moment at which a change has happened, and its outcome.
    fn complete(&mut self, intent: Intent) -> Result<(), PoolError> {
        let (from, to) = (intent.before, intent.before.next());
        self.message(PoolMessage::SetTransactionId { from, to })?;
        // The kernel may report success for a message whose commit then failed.
        let status = self.pool.host.dm.pool_status(&self.pool.device)?;
        match &status {
            // A pool that ran out of metadata shows the new id although it could not commit it, and is read-only.
            PoolStatus::Working(usage)
                if usage.transaction_id == to && !usage.needs_check && usage.mode != Mode::ReadOnly =>
            {
                self.usage = usage.clone();
            }
            _ => return Err(PoolError::NotCommitted(Box::new(status))),
        }
        self.transaction = to;
        self.pool.catalog.carried_out(intent)?;
        Ok(())
    }

    /// Brings catalog and pool together again after a process died between two steps.
    fn settle(&mut self) -> Result<(), PoolError> {
        let Some(intent) = self.pool.catalog.intent()? else {
            let expected = self.pool.catalog.transaction_id()?;
            return if expected == self.transaction { Ok(()) } else { Err(self.mismatch(expected)) };
        };
        if let Action::Create { origin: Some(origin), .. } = intent.action {
            self.wake(origin)?;
        }
        if self.transaction == intent.before.next() {
            tracing::info!(?intent, "completing a change that an earlier process made");
            return Ok(self.pool.catalog.carried_out(intent)?);
        }
        if self.transaction != intent.before {
            return Err(self.mismatch(intent.before));
        }
        tracing::info!(?intent, "settling a change that an earlier process left half done");
        match intent.action {
            Action::Create { .. } => self.undo_creation(intent),
            // It stays marked for deletion, and whoever tidies up next deletes it: here it might be in use, and then
            // it would hold up every other change.
            Action::Delete { .. } => Ok(self.pool.catalog.called_off(intent)?),
        }
    }

    /// Lets the I/O of an origin go on that was suspended for a snapshot by a process that died at it: its users wait.
    fn wake(&self, origin: DeviceId) -> Result<(), PoolError> {
        let Some(origin) = self.pool.catalog.device(origin)? else { return Ok(()) };
        let Some(info) = self.pool.active_device(&origin)? else { return Ok(()) };
        if info.suspended {
            self.pool.host.dm.resume(&info.name, visibility(origin.kind))?;
        }
        end_hurry(&*self.pool.host.fs, info.device);
        Ok(())
    }

    /// Undoes a creation that failed half-way. If even that fails, the intent stays, and the next command settles it.
    fn call_off(&mut self, intent: Intent, cause: PoolError) -> PoolError {
        match self.undo_creation(intent) {
            Ok(()) => cause,
            Err(cleanup) => PoolError::CleanUp { cause: cause.into(), cleanup: cleanup.into() },
        }
    }

    fn undo_creation(&mut self, intent: Intent) -> Result<(), PoolError> {
        let (Action::Create { device, .. } | Action::Delete { device }) = intent.action;
        self.delete_if_there(device)?;
        Ok(self.pool.catalog.called_off(intent)?)
    }

    fn delete_if_there(&self, device: DeviceId) -> Result<(), dm::Error> {
        match self.message(PoolMessage::Delete(device)) {
            Err(error) if error.errno() == Some(Errno::ENODATA) => Ok(()),
            result => result,
        }
    }

    /// Keeps room for what exists: its next write to a shared block needs a new one.
    fn refuse_if_too_full(&self) -> Result<(), PoolError> {
        let policy = &self.pool.record.policy;
        let percent = policy.min_free_space;
        let block = policy.block_size;
        let (data, metadata) = (self.usage.data, self.usage.metadata);
        let spaces = [
            ("data", (data.total - data.used).bytes(block), data.total.bytes(block)),
            ("metadata", (metadata.total - metadata.used).bytes(), metadata.total.bytes()),
        ];
        for (kind, free, total) in spaces.into_iter().chain(self.host_space()) {
            let minimum = percent.of_bytes(total);
            if free < minimum {
                let largest = self.pool.largest_containers()?;
                return Err(PoolError::TooFull { kind, free, total, minimum, percent, largest });
            }
        }
        Ok(())
    }

    /// A snapshot of a device in use freezes its file system, and XFS waits there for what it can't write: nothing could
    /// come after it, the pool's growth neither.
    fn refuse_to_freeze_when_full(&self, origin: &Device) -> Result<(), PoolError> {
        if self.pool.active_device(origin)?.is_none() {
            Ok(())
        } else {
            self.refuse_a_torn_snapshot(&self.usage)
        }
    }

    /// What a file system in use was told is written may not have found room.
    fn refuse_a_torn_snapshot(&self, usage: &PoolUsage) -> Result<(), PoolError> {
        if !usage.is_full() {
            return Ok(());
        }
        let what = "it has no free block for data, and a file system in use writes what it has before a snapshot of it";
        Err(PoolError::Unusable { pool: self.pool.name.to_string(), what })
    }

    /// The kernel doesn't look whether its snapshot clock still fits where it packs it.
    fn refuse_if_clock_ends(&self) -> Result<(), PoolError> {
        let made = self.pool.catalog.clock()?.unwrap_or_default().at_most(self.transaction);
        if made + 1 < Clock::END {
            return Ok(());
        }
        Err(PoolError::SnapshotsExhausted { pool: self.pool.name.to_string(), made, most: Clock::END - 1 })
    }

    /// The host's file system under the data file. The pool's own numbers don't tell when that is full, and a pool
    /// whose files can't be written to is a broken pool.
    fn host_space(&self) -> Option<(&'static str, Bytes, Bytes)> {
        let space = FileSpace::of(&self.pool.record.backing.loop_files()?.data).ok()?;
        Some(("file system", space.free, space.total))
    }

    fn message(&self, message: PoolMessage) -> Result<(), dm::Error> {
        self.pool.host.dm.message(&self.pool.device, &message)
    }

    fn mismatch(&self, expected: TransactionId) -> PoolError {
        PoolError::Mismatch { catalog: self.pool.paths.catalog(), expected, found: self.transaction }
    }
}

/// An origin as an error names it.
fn told(origin: Option<&Device>) -> String {
    origin.map_or_else(|| "base".to_owned(), |origin| origin.node.to_string())
}
