//! A metadata snapshot that can't be forgotten.

use nix::errno::Errno;

use super::{DeviceMapper, Error, Name, PoolMessage};

/// A live pool's metadata, kept readable as it was when this was made. A pool has at most one, and while it is held, no
/// block that it sees is freed.
#[must_use = "the metadata is kept only while this is held"]
pub struct MetadataSnapshot<'a> {
    dm: &'a dyn DeviceMapper,
    pool: &'a Name,
    released: bool,
}

impl<'a> MetadataSnapshot<'a> {
    /// Has the kernel commit, and keep what it committed. EBUSY where one is held already. Where it is, and whether the
    /// commit succeeded, the pool's status tells.
    pub fn reserve(dm: &'a dyn DeviceMapper, pool: &'a Name) -> Result<Self, Error> {
        dm.message(pool, &PoolMessage::ReserveMetadataSnap)?;
        Ok(Self { dm, pool, released: false })
    }

    /// Lets go of it, and says so if that failed.
    pub fn release(mut self) -> Result<(), Error> {
        self.released = true;
        release(self.dm, self.pool)
    }
}

impl Drop for MetadataSnapshot<'_> {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        if let Err(error) = release(self.dm, self.pool) {
            // Nobody above can be told from here.
            tracing::error!(
                pool = %self.pool, %error,
                "its metadata snapshot is still held: run `dmsetup message {} 0 release_metadata_snap`", self.pool
            );
        }
    }
}

fn release(dm: &dyn DeviceMapper, pool: &Name) -> Result<(), Error> {
    match dm.message(pool, &PoolMessage::ReleaseMetadataSnap) {
        // None is held: its commit had failed.
        Err(error) if error.errno() == Some(Errno::EINVAL) => Ok(()),
        released => released,
    }
}
