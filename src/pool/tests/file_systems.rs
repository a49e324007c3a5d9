//! File systems that hold nothing, but know where they are mounted, and how large they are.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use nix::errno::Errno;

use crate::dm::{DeviceMapper, DeviceNumber, Info, Name, Table, Twin};
use crate::fs::{
    Detached, Elsewhere, FileSystem, FileSystems, FsError, Identified, Mount, MountOptions, MountTableError,
    NewFileSystem, NewMount, Process, Use, User,
};
use crate::units::{Bytes, DeviceId};

/// File systems on the twin's devices. Each detached mount has a file in it that no other has.
pub(super) struct PretendedFileSystems {
    twin: Arc<Twin>,
    mounts: Mutex<Vec<Mount>>,
    /// Where the detached ones are pretended.
    detached: PathBuf,
    made: AtomicU32,
    /// Devices that udev has open, each until somebody looks who has.
    probed: Mutex<Vec<Name>>,
    /// By the device's id, what it was last grown to.
    grown: Mutex<HashMap<DeviceId, Bytes>>,
    /// Those that are to give up soon.
    hurried: Mutex<BTreeSet<DeviceNumber>>,
    /// A device that somebody writes to, until its pool is full, when one is had to hurry.
    writes_then: Mutex<Option<Name>>,
}

impl PretendedFileSystems {
    pub(super) fn new(twin: Arc<Twin>, directory: &Path) -> Self {
        let detached = directory.join("mounts");
        Self {
            twin,
            detached,
            made: AtomicU32::default(),
            mounts: Mutex::default(),
            probed: Mutex::default(),
            grown: Mutex::default(),
            hurried: Mutex::default(),
            writes_then: Mutex::default(),
        }
    }

    /// Has udev look into a device: it is open, and closed again after it was seen.
    pub(super) fn probe(&self, device: &Name) {
        self.twin.open(device).expect("there");
        self.probed.lock().expect("no panic").push(device.clone());
    }

    /// Whether a probe has been seen by nobody yet.
    pub(super) fn is_probing(&self) -> bool {
        !self.probed.lock().expect("no panic").is_empty()
    }

    /// What a file system was last grown to.
    pub(super) fn grown_to(&self, device: DeviceId) -> Option<Bytes> {
        self.grown.lock().expect("no panic").get(&device).copied()
    }

    /// Has somebody fill the pool through a device, just before one is frozen.
    pub(super) fn fill_before_a_freeze(&self, node: &Name) {
        *self.writes_then.lock().expect("no panic") = Some(node.clone());
    }

    /// Whether a device was had to hurry, and not given its time back.
    pub(super) fn is_anybody_hurried(&self) -> bool {
        !self.hurried.lock().expect("no panic").is_empty()
    }

    /// A machine that comes up again has nothing mounted.
    pub(super) fn reboot(&self) {
        self.hurried.lock().expect("no panic").clear();
        self.mounts.lock().expect("no panic").clear();
    }

    /// The device behind a node, by its name or by its number.
    fn info(&self, node: &Path) -> Info {
        let all = self.twin.list().expect("alive");
        let mut all = all.into_iter().filter_map(|name| self.twin.find(&name).expect("alive"));
        all.find(|info| info.name.path() == node || info.device.kernel_node() == node).expect("a node")
    }

    /// A process that was killed does none of this any more.
    fn step(&self) -> Result<(), FsError> {
        self.twin.side_effect().map_err(|errno| FsError::Unmount { at: PathBuf::new(), errno })
    }
}

/// Writes to a device until its pool is full.
pub(super) fn fill(twin: &Twin, node: &Name) {
    let write = |mib| twin.write(node, Bytes::mib(mib).sectors(), Bytes::mib(1).sectors());
    assert!((0..512).any(|mib| write(mib).is_err()), "it is never full");
}

impl FileSystems for PretendedFileSystems {
    fn supported(&self) -> Vec<FileSystem> {
        vec![FileSystem::Ext4]
    }

    fn make(&self, _: &NewFileSystem<'_>) -> Result<(), FsError> {
        Ok(())
    }

    fn mount(&self, mount: &NewMount<'_>) -> Result<(), FsError> {
        self.step()?;
        let info = self.info(mount.device);
        self.twin.open(&info.name).expect("there");
        let mut mounts = self.mounts.lock().expect("no panic");
        let id = mounts.iter().map(|mount| mount.id).max().unwrap_or(0) + 1;
        mounts.push(Mount {
            id,
            device: info.device,
            at: mount.at.to_owned(),
            shared: false,
            read_only: mount.options.is_read_only(),
            file_system_read_only: mount.options.is_read_only(),
            source: mount.device.display().to_string(),
        });
        Ok(())
    }

    fn unmount(&self, mount: &Mount, _: &str) -> Result<(), FsError> {
        self.step()?;
        self.mounts.lock().expect("no panic").retain(|other| other.id != mount.id);
        let info = self.info(&mount.device.kernel_node());
        self.twin.close(&info.name).expect("it was open");
        Ok(())
    }

    fn detach(&self, mount: &Mount, whose: &str) -> Result<(), FsError> {
        self.unmount(mount, whose)
    }

    fn write_back(&self, _: &Path) -> Result<(), FsError> {
        self.step()
    }

    fn move_mount(&self, from: &Path, to: &Path, _: &str) -> Result<(), FsError> {
        self.step()?;
        for mount in self.mounts.lock().expect("no panic").iter_mut().filter(|mount| mount.at == from) {
            mount.at = to.to_owned();
        }
        Ok(())
    }

    fn all_mounts(&self) -> Result<Vec<Mount>, MountTableError> {
        Ok(self.mounts.lock().expect("no panic").clone())
    }

    fn lower_shields(&self, _: &dyn Fn(&str) -> bool) -> Result<(), FsError> {
        Ok(())
    }

    fn hurry(&self, device: DeviceNumber) -> Result<(), FsError> {
        self.step()?;
        self.hurried.lock().expect("no panic").insert(device);
        if let Some(node) = self.writes_then.lock().expect("no panic").take() {
            fill(&self.twin, &node);
        }
        Ok(())
    }

    fn end_hurry(&self, device: DeviceNumber) -> Result<(), FsError> {
        self.step()?;
        self.hurried.lock().expect("no panic").remove(&device);
        Ok(())
    }

    fn mounts_elsewhere(&self, _: DeviceNumber) -> Result<Vec<Elsewhere>, MountTableError> {
        Ok(Vec::new())
    }

    fn unmount_elsewhere(&self, _: DeviceNumber, _: &str) -> Result<Vec<Elsewhere>, MountTableError> {
        Ok(Vec::new())
    }

    fn users(&self, device: DeviceNumber) -> Vec<User> {
        let mut probed = self.probed.lock().expect("no panic");
        let ours =
            |name: &mut Name| self.twin.find(name).expect("alive").is_some_and(|info| info.device == device);
        probed
            .extract_if(.., ours)
            .map(|name| {
                self.twin.close(&name).expect("it was open");
                let process = Process { pid: 1, command: "(udev-worker)".to_owned() };
                User { process, uses: BTreeSet::from([Use::Device]) }
            })
            .collect()
    }

    fn mount_detached(&self, _: FileSystem, _: &Path, _: &MountOptions) -> Result<Detached, FsError> {
        let number = self.made.fetch_add(1, Ordering::Relaxed).to_string();
        let root = self.detached.join(&number);
        std::fs::create_dir_all(&root).expect("a directory");
        std::fs::write(root.join(number), "").expect("a file");
        Ok(Detached::pretended(root))
    }

    fn grow(&self, kind: FileSystem, device: &Path, size: Bytes, _: &MountOptions) -> Result<(), FsError> {
        self.step()?;
        let failed = |errno| FsError::Grow { device: device.to_owned(), kind, size, errno };
        match self.twin.table(&self.info(device).name).expect("alive") {
            Some(Table::Thin(thin)) if thin.length.bytes() >= size => {
                self.grown.lock().expect("no panic").insert(thin.id, size);
                Ok(())
            }
            // As the kernel: what lies beyond the device's end can't be read.
            _ => Err(failed(Errno::EINVAL)),
        }
    }

    fn discard(&self, _: &Path, _: Bytes) -> Result<(), FsError> {
        Ok(())
    }

    fn identify(&self, _: &Path) -> Result<Option<Identified>, FsError> {
        Ok(Some(Identified { kind: FileSystem::Ext4, size: Bytes::mib(16) }))
    }

    fn trim(
        &self,
        _: DeviceNumber,
        _: Bytes,
        _: &Path,
        _: &mut dyn FnMut(Bytes),
    ) -> Result<Option<Bytes>, FsError> {
        Ok(Some(Bytes(0)))
    }
}
