//! Containers as directories.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::catalog::Container;
use crate::dm::{self, Removal, Removed};
use crate::fs::{FsError, Mount, MountOptions, NewMount};
use crate::pool::destroy::remove_if_empty;
use crate::pool::device::{Use, visibility};
use crate::pool::grow::Node;
use crate::pool::{ContainerName, Holders, Pool, PoolError, io_error};

/// How a container is to be mounted.
#[derive(Debug, Clone, Default)]
pub struct MountRequest {
    /// The directory; without, the pool makes one of its own.
    pub at: Option<PathBuf>,
    /// Options besides those of the pool, each alone or several joined by commas.
    pub options: Vec<String>,
    /// Whether nothing is to be written, not by way of this mount and not by the file system itself.
    pub read_only: bool,
}

impl Pool<'_> {
    /// Mounts a container, at a directory or at one of the pool's own, and tells where. One that is mounted
    /// already, and nobody asked for anything else, stays where it is.
    pub fn mount_container(
        &mut self,
        name: &ContainerName,
        request: &MountRequest,
    ) -> Result<PathBuf, PoolError> {
        let (request, options) = self.understood(request)?;
        let (container, _lock) = self.claim(name.as_str())?;
        self.mount_claimed(&container, &request, options)
    }

    /// A request whose directory is there, and its options together with those of the pool.
    pub(super) fn understood(
        &self,
        request: &MountRequest,
    ) -> Result<(MountRequest, MountOptions), PoolError> {
        let found = |at: &PathBuf| at.canonicalize().map_err(io_error("find the directory", at));
        let at = request.at.as_ref().map(found).transpose()?;
        let options = self.mount_options(&request.options)?;
        let options = if request.read_only { options.read_only() } else { options };
        Ok((MountRequest { at, ..request.clone() }, options))
    }

    /// Mounts a container that nobody else can work on.
    pub(super) fn mount_claimed(
        &mut self,
        container: &Container,
        request: &MountRequest,
        options: MountOptions,
    ) -> Result<PathBuf, PoolError> {
        let was_active = self.active_device(&container.device)?.is_some();
        let info = self.activate_device(&container.device, Use::Mounting)?;
        let mounted = self.host.fs.mounts(info.device)?;
        let already = match &request.at {
            Some(asked) => mounted.iter().find(|mount| mount.at == *asked),
            None => mounted.first(),
        };
        if let Some(already) = already {
            let otherwise = request.read_only && !already.read_only || !request.options.is_empty();
            let at = already.at.clone();
            return if otherwise { Err(PoolError::MountedOtherwise { at }) } else { Ok(at) };
        }
        if container.device.growing {
            self.finish_growth(&container.device, Node::Stays)?;
        }
        match self.mount_at(container, &info, mounted, request.at.clone(), options) {
            Ok(at) => Ok(at),
            Err(cause) if was_active => Err(cause),
            Err(cause) => {
                Err(cause
                    .after_cleaning_up(self.deactivate_device(&container.device, Removal::Now).map(drop)))
            }
        }
    }

    fn mount_at(
        &self,
        container: &Container,
        info: &dm::Info,
        mut mounted: Vec<Mount>,
        asked: Option<PathBuf>,
        options: MountOptions,
    ) -> Result<PathBuf, PoolError> {
        if mounted.is_empty() && info.open_count > 0 {
            let elsewhere = self.host.fs.mounts_elsewhere(info.device)?;
            mounted = elsewhere.into_iter().flat_map(|namespace| namespace.mounts).collect();
        }
        let options = match mounted.first() {
            // The kernel says EBUSY, and not why.
            Some(first) if first.file_system_read_only && !options.is_read_only() => {
                return Err(PoolError::MountedReadOnly { at: first.at.clone() });
            }
            Some(first) => options.of_one_more_mount(first.file_system_read_only),
            None => options,
        };
        let whose = self.uuid_of(container.device.id);
        self.host.fs.lower_shields(&|other| other == whose.as_str())?;
        let at = asked.map_or_else(|| self.own_mount_point(&container.name), Ok)?;
        let (device, kind) = (container.device.node.path(), self.record.policy.filesystem);
        let new = NewMount { kind, device: &device, at: &at, options: &options, whose: whose.as_str() };
        match self.host.fs.mount(&new) {
            // udev came late to take away the link of another device that had the name until its last user was gone.
            Err(FsError::Mount { errno: Errno::ENOENT, .. }) => {
                self.host.dm.keep(info, visibility(container.device.kind))?;
                self.host.fs.mount(&new)?;
            }
            mounted => mounted?,
        }
        Ok(at)
    }

    /// Unmounts a container everywhere, in other mount namespaces too, and takes its node away, unless somebody activated it
    /// to keep it. Who still holds the device then, and keeps its node from going at once, is given back.
    pub fn unmount_container(&mut self, name: &ContainerName) -> Result<Option<Holders>, PoolError> {
        let (container, _lock) = self.claim(name.as_str())?;
        if !self.unmount_everywhere(&container, Busy::Stays)? {
            return Err(PoolError::NotMounted(name.to_string()));
        }
        let Some(info) = self.after_probes(&container.device)? else { return Ok(None) };
        let held = info.open_count > 0;
        if container.active {
            return Ok(held.then(|| self.holders(&info)));
        }
        // What can't be reached may still have it: then the kernel removes the node when that one lets go.
        match self.deactivate_device(&container.device, self.usual_removal())? {
            Removed::Gone => Ok(None),
            Removed::WhenClosed => Ok(Some(self.holders(&info))),
        }
    }

    /// Unmounts a container in all namespaces that can be reached. `false` if it was mounted nowhere.
    pub(super) fn unmount_everywhere(&self, container: &Container, busy: Busy) -> Result<bool, PoolError> {
        let whose = self.uuid_of(container.device.id);
        let whose = whose.as_str();
        let Some(info) = self.active_device(&container.device)? else {
            self.host.fs.lower_shields(&|other| other == whose)?;
            return Ok(false);
        };
        let mut at = BTreeSet::from([self.paths.mounts().join(&container.name)]);
        let mut found = false;
        // One after the other, looking anew each time: one may lie on another, and go with it.
        while let Some(gone) = self.unmount_one(&info, whose, busy)? {
            found = true;
            at.insert(gone);
        }
        self.host.fs.lower_shields(&|other| other == whose)?;
        found = found || !self.host.fs.mounts_elsewhere(info.device)?.is_empty();
        let left = self.host.fs.unmount_elsewhere(info.device, whose)?;
        // To remove a directory takes away, lazily, what other namespaces have mounted there (detach_mounts in fs/namespace.c):
        // then nobody could be named any more who uses it.
        if left.is_empty() || busy == Busy::GoesLater {
            at.iter().try_for_each(|at| self.remove_own_mount_point(at))?;
        }
        Ok(found)
    }

    /// Takes the newest mount away that nothing lies on, and tells where it was. `None` if there is no mount any more.
    fn unmount_one(&self, info: &dm::Info, whose: &str, busy: Busy) -> Result<Option<PathBuf>, PoolError> {
        let mut covered = None;
        for mount in self.host.fs.mounts(info.device)?.iter().rev() {
            match self.host.fs.unmount(mount, whose) {
                Err(FsError::Covered { at }) => {
                    covered.get_or_insert(at);
                    continue;
                }
                Err(FsError::Unmount { errno: Errno::EBUSY, at }) if busy == Busy::Stays => {
                    return Err(PoolError::Busy { at, by: Box::new(self.holders(info)) });
                }
                Err(FsError::Unmount { errno: Errno::EBUSY, .. }) => self.host.fs.detach(mount, whose)?,
                result => result?,
            }
            return Ok(Some(mount.at.clone()));
        }
        covered.map_or(Ok(None), |at| Err(PoolError::Covered(at)))
    }

    /// A directory of the pool's own, at which nothing is mounted.
    pub(super) fn own_mount_point(&self, name: &str) -> Result<PathBuf, PoolError> {
        let path = self.paths.mounts().join(name);
        crate::backing::make_private_directory(&path)?;
        let device =
            |path: &Path| path.metadata().map(|found| found.dev()).map_err(io_error("look at", path));
        if device(&path)? == device(&self.paths.mounts())? { Ok(path) } else { Err(PoolError::Covered(path)) }
    }

    /// Removes a mount point, if it is one of the pool's own.
    pub(super) fn remove_own_mount_point(&self, at: &Path) -> Result<(), PoolError> {
        if at.parent() == Some(&*self.paths.mounts()) { remove_if_empty(at) } else { Ok(()) }
    }
}

/// What becomes of a mount that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    /// It stays, and that is an error.
    Stays,
    /// It is hidden, and goes when its users are done.
    GoesLater,
}
