//! Two loop devices and a name of one's own, and nothing left of either afterwards.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use thinpool::dm::{
    Access, DeviceMapper, DeviceNumber, Error, Feature, Info, Kernel, Name, NewDevice, Removal, Rules, Table,
    Thin, ThinPool, Uuid, Visibility,
};
use thinpool::units::{BlockSize, Bytes, DataBlocks, DeviceId, Sectors};

/// Sectors of a data block.
pub const BLOCK: u64 = 128;

/// Whole blocks of the data device.
pub const DATA_BLOCKS: u64 = 96;

/// Tests that stop udevd take this for writing; all others share it.
pub static UDEV: RwLock<()> = RwLock::new(());

/// Runs a program and gives what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect(program);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Waits for something that the kernel does behind our back.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < deadline, "waited 120 s in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A file as a block device.
pub struct Loop {
    file: PathBuf,
    pub node: PathBuf,
}

impl Loop {
    pub fn new(file: PathBuf, size: Bytes) -> Self {
        File::create(&file).and_then(|file| file.set_len(size.0)).expect("a file");
        let node = run("losetup", &["-f", "--show", file.to_str().expect("a path")]).into();
        Self { file, node }
    }

    pub fn number(&self) -> DeviceNumber {
        DeviceNumber::of(&self.node).expect("a block device")
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    pub fn resize(&self, size: Bytes) {
        File::options().write(true).open(&self.file).and_then(|file| file.set_len(size.0)).expect("resized");
        run("losetup", &["-c", self.node.to_str().expect("a path")]);
    }

    /// Overwrites the first block.
    pub fn fill(&self, byte: u8) {
        use std::os::unix::fs::FileExt;
        let file = File::options().write(true).open(&self.file).expect("opened");
        file.write_all_at(&[byte; 4096], 0).expect("written");
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.node).output();
    }
}

/// A place for one pool.
pub struct Bed {
    pub dm: Kernel,
    pub metadata: Loop,
    pub data: Loop,
    pub uuid: uuid::Uuid,
    prefix: String,
    _folder: TempDir,
    udev: Option<RwLockReadGuard<'static, ()>>,
}

pub fn id(number: u32) -> DeviceId {
    number.try_into().expect("24 bits")
}

impl Bed {
    pub fn new() -> Self {
        let udev = UDEV.read().unwrap_or_else(PoisonError::into_inner);
        let mut bed = Self::under_lock(Duration::from_secs(30));
        bed.udev = Some(udev);
        bed
    }

    /// For a test that holds [`UDEV`] itself.
    pub fn under_lock(udev_timeout: Duration) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = TempDir::new().expect("a folder");
        let dm = Kernel::open(udev_timeout).expect("root, and a kernel with device-mapper");
        Self {
            dm,
            metadata: Loop::new(folder.path().join("metadata"), Bytes::mib(4)),
            data: Loop::new(folder.path().join("data"), Bytes::kib(64) * DATA_BLOCKS),
            uuid: uuid::Uuid::new_v4(),
            prefix: format!("t-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)),
            _folder: folder,
            udev: None,
        }
    }

    pub fn name(&self, what: &str) -> Name {
        Name::new(format!("{}-{what}", self.prefix)).expect("a name")
    }

    pub fn pool(&self) -> Name {
        self.name("pool")
    }

    pub fn thin(&self, number: u32) -> Name {
        self.name(&format!("thin-{number}"))
    }

    pub fn pool_table(&self, blocks: u64) -> ThinPool {
        ThinPool {
            length: Sectors(blocks * BLOCK),
            metadata: self.metadata.number(),
            data: self.data.number(),
            block_size: BlockSize::DEFAULT,
            low_water_mark: DataBlocks(4),
            features: vec![Feature::ErrorIfNoSpace],
        }
    }

    /// The table of a thin device in the pool as this device-mapper has it.
    pub fn thin_table(&self, dm: &dyn DeviceMapper, number: u32, blocks: u64) -> Table {
        let pool = dm.find(&self.pool()).expect("found").map(|info| info.device);
        let nowhere = DeviceNumber { major: 253, minor: 9999 };
        Table::Thin(Thin {
            length: Sectors(blocks * BLOCK),
            pool: pool.unwrap_or(nowhere),
            id: id(number),
            external_origin: None,
        })
    }

    /// Makes a device with a uuid that fits its name.
    pub fn make(
        &self,
        dm: &dyn DeviceMapper,
        name: &Name,
        table: &Table,
        access: Access,
    ) -> Result<Info, Error> {
        let uuid = match table {
            Table::ThinPool(_) => Uuid::of_pool(&self.uuid),
            Table::Thin(thin) => Uuid::of_device(&self.uuid, thin.id),
            Table::Linear(linear) => {
                Uuid::of_device(&self.uuid, id(0x00ff_0000 + u32::try_from(linear.offset.0).unwrap_or(0)))
            }
        };
        let (visibility, rules) = (Visibility::Internal, Rules::Awaited);
        dm.create(&NewDevice { name, uuid: &uuid, table, access, visibility, rules })
    }

    pub fn make_pool(&self) {
        let table = Table::ThinPool(self.pool_table(64));
        self.make(&self.dm, &self.pool(), &table, Access::ReadWrite).expect("a pool");
    }

    pub fn make_thin(&self, number: u32) -> Name {
        self.dm
            .message(&self.pool(), &thinpool::dm::PoolMessage::CreateThin(id(number)))
            .expect("a thin device");
        let table = self.thin_table(&self.dm, number, 40);
        self.make(&self.dm, &self.thin(number), &table, Access::ReadWrite).expect("active");
        self.thin(number)
    }

    /// The devices of this bed that the kernel has.
    pub fn devices(&self) -> Vec<Name> {
        let mut names = self.dm.list().expect("a list");
        names.retain(|name| name.as_str().starts_with(&format!("{}-", self.prefix)));
        names.sort();
        names
    }

    /// Takes all devices down, whatever state they are in.
    pub fn clear(&self) {
        // A suspended pool first resumes, or its thin devices would wait for it for ever. Then from the top down.
        let _ = self.dm.resume(&self.pool(), Visibility::Internal);
        let mut names = self.devices();
        names.sort_by_key(|name| (!name.as_str().contains("thin"), !name.as_str().contains("pool")));
        for name in names {
            let _ = self.dm.resume(&name, Visibility::Internal);
            if let Err(error) = self.dm.remove(&name, Removal::Now) {
                eprintln!("left behind: {name}: {error}");
            }
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.clear();
    }
}
