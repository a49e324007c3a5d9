//! Device-mapper: tables, status, messages and udev, behind one trait with an in-memory twin.
//!
//! [`DeviceMapper`] is what the rest of the project needs of the kernel and no more. [`Kernel`] is the real
//! one; [`Twin`] models it in memory, so that the verbs above can be tested by any user on any machine. A test
//! on a real kernel holds the two to the same results.

mod cookies;
mod error;
mod events;
mod guard;
mod ioctl;
mod kernel;
mod library;
mod message;
mod metadata_snapshot;
mod name;
mod node;
mod semaphore;
mod status;
mod superblock;
mod table;
mod twin;
mod udev;

pub use cookies::{Cookie, Cookies};
pub use error::{Error, Operation};
pub use events::Events;
pub use guard::Suspended;
pub use kernel::Kernel;
pub use message::PoolMessage;
pub use metadata_snapshot::MetadataSnapshot;
pub use name::{Name, NameError, Uuid};
pub use node::DeviceNumber;
pub use semaphore::{SEMAPHORES, Semaphore};
pub use status::{Blocks, Mode, NoSpacePolicy, PoolStatus, PoolUsage, StatusError, ThinStatus, ThinUsage};
pub(crate) use superblock::checksum;
pub use superblock::{SUPERBLOCK_SIZE, Superblock, SuperblockError};
pub use table::{Feature, Linear, Table, TableError, Thin, ThinPool};
pub use twin::{Disk, Injection, IoError, Mapping as TwinMapping, TornSnapshot, Twin, Volume as TwinVolume};
pub use udev::{UdevSync, cookie_waiters};

/// What this project needs of device-mapper. Every wait inside is bounded.
pub trait DeviceMapper: Send + Sync {
    /// The versions of everything that matters, for reports.
    fn versions(&self) -> Result<Versions, Error>;

    /// How well changes are synchronised with udev on this host.
    fn udev_sync(&self) -> UdevSync;

    /// Every device-mapper device on the host, ours or not.
    fn list(&self) -> Result<Vec<Name>, Error>;

    /// What the kernel knows of the device, or `None` if there is none of this name.
    fn find(&self, name: &Name) -> Result<Option<Info>, Error>;

    /// The same by the device's uuid, whatever it is called.
    fn find_uuid(&self, uuid: &Uuid) -> Result<Option<Info>, Error>;

    /// Makes a device and its node: create, load, resume. A failure half-way leaves no device.
    fn create(&self, device: &NewDevice<'_>) -> Result<Info, Error>;

    /// Gives a live device another table: load, and resume, which suspends the device itself for the swap. So no kill in
    /// between leaves it suspended. The device is live again also when this fails.
    fn reload(&self, name: &Name, table: &Table, visibility: Visibility) -> Result<(), Error>;

    /// Stops the device's I/O, with what it holds flushed and a file system on it frozen. Use [`Suspended`],
    /// which can't forget to resume.
    fn suspend(&self, name: &Name) -> Result<(), Error>;

    /// Lets the device's I/O go on.
    fn resume(&self, name: &Name, visibility: Visibility) -> Result<(), Error>;

    /// Makes a live device fit for use that an earlier process may have left otherwise: calls a deferred removal off,
    /// lets its I/O go on, makes its node.
    fn keep(&self, info: &Info, visibility: Visibility) -> Result<(), Error>;

    /// Gives a device another name, and its node, also while it is in use: whoever has it open or mounted keeps it.
    fn rename(&self, name: &Name, to: &Name, visibility: Visibility) -> Result<(), Error>;

    /// Takes a device away, and its node.
    fn remove(&self, name: &Name, removal: Removal) -> Result<Removed, Error>;

    /// Sends a pool a message. The kernel may report success for a message whose commit then failed: read
    /// [`DeviceMapper::pool_status`] afterwards.
    fn message(&self, pool: &Name, message: &PoolMessage) -> Result<(), Error>;

    /// A pool's status, read without a flush, so that it never waits for the pool.
    fn pool_status(&self, pool: &Name) -> Result<PoolStatus, Error>;

    /// A thin device's status, read without a flush.
    fn thin_status(&self, device: &Name) -> Result<ThinStatus, Error>;

    /// Semaphores on which udev was waited for, and no longer is, or in vain.
    fn abandoned_cookies(&self) -> std::io::Result<Cookies> {
        Ok(Cookies::default())
    }

    /// The live table of a device, or `None` if it has none or one of a target this project doesn't use.
    fn table(&self, name: &Name) -> Result<Option<Table>, Error>;
}

/// A device to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewDevice<'a> {
    /// Its name, unique on the host.
    pub name: &'a Name,
    /// Its uuid, with this project's prefix: who made it, for everybody who finds it later.
    pub uuid: &'a Uuid,
    /// What it maps.
    pub table: &'a Table,
    /// Whether it may be written.
    pub access: Access,
    /// Who may see it.
    pub visibility: Visibility,
    /// Whether udev is waited for.
    pub rules: Rules,
}

/// Whether udev's rules must have run on a device before whoever made it goes on. They take many times as long as the ioctls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Yes: others may look for the links that they make.
    Awaited,
    /// No: its node is all that is needed, and that is made at once. They run behind our back, at the latest before udev
    /// answers for the device's removal, which is always waited for.
    Unawaited,
}

/// Whether a device may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    ReadWrite,
    /// The kernel refuses every write.
    ReadOnly,
}

/// Who may see a device: what udev's rules are told about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// A pool, a base, an image: nothing in the system should scan it, link to it or mount it.
    Internal,
    /// A container: a disk like any other, but one of many with the same file system uuid, so that links by
    /// uuid stay with whoever had them first.
    Snapshot,
}

/// How hard to try to remove a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Now, or fail if it is open.
    Now,
    /// Now, or by the kernel itself when its last user closes it.
    Deferred,
}

/// What became of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// The device is gone.
    Gone,
    /// It is open; the kernel removes it at the last close.
    WhenClosed,
}

/// What the kernel knows of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "these are the kernel's flags, each of its own meaning")]
pub struct Info {
    /// Its name.
    pub name: Name,
    /// Its uuid, if its maker gave it one.
    pub uuid: Option<String>,
    /// Its block device number.
    pub device: DeviceNumber,
    /// How many hold it open, mounts and other devices included.
    pub open_count: u32,
    /// Whether its I/O is stopped.
    pub suspended: bool,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether the kernel removes it at the last close.
    pub deferred_remove: bool,
    /// Whether it has a table: one without was left by a creation that was killed.
    pub live: bool,
    /// How many events its targets have raised.
    pub events: u32,
}

/// The versions that decide what can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// Of the kernel's device-mapper interface.
    pub driver: Version,
    /// Of the thin-pool target, if it is loaded or can be.
    pub thin_pool: Option<Version>,
    /// Of libdevmapper as it says it itself (`1.02.185 (2022-05-18)`), if it is installed: udev's rules depend
    /// on it.
    pub library: Option<String>,
}

impl Versions {
    /// Whether the kernel removes a busy device at its last close (interface 4.27, Linux 3.13).
    #[must_use]
    pub fn deferred_removal(&self) -> bool {
        self.driver >= Version { major: 4, minor: 27, patch: 0 }
    }
}

/// A version as the kernel gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Changes when nothing old works any more.
    pub major: u32,
    /// Grows with what was added.
    pub minor: u32,
    /// Grows with what was mended.
    pub patch: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}
