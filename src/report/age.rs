//! How long ago something was, in Docker's words.

use std::time::{Duration, SystemTime};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 30 * DAY;
const YEAR: u64 = 365 * DAY;

/// `3 minutes ago`, `2 days ago`, as `docker images` says it (Go's `units.HumanDuration`). What a clock that was
/// set back puts into the future is just now.
#[must_use]
pub fn age(then: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(then).unwrap_or(Duration::ZERO).as_secs();
    let span = match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        s if s < MINUTE => format!("{s} seconds"),
        s if s < 2 * MINUTE => "About a minute".to_owned(),
        s if s < HOUR => format!("{} minutes", s / MINUTE),
        // Go rounds to the nearest hour from here on.
        s if s < HOUR + HOUR / 2 => "About an hour".to_owned(),
        s => in_hours((s + HOUR / 2) / HOUR * HOUR),
    };
    format!("{span} ago")
}

fn in_hours(seconds: u64) -> String {
    match seconds {
        s if s < 2 * DAY => format!("{} hours", s / HOUR),
        s if s < 2 * WEEK => format!("{} days", s / DAY),
        s if s < 2 * MONTH => format!("{} weeks", s / WEEK),
        s if s < 2 * YEAR => format!("{} months", s / MONTH),
        s => format!("{} years", s / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn ages_are_in_dockers_words() {
        for (seconds, text) in [
            (0, "Less than a second ago"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "About a minute ago"),
            (180, "3 minutes ago"),
            (3599, "59 minutes ago"),
            (3600, "About an hour ago"),
            (5400, "2 hours ago"),
            (47 * 3600, "47 hours ago"),
            (2 * 86400, "2 days ago"),
            (13 * 86400, "13 days ago"),
            (21 * 86400, "3 weeks ago"),
            (90 * 86400, "3 months ago"),
            (800 * 86400, "2 years ago"),
        ] {
            assert_eq!(age(UNIX_EPOCH, UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
        assert_eq!(age(UNIX_EPOCH + Duration::from_secs(9), UNIX_EPOCH), "Less than a second ago");
    }
}
