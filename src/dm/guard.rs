//! A suspended device that can't be forgotten.

use super::{DeviceMapper, Error, Name, Visibility};

/// A device that is suspended for as long as this lives. A snapshot of an active origin is taken only while one
/// of these is held, and whatever fails in between, the origin's I/O goes on.
#[must_use = "the device is suspended only while this is held"]
pub struct Suspended<'a> {
    dm: &'a dyn DeviceMapper,
    name: &'a Name,
    visibility: Visibility,
    resumed: bool,
}

impl<'a> Suspended<'a> {
    /// Suspends the device. The visibility is what udev is told again when it resumes.
    pub fn new(dm: &'a dyn DeviceMapper, name: &'a Name, visibility: Visibility) -> Result<Self, Error> {
        dm.suspend(name)?;
        Ok(Self { dm, name, visibility, resumed: false })
    }

    /// Resumes the device, and says so if that failed.
    pub fn resume(mut self) -> Result<(), Error> {
        self.resumed = true;
        self.dm.resume(self.name, self.visibility)
    }
}

impl Drop for Suspended<'_> {
    fn drop(&mut self) {
        if self.resumed {
            return;
        }
        if let Err(error) = self.dm.resume(self.name, self.visibility) {
            // Nobody above can be told from here; a device left suspended hangs its users, so say how to mend it.
            tracing::error!(device = %self.name, %error, "left suspended: run `dmsetup resume {}`", self.name);
        }
    }
}
