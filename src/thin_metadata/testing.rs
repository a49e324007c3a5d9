//! Metadata laid out as the kernel does, for tests: from what devices hold to blocks.

use std::collections::{BTreeMap, HashMap};
use std::io;

use super::Blocks;
use super::blocks::SIZE;
use super::node::{CHECKSUM_XOR, INNER, LEAF};
use crate::dm::{self, DeviceNumber, Superblock, Twin, TwinMapping, TwinVolume, checksum};
use crate::units::{BlockSize, DataBlocks, DeviceId, MetaBlocks, TransactionId};

/// A key and its value.
type Entry = (u64, Vec<u8>);

pub(crate) type Volumes = BTreeMap<DeviceId, TwinVolume>;

/// Blocks in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) blocks: Vec<[u8; SIZE]>,
    /// How many entries a node gets at most: few make deep trees.
    fill: usize,
    /// What is there already is shared.
    nodes: HashMap<(u32, Vec<Entry>), u64>,
}

impl Image {
    pub(crate) fn new(fill: usize) -> Self {
        Self { blocks: vec![[0; SIZE]], fill, nodes: HashMap::new() }
    }

    /// A pool at rest with these devices.
    pub(crate) fn of(volumes: &Volumes, data: DataBlocks, fill: usize) -> Self {
        let mut image = Self::new(fill);
        let superblock = image.add(volumes, data);
        image.blocks[0] = superblock.encode(MetaBlocks(0));
        image
    }

    /// What the twin has on a metadata device, its metadata snapshot included.
    pub(crate) fn of_twin(twin: &Twin, metadata: DeviceNumber) -> Self {
        let mut image = Self::new(84);
        image.blocks.push([0; SIZE]);
        image.blocks[0] = twin.superblock(metadata);
        let Ok(real) = Superblock::read(&image.blocks[0][..]) else { return image };
        let mut place = |volumes: &Volumes, held_root, at: MetaBlocks| {
            let Superblock { mapping_root, details_root, .. } = image.add(volumes, real.data.total);
            let superblock = Superblock { held_root, mapping_root, details_root, ..real };
            image.blocks[usize::try_from(at.0).expect("small")] = superblock.encode(at);
        };
        place(&twin.volumes(metadata), real.held_root, MetaBlocks(0));
        if let (Some(held), Some(root)) = (twin.held_volumes(metadata), real.held_root) {
            place(&held, None, root);
        }
        image
    }

    /// Adds trees, and gives the superblock that leads to them.
    pub(crate) fn add(&mut self, volumes: &Volumes, data: DataBlocks) -> Superblock {
        let (mut details, mut roots) = (Vec::new(), Vec::new());
        for (id, volume) in volumes {
            let mappings = volume.mappings.iter();
            let packed =
                mappings.map(|(at, to)| (*at, (to.block << 24 | u64::from(to.time)).to_le_bytes().to_vec()));
            let root = self.tree(&packed.collect::<Vec<_>>(), 8);
            let id = u64::from(id.get());
            roots.push((id, root.to_le_bytes().to_vec()));
            let numbers = [volume.mappings.len() as u64, volume.transaction_id.0];
            let clocks = [volume.created, volume.snapshotted];
            let numbers = numbers.into_iter().flat_map(u64::to_le_bytes);
            details.push((id, numbers.chain(clocks.into_iter().flat_map(u32::to_le_bytes)).collect()));
        }
        let used: std::collections::BTreeSet<u64> =
            volumes.values().flat_map(|volume| volume.mappings.values()).map(|to| to.block).collect();
        Superblock {
            transaction_id: TransactionId(0),
            block_size: BlockSize::DEFAULT,
            time: 0,
            needs_check: false,
            metadata_used: MetaBlocks(self.blocks.len() as u64),
            data: dm::Blocks { used: DataBlocks(used.len() as u64), total: data },
            held_root: None,
            mapping_root: MetaBlocks(self.tree(&roots, 8)),
            details_root: MetaBlocks(self.tree(&details, 24)),
        }
    }

    /// A tree of these entries, and its root.
    pub(crate) fn tree(&mut self, entries: &[Entry], value_size: u32) -> u64 {
        let mut level = self.level(LEAF, entries, value_size);
        while level.len() > 1 {
            let entries = level.into_iter().map(|(key, block)| (key, block.to_le_bytes().to_vec()));
            level = self.level(INNER, &entries.collect::<Vec<_>>(), 8);
        }
        level[0].1
    }

    fn level(&mut self, kind: u32, entries: &[Entry], value_size: u32) -> Vec<(u64, u64)> {
        if entries.is_empty() {
            return vec![(0, self.node(kind, &[], value_size))];
        }
        // Where a node ends depends on the keys alone, so that devices with the same mappings share it.
        let span = self.fill as u64;
        let same = |one: &Entry, other: &Entry| match (kind, value_size) {
            (LEAF, 8) => one.0 / span == other.0 / span,
            _ => true,
        };
        let chunks = entries.chunk_by(same).flat_map(|chunk| chunk.chunks(self.fill)).map(<[_]>::to_vec);
        let chunks: Vec<Vec<Entry>> = chunks.collect();
        chunks.into_iter().map(|chunk| (chunk[0].0, self.node(kind, &chunk, value_size))).collect()
    }

    pub(crate) fn node(&mut self, kind: u32, entries: &[Entry], value_size: u32) -> u64 {
        let shared = (kind | value_size << 8, entries.to_vec());
        if let Some(block) = self.nodes.get(&shared) {
            return *block;
        }
        let location = self.blocks.len() as u64;
        let capacity = ((SIZE - 32) / (8 + value_size as usize)) / 3 * 3;
        let mut block = [0; SIZE];
        block[4..8].copy_from_slice(&kind.to_le_bytes());
        block[8..16].copy_from_slice(&location.to_le_bytes());
        for (at, number) in [(16, entries.len()), (20, capacity), (24, value_size as usize)] {
            block[at..at + 4].copy_from_slice(&u32::try_from(number).expect("few").to_le_bytes());
        }
        for (index, (key, value)) in entries.iter().enumerate() {
            let at = 32 + capacity * 8 + index * value.len();
            block[32 + index * 8..40 + index * 8].copy_from_slice(&key.to_le_bytes());
            block[at..at + value.len()].copy_from_slice(value);
        }
        seal(&mut block);
        self.blocks.push(block);
        self.nodes.insert(shared, location);
        location
    }

    pub(crate) fn boxed(&self) -> Box<dyn Blocks> {
        Box::new(self.clone())
    }
}

/// What a thin_restore would make of this XML: the devices' mappings. Each `def` must stand before it is referred to.
pub(crate) fn volumes_of_xml(text: &str) -> Volumes {
    let number = |line: &str, key: &str| -> u64 {
        let rest = line.split_once(&format!(" {key}=\"")).unwrap_or_else(|| panic!("{key} in {line}")).1;
        rest.split_once('"').expect("closed").0.parse().expect("a number")
    };
    let (mut defs, mut volumes) = (HashMap::new(), Volumes::new());
    let mut open = BTreeMap::new();
    let mut header = String::new();
    for line in text.lines() {
        match line.split([' ', '>']).next().expect("a word") {
            "<def" | "<device" => {
                assert!(header.is_empty(), "{line} in {header}");
                header = line.to_owned();
            }
            "</def" => {
                drop(defs.insert(number(&std::mem::take(&mut header), "name"), std::mem::take(&mut open)));
            }
            "<ref" => open.extend(defs[&number(line, "name")].clone()),
            "</device" => {
                let line = std::mem::take(&mut header);
                let mappings = std::mem::take(&mut open);
                assert_eq!(number(&line, "mapped_blocks"), mappings.len() as u64);
                let clock = |key| u32::try_from(number(&line, key)).expect("a clock");
                let volume = TwinVolume {
                    mappings,
                    transaction_id: TransactionId(number(&line, "transaction")),
                    created: clock("creation_time"),
                    snapshotted: clock("snap_time"),
                };
                let id = u32::try_from(number(&line, "dev_id")).expect("24 bits");
                volumes.insert(id.try_into().expect("24 bits"), volume);
            }
            "<single_mapping" | "<range_mapping" => {
                let is_single = line.starts_with("<single");
                let (from, to) =
                    if is_single { ("origin_block", "data_block") } else { ("origin_begin", "data_begin") };
                let length = if is_single { 1 } else { number(line, "length") };
                let time = u32::try_from(number(line, "time")).expect("a clock");
                open.extend((0..length).map(|step| {
                    let block = number(line, to) + step;
                    (number(line, from) + step, TwinMapping { block, time })
                }));
            }
            _ => {}
        }
    }
    volumes
}

/// Gives a node the checksum that fits it.
pub(crate) fn seal(block: &mut [u8; SIZE]) {
    let sum = checksum(&block[4..], CHECKSUM_XOR);
    block[..4].copy_from_slice(&sum.to_le_bytes());
}

impl Blocks for Image {
    fn count(&self) -> MetaBlocks {
        MetaBlocks(self.blocks.len() as u64)
    }

    fn read(&self, first: MetaBlocks, into: &mut [u8]) -> io::Result<()> {
        let first = usize::try_from(first.0).expect("few");
        for (block, into) in self.blocks[first..].iter().zip(into.chunks_exact_mut(SIZE)) {
            into.copy_from_slice(block);
        }
        Ok(())
    }
}
