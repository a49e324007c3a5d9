//! Exit codes. `thinpool --help` and the manual pages tell [`MEANINGS`].

/// Done.
pub const DONE: u8 = 0;
/// Failed, for a reason that has no code of its own.
pub const FAILED: u8 = 1;
/// Arguments or settings are wrong.
pub const USAGE: u8 = 2;
/// The pool is not active.
pub const NOT_ACTIVE: u8 = 3;
/// There is no such thing.
pub const ABSENT: u8 = 4;
/// The pool works in part, or not at all; or this host would make it so.
pub const DEGRADED: u8 = 5;
/// In use, mounted or locked.
pub const BUSY: u8 = 6;
/// Something would be lost, or does not belong together.
pub const REFUSED: u8 = 7;
/// Too little space is free.
pub const FULL: u8 = 8;

/// Something was wrong, and is no longer.
pub const REPAIRED: u8 = 9;

/// Every code, with what it means to people.
pub const MEANINGS: [(u8, &str); 10] = [
    (DONE, "done; for `status`: the pool is healthy"),
    (FAILED, "failed"),
    (USAGE, "the arguments or a setting are wrong"),
    (NOT_ACTIVE, "the pool is not active"),
    (ABSENT, "there is no such pool, image or container"),
    (
        DEGRADED,
        "the pool works in part or not at all (`status`, `activate`); a warning or a problem was found (`doctor`, `check`) \
         or is left (`repair`)",
    ),
    (BUSY, "busy: in use, mounted, or locked by another process for too long"),
    (REFUSED, "refused, because something would be lost or does not belong together"),
    (FULL, "too little space is free"),
    (REPAIRED, "something was wrong and is no longer (`repair`, `check --repair`)"),
];
