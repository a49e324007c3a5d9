//! A pool of thinpool's own, with the tree as an image.

use std::path::PathBuf;
use std::time::Duration;

use thinpool::pool::{ContainerName, Labels, Location, NameRefused, NewContainer, Pool};

use crate::bed::{Bed, text};
use crate::tool::{Outcome, run};

/// The image.
pub const IMAGE: &str = "tree";

/// A pool.
pub struct OwnPool {
    pub name: String,
    root: PathBuf,
}

impl OwnPool {
    /// Sets one up, as the others have theirs: 10 GiB of ext4, nothing given back to the host's file system by a removal.
    pub fn new(bed: &Bed, name: &str) -> Outcome<Self> {
        let pool = Self { name: name.to_owned(), root: bed.path("pools") };
        pool.run(&[
            "--storage-opt",
            "dm.blkdiscard=false",
            "setup",
            "--no-enable",
            "--fs=ext4",
            "--base-size=10G",
            "--loop-data-size=4G",
            "--loop-metadata-size=128M",
            "--min-free-space=0%",
        ])?;
        Ok(pool)
    }

    /// The same, with the tree.
    pub fn with_image(bed: &Bed, name: &str) -> Outcome<Self> {
        let pool = Self::new(bed, name)?;
        pool.run(&["image", "import", IMAGE, text(&bed.archive())])?;
        Ok(pool)
    }

    /// The same, with a tree of one file.
    pub fn with_small_image(bed: &Bed, name: &str) -> Outcome<Self> {
        let pool = Self::new(bed, name)?;
        pool.import_small(bed, IMAGE)?;
        Ok(pool)
    }

    /// Makes an image of one file.
    pub fn import_small(&self, bed: &Bed, image: &str) -> Outcome {
        let tree = bed.directory("small")?;
        std::fs::write(tree.join("file"), "of the image")?;
        self.run(&["image", "import", image, text(&tree)]).map(drop)
    }

    /// Runs the command.
    pub fn run(&self, arguments: &[&str]) -> Outcome<String> {
        run("thinpool", self.arguments(arguments))
    }

    /// What the command is called with.
    pub fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["--pool", &self.name, "--root", text(&self.root)], arguments].concat()
    }

    /// Its device-mapper device.
    pub fn device(&self) -> String {
        format!("{}-pool", self.name)
    }

    /// How the library is told of it.
    pub fn location(&self) -> Outcome<Location> {
        Ok(Location {
            name: self.name.parse()?,
            root: self.root.clone(),
            // The last of a hundred waits for all others.
            patience: Duration::from_secs(600),
            device_patience: Duration::ZERO,
            metadata_backups: 0,
        })
    }

    pub fn destroy(&self) -> Outcome {
        self.run(&["destroy", "--yes"]).map(drop)
    }
}

/// Makes a copy.
pub fn create(pool: &mut Pool<'_>, copy: u32) -> Outcome {
    let (name, image) = (Some(name(copy)?), IMAGE.parse()?);
    pool.create_container(&NewContainer { name, image, size: None, labels: Labels::default() })?;
    Ok(())
}

/// How a copy is called.
pub fn name(copy: u32) -> Result<ContainerName, NameRefused> {
    format!("copy{copy}").parse()
}
