//! A host for tests: the twin of device-mapper, loop devices that are disks of the twin, file systems that hold
//! nothing.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use super::disks::Disks;
use super::file_systems::PretendedFileSystems;
use crate::backing::{Attached, LoopDevices, LoopError};
use crate::catalog::{DeviceState, Policy};
use crate::dm::{
    Access, DeviceNumber, Feature, Linear, Name, NewDevice, Rules, Table, ThinPool, Twin, Uuid, Visibility,
};
use crate::fs::FileSystem;
use crate::image::{self, ChainId, DiffId, Digest};
use crate::pool::{
    Checking, DraftStore, Host, ImageName, Labels, Location, NewContainer, Pool, PoolError, SetUp, Setup,
    Wanted,
};
use crate::thin_metadata::testing::Image;
use crate::thin_metadata::{Blocks, MetadataError, MetadataReader, Place};
use crate::thin_tools::{Checked, Depth, Known, MetadataChecker, MetadataTools, Outcome, ToolError};
use crate::units::{BlockSize, Bytes, DataBlocks, DeviceId, Percent, Sectors};

/// A machine with a directory of its own.
pub(super) struct Machine {
    pub(super) twin: Arc<Twin>,
    pub(super) host: Host,
    pub(super) location: Location,
    pub(super) disks: Arc<Disks>,
    pub(super) checker: Arc<Checker>,
    pub(super) fs: Arc<PretendedFileSystems>,
    wanted: Wanted,
    /// Gone with the machine.
    #[allow(dead_code, reason = "held, not read")]
    directory: TempDir,
    loops: Arc<Loops>,
    somebody_elses: Option<SomebodyElses>,
}

/// A thin pool that isn't ours.
struct SomebodyElses {
    name: Name,
    uuid: Uuid,
    data: DeviceNumber,
    metadata: DeviceNumber,
    features: Vec<Feature>,
}

impl Machine {
    /// A machine without a pool.
    pub(super) fn new() -> Self {
        // In memory, where there is such a place: whether what is synced is on a disk is not the question here.
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let directory = directory.expect("a directory");
        let twin = Arc::new(Twin::new());
        let loops =
            Arc::new(Loops { twin: Arc::clone(&twin), attached: Mutex::default(), strays: Mutex::default() });
        let disks = Arc::new(Disks::new(Arc::clone(&twin), directory.path()));
        let checker = Arc::new(Checker::default());
        let fs = Arc::new(PretendedFileSystems::new(Arc::clone(&twin), directory.path()));
        let host = Host {
            dm: twin.clone(),
            loops: loops.clone(),
            blocks: disks.clone(),
            fs: fs.clone(),
            checker: checker.clone(),
            tools: Arc::new(NoTools),
            metadata: Arc::new(TwinMetadata {
                twin: twin.clone(),
                loops: loops.clone(),
                disks: disks.clone(),
            }),
        };
        let location = Location {
            name: "test".parse().expect("a name"),
            root: directory.path().join("root"),
            patience: Duration::from_secs(10),
            device_patience: Duration::ZERO,
            metadata_backups: 3,
        };
        let wanted = Wanted::LoopFiles(directory.path().join("root/test"));
        Self { twin, host, location, disks, checker, fs, wanted, directory, loops, somebody_elses: None }
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

    /// A machine without a pool of ours, but with an empty one that somebody else made and makes active at each boot.
    pub(super) fn in_thin_pool(name: &str, uuid: &str) -> Self {
        let mut machine = Self::on_disks();
        let (data, metadata) = machine.disk_nodes();
        let (name, uuid) = (Name::new(name).expect("a name"), Uuid::of_somebody_else(uuid));
        machine.wanted = Wanted::ThinPool(name.to_string());
        let [data, metadata] = [data, metadata].map(|node| machine.disks.number(&node));
        machine.somebody_elses = Some(SomebodyElses { name, uuid, data, metadata, features: Vec::new() });
        machine.boot_somebody_else();
        machine
    }

    /// The same machine, and whoever made the thin pool chose to leave what is on the disk in new blocks.
    pub(super) fn without_zeroing(mut self) -> Self {
        self.somebody_elses.as_mut().expect("there is one").features = vec![Feature::SkipBlockZeroing];
        self.reboot();
        self
    }

    /// Whoever made the thin pool makes it active.
    pub(super) fn boot_somebody_else(&self) {
        if let Some(pool) = &self.somebody_elses {
            self.boot_somebody_else_as(pool.uuid.as_str());
        }
    }

    /// Makes the thin pool active under another uuid, as if it were another one.
    pub(super) fn boot_somebody_else_as(&self, uuid: &str) {
        let Some(SomebodyElses { name, data, metadata, features, .. }) = &self.somebody_elses else { return };
        let table = Table::ThinPool(ThinPool {
            length: Bytes::mib(64).sectors(),
            metadata: *metadata,
            data: *data,
            block_size: BlockSize::DEFAULT,
            low_water_mark: DataBlocks(0),
            features: features.clone(),
        });
        self.add_node(name, &Uuid::of_somebody_else(uuid), &table);
    }

    /// A device that another program makes.
    pub(super) fn add_node(&self, name: &Name, uuid: &Uuid, table: &Table) {
        let (access, visibility, rules) = (Access::ReadWrite, Visibility::Internal, Rules::Unawaited);
        self.host.dm.create(&NewDevice { name, uuid, table, access, visibility, rules }).expect("made");
    }

    /// The name of somebody else's thin pool.
    pub(super) fn somebody_elses_pool(&self) -> &Name {
        &self.somebody_elses.as_ref().expect("there is one").name
    }

    /// Where that has its metadata.
    pub(super) fn somebody_elses_metadata(&self) -> DeviceNumber {
        self.metadata()
    }

    /// The thin devices that somebody else's pool has.
    pub(super) fn somebody_elses_devices(&self) -> Vec<DeviceId> {
        self.twin.devices(self.metadata())
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
            let diff = DiffId(Digest::of(word.as_bytes()));
            let below: Option<ChainId> = parent.as_deref().map(|parent: &str| parent.parse().expect("an id"));
            let this = ChainId::of(below.as_ref(), &diff).to_string();
            if !store.contains(&this)? {
                let draft = store.draft(parent.as_deref())?;
                draft.commit(&this, &diff.to_string(), parent.as_deref(), Bytes::mib(1))?;
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
        self.pool().create_container(&NewContainer { name, image, size, labels: Labels::default() }).map(drop)
    }

    pub(super) fn commit(&self, container: &str, image: &str) -> Result<(), PoolError> {
        let (container, image) = (container.parse().expect("a name"), image.parse().expect("a name"));
        let commit = image::Commit::default();
        let committed =
            image::commit(&self.host, &self.location, &container, &image, &commit, &mut image::NoProgress);
        committed.map(drop).map_err(|error| match error {
            image::CommitError::Pool(error) => error,
            other => panic!("{other}"),
        })
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), PoolError> {
        self.pool().remove_container(&name.parse().expect("a name"), false).map(drop)
    }

    pub(super) fn containers(&self) -> BTreeSet<String> {
        let all = self.pool().containers().expect("listed");
        all.into_iter().map(|status| status.container.name).collect()
    }

    /// Makes the pool active again, if it isn't.
    pub(super) fn activate(&self, context: &str) {
        let activated = self.pool().activate(Checking::AsNeeded);
        activated.unwrap_or_else(|error| panic!("{context}: {error}"));
    }

    /// A device of somebody else's.
    pub(super) fn foreign_device(&self, name: &Name) {
        let pool = self.host.dm.find(&self.pool().device).expect("asked").expect("active");
        let table = Table::Linear(Linear { length: Sectors(8), device: pool.device, offset: Sectors(0) });
        let uuid = Uuid::of_somebody_else("LVM-x");
        let (access, visibility, rules) = (Access::ReadWrite, Visibility::Internal, Rules::Unawaited);
        self.host
            .dm
            .create(&NewDevice { name, uuid: &uuid, table: &table, access, visibility, rules })
            .expect("made");
    }

    /// Takes the machine down and up again. What the kernel would find on the metadata device is what a reader of
    /// the file finds.
    pub(super) fn reboot(&self) {
        self.twin.reboot();
        self.boot_somebody_else();
        self.fs.reboot();
        self.write_superblock();
    }

    /// What the kernel wrote to the metadata device shows in the file under it.
    pub(super) fn write_superblock(&self) {
        if let Wanted::Devices { metadata: Some(metadata), .. } = &self.wanted {
            return self.disks.write_superblock(metadata);
        }
        if self.somebody_elses.is_some() {
            return;
        }
        let path = self.location.paths().directory().join("metadata");
        let Some(device) = self.loops.device(&path) else { return };
        if let Ok(file) = std::fs::OpenOptions::new().write(true).open(&path) {
            file.write_all_at(&self.twin.superblock(device), 0).expect("written");
        }
    }

    /// Attaches the data file to a loop device, as somebody would by hand.
    pub(super) fn attach_elsewhere(&self, device: DeviceNumber) {
        let file = self.location.paths().directory().join("data");
        self.loops.strays.lock().expect("no panic").push((file, device));
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
        assert!(!self.fs.is_anybody_hurried(), "{context}: a file system is left to give up soon");
        let nodes = self.host.dm.list().expect("listed");
        assert_eq!(nodes.len(), 1, "{context}: more than the pool is active: {nodes:?}");
    }

    pub(super) fn metadata(&self) -> DeviceNumber {
        if let Wanted::Devices { metadata: Some(metadata), .. } = &self.wanted {
            return self.disks.number(metadata);
        }
        if let Some(pool) = &self.somebody_elses {
            return pool.metadata;
        }
        let path = self.location.paths().directory().join("metadata");
        self.loops.device(&path).expect("attached once")
    }
}

/// Every file is a disk of its own, for ever under the same number.
struct Loops {
    twin: Arc<Twin>,
    attached: Mutex<HashMap<PathBuf, DeviceNumber>>,
    /// What somebody else attached.
    strays: Mutex<Vec<(PathBuf, DeviceNumber)>>,
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

    fn find_all(&self, file: &Path) -> Result<Vec<DeviceNumber>, LoopError> {
        let strays = self.strays.lock().expect("no panic");
        Ok(strays.iter().filter(|(on, _)| on == file).map(|(_, device)| *device).collect())
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

/// A machine without thin-provisioning-tools.
struct NoTools;

impl MetadataTools for NoTools {
    fn restore(&self, _: &Path, _: &Path, _: Duration) -> Result<(), ToolError> {
        Err(missing("thin_restore"))
    }

    fn repair(&self, _: &Path, _: &Path, _: Option<&Known>, _: Duration) -> Result<(), ToolError> {
        Err(missing("thin_repair"))
    }

    fn clear_needs_check(&self, _: &Path, _: Duration) -> Result<(), ToolError> {
        Err(missing("thin_check"))
    }
}

fn missing(tool: &'static str) -> ToolError {
    lvm::NotInstalled { tool, package: "thin-provisioning-tools" }.into()
}

/// What a reader finds on the twin's disks.
struct TwinMetadata {
    twin: Arc<Twin>,
    loops: Arc<Loops>,
    disks: Arc<Disks>,
}

impl MetadataReader for TwinMetadata {
    fn open(&self, place: &Place) -> Result<Box<dyn Blocks>, MetadataError> {
        let number = match place {
            Place::Device(number) => *number,
            Place::Path(path) => self.loops.device(path).unwrap_or_else(|| self.disks.number(path)),
        };
        Ok(Image::of_twin(&self.twin, number).boxed())
    }
}
