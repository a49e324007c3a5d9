//! Images: names for layers.

use super::{ImageName, Pool, PoolError, now};
use crate::catalog::{Container, Device, Image, Layer};
use crate::units::Bytes;

/// An image as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageStatus {
    /// What the catalog knows.
    pub image: Image,
    /// The containers made of it.
    pub containers: Vec<String>,
}

/// All that is known of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDetails {
    /// The image, and the containers made of it under this name.
    pub status: ImageStatus,
    /// All its names, this one included.
    pub names: Vec<String>,
    /// Its layers with their devices, the lowest first.
    pub layers: Vec<(Layer, Device)>,
}

/// The images that nothing needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// Their names.
    pub names: Vec<String>,
    /// What the layers unpacked to that would go with them.
    pub content: Bytes,
}

/// What a removal of images came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// The images that are gone.
    pub names: Vec<String>,
    /// How much more is free in the pool than before.
    pub freed: Bytes,
}

impl Pool<'_> {
    /// An image by its name.
    pub fn image(&self, name: &ImageName) -> Result<Image, PoolError> {
        let no_such = || PoolError::NoSuch { what: "image", name: name.to_string() };
        self.catalog.image(name.as_str())?.ok_or_else(no_such)
    }

    /// All that is known of an image.
    pub fn image_details(&self, name: &ImageName) -> Result<ImageDetails, PoolError> {
        let image = self.image(name)?;
        let containers = self.catalog.containers_of(&image.name)?;
        let names = self.catalog.names_of(&image.name)?;
        let with_device = |layer: Layer| {
            let device = self.catalog.device(layer.device)?;
            let vanished = || PoolError::Vanished { what: "layer", name: layer.chain.clone() };
            Ok::<_, PoolError>((layer.clone(), device.ok_or_else(vanished)?))
        };
        let layers = self.layers_of(&image.chain)?.into_iter().map(with_device).collect::<Result<_, _>>()?;
        Ok(ImageDetails { status: ImageStatus { image, containers }, names, layers })
    }

    /// A layer and those below it, the lowest first.
    pub fn layers_of(&self, chain: &str) -> Result<Vec<Layer>, PoolError> {
        Ok(self.catalog.layers_of(chain)?)
    }

    /// The configuration of the image that a container was made of, and when that was imported.
    pub fn config_of(&self, container: &Container) -> Result<(Option<String>, i64), PoolError> {
        // Under the name it goes by now: that under which the container was made may have been taken away meanwhile.
        let vanished = || PoolError::Vanished { what: "container", name: container.name.clone() };
        let now = self.catalog.container(&container.name)?.ok_or_else(vanished)?;
        let unlayered = || PoolError::Unlayered(container.name.clone());
        let image = self.catalog.image(&now.image)?.ok_or_else(unlayered)?;
        Ok((image.config, image.created))
    }

    /// The layer that a container started as.
    pub fn layer_below(&self, container: &Container) -> Result<Layer, PoolError> {
        let layer = container.device.origin.map(|origin| self.catalog.layer_on(origin)).transpose()?;
        layer.flatten().ok_or_else(|| PoolError::Unlayered(container.name.clone()))
    }

    /// Refuses a name that an image has already: better before an import than after it.
    pub fn refuse_taken_image(&self, name: &ImageName) -> Result<(), PoolError> {
        match self.catalog.image(name.as_str())? {
            Some(_) => Err(PoolError::NameTaken { what: "image", name: name.to_string() }),
            None => Ok(()),
        }
    }

    /// All images.
    pub fn images(&self) -> Result<Vec<ImageStatus>, PoolError> {
        let with_containers = |image: Image| {
            let containers = self.catalog.containers_of(&image.name)?;
            Ok(ImageStatus { image, containers })
        };
        self.catalog.images()?.into_iter().map(with_containers).collect()
    }

    /// Gives a finished layer a name. The configuration is kept as it came.
    pub fn add_image(
        &mut self,
        name: &ImageName,
        chain: &str,
        config: Option<&str>,
    ) -> Result<Image, PoolError> {
        if self.catalog.add_image(name.as_str(), chain, config, now())? {
            return self.image(name);
        }
        self.refuse_taken_image(name)?;
        Err(PoolError::Vanished { what: "layer", name: chain.to_owned() })
    }

    /// Gives an image another name besides the one it has.
    pub fn tag_image(&mut self, name: &ImageName, new: &ImageName) -> Result<Image, PoolError> {
        self.image(name)?;
        if self.catalog.tag_image(name.as_str(), new.as_str())? {
            return self.image(new);
        }
        self.refuse_taken_image(new)?;
        Err(PoolError::Vanished { what: "image", name: name.to_string() })
    }

    /// The images of which no container was made, under none of their names.
    pub fn unused_images(&mut self) -> Result<Unused, PoolError> {
        let (names, content) = self.catalog.unused_images()?;
        Ok(Unused { names, content })
    }

    /// Removes these images, as far as no container was made of them meanwhile.
    pub fn prune_images(&mut self, names: &[String]) -> Result<Pruned, PoolError> {
        self.must_be_active()?;
        let free = |pool: &Self| -> Result<Bytes, PoolError> {
            Ok(pool.usage()?.data.free().bytes(pool.record.policy.block_size))
        };
        let before = free(self)?;
        let mut gone = Vec::new();
        for name in names {
            if self.catalog.remove_image(name)?.is_empty() {
                gone.push(name.clone());
            }
        }
        self.reap()?;
        Ok(Pruned { names: gone, freed: Bytes(free(self)?.0.saturating_sub(before.0)) })
    }

    /// Takes an image's name away, and if it was the last one, every layer that no other image and no container needs.
    pub fn remove_image(&mut self, name: &ImageName) -> Result<(), PoolError> {
        self.must_be_active()?;
        self.image(name)?;
        let containers = self.catalog.remove_image(name.as_str())?;
        if !containers.is_empty() {
            return Err(PoolError::Needed { image: name.to_string(), containers });
        }
        self.reap()
    }
}
