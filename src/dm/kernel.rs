//! The real device-mapper.

use std::time::{Duration, Instant};

use devicemapper::{DevId, DmError, DmFlags, DmName, DmOptions, DmUuid, errors};
use nix::errno::Errno;

use super::ioctl::{Answer, Ioctls, Notifying};
use super::udev::{self, Cookie, UdevSync};
use super::{
    Access, Cookies, DeviceMapper, DeviceNumber, Error, Info, Name, NewDevice, Operation, PoolMessage,
    PoolStatus, Removal, Removed, Rules, SEMAPHORES, Semaphore, Table, ThinStatus, Uuid, Version, Versions,
    Visibility, library, node, semaphore,
};
use crate::units::Sectors;

/// How long a device may stay busy before a removal gives up: udev's probes hold a device open for some
/// milliseconds after each change.
const BUSY_PATIENCE: Duration = Duration::from_secs(2);

/// Between two tries to remove a busy device. The kernel offers no event to wait for here.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Device-mapper in the running kernel.
pub struct Kernel {
    dm: Ioctls,
    udev: UdevSync,
    udev_timeout: Duration,
}

impl Kernel {
    /// Opens the control node. No wait for udev lasts longer than the timeout.
    pub fn open(udev_timeout: Duration) -> Result<Self, Error> {
        let dm = Ioctls::open().map_err(|_| Error::Control { errno: control_errno() })?;
        let udev = UdevSync::detect();
        if udev.supported() {
            // What killed commands left.
            semaphore::remove_abandoned();
        }
        Ok(Self { dm, udev, udev_timeout })
    }

    fn find_by(&self, id: &DevId<'_>) -> Result<Option<Info>, Error> {
        let info = match self.dm.asking().device_info(id).map_err(told(Operation::Find, &id.to_string())) {
            // How device-mapper says that there is no such device.
            Err(error) if error.errno() == Some(Errno::ENXIO) => return Ok(None),
            info => info?,
        };
        let (device, flags) = (info.device(), info.flags());
        Ok(Some(Info {
            name: Name::found(&info.name().map(ToString::to_string).unwrap_or_default()),
            uuid: info.uuid().map(ToString::to_string),
            device: DeviceNumber { major: device.major, minor: device.minor },
            open_count: info.open_count().try_into().unwrap_or(0),
            suspended: flags.contains(DmFlags::DM_SUSPEND),
            read_only: flags.contains(DmFlags::DM_READONLY),
            deferred_remove: flags.contains(DmFlags::DM_DEFERRED_REMOVE),
            live: flags.contains(DmFlags::DM_ACTIVE_PRESENT),
            events: info.event_nr(),
        }))
    }

    /// Resumes a device, which also makes a table that was loaded live. Gives back how it is then; `None` if it is gone by
    /// the time that udev has answered.
    fn resume_with(
        &self,
        name: &Name,
        visibility: Visibility,
        cookie: Option<Cookie>,
        flags: DmFlags,
    ) -> Result<Option<Info>, Error> {
        let awaited = cookie.is_some();
        let resumed = self.notify(Notifying::Resume(flags), name, visibility, cookie)?;
        // Where nothing was waited for, the kernel has just said it.
        let now = if awaited { self.find(name)? } else { Some(resumed.info()) };
        let Some(info) = now else { return Ok(None) };
        let made = node::ensure(name, info.device).map_err(|error| self.node_error(name, "make", &error))?;
        if made && awaited {
            tracing::warn!(device = %name, "udev did not make the node; made it ourselves");
        }
        Ok(Some(info))
    }

    /// Resumes a device. These flags say how it is suspended for a moment where it gets another table.
    fn resume_by(
        &self,
        name: &Name,
        visibility: Visibility,
        flags: DmFlags,
        rules: Rules,
    ) -> Result<(), Error> {
        let cookie = match rules {
            // A device must not stay suspended because semaphores ran out: without a cookie it is resumed as well,
            // only the wait for udev is lost.
            Rules::Awaited => self.cookie(Operation::Resume, name).unwrap_or_else(|error| {
                tracing::warn!(device = %name, %error, "resuming without waiting for udev");
                None
            }),
            Rules::Unawaited => None,
        };
        self.resume_with(name, visibility, cookie, flags).map(drop)
    }

    /// A cookie where udev answers them, or none.
    fn cookie(&self, operation: Operation, name: &Name) -> Result<Option<Cookie>, Error> {
        if !self.udev.supported() {
            return Ok(None);
        }
        let refused = |errno| Error::Cookie { operation, device: name.to_string(), errno };
        Cookie::new().map(Some).map_err(refused)
    }

    /// Makes an ioctl that raises a uevent and waits for udev to answer it.
    fn notify(
        &self,
        what: Notifying<'_>,
        name: &Name,
        visibility: Visibility,
        cookie: Option<Cookie>,
    ) -> Result<Answer, Error> {
        let event_nr =
            cookie.as_ref().map_or(udev::rule_flags(visibility), |cookie| cookie.event_nr(visibility));
        let operation = match what {
            Notifying::Resume(_) => Operation::Resume,
            Notifying::Remove(_) => Operation::Remove,
            Notifying::Rename { .. } => Operation::Rename,
        };
        let answer = self.dm.notify(what, name, event_nr).map_err(|errno| Error::Refused {
            operation,
            device: name.to_string(),
            errno,
        })?;
        // No uevent: nobody will ever answer.
        let Some(cookie) = cookie.filter(|_| answer.flags().contains(DmFlags::DM_UEVENT_GENERATED)) else {
            return Ok(answer);
        };
        let refused = |errno| Error::Cookie { operation, device: name.to_string(), errno };
        if !cookie.wait(self.udev_timeout).map_err(refused)? {
            tracing::warn!(device = %name, waited = ?self.udev_timeout, "udev did not answer; going on without it");
        }
        Ok(answer)
    }

    /// Removes the device, waiting a moment for probes of udev's that hold it open.
    fn try_remove(&self, name: &Name, flags: DmFlags) -> Result<Answer, Error> {
        let deadline = Instant::now() + BUSY_PATIENCE;
        loop {
            let cookie = self.cookie(Operation::Remove, name)?;
            match self.notify(Notifying::Remove(flags), name, Visibility::Internal, cookie) {
                Err(error) if error.errno() == Some(Errno::EBUSY) && Instant::now() < deadline => {
                    std::thread::sleep(BUSY_PAUSE);
                }
                result => return result,
            }
        }
    }

    /// The single target of a device, from the kernel's own text.
    fn target(
        &self,
        name: &Name,
        operation: Operation,
        flags: DmFlags,
    ) -> Result<Option<(Sectors, String, String)>, Error> {
        let options = DmOptions::default().set_flags(flags);
        let (_, targets) = self
            .dm
            .asking()
            .table_status(&id(name, operation)?, options)
            .map_err(told(operation, name.as_str()))?;
        Ok(match targets.as_slice() {
            [(_, length, target, text)] => Some((Sectors(*length), target.clone(), text.clone())),
            _ => None,
        })
    }

    /// The status line of a device that must have this target.
    fn status_line(&self, name: &Name, expected: &'static str) -> Result<String, Error> {
        // NOFLUSH: a plain status of a pool commits its metadata, and can wait as long as that takes.
        match self.target(name, Operation::Status, DmFlags::DM_NOFLUSH)? {
            Some((_, target, line)) if target == expected => Ok(line),
            other => Err(Error::Target {
                device: name.clone(),
                expected,
                found: other.map_or_else(|| "an empty or many-part".to_owned(), |(_, target, _)| target),
            }),
        }
    }

    /// Undoes the creation of a device that never became live.
    fn abandon(&self, name: &Name) {
        if let Err(error) = self.remove(name, Removal::Now) {
            tracing::warn!(device = %name, %error, "a device without a table was left behind");
        }
    }

    fn node_error(&self, name: &Name, change: &'static str, error: &std::io::Error) -> Error {
        let waited = if self.udev.supported() { self.udev_timeout } else { Duration::ZERO };
        Error::Node { device: name.clone(), change, waited, reason: error.to_string() }
    }

    /// Whether the device may be written now.
    fn access(&self, name: &Name) -> Result<Access, Error> {
        match self.find(name)? {
            Some(info) if info.read_only => Ok(Access::ReadOnly),
            Some(_) => Ok(Access::ReadWrite),
            None => Err(Error::Refused {
                operation: Operation::Load,
                device: name.to_string(),
                errno: Errno::ENXIO,
            }),
        }
    }

    /// Drops a table that was loaded and never became live, with the devices it holds open.
    fn clear(&self, name: &Name) {
        let cleared = id(name, Operation::Load)
            .and_then(|id| self.dm.clear(&id).map_err(told(Operation::Load, name.as_str())));
        if let Err(error) = cleared {
            tracing::warn!(device = %name, %error, "a table that is not live was left behind");
        }
    }

    fn load(&self, name: &Name, table: &Table, access: Access) -> Result<(), Error> {
        let line = (0, table.length().0, table.target().to_owned(), table.to_string());
        let flags = match access {
            Access::ReadWrite => DmFlags::empty(),
            Access::ReadOnly => DmFlags::DM_READONLY,
        };
        self.dm.load(&id(name, Operation::Load)?, line, flags).map_err(told(Operation::Load, name.as_str()))
    }
}

impl DeviceMapper for Kernel {
    fn versions(&self) -> Result<Versions, Error> {
        let (major, minor, patch) =
            self.dm.asking().version().map_err(told(Operation::Version, "device-mapper"))?;
        let targets = self.dm.asking().list_versions().map_err(told(Operation::Version, "device-mapper"))?;
        let thin_pool = targets.into_iter().find(|(target, ..)| target == "thin-pool");
        Ok(Versions {
            driver: Version { major, minor, patch },
            thin_pool: thin_pool.map(|(_, major, minor, patch)| Version { major, minor, patch }),
            library: library::version(),
        })
    }

    fn udev_sync(&self) -> UdevSync {
        self.udev
    }

    fn list(&self) -> Result<Vec<Name>, Error> {
        // sysfs knows a device only from its first table on (Linux 5.15), and a killed creation leaves one without.
        if let Ok(devices) = self.dm.asking().list_devices() {
            return Ok(devices.into_iter().map(|(name, ..)| Name::found(&name.to_string())).collect());
        }
        // The crate fails as a whole over one name on the host that is not ASCII.
        let failed = |error: std::io::Error| Error::Interface {
            operation: Operation::List,
            device: "device-mapper".to_owned(),
            reason: error.to_string(),
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir("/sys/block").map_err(failed)? {
            // A device that is not device-mapper's has no such file, and one may go while we look.
            let name = std::fs::read_to_string(entry.map_err(failed)?.path().join("dm/name"));
            names.extend(name.ok().map(|name| Name::found(name.trim_end())));
        }
        Ok(names)
    }

    fn find(&self, name: &Name) -> Result<Option<Info>, Error> {
        self.find_by(&id(name, Operation::Find)?)
    }

    fn find_uuid(&self, uuid: &Uuid) -> Result<Option<Info>, Error> {
        let uuid = DmUuid::new(uuid.as_str()).map_err(told(Operation::Find, uuid.as_str()))?;
        self.find_by(&DevId::Uuid(uuid))
    }

    fn create(&self, new: &NewDevice<'_>) -> Result<Info, Error> {
        let NewDevice { name, uuid, table, access, visibility, rules } = *new;
        let wrong = |error: DmError| told(Operation::Create, name.as_str())(error);
        let (dm_name, dm_uuid) =
            (DmName::new(name.as_str()).map_err(wrong)?, DmUuid::new(uuid.as_str()).map_err(wrong)?);
        // The cookie comes first: when there is none to be had, nothing was done yet.
        let cookie = match rules {
            Rules::Awaited => self.cookie(Operation::Create, name)?,
            Rules::Unawaited => None,
        };
        self.dm.create(dm_name, dm_uuid).map_err(wrong)?;
        let live = self
            .load(name, table, access)
            .and_then(|()| self.resume_with(name, visibility, cookie, DmFlags::empty()));
        match live {
            Ok(Some(info)) => Ok(info),
            Ok(None) => Err(Error::Refused {
                operation: Operation::Create,
                device: name.to_string(),
                errno: Errno::ENXIO,
            }),
            Err(error) => {
                self.abandon(name);
                Err(error)
            }
        }
    }

    fn reload(&self, name: &Name, table: &Table, visibility: Visibility) -> Result<(), Error> {
        let access = self.access(name)?;
        let old = self.table(name)?;
        self.load(name, table, access)?;
        // A file system on a thin device isn't frozen for that, nor waited for what it has written: what it writes to a pool
        // that is full may never be done (XFS tries for ever), and a pool doesn't grow while a device in it is being suspended.
        // Who makes a thin device larger has use for it at once, and udev's look at it is in the way. A pool is everybody's, and
        // has nothing for udev.
        let (flags, rules) = match table {
            Table::Thin(_) => (DmFlags::DM_SKIP_LOCKFS | DmFlags::DM_NOFLUSH, Rules::Awaited),
            Table::ThinPool(_) | Table::Linear(_) => (DmFlags::empty(), Rules::Unawaited),
        };
        let Err(error) = self.resume_by(name, visibility, flags, rules) else { return Ok(()) };
        // Two kinds of refusal: a table that reaches beyond a device below is dropped, and a second resume brings
        // the old one back. One that its target refuses to start (a pool smaller than its superblock says) is
        // live already and will never resume: only the old table, loaded once more, frees the device.
        if self.resume_by(name, visibility, flags, rules).is_err() {
            match old {
                Some(old) => {
                    self.load(name, &old, access)?;
                    self.resume_by(name, visibility, flags, rules)?;
                }
                None => self.clear(name),
            }
        }
        Err(error)
    }

    fn suspend(&self, name: &Name) -> Result<(), Error> {
        self.dm.suspend(&id(name, Operation::Suspend)?).map_err(told(Operation::Suspend, name.as_str()))
    }

    fn resume(&self, name: &Name, visibility: Visibility) -> Result<(), Error> {
        // It keeps the node and the links that it had, and others wait for who has suspended it.
        self.resume_by(name, visibility, DmFlags::empty(), Rules::Unawaited)
    }

    fn keep(&self, info: &Info, visibility: Visibility) -> Result<(), Error> {
        let name = &info.name;
        if info.deferred_remove {
            // A message to device-mapper itself, not to the target (Linux 3.13, with deferred removal).
            self.dm
                .message(&id(name, Operation::Message)?, "@cancel_deferred_remove")
                .map_err(told(Operation::Message, name.as_str()))?;
        }
        if info.suspended {
            return self.resume(name, visibility);
        }
        node::ensure(name, info.device).map(drop).map_err(|error| self.node_error(name, "make", &error))
    }

    fn rename(&self, name: &Name, to: &Name, visibility: Visibility) -> Result<(), Error> {
        let cookie = self.cookie(Operation::Rename, name)?;
        self.notify(Notifying::Rename { to }, name, visibility, cookie)?;
        // udev has renamed the node, if it answered: what it left is mended here.
        if let Some(info) = self.find(to)? {
            node::ensure(to, info.device).map_err(|error| self.node_error(to, "make", &error))?;
        }
        node::forget(name).map_err(|error| self.node_error(name, "remove", &error))
    }

    fn remove(&self, name: &Name, removal: Removal) -> Result<Removed, Error> {
        let flags = match removal {
            Removal::Now => DmFlags::empty(),
            Removal::Deferred => DmFlags::DM_DEFERRED_REMOVE,
        };
        if self.try_remove(name, flags)?.flags().contains(DmFlags::DM_DEFERRED_REMOVE) {
            return Ok(Removed::WhenClosed);
        }
        node::forget(name).map_err(|error| self.node_error(name, "remove", &error))?;
        Ok(Removed::Gone)
    }

    fn message(&self, pool: &Name, message: &PoolMessage) -> Result<(), Error> {
        let device = || format!("'{message}' to {pool}");
        self.dm
            .message(&id(pool, Operation::Message)?, &message.to_string())
            .map_err(|error| told(Operation::Message, &device())(error))
    }

    fn pool_status(&self, pool: &Name) -> Result<PoolStatus, Error> {
        let line = self.status_line(pool, "thin-pool")?;
        line.parse().map_err(|source| Error::Status { device: pool.clone(), source })
    }

    fn thin_status(&self, device: &Name) -> Result<ThinStatus, Error> {
        let line = self.status_line(device, "thin")?;
        line.parse().map_err(|source| Error::Status { device: device.clone(), source })
    }

    fn abandoned_cookies(&self) -> std::io::Result<Cookies> {
        let list = match std::fs::read_to_string(SEMAPHORES) {
            // A kernel without semaphores has none left behind.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Cookies::default()),
            list => Semaphore::list(&list?),
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Ok(Cookies::among(&list, now.map_or(0, |since| since.as_secs()), udev::cookie_waiters)?)
    }

    fn table(&self, name: &Name) -> Result<Option<Table>, Error> {
        let flags = DmFlags::DM_NOFLUSH | DmFlags::DM_STATUS_TABLE;
        let Some((length, target, params)) = self.target(name, Operation::Table, flags)? else {
            return Ok(None);
        };
        Table::parse(&target, length, &params).map_err(|source| Error::Table { device: name.clone(), source })
    }
}

/// The crate keeps the reason as text only, so ask again for the number.
pub(super) fn control_errno() -> Errno {
    std::fs::File::open("/dev/mapper/control")
        .err()
        .and_then(|error| error.raw_os_error())
        .map_or(Errno::UnknownErrno, Errno::from_raw)
}

/// A name as the crate wants it.
fn id(name: &Name, operation: Operation) -> Result<DevId<'_>, Error> {
    DmName::new(name.as_str()).map(DevId::Name).map_err(told(operation, name.as_str()))
}

/// Turns the crate's errors into ours, keeping the errno, which decides.
pub(super) fn told(operation: Operation, device: &str) -> impl Fn(DmError) -> Error {
    let device = device.to_owned();
    move |error| match error {
        DmError::Core(errors::Error::Ioctl(_, _, _, errno)) => {
            Error::Refused { operation, device: device.clone(), errno: *errno }
        }
        other => Error::Interface { operation, device: device.clone(), reason: other.to_string() },
    }
}
