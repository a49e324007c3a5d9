//! Metadata as the XML that thin_restore(8) reads.
//!
//! A leaf that several devices lead to is written out for each of them, as every version of thin_restore reads it. But what
//! is made of that shares no leaves, and the metadata of a pool with many snapshots would fit nowhere: then it is written
//! once, as a `def` that each device refers to, which thin_restore understands from 1.0 on.
//!
//! Memory is what [`BlockUsage`](super::BlockUsage) takes; the text is written as it comes.

use std::io::{self, Write};

use super::blocks::Buffer;
use super::node::{Node, POINTER};
use super::sweep::sweep;
use super::usage::{Forest, Marks, data_block};
use super::{Metadata, MetadataError};
use crate::units::{DeviceId, MetaBlocks};

/// A mapping's time: the lower 24 bits.
const TIME: u64 = (1 << 24) - 1;

/// How leaves are written that several devices lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// For each device.
    WrittenOut,
    /// Once.
    Shared,
}

impl Metadata {
    /// How they are to be written: out, if metadata made of that takes half of the room at most.
    pub fn leaves_for_xml(&self) -> Result<Leaves, MetadataError> {
        // 16 bytes for each mapping, in leaves that are half full.
        const MAPPING: u64 = 32;
        let mapped: u64 = self.devices()?.iter().map(|device| device.mapped.0).sum();
        let room = self.blocks.count().bytes().0 / 2;
        Ok(if mapped.saturating_mul(MAPPING) <= room { Leaves::WrittenOut } else { Leaves::Shared })
    }

    /// Writes all of it. Every block is verified, so what is written is whole, or an error is returned.
    pub fn write_xml(&self, comment: &str, leaves: Leaves, out: &mut dyn Write) -> Result<(), MetadataError> {
        let devices = self.devices()?;
        let roots: Vec<(DeviceId, MetaBlocks)> =
            self.roots()?.iter().map(|(id, root)| (*id, *root)).collect();
        let blocks = self.blocks.as_ref();
        let mut forest = Forest::default();
        forest.grow(blocks, roots.iter().map(|(_, root)| *root), &mut Marks::new(self.data_blocks))?;
        let mut heights = std::collections::HashMap::new();
        for (_, root) in &roots {
            // No walk below leads in a circle.
            forest.measure(*root, 1, &mut heights)?;
        }
        let shared = match leaves {
            Leaves::WrittenOut => Vec::new(),
            Leaves::Shared => forest.shared_leaves(roots.iter().map(|(_, root)| *root)),
        };
        let superblock = self.superblock();
        written(writeln!(out, "<!-- {comment} -->"))?;
        written(writeln!(
            out,
            r#"<superblock uuid="" time="{}" transaction="{}" version="2" data_block_size="{}" nr_data_blocks="{}">"#,
            superblock.time,
            superblock.transaction_id,
            superblock.block_size.sectors().0,
            self.data.total.0,
        ))?;
        sweep(blocks, &shared, |block, bytes| {
            let leaf = Node::parse(bytes, block, POINTER)?;
            written(writeln!(out, r#"<def name="{}">"#, block.0))?;
            mappings(&leaf, out)?;
            written(writeln!(out, "</def>"))
        })?;
        let mut buffer = Buffer::of_blocks(1);
        for (device, (_, root)) in devices.iter().zip(&roots) {
            written(writeln!(
                out,
                r#"<device dev_id="{}" mapped_blocks="{}" transaction="{}" creation_time="{}" snap_time="{}">"#,
                device.id, device.mapped.0, device.transaction_id, device.created, device.snapshotted,
            ))?;
            let mut open = vec![*root];
            while let Some(block) = open.pop() {
                if let Some(children) = forest.children(block) {
                    open.extend(children.iter().rev());
                } else if shared.binary_search(&block).is_ok() {
                    written(writeln!(out, r#"<ref name="{}"/>"#, block.0))?;
                } else {
                    buffer.read(blocks, block)?;
                    mappings(&Node::parse(buffer.block(), block, POINTER)?, out)?;
                }
            }
            written(writeln!(out, "</device>"))?;
        }
        written(writeln!(out, "</superblock>"))
    }
}

/// The mappings of a leaf, those that follow each other in one line.
fn mappings(leaf: &Node<'_>, out: &mut dyn Write) -> Result<(), MetadataError> {
    let mut run: Option<Run> = None;
    for (at, mapping) in leaf.keys().zip(leaf.numbers()) {
        let next = Run { at, data: data_block(mapping), time: mapping & TIME, length: 1 };
        match &mut run {
            Some(run) if run.goes_on_with(&next) => run.length += 1,
            _ => {
                if let Some(run) = run.replace(next) {
                    run.write(out)?;
                }
            }
        }
    }
    run.map_or(Ok(()), |run| run.write(out))
}

/// Mappings that follow each other, on the device and in the data.
struct Run {
    at: u64,
    data: u64,
    time: u64,
    length: u64,
}

impl Run {
    fn goes_on_with(&self, next: &Self) -> bool {
        let Self { at, data, time, length } = *self;
        (next.at, next.data, next.time) == (at.wrapping_add(length), data.wrapping_add(length), time)
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), MetadataError> {
        let Self { at, data, time, length } = self;
        written(match length {
            1 => writeln!(out, r#"<single_mapping origin_block="{at}" data_block="{data}" time="{time}"/>"#),
            _ => writeln!(
                out,
                r#"<range_mapping origin_begin="{at}" data_begin="{data}" length="{length}" time="{time}"/>"#
            ),
        })
    }
}

fn written(result: io::Result<()>) -> Result<(), MetadataError> {
    result.map_err(MetadataError::Copy)
}
