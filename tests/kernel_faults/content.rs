//! What is on the devices of a pool, to the byte.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::time::Duration;

use thinpool::catalog::{Catalog, DeviceState};
use thinpool::dm::{Access, DeviceMapper, Kernel, Name, NewDevice, Removal, Table, Thin, Uuid, Visibility};
use thinpool::units::DeviceId;

use crate::support::Bench;

/// What isn't zero on a device, in blocks by their number.
type Content = BTreeMap<u64, Vec<u8>>;

/// The content of devices, by their ids.
#[derive(Default, PartialEq, Eq)]
pub struct Contents(BTreeMap<DeviceId, Content>);

impl Contents {
    /// Reads all devices that are ready. None of them may be active.
    pub fn of(bench: &Bench) -> Self {
        Self::read(bench, |_| true)
    }

    /// Fails unless all these devices are there and nothing on them has changed.
    pub fn assert_kept(&self, bench: &Bench, context: &str) {
        let now = Self::read(bench, |id| self.0.contains_key(&id));
        for (id, content) in &self.0 {
            let found = now.0.get(id).unwrap_or_else(|| panic!("{context}: device {id} is gone"));
            let differ = content.iter().any(|(at, block)| found.get(at) != Some(block));
            assert!(!differ && found.len() == content.len(), "{context}: what is on device {id} has changed");
        }
    }

    fn read(bench: &Bench, wanted: impl Fn(DeviceId) -> bool) -> Self {
        let dm = Kernel::open(Duration::from_secs(30)).expect("device-mapper");
        let pool = Name::new(format!("{}-pool", bench.name)).expect("a name");
        let pool = dm.find(&pool).expect("looked for").expect("active").device;
        let catalog = Catalog::open(&bench.state().join("catalog.db")).expect("opens").expect("is there");
        let mut contents = Self::default();
        for device in catalog.devices_in(DeviceState::Ready).expect("listed") {
            if !wanted(device.id) {
                continue;
            }
            let name = Name::new(format!("look-{}-{}", bench.name, device.id)).expect("a name");
            let thin = Thin { length: device.size.sectors(), pool, id: device.id, external_origin: None };
            let looking = NewDevice {
                name: &name,
                uuid: &Uuid::of_somebody_else(name.as_str()),
                table: &Table::Thin(thin),
                access: Access::ReadOnly,
                visibility: Visibility::Internal,
            };
            let info = dm.create(&looking).expect("a device to look with");
            let content = blocks(&mut File::open(info.device.kernel_node()).expect("opens"));
            dm.remove(&name, Removal::Now).expect("removed");
            contents.0.insert(device.id, content);
        }
        contents
    }
}

fn blocks(device: &mut File) -> Content {
    let mut content = Content::new();
    let mut block = vec![0; 64 << 10];
    let zero = block.clone();
    for number in 0.. {
        let length = device.read(&mut block).expect("read");
        if length == 0 {
            break;
        }
        if block[..length] != zero[..length] {
            content.insert(number, block[..length].to_vec());
        }
    }
    content
}
