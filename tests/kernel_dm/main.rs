//! Device-mapper on a real kernel, as root. The runner takes this binary to a throwaway machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what failed by panicking"
)]

mod bed;
mod machine;
mod metadata;
mod pair;
mod plain;
mod same;
mod stall;
mod trouble;
