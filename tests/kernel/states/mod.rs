//! Every state that the kernel can say a pool is in: what is told of it, and that the way out that `docs/states.md` names
//! leads to a pool with every file as it was. That writes wait only so long is in `kernel_alone`, as the kernel has one
//! limit for all pools.

pub mod bed;
mod data;
mod disks;
pub mod fragile;
mod host;
mod metadata;
