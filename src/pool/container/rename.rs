//! Another name for a container, in use or not.

use std::path::PathBuf;

use crate::catalog::{Container, Device};
use crate::pool::lock::Lock;
use crate::pool::{ContainerName, Pool, PoolError, names};

/// What a renaming changed besides the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// The node that it had, or would have had.
    pub old_node: PathBuf,
    /// The node that it has, or would have.
    pub new_node: PathBuf,
    /// Where it was mounted at a directory of the pool's own, and where that is now.
    pub moved: Option<(PathBuf, PathBuf)>,
}

impl Pool<'_> {
    /// Gives a container another name, and its node, and moves it if it is mounted at a directory of the pool's own.
    pub fn rename_container(
        &mut self,
        name: &ContainerName,
        to: &ContainerName,
    ) -> Result<Renamed, PoolError> {
        let node = names::container_device(&self.name, to)?;
        self.free_name(to, &node)?;
        let (old, _lock) = self.claim(name.as_str())?;
        // As who creates one: both must not be given the same name.
        let change = Lock::exclusive(&self.paths.change_lock(), self.patience)?;
        self.refuse_taken_name(to, &node)?;
        // And the kernel must have the name free before the catalog promises it.
        self.free_node(&node)?;
        if !self.catalog.rename_container(&old, to.as_str(), &node)? {
            return Err(PoolError::NameTaken { what: "container", name: to.to_string() });
        }
        drop(change);
        let new = Container {
            name: to.to_string(),
            device: Device { node: node.clone(), ..old.device.clone() },
            ..old.clone()
        };
        if let Some(info) = self.active_device(&new.device)?
            && let Err(cause) = self.name_node(info, &new.device)
        {
            return Err(cause.after_cleaning_up(self.undo_renaming(&new, &old)));
        }
        Ok(Renamed {
            old_node: old.device.node.path(),
            new_node: node.path(),
            moved: self.follow_name(&new)?,
        })
    }

    fn undo_renaming(&mut self, new: &Container, old: &Container) -> Result<(), PoolError> {
        self.catalog.rename_container(new, &old.name, &old.device.node)?;
        Ok(())
    }

    /// Moves a mount at a directory of the pool's own to the one of the container's name. Who renamed it may have died
    /// before he could.
    pub(super) fn follow_name(&self, container: &Container) -> Result<Option<(PathBuf, PathBuf)>, PoolError> {
        let Some(info) = self.active_device(&container.device)? else { return Ok(None) };
        let mounts = self.host.fs.mounts(info.device)?;
        let own = self.paths.mounts();
        let to = own.join(&container.name);
        let from =
            mounts.into_iter().map(|mount| mount.at).find(|at| at.parent() == Some(&*own) && *at != to);
        let Some(from) = from else { return Ok(None) };
        self.own_mount_point(&container.name)?;
        self.host.fs.move_mount(&from, &to, self.uuid_of(container.device.id).as_str())?;
        self.remove_own_mount_point(&from)?;
        Ok(Some((from, to)))
    }

    /// Brings a device's node and its mount in line with a name that the catalog has, and perhaps nobody else knows of yet.
    pub(super) fn settle_name(&self, container: &Container) -> Result<(), PoolError> {
        let Some(info) = self.active_device(&container.device)? else { return Ok(()) };
        self.name_node(info, &container.device)?;
        // It can be used where it is mounted, too.
        if let Err(error) = self.follow_name(container) {
            tracing::warn!(container = container.name, %error, "it stays mounted where it is");
        }
        Ok(())
    }
}
