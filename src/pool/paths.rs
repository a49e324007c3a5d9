//! Where a pool keeps what it needs on the host's file system.

use std::path::{Path, PathBuf};

use crate::units::{DeviceId, PoolName};

/// The files and directories of one pool, all under `<root>/<pool>/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    directory: PathBuf,
}

impl Paths {
    /// The paths of a pool under a root, `/var/lib/thinpool` unless the user said otherwise.
    #[must_use]
    pub fn new(root: &Path, pool: &PoolName) -> Self {
        Self { directory: root.join(pool.as_str()) }
    }

    /// The pool's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The record of its devices.
    #[must_use]
    pub fn catalog(&self) -> PathBuf {
        self.directory.join("catalog.db")
    }

    /// Held while the pool itself comes or goes: setup, activate, deactivate, destroy.
    #[must_use]
    pub fn life_lock(&self) -> PathBuf {
        self.directory.join("life.lock")
    }

    /// Held for one change of what the pool holds. Never across anything slow.
    #[must_use]
    pub fn change_lock(&self) -> PathBuf {
        self.directory.join("change.lock")
    }

    /// The directory of the locks below.
    #[must_use]
    pub fn locks(&self) -> PathBuf {
        self.directory.join("locks")
    }

    /// Held by who works on a device: fills it, mounts it, removes it.
    #[must_use]
    pub fn device_lock(&self, device: DeviceId) -> PathBuf {
        self.locks().join(device.to_string())
    }

    /// Shared by imports, so that nobody tidies away a layer that the next one of the same image builds on.
    #[must_use]
    pub fn import_lock(&self) -> PathBuf {
        self.locks().join("import")
    }

    /// Held by who reads the pool's metadata.
    #[must_use]
    pub fn metadata_lock(&self) -> PathBuf {
        self.locks().join("metadata")
    }

    /// Held by who watches over the pool, as long as that is.
    #[must_use]
    pub fn monitor_lock(&self) -> PathBuf {
        self.locks().join("monitor")
    }

    /// How full the pool was lately: as it is being written, and as it was.
    #[must_use]
    pub fn trend(&self) -> [PathBuf; 2] {
        ["trend.new", "trend"].map(|name| self.directory.join(name))
    }

    /// There while a metadata snapshot of ours is held, so that one of a killed process is known from anybody else's.
    #[must_use]
    pub fn metadata_snapshot(&self) -> PathBuf {
        self.directory.join("metadata-snapshot")
    }

    /// Where backups of the metadata are.
    #[must_use]
    pub fn backups(&self) -> PathBuf {
        self.directory.join("backups")
    }

    /// New metadata that is still being made, where it can't be made in its place; the XML that it is made of; and the copy
    /// of the old metadata, until that is whole.
    #[must_use]
    pub fn new_metadata(&self) -> [PathBuf; 3] {
        ["metadata.new", "metadata.new.xml", "metadata.old"].map(|name| self.directory.join(name))
    }

    /// Held while a node of a layer comes or goes that is to be read: several may read one at a time.
    #[must_use]
    pub fn reading_lock(&self) -> PathBuf {
        self.locks().join("reading")
    }

    /// Where containers are mounted that were given no directory.
    #[must_use]
    pub fn mounts(&self) -> PathBuf {
        self.directory.join("mnt")
    }
}
