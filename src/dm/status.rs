//! The status lines of thin-pool and thin targets, in every form the kernels print.
//!
//! `pool_status` and `thin_status` in drivers/md/dm-thin.c; older kernels leave trailing fields out
//! (`queue_if_no_space` came with 3.9, `needs_check` with 4.1, the metadata low-water mark with 4.20).

use std::ops::Sub;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

use crate::units::{DataBlocks, MetaBlocks, Sectors, TransactionId};

/// What a pool says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolStatus {
    /// It works, wholly or in part.
    Working(PoolUsage),
    /// Its metadata can't be used at all. Every I/O and message fails.
    Fail,
    /// The kernel could not even put the status together.
    Error,
}

/// The numbers of a pool that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUsage {
    /// How far the pool got with its catalog.
    pub transaction_id: TransactionId,
    /// Metadata blocks.
    pub metadata: Blocks<MetaBlocks>,
    /// Data blocks.
    pub data: Blocks<DataBlocks>,
    /// The root of the metadata snapshot, if one is held.
    pub held_metadata_root: Option<MetaBlocks>,
    /// What it can still do.
    pub mode: Mode,
    /// Whether discards free blocks.
    pub discard: bool,
    /// Whether discards are passed on to the data device.
    pub discard_passdown: bool,
    /// What happens to writes that find no free block.
    pub no_space: NoSpacePolicy,
    /// Whether the kernel wants the metadata checked before the pool is written again.
    pub needs_check: bool,
    /// The kernel raises an event when no more metadata blocks than this are free; older kernels don't say.
    pub metadata_low_water: Option<MetaBlocks>,
}

impl PoolUsage {
    /// Whether a write that needs a block of its own finds none.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.mode == Mode::OutOfDataSpace || self.data.free() == DataBlocks(0)
    }
}

/// Used and total blocks of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks<T> {
    /// Those in use.
    pub used: T,
    /// All there are.
    pub total: T,
}

impl<T: Sub<Output = T> + Copy> Blocks<T> {
    /// What is left.
    pub fn free(&self) -> T {
        self.total - self.used
    }
}

/// What a pool can still do. The kernel prints `ro` also for a pool that is out of metadata space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything.
    ReadWrite,
    /// No new blocks: only overwriting, reading and deleting.
    OutOfDataSpace,
    /// Only reading; messages fail.
    ReadOnly,
}

/// What happens to writes that find no free block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoSpacePolicy {
    /// They wait for the pool to grow, at most the module's `no_space_timeout` seconds.
    Queue,
    /// They fail at once.
    Error,
}

/// What a thin device says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThinStatus {
    /// It works.
    Working(ThinUsage),
    /// Its pool has failed.
    Fail,
    /// The kernel could not put the status together.
    Error,
}

/// The numbers of a thin device that works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThinUsage {
    /// How much of it has blocks, shared ones included.
    pub mapped: Sectors,
    /// The last sector that has a block, or none if nothing was ever written.
    pub highest_mapped: Option<Sectors>,
}

/// A status line that no kernel is known to print.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{line}': {what}")]
pub struct StatusError {
    /// The line.
    pub line: String,
    /// What is wrong with it.
    pub what: &'static str,
}

impl FromStr for PoolStatus {
    type Err = StatusError;

    fn from_str(line: &str) -> Result<Self, StatusError> {
        match line.trim() {
            "Fail" => Ok(Self::Fail),
            "Error" => Ok(Self::Error),
            working => parse_usage(working)
                .map(Self::Working)
                .map_err(|what| StatusError { line: line.to_owned(), what }),
        }
    }
}

fn parse_usage(line: &str) -> Result<PoolUsage, &'static str> {
    let mut words = line.split_ascii_whitespace();
    let mut next = |what| words.next().ok_or(what);
    let transaction_id = next("no transaction id")?.parse().map_err(|_| "the transaction id is no number")?;
    let metadata = fraction(next("no metadata usage")?).ok_or("the metadata usage is not used/total")?;
    let data = fraction(next("no data usage")?).ok_or("the data usage is not used/total")?;
    let held = match next("no held metadata root")? {
        "-" => None,
        root => Some(MetaBlocks(root.parse().map_err(|_| "the held metadata root is no number")?)),
    };
    let mut usage = PoolUsage {
        transaction_id: TransactionId(transaction_id),
        metadata: Blocks { used: MetaBlocks(metadata.0), total: MetaBlocks(metadata.1) },
        data: Blocks { used: DataBlocks(data.0), total: DataBlocks(data.1) },
        held_metadata_root: held,
        mode: Mode::ReadWrite,
        discard: true,
        discard_passdown: true,
        no_space: NoSpacePolicy::Queue,
        needs_check: false,
        metadata_low_water: None,
    };
    words.try_for_each(|word| trailing_word(&mut usage, word))?;
    Ok(usage)
}

/// What follows the numbers is told by the words themselves, whichever of them this kernel prints.
fn trailing_word(usage: &mut PoolUsage, word: &str) -> Result<(), &'static str> {
    match word {
        "rw" => usage.mode = Mode::ReadWrite,
        "ro" => usage.mode = Mode::ReadOnly,
        "out_of_data_space" => usage.mode = Mode::OutOfDataSpace,
        "ignore_discard" => (usage.discard, usage.discard_passdown) = (false, false),
        "no_discard_passdown" => usage.discard_passdown = false,
        "discard_passdown" => usage.discard_passdown = true,
        "error_if_no_space" => usage.no_space = NoSpacePolicy::Error,
        "queue_if_no_space" => usage.no_space = NoSpacePolicy::Queue,
        "needs_check" => usage.needs_check = true,
        "-" => {}
        number => {
            let blocks = number.parse().map_err(|_| "a word that no known kernel prints")?;
            usage.metadata_low_water = Some(MetaBlocks(blocks));
        }
    }
    Ok(())
}

fn fraction(text: &str) -> Option<(u64, u64)> {
    let (used, total) = text.split_once('/')?;
    Some((used.parse().ok()?, total.parse().ok()?))
}

impl FromStr for ThinStatus {
    type Err = StatusError;

    fn from_str(line: &str) -> Result<Self, StatusError> {
        let wrong = |what| StatusError { line: line.to_owned(), what };
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            ["Fail"] => Ok(Self::Fail),
            ["Error"] => Ok(Self::Error),
            // A device that was made but has no table yet prints a lone dash.
            ["-"] => Ok(Self::Working(ThinUsage { mapped: Sectors(0), highest_mapped: None })),
            [mapped, highest] => Ok(Self::Working(ThinUsage {
                mapped: Sectors(mapped.parse().map_err(|_| wrong("the mapped sectors are no number"))?),
                highest_mapped: match highest {
                    "-" => None,
                    sector => {
                        Some(Sectors(sector.parse().map_err(|_| wrong("the highest sector is no number"))?))
                    }
                },
            })),
            _ => Err(wrong("expected the mapped sectors and the highest of them")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usage(line: &str) -> PoolUsage {
        match line.parse() {
            Ok(PoolStatus::Working(usage)) => usage,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn todays_kernels_line_is_read_whole() {
        let read = usage("12 589/524288 1112/1638400 - rw discard_passdown queue_if_no_space - 1024 ");
        assert_eq!(read.transaction_id, TransactionId(12));
        assert_eq!((read.metadata.used, read.metadata.total), (MetaBlocks(589), MetaBlocks(524_288)));
        assert_eq!((read.data.used, read.data.total), (DataBlocks(1112), DataBlocks(1_638_400)));
        assert_eq!((read.mode, read.needs_check), (Mode::ReadWrite, false));
        assert_eq!((read.discard, read.discard_passdown), (true, true));
        assert_eq!(read.no_space, NoSpacePolicy::Queue);
        assert_eq!(read.metadata_low_water, Some(MetaBlocks(1024)));
        assert_eq!(read.held_metadata_root, None);
    }

    #[test]
    fn lines_of_older_kernels_are_read_too() {
        // 3.2 to 3.8: no policy, no needs_check, no metadata low-water mark.
        assert_eq!(usage("0 5/1024 0/100 - rw no_discard_passdown").mode, Mode::ReadWrite);
        // 3.9 to 4.0
        let read = usage("0 5/1024 0/100 77 ro discard_passdown error_if_no_space");
        assert_eq!((read.mode, read.no_space), (Mode::ReadOnly, NoSpacePolicy::Error));
        assert_eq!(read.held_metadata_root, Some(MetaBlocks(77)));
        // 4.1 to 4.19
        assert!(usage("0 5/1024 0/100 - ro discard_passdown queue_if_no_space needs_check").needs_check);
    }

    #[test]
    fn a_pool_in_trouble_is_never_read_as_a_healthy_one() {
        assert_eq!("Fail".parse(), Ok(PoolStatus::Fail));
        assert_eq!(" Error\n".parse(), Ok(PoolStatus::Error));
        assert_eq!(
            usage("1 5/1024 100/100 - out_of_data_space ignore_discard queue_if_no_space - 256").mode,
            Mode::OutOfDataSpace
        );
        assert!(!usage("1 5/1024 9/100 - rw ignore_discard queue_if_no_space - 256").discard);
    }

    #[test]
    fn a_line_that_makes_no_sense_is_an_error_that_shows_it() {
        for line in [
            "",
            "x 1/2 3/4 - rw",
            "1 2 3/4 - rw",
            "1 1/2 3/4",
            "1 1/2 3/4 - rw what_is_this",
            "1 1/2/3 4/5 -",
        ] {
            let error = line.parse::<PoolStatus>().expect_err(line);
            assert!(error.to_string().contains(line), "{error}");
        }
    }

    #[test]
    fn a_thin_devices_line_is_read() {
        assert_eq!(
            "1024 2047".parse(),
            Ok(ThinStatus::Working(ThinUsage { mapped: Sectors(1024), highest_mapped: Some(Sectors(2047)) }))
        );
        assert_eq!(
            "0 -".parse(),
            Ok(ThinStatus::Working(ThinUsage { mapped: Sectors(0), highest_mapped: None }))
        );
        assert_eq!("Fail".parse(), Ok(ThinStatus::Fail));
        assert!("1 2 3".parse::<ThinStatus>().is_err());
    }

    proptest! {
        #[test]
        fn no_line_makes_a_parser_panic(line in "[-0-9a-z/_ ]{0,80}") {
            let _ = line.parse::<PoolStatus>();
            let _ = line.parse::<ThinStatus>();
        }
    }
}
