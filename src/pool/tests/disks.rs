//! Block devices for tests: each a disk of the twin, and a file in which a reader finds what the kernel would have
//! written to it.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::backing::block::{BlockDevice, BlockDevices, BlockError, Found, Identity, Obstacle};
use crate::dm::{DeviceNumber, SUPERBLOCK_SIZE, Superblock, Twin};
use crate::units::Bytes;

/// The disks of a machine.
pub(super) struct Disks {
    twin: Arc<Twin>,
    directory: PathBuf,
    plugged: Mutex<Vec<BlockDevice>>,
    used: Mutex<Vec<PathBuf>>,
}

impl Disks {
    pub(super) fn new(twin: Arc<Twin>, directory: &Path) -> Self {
        Self { twin, directory: directory.to_owned(), plugged: Mutex::default(), used: Mutex::default() }
    }

    /// A blank disk with a serial number.
    pub(super) fn add(&self, serial: &str, size: Bytes) -> PathBuf {
        let mut plugged = self.plugged.lock().expect("no panic");
        let node = self.directory.join(serial);
        let file = std::fs::File::create(&node).expect("made");
        file.set_len(size.0).expect("sized");
        let number = DeviceNumber { major: 8, minor: u32::try_from(plugged.len()).expect("few") };
        self.twin.add_disk(number, size);
        let identity = Some(Identity::Serial(serial.to_owned()));
        plugged.push(BlockDevice {
            number,
            node: node.clone(),
            name: node.clone(),
            size,
            read_only: false,
            identity,
        });
        node
    }

    /// Takes a disk out.
    pub(super) fn unplug(&self, node: &Path) -> BlockDevice {
        let mut plugged = self.plugged.lock().expect("no panic");
        let index = plugged.iter().position(|disk| disk.node == node).expect("plugged in");
        plugged.remove(index)
    }

    /// Makes a disk larger or smaller.
    pub(super) fn resize(&self, node: &Path, size: Bytes) {
        let mut disk = self.unplug(node);
        disk.size = size;
        std::fs::File::options().write(true).open(node).expect("there").set_len(size.0).expect("sized");
        self.twin.resize_disk(disk.number, size).expect("there");
        self.plug(disk);
    }

    /// Puts a disk in.
    pub(super) fn plug(&self, disk: BlockDevice) {
        self.plugged.lock().expect("no panic").push(disk);
    }

    /// Somebody mounts a disk.
    pub(super) fn mount(&self, node: &Path) {
        self.used.lock().expect("no panic").push(node.to_owned());
    }

    /// Writes down for readers what the kernel has on the disk.
    pub(super) fn write_superblock(&self, node: &Path) {
        let number = self.look(node).expect("plugged in").number;
        let file = std::fs::File::options().write(true).open(node).expect("there");
        file.write_all_at(&self.twin.superblock(number), 0).expect("written");
    }

    pub(super) fn number(&self, node: &Path) -> DeviceNumber {
        self.look(node).expect("plugged in").number
    }
}

impl BlockDevices for Disks {
    fn look(&self, path: &Path) -> Result<BlockDevice, BlockError> {
        let plugged = self.plugged.lock().expect("no panic");
        let disk = plugged.iter().find(|disk| disk.node == path || disk.name == path).cloned();
        disk.ok_or_else(|| BlockError::NotABlockDevice { path: path.to_owned(), found: Found::Other })
    }

    fn find(&self, identity: &Identity) -> Result<Option<BlockDevice>, BlockError> {
        let plugged = self.plugged.lock().expect("no panic");
        Ok(plugged.iter().find(|disk| disk.identity.as_ref() == Some(identity)).cloned())
    }

    fn wait_for(&self, identity: &Identity, _: Duration) -> Result<Option<BlockDevice>, BlockError> {
        self.find(identity)
    }

    fn users(&self, device: &BlockDevice) -> Result<Vec<Obstacle>, BlockError> {
        let used = self.used.lock().expect("no panic").contains(&device.node);
        let mounted = Obstacle::Mounted { device: device.name.clone(), at: PathBuf::from("/srv") };
        Ok(used.then_some(mounted).into_iter().collect())
    }

    fn obstacles(&self, device: &BlockDevice) -> Result<Vec<Obstacle>, BlockError> {
        let found = Superblock::read(std::fs::File::open(&device.node).expect("there"));
        let device = device.name.clone();
        Ok(found
            .ok()
            .map(|found| Obstacle::ThinPool { device, transaction_id: Some(found.transaction_id) })
            .into_iter()
            .collect())
    }

    fn wipe(&self, device: &BlockDevice) -> Result<(), BlockError> {
        let file = std::fs::File::options().write(true).open(&device.node).expect("there");
        file.write_all_at(&[0; SUPERBLOCK_SIZE], 0).expect("written");
        // A disk that never had metadata on it has nothing to be wiped.
        let _ = self.twin.wipe(device.number);
        Ok(())
    }
}
