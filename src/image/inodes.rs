//! A set of inode numbers that stays small.

use std::collections::HashMap;

const WORDS: usize = 16;
const BITS: u64 = 64;
const BLOCK: u64 = BITS * WORDS as u64;

/// Inode numbers of one file system. File systems hand them out densely, so a bit each is enough: a million files
/// take a few hundred KiB, and an archive can't make it larger than the inode table of the layer's file system.
#[derive(Debug, Default)]
pub(super) struct InodeSet {
    blocks: HashMap<u64, [u64; WORDS]>,
}

impl InodeSet {
    pub(super) fn insert(&mut self, inode: u64) {
        let (word, bit) = place(inode);
        self.blocks.entry(inode / BLOCK).or_default()[word] |= bit;
    }

    pub(super) fn contains(&self, inode: u64) -> bool {
        let (word, bit) = place(inode);
        self.blocks.get(&(inode / BLOCK)).is_some_and(|block| block[word] & bit != 0)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the remainder is less than WORDS")]
fn place(inode: u64) -> (usize, u64) {
    ((inode % BLOCK / BITS) as usize, 1 << (inode % BITS))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(inodes in prop::collection::hash_set(0..4000_u64, 0..200)) {
            let inodes: HashSet<u64> = inodes;
            let mut set = InodeSet::default();
            for &inode in &inodes {
                set.insert(inode);
            }
            for inode in 0..4100 {
                prop_assert_eq!(set.contains(inode), inodes.contains(&inode));
            }
        }
    }
}
