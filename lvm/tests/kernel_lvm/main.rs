//! The crate on real LVM, as root. The runner takes this binary to a throwaway machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what failed by panicking"
)]

mod bench;
mod devices;
mod life;
mod refused;
