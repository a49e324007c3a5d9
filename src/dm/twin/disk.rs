//! Disks: as large as they are told to be, and holding nothing but pools' metadata.

use std::collections::BTreeMap;

use super::metadata::Metadata;
use crate::units::{Bytes, Sectors};

/// A disk of the twin's, which keeps what pools wrote on it while it is in no machine.
#[derive(Debug, Clone)]
pub struct Disk {
    pub(super) size: Bytes,
    /// By the sector where they begin: more than one where linear devices divide the disk.
    pub(super) contents: BTreeMap<Sectors, Content>,
}

/// What a disk has at some place.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A pool's metadata.
    Pool(Box<Metadata>),
    /// Something else, or metadata that was damaged.
    Garbage,
}

impl Disk {
    /// A disk of all zeroes.
    #[must_use]
    pub fn new(size: Bytes) -> Self {
        Self { size, contents: BTreeMap::new() }
    }
}
