//! The contenders, one a file.

mod btrfs;
mod command;
mod containerd;
mod copy;
mod device_mapper;
mod dmsetup;
mod docker;
mod floor;
mod library;
mod lvm;
mod overlay;
pub mod thinpool;

use crate::bed::Bed;
use crate::contender::Contender;
use crate::record::way;
use crate::tool::Outcome;

/// Makes a contender ready for its turns.
type Enter = fn(&Bed) -> Outcome<Box<dyn Contender>>;

/// All of them, by the names that they have in the tables.
pub const WAYS: [(&str, Enter); 11] = [
    (way::FLOOR, |bed| boxed(floor::Floor::new(bed))),
    (way::LAYER, |bed| boxed(device_mapper::Layer::new(bed))),
    (way::LIBRARY, |bed| boxed(library::Library::new(bed))),
    (way::COMMAND, |bed| boxed(command::Thinpool::new(bed))),
    (way::DMSETUP, |bed| boxed(dmsetup::Dmsetup::new(bed))),
    (way::LVM, |bed| boxed(lvm::Lvm::new(bed))),
    (way::CONTAINERD, |bed| boxed(containerd::Containerd::new(bed))),
    (way::DOCKER, |bed| boxed(docker::Docker::new(bed))),
    (way::BTRFS, |bed| boxed(btrfs::Btrfs::new(bed))),
    (way::OVERLAY, |bed| boxed(overlay::Overlay::new(bed))),
    (way::COPY, |bed| boxed(copy::Copy::new(bed))),
];

fn boxed<C: Contender + 'static>(made: Outcome<C>) -> Outcome<Box<dyn Contender>> {
    Ok(Box::new(made?))
}
