//! Images: names for layers.

use super::{ImageName, Pool, PoolError, now};
use crate::catalog::Image;

/// An image as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageStatus {
    /// What the catalog knows.
    pub image: Image,
    /// The containers made of it.
    pub containers: Vec<String>,
}

impl Pool<'_> {
    /// An image by its name.
    pub fn image(&self, name: &ImageName) -> Result<Image, PoolError> {
        let no_such = || PoolError::NoSuch { what: "image", name: name.to_string() };
        self.catalog.image(name.as_str())?.ok_or_else(no_such)
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

    /// Removes an image, and every layer that no other image and no container needs.
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
