//! A larger container, mounted or not.

use std::str::FromStr;

use crate::catalog::Device;
use crate::dm::Mode;
use crate::pool::grow::{Node, check_size};
use crate::pool::{ContainerName, Grown, Pool, PoolError};
use crate::units::{Bytes, SizeError};

/// The size that a container is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewSize {
    /// This one.
    To(Bytes),
    /// This much more than it has.
    By(Bytes),
}

/// `20G`, or `+5G` for so much more.
impl FromStr for NewSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        match text.strip_prefix('+') {
            Some(more) => more.parse().map(Self::By),
            None => text.parse().map(Self::To),
        }
    }
}

/// A container that was resized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resized {
    /// Its size.
    pub size: Bytes,
    /// Whether its file system has that size already.
    pub grown: Grown,
}

impl Pool<'_> {
    /// Makes a container larger, and the file system in it, while it is mounted or while it isn't.
    pub fn resize_container(&mut self, name: &ContainerName, to: NewSize) -> Result<Resized, PoolError> {
        let (container, _lock) = self.claim(name.as_str())?;
        let device = container.device;
        let size = match to {
            NewSize::To(size) => size,
            NewSize::By(more) => device.size + more,
        };
        if size < device.size {
            return Err(PoolError::NotSmaller { name: container.name, has: device.size, asked: size });
        }
        check_size(size)?;
        if size == device.size && !device.growing {
            return Ok(Resized { size, grown: Grown::Whole });
        }
        // A pool that takes no writes is found out before anything is promised. A file system writes where it grows.
        if self.usage()?.mode == Mode::OutOfDataSpace {
            let what = "it has no free block for data, and a file system needs some to grow";
            return Err(PoolError::Unusable { pool: self.name.to_string(), what });
        }
        let node = match self.active_device(&device)? {
            Some(info) => {
                self.is_mounted(&info)?;
                if container.active || info.open_count > 0 { Node::Stays } else { Node::Goes }
            }
            None => Node::Goes,
        };
        if size > device.size {
            self.catalog.begin_device_growth(device.id, size, |_| Ok(()))?;
        }
        let grown = self.finish_growth(&Device { size, growing: true, ..device }, node)?;
        Ok(Resized { size, grown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_with_a_plus_is_so_much_more() {
        assert_eq!("+5G".parse(), Ok(NewSize::By(Bytes::gib(5))));
        assert_eq!("20G".parse(), Ok(NewSize::To(Bytes::gib(20))));
        for wrong in ["", "+", "-5G", "++5G", "+ x"] {
            assert!(wrong.parse::<NewSize>().is_err(), "{wrong}");
        }
    }
}
