//! A host for tests: the twin of device-mapper, loop devices that are disks of the twin, file systems that hold
//! nothing.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use super::disks::Disks;
use crate::backing::{Attached, LoopDevices, LoopError};
use crate::catalog::{DeviceState, Policy};
use crate::dm::{DeviceNumber, Twin};
use crate::fs::{Detached, FileSystem, FileSystems, FsError, MountOptions};
use crate::pool::{
    DraftStore, Host, ImageName, Location, NewContainer, Pool, PoolError, SetUp, Setup, Wanted,
};
use crate::thin_tools::{Checked, Depth, MetadataChecker, Outcome};
use crate::units::{BlockSize, Bytes, DeviceId, Percent};

/// A machine with a directory of its own.
pub(super) struct Machine {
    pub(super) twin: Arc<Twin>,
    pub(super) host: Host,
    pub(super) location: Location,
    pub(super) disks: Arc<Disks>,
    pub(super) checker: Arc<Checker>,
    wanted: Wanted,
    /// Gone with the machine.
    #[allow(dead_code, reason = "held, not read")]
    directory: TempDir,
    loops: Arc<Loops>,
}

impl Machine {
    /// A machine without a pool.
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let twin = Arc::new(Twin::new());
        let loops = Arc::new(Loops { twin: Arc::clone(&twin), attached: Mutex::default() });
        let disks = Arc::new(Disks::new(Arc::clone(&twin), directory.path()));
        let checker = Arc::new(Checker::default());
        let host = Host {
            dm: twin.clone(),
            loops: loops.clone(),
            blocks: disks.clone(),
            fs: Arc::new(NoFileSystems),
            checker: checker.clone(),
        };
        let location = Location {
            name: "test".parse().expect("a name"),
            root: directory.path().join("root"),
            patience: Duration::from_secs(10),
            device_patience: Duration::ZERO,
        };
        let wanted = Wanted::LoopFiles(directory.path().join("root/test"));
        Self { twin, host, location, disks, checker, wanted, directory, loops }
    }

    /// A machine with a pool and an image of two layers, `base`.
    pub(super) fn with_image() -> Self {
        let machine = Self::new();
        machine.set_up().expect("set up");
        machine.import("one", &["a", "b"]).expect("imported");
        machine
    }

    /// A machine without a pool, but with two disks for one.
    pub(super) fn on_disks() -> Self {
        let mut machine = Self::new();
        let data = machine.disks.add("data", Bytes::mib(64));
        let metadata = Some(machine.disks.add("metadata", Bytes::mib(8)));
        machine.wanted = Wanted::Devices { data, metadata };
        machine
    }

    /// The two disks' nodes.
    pub(super) fn disk_nodes(&self) -> (PathBuf, PathBuf) {
        match &self.wanted {
            Wanted::Devices { data, metadata: Some(metadata) } => (data.clone(), metadata.clone()),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn set_up(&self) -> Result<SetUp, PoolError> {
        Ok(self.request().run(&self.host)?.1)
    }

    pub(super) fn request(&self) -> Setup {
        Setup {
            location: self.location.clone(),
            wanted: self.wanted.clone(),
            spare: None,
            wipe: Vec::new(),
            policy: Policy {
                data_size: Bytes::mib(64),
                metadata_size: Bytes::mib(8),
                block_size: BlockSize::DEFAULT,
                base_size: Bytes::mib(16),
                filesystem: FileSystem::Ext4,
                mkfs_arguments: Vec::new(),
                mount_options: Vec::new(),
                zero_new_blocks: true,
                discard_on_remove: true,
                min_free_space: Percent::ZERO,
                deferred_removal: true,
                deferred_deletion: true,
                xfs_nospace_max_retries: None,
                autoextend_threshold: Percent::try_from(80).expect("a share"),
                autoextend_percent: Percent::try_from(20).expect("a share"),
            },
            filesystem: None,
            asked: Vec::new(),
            ignore_udev_races: false,
        }
    }

    /// The pool, as a new process opens it.
    pub(super) fn pool(&self) -> Pool<'_> {
        Pool::open(&self.host, &self.location).expect("a pool")
    }

    /// An image with a layer for each word; layers of the same words are the same layers.
    pub(super) fn import(&self, name: &str, words: &[&str]) -> Result<(), PoolError> {
        let store = DraftStore::open(&self.host, &self.location)?;
        let mut chain = None;
        for word in words {
            let parent = chain.take();
            let this = format!("{}/{word}", parent.as_deref().unwrap_or_default());
            if !store.contains(&this)? {
                store.draft(parent.as_deref())?.commit(&this, word, parent.as_deref(), Bytes::mib(1))?;
            }
            chain = Some(this);
        }
        let name: ImageName = name.parse().expect("a name");
        self.pool().add_image(&name, &chain.expect("a layer"), None).map(drop)
    }

    pub(super) fn create(&self, name: &str) -> Result<(), PoolError> {
        self.create_of("one", name, None)
    }

    pub(super) fn create_of(&self, image: &str, name: &str, size: Option<Bytes>) -> Result<(), PoolError> {
        let (image, name) = (image.parse().expect("a name"), Some(name.parse().expect("a name")));
        self.pool().create_container(&NewContainer { name, image, size }).map(drop)
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), PoolError> {
        self.pool().remove_container(&name.parse().expect("a name"))
    }

    pub(super) fn containers(&self) -> BTreeSet<String> {
        let all = self.pool().containers().expect("listed");
        all.into_iter().map(|status| status.container.name).collect()
    }

    /// Takes the machine down and up again. What the kernel would find on the metadata device is what a reader of
    /// the file finds.
    pub(super) fn reboot(&self) {
        self.twin.reboot();
        self.write_superblock();
    }

    /// What the kernel wrote to the metadata device shows in the file under it.
    pub(super) fn write_superblock(&self) {
        if let Wanted::Devices { metadata: Some(metadata), .. } = &self.wanted {
            return self.disks.write_superblock(metadata);
        }
        let path = self.location.paths().directory().join("metadata");
        let Some(device) = self.loops.device(&path) else { return };
        if let Ok(file) = std::fs::OpenOptions::new().write(true).open(&path) {
            file.write_all_at(&self.twin.superblock(device), 0).expect("written");
        }
    }

    /// That the catalog knows exactly the devices that the pool has, none is half made, and no snapshot was torn.
    pub(super) fn assert_in_order(&self, context: &str) {
        let pool = self.pool();
        assert_eq!(pool.catalog.intent().expect("read"), None, "{context}: an intent is open");
        let known =
            |state| pool.catalog.devices_in(state).expect("listed").into_iter().map(|device| device.id);
        assert_eq!(known(DeviceState::Pending).count(), 0, "{context}");
        assert_eq!(known(DeviceState::Draft).count(), 0, "{context}: a draft is left");
        assert_eq!(known(DeviceState::Deleted).count(), 0, "{context}: a deletion is left");
        let known: BTreeSet<DeviceId> = known(DeviceState::Ready).collect();
        let there: BTreeSet<DeviceId> = self.twin.devices(self.metadata()).into_iter().collect();
        assert_eq!(known, there, "{context}: catalog and pool differ");
        assert_eq!(self.twin.torn_snapshots(), [], "{context}");
        let nodes = self.host.dm.list().expect("listed");
        assert_eq!(nodes.len(), 1, "{context}: more than the pool is active: {nodes:?}");
    }

    fn metadata(&self) -> DeviceNumber {
        if let Wanted::Devices { metadata: Some(metadata), .. } = &self.wanted {
            return self.disks.number(metadata);
        }
        let path = self.location.paths().directory().join("metadata");
        self.loops.device(&path).expect("attached once")
    }
}

/// Every file is a disk of its own, for ever under the same number.
struct Loops {
    twin: Arc<Twin>,
    attached: Mutex<HashMap<PathBuf, DeviceNumber>>,
}

impl Loops {
    fn device(&self, file: &Path) -> Option<DeviceNumber> {
        self.attached.lock().expect("no panic").get(file).copied()
    }
}

impl LoopDevices for Loops {
    fn attach(&self, file: &Path) -> Result<Attached, LoopError> {
        let metadata = file.metadata().map_err(|source| LoopError::Open { path: file.to_owned(), source })?;
        let mut attached = self.attached.lock().expect("no panic");
        let minor = u32::try_from(attached.len()).expect("few");
        let number = *attached.entry(file.to_owned()).or_insert(DeviceNumber { major: 7, minor });
        if number.minor == minor {
            self.twin.add_disk(number, Bytes(metadata.len()));
        } else {
            self.twin.resize_disk(number, Bytes(metadata.len())).expect("there");
            if is_new(file) {
                self.twin.wipe(number).expect("there");
            }
        }
        Ok(Attached::as_it_is(number, PathBuf::from(format!("/dev/loop{minor}"))))
    }

    fn find(&self, _: &Path) -> Result<Option<DeviceNumber>, LoopError> {
        Ok(None)
    }

    fn adopt_length(&self, device: DeviceNumber) -> Result<(), LoopError> {
        let attached = self.attached.lock().expect("no panic");
        let (file, _) = attached.iter().find(|(_, number)| **number == device).expect("attached");
        let length = Bytes(file.metadata().expect("there").len());
        self.twin.resize_disk(device, length).expect("there");
        Ok(())
    }
}

/// A file that was made anew under an old name has a new disk's content: nothing.
fn is_new(file: &Path) -> bool {
    let mut block = [1; 4096];
    let read = std::fs::File::open(file).and_then(|file| file.read_exact_at(&mut block, 0));
    read.is_ok() && block.iter().all(|byte| *byte == 0)
}

/// A checker that finds what a test wants it to, and remembers how much it was to look at.
#[derive(Default)]
pub(super) struct Checker {
    pub(super) finds: Mutex<Option<Outcome>>,
    pub(super) asked: Mutex<Vec<Depth>>,
}

impl MetadataChecker for Checker {
    fn check(&self, _: &Path, depth: Depth, _: Duration) -> Result<Checked, lvm::RunError> {
        self.asked.lock().expect("no panic").push(depth);
        let outcome = self.finds.lock().expect("no panic").clone().unwrap_or(Outcome::Sound);
        Ok(Checked { depth, outcome, took: Duration::ZERO })
    }
}

/// File systems that are always in order.
struct NoFileSystems;

impl FileSystems for NoFileSystems {
    fn supported(&self) -> Vec<FileSystem> {
        vec![FileSystem::Ext4]
    }

    fn make(&self, _: FileSystem, _: &Path, _: &[String]) -> Result<(), FsError> {
        Ok(())
    }

    fn mount(&self, _: FileSystem, _: &Path, _: &Path, _: &MountOptions) -> Result<(), FsError> {
        Ok(())
    }

    fn unmount(&self, _: &Path) -> Result<(), FsError> {
        Ok(())
    }

    fn mount_detached(&self, _: FileSystem, _: &Path, _: &MountOptions) -> Result<Detached, FsError> {
        Ok(Detached::pretended(PathBuf::from("/nonexistent")))
    }

    fn grow(&self, _: FileSystem, _: &Path, _: Bytes) -> Result<(), FsError> {
        Ok(())
    }

    fn discard(&self, _: &Path, _: Bytes) -> Result<(), FsError> {
        Ok(())
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
