//! The kernel and the twin side by side: what is done to one is done to the other.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use thinpool::dm::{
    DeviceMapper, DeviceNumber, Error, Info, IoError, Name, PoolStatus, Removal, Table, Thin, ThinPool,
    ThinStatus, Twin, Visibility,
};
use thinpool::units::{Bytes, MetaBlocks, Sectors};

use crate::bed::{BLOCK, Bed, DATA_BLOCKS, until};

/// What can be seen of one device, without what the two may differ in.
#[derive(Debug, PartialEq)]
struct Seen {
    info: Info,
    table: Result<Option<Table>, String>,
    pool: Result<PoolStatus, String>,
    thin: Result<ThinStatus, String>,
}

pub struct Pair<'a> {
    pub bed: &'a Bed,
    pub twin: Twin,
    names: Vec<Name>,
    open: BTreeMap<Name, File>,
    /// How often each result came: a test of steps that all fail would prove little.
    pub results: RefCell<BTreeMap<String, u32>>,
}

/// An error as its number, or as what it is about where there is none.
pub fn told(error: &Error) -> String {
    match (error.errno(), error) {
        (Some(errno), _) => format!("{errno:?}"),
        (None, Error::Target { expected, found, .. }) => format!("{found} is no {expected}"),
        (None, error) => error.to_string(),
    }
}

impl<'a> Pair<'a> {
    /// A bed with nothing on it, and the same in memory. These are the devices to look at after each step.
    pub fn new(bed: &'a Bed, names: Vec<Name>) -> Self {
        bed.clear();
        bed.metadata.fill(0);
        let twin = Twin::new();
        twin.add_disk(bed.metadata.number(), Bytes::mib(4));
        twin.add_disk(bed.data.number(), Bytes::kib(64) * DATA_BLOCKS);
        Self { bed, twin, names, open: BTreeMap::new(), results: RefCell::default() }
    }

    /// Does the same to both. `Err` tells a difference. What would make the kernel wait for ever is not done.
    pub fn both<T>(
        &self,
        act: impl Fn(&dyn DeviceMapper) -> Result<T, Error>,
    ) -> Result<Result<(), String>, String> {
        let twin = act(&self.twin).map(drop).map_err(|error| told(&error));
        if twin == Err("EDEADLK".to_owned()) {
            return Ok(twin);
        }
        let kernel = act(&self.bed.dm).map(drop).map_err(|error| told(&error));
        self.count(&format!("{twin:?}"));
        if kernel == twin { Ok(twin) } else { Err(format!("the kernel: {kernel:?}, the twin: {twin:?}")) }
    }

    fn count(&self, result: &str) {
        *self.results.borrow_mut().entry(result.to_owned()).or_default() += 1;
    }

    /// Writes whole blocks.
    pub fn write(&self, name: &Name, block: u64, blocks: u64) -> Result<(), String> {
        let twin = self.twin.write(name, Sectors(block * BLOCK), Sectors(blocks * BLOCK));
        self.count(&format!("write: {twin:?}"));
        same_io(twin, || write(name, block, blocks))
    }

    /// Discards whole blocks.
    pub fn discard(&self, name: &Name, block: u64, blocks: u64) -> Result<(), String> {
        // blkdiscard cuts what reaches beyond the end.
        let Ok(Some(table)) = self.twin.table(name) else { return Ok(()) };
        let blocks = blocks.min((table.length().0 / BLOCK).saturating_sub(block));
        let twin = self.twin.discard(name, Sectors(block * BLOCK), Sectors(blocks * BLOCK));
        if twin == Err(IoError::Blocked) || !name.path().exists() {
            return Ok(());
        }
        let (bytes, path) = (Bytes::kib(64).0, name.path());
        let (offset, length) = ((block * bytes).to_string(), (blocks * bytes).to_string());
        let output = Command::new("blkdiscard").args(["-o", &offset, "-l", &length]).arg(&path).output();
        let output = output.expect("blkdiscard");
        // The kernel commits a discard when it likes: a flush makes it do so now.
        let _ = File::open(&path).and_then(|file| file.sync_all());
        match (twin, output.status.success()) {
            (Ok(()), true) | (Err(_), false) => Ok(()),
            (twin, _) => {
                let kernel = String::from_utf8_lossy(&output.stderr);
                Err(format!("discard: the kernel: '{kernel}', the twin: {twin:?}"))
            }
        }
    }

    /// Opens a device, once, as a mount would.
    pub fn open(&mut self, name: &Name) -> Result<(), String> {
        if self.open.contains_key(name) {
            return Ok(());
        }
        let twin = self.twin.open(name);
        match (twin, File::open(name.path())) {
            (Ok(()), Ok(file)) => {
                self.open.insert(name.clone(), file);
                Ok(())
            }
            (Err(_), Err(_)) => Ok(()),
            (twin, kernel) => Err(format!("open: the kernel: {kernel:?}, the twin: {twin:?}")),
        }
    }

    /// Renames a device; who has it open keeps it.
    pub fn rename(&mut self, name: &Name, to: &Name) -> Result<(), String> {
        let renamed = self.both(|dm| dm.rename(name, to, Visibility::Internal))?;
        if renamed.is_ok()
            && let Some(file) = self.open.remove(name)
        {
            self.open.insert(to.clone(), file);
        }
        Ok(())
    }

    /// Closes it, and waits for what the kernel removes then.
    pub fn close(&mut self, name: &Name) {
        if self.open.remove(name).is_some() {
            self.twin.close(name).expect("it was open");
            self.wait_for_removals();
        }
    }

    /// Removes it. What nobody has open in the twin, somebody may still have in the kernel, and then it goes a moment later: udev
    /// looks at devices, and a process that another test starts has a copy of every file that is open here until it becomes
    /// the program that it is to be.
    pub fn remove(&self, name: &Name, removal: Removal) -> Result<(), String> {
        self.both(|dm| dm.remove(name, removal)).map(drop)?;
        self.wait_for_removals();
        Ok(())
    }

    fn wait_for_removals(&self) {
        let there = |dm: &dyn DeviceMapper| -> Vec<bool> {
            self.names.iter().map(|name| dm.find(name).expect("found").is_some()).collect()
        };
        until("the removal of closed devices", || there(&self.twin) == there(&self.bed.dm));
    }

    pub fn resize(&self, disk: &crate::bed::Loop, size: Bytes) {
        disk.resize(size);
        self.twin.resize_disk(disk.number(), size).expect("a disk");
    }

    /// Tells the first difference between the two.
    pub fn compare(&self) -> Result<(), String> {
        for name in &self.names {
            let (kernel, twin) = (self.see(&self.bed.dm, name), self.see(&self.twin, name));
            if kernel != twin {
                return Err(format!("{name}:\nthe kernel: {kernel:#?}\nthe twin: {twin:#?}"));
            }
        }
        Ok(())
    }

    fn see(&self, dm: &dyn DeviceMapper, name: &Name) -> Option<Seen> {
        let number = |name: &Name| dm.find(name).expect("found").map(|info| info.device);
        let ours: Vec<DeviceNumber> = self.names.iter().filter_map(number).collect();
        // The two number their own devices each in its own way.
        let nobody = DeviceNumber { major: 0, minor: 0 };
        let hidden = |number| if ours.contains(&number) { nobody } else { number };
        let mut info = dm.find(name).expect("found")?;
        // The kernel counts renames as events, too.
        (info.device, info.open_count, info.events) = (nobody, 0, 0);
        let table = dm.table(name).map_err(|error| told(&error)).map(|table| match table {
            Some(Table::Thin(thin)) => Some(Table::Thin(Thin { pool: hidden(thin.pool), ..thin })),
            Some(Table::ThinPool(pool)) => {
                Some(Table::ThinPool(ThinPool { metadata: hidden(pool.metadata), ..pool }))
            }
            table => table,
        });
        let pool = dm.pool_status(name).map_err(|error| told(&error)).map(|status| match status {
            PoolStatus::Working(mut usage) => {
                usage.metadata.used = MetaBlocks(0);
                usage.held_metadata_root = usage.held_metadata_root.map(|_| MetaBlocks(0));
                PoolStatus::Working(usage)
            }
            status => status,
        });
        Some(Seen { info, table, pool, thin: dm.thin_status(name).map_err(|error| told(&error)) })
    }
}

fn same_io(twin: Result<(), IoError>, kernel: impl FnOnce() -> io::Result<()>) -> Result<(), String> {
    let twin = match twin {
        Err(IoError::Blocked) => return Ok(()),
        Err(IoError::Failed(errno)) => Err(errno),
        Ok(()) => Ok(()),
    };
    let kernel = kernel().map_err(|error| error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw));
    // No node, which is ENOENT to who opens it by its name.
    let kernel = kernel.map_err(|errno| if errno == Errno::ENOENT { Errno::ENXIO } else { errno });
    if kernel == twin { Ok(()) } else { Err(format!("I/O: the kernel: {kernel:?}, the twin: {twin:?}")) }
}

/// Writes whole blocks one by one, each committed before the next.
pub fn write(name: &Name, block: u64, blocks: u64) -> io::Result<()> {
    const SIZE: usize = 64 * 1024;
    const ALIGNMENT: usize = 4096;
    let flags = OFlag::O_DIRECT | OFlag::O_DSYNC;
    let file = File::options().write(true).custom_flags(flags.bits()).open(name.path())?;
    let buffer = vec![0x5a; SIZE + ALIGNMENT];
    let start = buffer.as_ptr().align_offset(ALIGNMENT);
    (block..block + blocks)
        .try_for_each(|block| file.write_all_at(&buffer[start..start + SIZE], block * SIZE as u64))
}
