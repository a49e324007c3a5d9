//! Many blocks read in the order in which they lie, near ones at once: a disk that seeks for each would take minutes for
//! what it reads in seconds.

use super::blocks::{Blocks, Buffer, SIZE};
use super::{Damage, MetadataError};
use crate::units::MetaBlocks;

/// Blocks read at once, at most.
const MOST: u64 = 256;

/// As many blocks that nobody asked for are read rather than skipped.
const GAP: u64 = 8;

/// Shows each of these blocks, which come in order.
pub(super) fn sweep(
    blocks: &dyn Blocks,
    wanted: &[MetaBlocks],
    mut visit: impl FnMut(MetaBlocks, &[u8; SIZE]) -> Result<(), MetadataError>,
) -> Result<(), MetadataError> {
    let mut buffer = Buffer::of_blocks(usize::try_from(MOST).unwrap_or(0));
    let mut rest = wanted;
    while let Some(first) = rest.first().copied() {
        let near = |pair: &[MetaBlocks]| pair[1].0 - pair[0].0 <= GAP && pair[1].0 - first.0 < MOST;
        let length = 1 + rest.windows(2).take_while(|pair| near(pair)).count();
        let (run, after) = rest.split_at(length);
        rest = after;
        let last = run.last().copied().unwrap_or(first);
        if last >= blocks.count() {
            return Err(Damage::Beyond { blocks: blocks.count() }.of(last));
        }
        let bytes = usize::try_from(last.0 - first.0 + 1).unwrap_or(0) * SIZE;
        let whole = blocks.read(first, &mut buffer.bytes_mut()[..bytes]).is_ok();
        for block in run {
            let at = if whole { usize::try_from(block.0 - first.0).unwrap_or(0) } else { 0 };
            if !whole {
                // A place that can't be read may be one that nobody asked for.
                buffer.read(blocks, *block)?;
            }
            if let Some(bytes) = buffer.bytes()[at * SIZE..].first_chunk() {
                visit(*block, bytes)?;
            }
        }
    }
    Ok(())
}
