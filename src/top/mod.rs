//! A pool as it changes: samples of it, what follows from several of them, and the screen that shows it.
//!
//! Nothing here waits, and nothing asks the kernel but [`Sample::take`]: the screen is a function of a [`View`].

mod event;
mod history;
mod screen;
#[cfg(test)]
mod tests;

pub use event::Event;
pub use history::{History, View};
pub use screen::{Palette, draw};

use std::time::Instant;

use crate::pool::status::Status;
use crate::pool::{DeviceActivity, Host, Location};

/// A pool at one moment.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// How it was.
    pub status: Status,
    /// What its active devices held and had written.
    pub devices: Vec<DeviceActivity>,
}

impl Sample {
    /// Looks at a pool now. Devices that couldn't be listed are missed here: the status says what can't be read.
    #[must_use]
    pub fn take(location: &Location, host: &Host) -> Self {
        Self {
            at: Instant::now(),
            status: location.status(host),
            devices: location.activity(host).unwrap_or_default(),
        }
    }
}
