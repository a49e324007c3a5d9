//! How a pool has filled lately: samples that whoever watches over it writes down, for who asks later.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::destroy::{remove_if_empty, remove_if_there};
use super::{Location, Pool, PoolError, io_error};
use crate::dm::PoolUsage;
use crate::files;
use crate::units::{BlockSize, Bytes, Rate};

/// A trend is that of the last hour: long enough to be calm, short enough to follow what somebody does.
const WINDOW: Duration = Duration::from_secs(3600);

/// What happened in less than this is no trend. Samples are as far apart.
const LEAST: Duration = Duration::from_secs(60);

/// How fast a pool has filled lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Trend {
    /// Over how long.
    pub over: Duration,
    /// Its data.
    pub data: Rate,
    /// Its metadata.
    pub metadata: Rate,
}

/// How much of a pool was in use at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// In seconds since 1970. A clock that is set makes a wrong trend, until an hour is over; it is known after a boot, too.
    at: u64,
    data: Bytes,
    metadata: Bytes,
}

impl Sample {
    /// What the kernel says of a pool just now.
    #[must_use]
    pub fn now(usage: &PoolUsage, block_size: BlockSize) -> Self {
        // A clock before 1970 is a broken clock: it counts as 1970.
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { at, data: usage.data.used.bytes(block_size), metadata: usage.metadata.used.bytes() }
    }

    /// A line of the file; none if it isn't one.
    fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split(' ').map(str::parse);
        let mut next = || numbers.next()?.ok();
        let (at, data, metadata) = (next()?, next()?, next()?);
        Some(Self { at, data: Bytes(data), metadata: Bytes(metadata) })
    }

    fn since(&self, earlier: &Self) -> Duration {
        Duration::from_secs(self.at.saturating_sub(earlier.at))
    }

    /// How the pool has filled between a sample of those and this one: the first within the window, or the last before it.
    fn trend(&self, samples: &[Self]) -> Option<Trend> {
        let before = |sample: &&Self| sample.at <= self.at;
        let within = samples.iter().filter(before).find(|sample| self.since(sample) <= WINDOW);
        let earlier = within.filter(|sample| self.since(sample) >= LEAST);
        let earlier =
            earlier.or_else(|| samples.iter().filter(before).rfind(|sample| self.since(sample) > WINDOW))?;
        let over = self.since(earlier);
        let data = Rate::between(earlier.data, self.data, over)?;
        Some(Trend { over, data, metadata: Rate::between(earlier.metadata, self.metadata, over)? })
    }
}

impl Location {
    /// Writes down a sample, for whoever asks later, unless the last one is younger than a minute. It isn't made durable: lost,
    /// it is a forecast that is wanting for a while.
    pub fn write_down(&self, sample: &Sample) -> Result<(), PoolError> {
        let mut samples = self.samples()?;
        samples.retain(|earlier| earlier.at <= sample.at);
        if samples.last().is_some_and(|last| sample.since(last) < LEAST) {
            return Ok(());
        }
        // One stays that is older than the window: none may come within it for a long time.
        let old = samples.iter().take_while(|earlier| sample.since(earlier) > WINDOW).count();
        samples.drain(..old.saturating_sub(1));
        samples.push(*sample);
        let text = samples.iter().fold(String::new(), |mut text, Sample { at, data, metadata }| {
            // Writing to a String can't fail.
            let _ = writeln!(text, "{at} {} {}", data.0, metadata.0);
            text
        });
        let [new, path] = self.paths().trend();
        let write = || {
            files::create(&new)?.write_all(text.as_bytes())?;
            files::rename(&new, &path)
        };
        write().map_err(io_error("write", &path))
    }

    /// Takes the samples away if there is no pool any more: who destroys one takes what he finds, and another sample may have
    /// been on its way.
    pub fn forget_samples_without_pool(&self) -> Result<(), PoolError> {
        let paths = self.paths();
        let is_there = paths.catalog().exists() || paths.life_lock().exists();
        if is_there || !paths.trend().iter().any(|path| path.exists()) {
            return Ok(());
        }
        paths.trend().iter().try_for_each(|path| remove_if_there(path))?;
        remove_if_empty(paths.directory())
    }

    /// Those that were written down, the newest last. What can't be read is none: it was never durable.
    fn samples(&self) -> Result<Vec<Sample>, PoolError> {
        let [_, path] = self.paths().trend();
        match std::fs::read_to_string(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
                Ok(Vec::new())
            }
            text => Ok(text.map_err(io_error("read", &path))?.lines().filter_map(Sample::parse).collect()),
        }
    }
}

impl Pool<'_> {
    /// How the pool has filled lately; none if nobody watches over it, or not for long.
    pub(super) fn trend(&self, usage: &PoolUsage) -> Result<Option<Trend>, PoolError> {
        let location = self.location();
        if !location.is_watched() {
            return Ok(None);
        }
        Ok(Sample::now(usage, self.record.policy.block_size).trend(&location.samples()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u64, mib: u64) -> Sample {
        Sample { at, data: Bytes::mib(mib), metadata: Bytes::mib(1) }
    }

    fn location() -> (tempfile::TempDir, Location) {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("ci")).expect("made");
        let location = Location {
            name: "ci".parse().expect("a name"),
            root: root.path().to_owned(),
            patience: Duration::ZERO,
            device_patience: Duration::ZERO,
            metadata_backups: 0,
        };
        (root, location)
    }

    #[test]
    fn the_trend_is_that_of_the_last_hour_and_of_no_shorter_time_than_a_minute() {
        let (_root, location) = location();
        for (at, mib) in [(0, 0), (10_000, 1000), (10_030, 9999), (12_000, 2000), (13_600, 3600)] {
            location.write_down(&sample(at, mib)).expect("written");
        }
        let samples = location.samples().expect("read");
        assert!(!samples.contains(&sample(10_030, 9999)), "as often as anybody looks");
        let trend = sample(13_600, 4600).trend(&samples).expect("a trend");
        assert_eq!(trend.over, Duration::from_secs(3600));
        assert_eq!(trend.data.uses_up(Bytes::mib(3600)), Some(Duration::from_secs(3600)));
        assert_eq!(trend.metadata.uses_up(Bytes::mib(1)), None, "it doesn't fill");
        assert_eq!(sample(13_630, 0).trend(&samples[samples.len() - 1..]), None);
        // A monitor that only events wake leaves long gaps.
        let trend = sample(50_000, 3600).trend(&samples).expect("a trend");
        assert_eq!((trend.over.as_secs(), trend.data.is_zero()), (50_000 - 13_600, true));
    }

    #[test]
    fn a_sample_that_came_when_the_pool_was_being_destroyed_does_not_outlive_it() {
        let (_root, location) = location();
        let directory = location.paths().directory().to_owned();
        std::fs::write(location.paths().life_lock(), "").expect("written");
        location.write_down(&sample(0, 0)).expect("written");
        location.forget_samples_without_pool().expect("nothing to forget");
        assert_eq!(location.samples().expect("read").len(), 1, "of a pool that is there");
        std::fs::remove_file(location.paths().life_lock()).expect("removed");
        location.forget_samples_without_pool().expect("forgotten");
        assert!(!directory.exists());
        location.forget_samples_without_pool().expect("nothing to forget");
    }

    #[test]
    fn what_is_kept_stays_small_and_what_a_crash_leaves_of_it_is_no_error() {
        let (_root, location) = location();
        for minute in 0..500 {
            location.write_down(&sample(minute * 60, minute)).expect("written");
        }
        assert_eq!(location.samples().expect("read").len(), 62);
        let [_, path] = location.paths().trend();
        for garbage in ["", "12 13\nx y z\n\0\0\0", "1 2 3 4\n"] {
            std::fs::write(&path, garbage).expect("written");
            assert!(location.samples().expect("read").len() <= 1);
        }
        std::fs::write(&path, b"\xff\xfe").expect("written");
        location.write_down(&sample(1, 1)).expect("written");
        // A clock that was set back: what lies in the future goes.
        location.write_down(&sample(0, 1)).expect("written");
        assert_eq!(location.samples().expect("read"), [sample(0, 1)]);
    }
}
