//! Names of containers, images and devices, checked before anything is made of them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::dm;
use crate::units::{DeviceId, PoolName};

/// A container's name: the rest of its device's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerName(String);

/// An image's name, such as `debian`, `debian:12` or `registry.example:5000/team/app@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName(String);

/// A name that can't be one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{name}' can't be the name of {of}: {rule}")]
pub struct NameRefused {
    name: String,
    of: &'static str,
    rule: String,
}

/// Together with the longest pool's name and the dash between, it fits the kernel's 127 bytes.
const LONGEST_CONTAINER: usize = 64;
const LONGEST_IMAGE: usize = 255;

/// The device of the pool itself.
pub(super) fn pool_device(pool: &PoolName) -> Result<dm::Name, dm::NameError> {
    dm::Name::new(format!("{pool}-pool"))
}

/// The device of the base.
pub(super) fn base_device(pool: &PoolName) -> Result<dm::Name, dm::NameError> {
    dm::Name::new(format!("{pool}-base"))
}

/// The device of an image's layer.
pub(super) fn layer_device(pool: &PoolName, id: DeviceId) -> Result<dm::Name, dm::NameError> {
    dm::Name::new(format!("{pool}-image-{id}"))
}

/// Whether a device's name is that of a layer or the base of a pool.
pub(super) fn is_layer_or_base(pool: &PoolName, node: &dm::Name) -> bool {
    let rest = node.as_str().strip_prefix(pool.as_str()).and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| rest == "base" || rest.starts_with("image-"))
}

/// The device of a container.
pub(super) fn container_device(
    pool: &PoolName,
    container: &ContainerName,
) -> Result<dm::Name, dm::NameError> {
    dm::Name::new(format!("{pool}-{container}"))
}

impl FromStr for ContainerName {
    type Err = NameRefused;

    fn from_str(name: &str) -> Result<Self, NameRefused> {
        check(name, "a container", LONGEST_CONTAINER, "_.-")?;
        // The names of the pool's own devices.
        let own = ["pool", "base"].iter().any(|own| name == *own || name.ends_with(&format!("-{own}")));
        if own || name.starts_with("image-") {
            let rule =
                "'pool', 'base', what ends with '-pool' or '-base' and what begins with 'image-' name \
                        devices of pools' own"
                    .to_owned();
            return Err(NameRefused { name: name.to_owned(), of: "a container", rule });
        }
        Ok(Self(name.to_owned()))
    }
}

impl ContainerName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageName {
    type Err = NameRefused;

    fn from_str(name: &str) -> Result<Self, NameRefused> {
        check(name, "an image", LONGEST_IMAGE, "_.-:/@")?;
        Ok(Self(name.to_owned()))
    }
}

impl ImageName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(name: &str, of: &'static str, longest: usize, punctuation: &str) -> Result<(), NameRefused> {
    let refused = |rule| Err(NameRefused { name: name.to_owned(), of, rule });
    let allowed = |c: char| c.is_ascii_alphanumeric() || punctuation.contains(c);
    if let Some(character) = name.chars().find(|c| !allowed(*c)) {
        let marks: String = punctuation.chars().flat_map(|c| [' ', c]).collect();
        return refused(format!(
            "it has the character {character:?}; letters, digits and{marks} are allowed"
        ));
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return refused("it must begin with a letter or a digit".to_owned());
    }
    if name.len() > longest {
        return refused(format!("it has {} characters, {longest} are allowed", name.len()));
    }
    Ok(())
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_names_still_fit_device_mapper() {
        let pool: PoolName = "p".repeat(PoolName::MAX_LEN).parse().expect("longest");
        let container: ContainerName = "c".repeat(LONGEST_CONTAINER).parse().expect("longest");
        assert!(container_device(&pool, &container).is_ok());
        assert!(layer_device(&pool, DeviceId::MAX).is_ok());
    }

    #[test]
    fn a_bad_name_is_refused_with_the_rule_it_breaks() {
        for (name, rule) in [
            ("", "begin with"),
            ("-rf", "begin with"),
            ("..", "begin with"),
            ("a/b", "'/'"),
            ("a b", "' '"),
            ("naïve", "'ï'"),
        ] {
            let error = name.parse::<ContainerName>().expect_err(name).to_string();
            assert!(error.contains(rule), "{error}");
        }
        assert!("c".repeat(65).parse::<ContainerName>().is_err());
    }

    #[test]
    fn no_container_takes_the_name_of_a_device_of_the_pools_own() {
        for name in ["pool", "base", "image-7", "web-pool"] {
            assert!(name.parse::<ContainerName>().is_err(), "{name}");
        }
    }

    #[test]
    fn images_are_named_as_registries_name_them() {
        for name in ["debian", "debian:12", "registry.example:5000/team/app", "app@sha256:0123"] {
            assert!(name.parse::<ImageName>().is_ok(), "{name}");
        }
    }
}
