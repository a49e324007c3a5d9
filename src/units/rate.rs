//! How fast something grows, and when it has grown to its end.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::{Bytes, DockerSize};

/// Bytes a second; fewer than none where something gets less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Rate(i64);

impl Rate {
    /// From one number of bytes to another. None over no time at all.
    #[must_use]
    pub fn between(before: Bytes, after: Bytes, time: Duration) -> Option<Self> {
        let milliseconds = i128::try_from(time.as_millis()).ok().filter(|milliseconds| *milliseconds > 0)?;
        let per_second = (i128::from(after.0) - i128::from(before.0)) * 1000 / milliseconds;
        i64::try_from(per_second).ok().map(Self)
    }

    /// How many bytes a second.
    #[must_use]
    pub fn bytes_per_second(self) -> i64 {
        self.0
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// How long it takes to use up what is left; none if it is never used up.
    #[must_use]
    pub fn uses_up(self, left: Bytes) -> Option<Duration> {
        let per_second = u64::try_from(self.0).ok().filter(|per_second| *per_second > 0)?;
        Some(Duration::from_secs(left.0 / per_second))
    }
}

/// In Docker's sizes: `1.2MB/s`, `-65.54kB/s`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        f.pad(&format!("{sign}{}/s", DockerSize(Bytes(self.0.unsigned_abs()))))
    }
}

/// A time in its two largest units at most: `45 s`, `12 min`, `5 h 20 min`, `3 d`.
#[must_use]
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if minutes < 1 {
        format!("{seconds} s")
    } else if hours < 1 {
        format!("{minutes} min")
    } else if hours < 10 {
        format!("{hours} h {} min", minutes % 60)
    } else if days < 3 {
        format!("{hours} h")
    } else if days < 1000 {
        format!("{days} d")
    } else {
        "years".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_a_second_and_tells_when_the_room_is_used_up() {
        let rate = Rate::between(Bytes(1000), Bytes(5000), Duration::from_secs(2)).expect("a rate");
        assert_eq!((rate, rate.to_string()), (Rate(2000), "2kB/s".to_owned()));
        assert_eq!(rate.uses_up(Bytes(20_000)), Some(Duration::from_secs(10)));
        let falling = Rate::between(Bytes(5000), Bytes(0), Duration::from_millis(500)).expect("a rate");
        assert_eq!((falling.to_string(), falling.uses_up(Bytes(1))), ("-10kB/s".to_owned(), None));
        assert_eq!(Rate(0).uses_up(Bytes(1)), None);
    }

    #[test]
    fn no_time_has_no_rate_and_no_number_overflows() {
        assert_eq!(Rate::between(Bytes(0), Bytes(1), Duration::ZERO), None);
        assert_eq!(Rate::between(Bytes(0), Bytes(u64::MAX), Duration::from_millis(1)), None);
        assert!(Rate::between(Bytes(u64::MAX), Bytes(0), Duration::from_secs(3)).is_some());
    }

    #[test]
    fn times_are_as_exact_as_they_are_of_use() {
        let told = |seconds| span(Duration::from_secs(seconds));
        assert_eq!([59, 60, 3661].map(told), ["59 s", "1 min", "1 h 1 min"]);
        assert_eq!([40_000, 300_000, u64::MAX].map(told), ["11 h", "3 d", "years"]);
    }
}
