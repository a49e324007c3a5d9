//! What each thin device of a pool is to people: its name, what it is for, what it descends from.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Pool, PoolError};
use crate::catalog::{Device, DeviceKind, DeviceState};
use crate::units::DeviceId;

/// A thin device of a pool, as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id in the pool.
    pub id: DeviceId,
    /// What it is for.
    pub role: Role,
    /// What it is called: a container's name, a device-mapper name for what has no other, nothing for what nobody knows.
    pub name: Option<String>,
    /// The images that it is a layer of, by name; of those it is the top of, if it has the role of an image.
    pub images: Vec<String>,
    /// What it is a snapshot of, if that was written down. It may be gone since.
    pub origin: Option<DeviceId>,
}

/// What a device is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The empty file system that everything descends from.
    Base,
    /// The top layer of an image.
    Image,
    /// A layer below another one.
    Layer,
    /// A container's.
    Container,
    /// Still being filled, or left by who died filling it.
    Draft,
    /// Gone for users, and not yet deleted from the pool.
    Deleted,
    /// In the pool, and not in the catalog.
    Unknown,
}

impl Role {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Image => "image",
            Self::Layer => "layer",
            Self::Container => "container",
            Self::Draft => "draft",
            Self::Deleted => "deleted",
            Self::Unknown => "unknown",
        }
    }
}

impl Member {
    /// A device that only the pool knows.
    pub(super) fn unknown(id: DeviceId) -> Self {
        Self { id, role: Role::Unknown, name: None, images: Vec::new(), origin: None }
    }

    /// What it is called in a list.
    #[must_use]
    pub fn label(&self) -> String {
        match (self.role, &self.name) {
            (Role::Base, _) => "base".to_owned(),
            (Role::Image, _) => self.images.join(", "),
            (Role::Layer, _) => match self.images.as_slice() {
                [] => format!("layer {}", self.id),
                [image] => format!("layer of {image}"),
                [image, more @ ..] => format!("layer of {image} and {} more", more.len()),
            },
            (_, Some(name)) => name.clone(),
            (_, None) => format!("device {}", self.id),
        }
    }
}

impl Pool<'_> {
    /// Every device that the catalog knows, by id.
    pub fn members(&self) -> Result<BTreeMap<DeviceId, Member>, PoolError> {
        let mut members = BTreeMap::new();
        for state in [DeviceState::Pending, DeviceState::Draft, DeviceState::Ready, DeviceState::Deleted] {
            members.extend(self.catalog.devices_in(state)?.iter().map(|device| (device.id, member(device))));
        }
        for container in self.catalog.containers()? {
            if let Some(member) = members.get_mut(&container.device.id) {
                member.name = Some(container.name);
            }
        }
        let images = self.catalog.images()?;
        for image in &images {
            if let Some(top) = members.get_mut(&image.device.id) {
                top.role = Role::Image;
                top.images.push(image.name.clone());
            }
        }
        for image in images {
            let mut below = image.device.origin;
            // Not longer than there are devices, whatever a damaged catalog says.
            for _ in 0..members.len() {
                let Some(layer) = below.and_then(|id| members.get_mut(&id)) else { break };
                if layer.role == Role::Layer {
                    layer.images.push(image.name.clone());
                }
                below = layer.origin;
            }
        }
        Ok(members)
    }
}

fn member(device: &Device) -> Member {
    let role = match (device.state, device.kind) {
        (DeviceState::Pending | DeviceState::Draft, _) => Role::Draft,
        (DeviceState::Deleted, _) => Role::Deleted,
        (DeviceState::Ready, DeviceKind::Base) => Role::Base,
        (DeviceState::Ready, DeviceKind::Image) => Role::Layer,
        (DeviceState::Ready, DeviceKind::Container) => Role::Container,
    };
    let name = Some(device.node.to_string());
    Member { id: device.id, role, name, images: Vec::new(), origin: device.origin }
}
