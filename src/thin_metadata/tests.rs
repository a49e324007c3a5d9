//! Metadata as the kernel would lay it out, whole and damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::testing::{Image, Volumes, seal, volumes_of_xml};
use super::*;
use crate::dm::{TwinMapping, TwinVolume};
use crate::units::{DeviceId, TransactionId};

const DATA: DataBlocks = DataBlocks(100_000);

fn id(number: u32) -> DeviceId {
    number.try_into().expect("24 bits")
}

fn volume(mappings: impl IntoIterator<Item = (u64, u64)>) -> TwinVolume {
    let mappings = mappings.into_iter().map(|(at, block)| (at, TwinMapping { block, time: 1 })).collect();
    TwinVolume { transaction_id: TransactionId(3), created: 4, snapshotted: 5, mappings }
}

/// Three devices, of which two share what they have up to block 40.
fn three() -> Volumes {
    let own = volume((0..200).map(|at| (at * 3, at)));
    let one = volume((0..100).map(|at| (at, 1000 + at)));
    let other = volume((0..40).map(|at| (at, 1000 + at)).chain((40..90).map(|at| (at, 2000 + at))));
    [(id(1), own), (id(7), one), (id(DeviceId::MAX.get()), other)].into()
}

fn read(image: &Image) -> Result<Metadata, MetadataError> {
    Metadata::at_rest(image.boxed())
}

#[test]
fn every_device_is_found_with_all_that_is_known_of_it() {
    for fill in [2, 5, 84] {
        let metadata = read(&Image::of(&three(), DATA, fill)).expect("sound");
        let devices = metadata.devices().expect("sound");
        let known: Vec<_> = devices.iter().map(|device| (device.id.get(), device.mapped.0)).collect();
        assert_eq!(known, [(1, 200), (7, 100), (0xff_ffff, 90)], "{fill} entries a node");
        let details = devices[0];
        assert_eq!((details.transaction_id, details.created, details.snapshotted), (TransactionId(3), 4, 5));
        let ends = devices.iter().map(|device| metadata.mapped_end(device.id).expect("sound").0);
        assert_eq!(ends.collect::<Vec<_>>(), [598, 100, 90]);
    }
}

#[test]
fn a_pool_without_devices_and_a_device_without_blocks_are_read() {
    let empty = read(&Image::of(&Volumes::new(), DATA, 84)).expect("sound");
    assert_eq!(empty.devices().expect("sound"), []);
    assert!(matches!(empty.mapped_end(id(1)), Err(MetadataError::NoSuchDevice(_))));
    let blank = read(&Image::of(&[(id(1), volume([]))].into(), DATA, 84)).expect("sound");
    assert_eq!(blank.mapped_end(id(1)).expect("sound"), DataBlocks(0));
}

#[test]
fn a_tree_that_leads_back_into_itself_is_an_error_and_no_endless_walk() {
    let mut image = Image::of(&three(), DATA, 84);
    let root = usize::try_from(read(&image).expect("sound").superblock().details_root.0).expect("small");
    let next = image.blocks.len() as u64;
    // An inner node with one entry, which is the node itself.
    let looped = image.node(node::INNER, &[(0, next.to_le_bytes().to_vec())], 8);
    image.blocks[root] = image.blocks[usize::try_from(looped).expect("small")];
    image.blocks[root][8..16].copy_from_slice(&(root as u64).to_le_bytes());
    seal(&mut image.blocks[root]);
    let error = read(&image).expect("its superblock is sound").devices().expect_err("a loop");
    assert!(matches!(error, MetadataError::Damaged { damage: Damage::Deep(_), .. }), "{error}");
}

#[test]
fn a_device_of_which_one_half_is_lost_is_told_by_its_id() {
    let mut image = Image::of(&three(), DATA, 84);
    let whole = read(&image).expect("sound");
    let fewer: Volumes = three().into_iter().filter(|(device, _)| *device != id(7)).collect();
    let mut superblock = *whole.superblock();
    superblock.mapping_root = image.add(&fewer, DATA).mapping_root;
    image.blocks[0] = superblock.encode(MetaBlocks(0));
    let error = read(&image).expect("sound").devices().expect_err("half a device");
    assert!(matches!(error, MetadataError::HalfADevice { device, lacks: "mappings", .. } if device == id(7)));
}

#[test]
fn what_is_wrong_with_a_block_is_told_with_its_number() {
    let image = Image::of(&three(), DATA, 84);
    let root = read(&image).expect("sound").superblock().details_root;
    let at = usize::try_from(root.0).expect("small");
    let told = |change: &dyn Fn(&mut [u8; 4096]), sealed| {
        let mut image = image.clone();
        change(&mut image.blocks[at]);
        if sealed {
            seal(&mut image.blocks[at]);
        }
        match read(&image).expect("its superblock is sound").devices() {
            Err(MetadataError::Damaged { block, damage }) => {
                assert_eq!(block, root);
                damage
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(told(&|block| block[100] ^= 1, false), Damage::Checksum { .. }));
    assert_eq!(told(&|block| block[8] ^= 128, true), Damage::Location { found: root.0 ^ 128 });
    assert_eq!(told(&|block| block[4] = 3, true), Damage::Flags(3));
    assert!(matches!(told(&|block| block[24] = 8, true), Damage::ValueSize { found: 8, expected: 24 }));
    assert!(matches!(told(&|block| block[21] = 9, true), Damage::Entries { .. }));
    assert_eq!(told(&|block| block[32] = 200, true), Damage::Keys);
    assert_eq!(told(&|block| block[55] = 1, true), Damage::DeviceId(0x0100_0000_00ff_ffff));
}

/// Asks for everything that can be read.
fn everything(metadata: &Metadata) {
    let _ = (
        metadata.devices(),
        metadata.usage(),
        metadata.differences(id(1), id(7)),
        metadata.differences(id(7), id(DeviceId::MAX.get())),
    );
    for device in [1, 7, DeviceId::MAX.get()] {
        let _ = metadata.mapped_end(id(device));
    }
}

/// What the twin would say of who has what: counted block by block.
fn counted(volumes: &Volumes) -> BlockUsage {
    let mut users: BTreeMap<u64, BTreeSet<DeviceId>> = BTreeMap::new();
    for (device, volume) in volumes {
        for mapping in volume.mappings.values() {
            users.entry(mapping.block).or_default().insert(*device);
        }
    }
    let share = |(device, volume): (&DeviceId, &TwinVolume)| {
        let alone = users.values().filter(|users| users.len() == 1 && users.contains(device));
        let mapped = DataBlocks(volume.mappings.len() as u64);
        (*device, Share { mapped, exclusive: DataBlocks(alone.count() as u64) })
    };
    let shared = users.values().filter(|users| users.len() > 1).count() as u64;
    BlockUsage { devices: volumes.iter().map(share).collect(), shared: DataBlocks(shared) }
}

/// A pool's life: devices and their snapshots, written to, and some of them deleted.
fn lives() -> impl Strategy<Value = Volumes> {
    let step = (0_u8..6, any::<prop::sample::Index>(), 0_u64..120, 1_u64..30);
    prop::collection::vec(step, 0..40).prop_map(|steps| {
        let (mut volumes, mut next, mut clock) = (Volumes::new(), 0_u64, 1_u32);
        for (step, (kind, which, at, length)) in steps.into_iter().enumerate() {
            let new = id(u32::try_from(step).expect("few"));
            let Some(device) = volumes.keys().nth(which.index(volumes.len().max(1))).copied() else {
                volumes.insert(new, volume([]));
                continue;
            };
            match kind {
                0 => drop(volumes.insert(new, volume([]))),
                1 | 2 => {
                    clock += 1;
                    drop(volumes.insert(new, volumes[&device].clone()));
                }
                3 => drop(volumes.remove(&device)),
                _ => {
                    let volume = volumes.get_mut(&device).expect("there");
                    for at in at..at + length {
                        volume.mappings.insert(at, TwinMapping { block: next, time: clock });
                        next += 1;
                    }
                }
            }
        }
        volumes
    })
}

#[test]
fn a_tree_that_is_not_even_or_leads_back_to_itself_is_never_counted() {
    let sound = Image::of(&three(), DATA, 84);
    let mut superblock = *read(&sound).expect("sound").superblock();
    let mut lead_to = |image: &mut Image, root: u64| {
        superblock.mapping_root = MetaBlocks(image.tree(&[(1, root.to_le_bytes().to_vec())], 8));
        image.blocks[0] = superblock.encode(MetaBlocks(0));
        match read(image).expect("sound").usage() {
            Err(MetadataError::Damaged { damage, .. }) => damage,
            other => panic!("{other:?}"),
        }
    };
    let pointer = |block: u64| block.to_le_bytes().to_vec();
    let mut image = sound.clone();
    let leaf = image.node(node::LEAF, &[(9, pointer(5 << 24))], 8);
    let high = image.node(node::INNER, &[(9, pointer(leaf))], 8);
    let low = image.node(node::LEAF, &[(1, pointer(6 << 24))], 8);
    let uneven = image.node(node::INNER, &[(1, pointer(low)), (9, pointer(high))], 8);
    assert_eq!(lead_to(&mut image, uneven), Damage::Uneven);
    let mut image = sound.clone();
    let itself = image.blocks.len() as u64;
    assert_eq!(image.node(node::INNER, &[(0, pointer(itself))], 8), itself);
    assert!(matches!(lead_to(&mut image, itself), Damage::Deep(_)));
    let mut image = sound.clone();
    let far = image.node(node::LEAF, &[(1, pointer(DATA.0 << 24))], 8);
    assert!(matches!(lead_to(&mut image, far), Damage::DataBlock { .. }));
}

/// Counts how often something is read.
struct Counting(Image, Arc<AtomicU64>);

impl Blocks for Counting {
    fn count(&self) -> MetaBlocks {
        self.0.count()
    }

    fn read(&self, first: MetaBlocks, into: &mut [u8]) -> std::io::Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read(first, into)
    }
}

#[test]
fn thousands_of_devices_that_share_nearly_everything_are_read_as_one_and_not_each() {
    const DEVICES: u32 = 2000;
    let image = volume((0..840).map(|at| (at, at)));
    let container = |number: u32| {
        let mut container = image.clone();
        container.mappings.insert(u64::from(number % 840), TwinMapping { block: u64::from(number), time: 1 });
        (id(number), container)
    };
    let volumes: Volumes = (1000..1000 + DEVICES).map(container).collect();
    let image = Image::of(&volumes, DATA, 84);
    let (nodes, read) = (image.blocks.len() as u64, Arc::new(AtomicU64::new(0)));
    let metadata = Metadata::at_rest(Box::new(Counting(image, Arc::clone(&read)))).expect("sound");
    let usage = metadata.usage().expect("sound");
    assert_eq!(usage.devices.len(), DEVICES as usize);
    assert!(usage.devices.values().all(|share| share.exclusive == DataBlocks(1)));
    let read = || read.swap(0, Ordering::Relaxed);
    let took = read();
    assert!(took < nodes / 10, "{took} reads of {nodes} nodes");
    for device in usage.devices.keys() {
        metadata.mapped_end(*device).expect("sound");
    }
    let took = read();
    assert!(took < 3 * u64::from(DEVICES), "{took} reads for the ends of {DEVICES} devices");
}

proptest! {
    #[test]
    fn what_each_device_has_to_itself_is_counted_exactly(volumes in lives(), fill in 2_usize..20) {
        let metadata = read(&Image::of(&volumes, DATA, fill)).expect("sound");
        let usage = metadata.usage().expect("sound");
        prop_assert_eq!(&usage, &counted(&volumes));
        prop_assert_eq!(usage.mapped(), metadata.data().used);
    }

    #[test]
    fn two_devices_differ_exactly_where_a_block_of_one_is_not_the_others(
        volumes in lives(), one in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(), fill in 2_usize..20,
    ) {
        prop_assume!(!volumes.is_empty());
        let pick = |which: &prop::sample::Index| *volumes.keys().nth(which.index(volumes.len())).expect("one");
        let (one, other) = (pick(&one), pick(&other));
        let metadata = read(&Image::of(&volumes, DATA, fill)).expect("sound");
        let found: BTreeSet<u64> = metadata.differences(one, other).expect("sound").into_iter()
            .flat_map(|range| range.start.0..range.end.0).collect();
        let block = |device: &DeviceId, at| volumes[device].mappings.get(&at).map(|mapping| mapping.block);
        let differ = (0..200).filter(|at| block(&one, *at) != block(&other, *at)).collect();
        prop_assert_eq!(found, differ);
    }

    #[test]
    fn no_damage_makes_the_reader_panic_or_go_on_for_ever(
        fill in 2_usize..20,
        damage in prop::collection::vec((any::<prop::sample::Index>(), 4_usize..200, any::<u8>()), 1..8),
        exchanged in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let mut image = Image::of(&three(), DATA, fill);
        // The checksums fit again, so that what lies behind them is met; the superblock stays.
        for (block, byte, value) in &damage {
            let block = 1 + block.index(image.blocks.len() - 1);
            image.blocks[block][*byte] = *value;
            seal(&mut image.blocks[block]);
        }
        if let Some((one, other)) = exchanged {
            let count = image.blocks.len() - 1;
            let (one, other) = (1 + one.index(count), 1 + other.index(count));
            let mut copy = image.blocks[one];
            copy[8..16].copy_from_slice(&(other as u64).to_le_bytes());
            seal(&mut copy);
            image.blocks[other] = copy;
        }
        everything(&read(&image).expect("its superblock is sound"));
    }

    #[test]
    fn no_noise_is_taken_for_metadata(noise in prop::collection::vec(any::<u8>(), 4096)) {
        let mut image = Image::of(&three(), DATA, 84);
        for block in &mut image.blocks[1..] {
            block.copy_from_slice(&noise);
        }
        prop_assert!(read(&image).expect("its superblock is sound").devices().is_err());
    }
}

fn xml(image: &Image, leaves: Leaves) -> Result<String, MetadataError> {
    let mut text = Vec::new();
    read(image)?.write_xml("of a test", leaves, &mut text)?;
    Ok(String::from_utf8(text).expect("text"))
}

#[test]
fn a_copy_has_every_mapping_of_every_device_and_what_is_shared_once_if_it_must_be() {
    for fill in [2, 5, 84] {
        let mut volumes = three();
        volumes.insert(id(9), volume([]));
        let image = Image::of(&volumes, DATA, fill);
        for leaves in [Leaves::WrittenOut, Leaves::Shared] {
            let text = xml(&image, leaves).expect("sound");
            assert_eq!(volumes_of_xml(&text), volumes, "{fill} entries a node");
            // Devices 7 and 0xffffff share all leaves up to their block 40.
            let shared =
                if leaves == Leaves::Shared && fill == 5 { 8 } else { text.matches("<def ").count() };
            assert_eq!((text.matches("<def ").count(), text.matches("<ref ").count()), (shared, 2 * shared));
        }
    }
}

#[test]
fn damaged_metadata_is_never_copied_as_if_it_were_whole() {
    let image = Image::of(&three(), DATA, 5);
    for block in 1..image.blocks.len() {
        let mut damaged = image.clone();
        damaged.blocks[block][100] ^= 1;
        xml(&damaged, Leaves::Shared).expect_err("every block is needed");
    }
}
