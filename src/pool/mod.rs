//! Pools: what they are and what can be done with them.

pub mod status;
