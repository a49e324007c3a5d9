//! A container's differences from its image, and the image that they are made a layer of.

use std::io;

use thiserror::Error;

use super::change::ConfigChange;
use super::config::{ConfigError, HistoryEntry, ImageConfig, rfc3339};
use super::difference::{FileChange, changes};
use super::digest::{ChainId, DiffId, DigestError, HashWriter};
use super::layer_tar::LayerDifference;
use super::progress::{Progress, Stage};
use crate::catalog::{Container, Image, Layer};
use crate::pool::{ContainerName, DraftStore, Host, ImageName, Location, Pool, PoolError};
use crate::units::Bytes;

/// What is said of an image that is made of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// Why it was made.
    pub message: Option<String>,
    /// By whom.
    pub author: Option<String>,
    /// What its configuration has otherwise than that of the container's image.
    pub changes: Vec<ConfigChange>,
}

/// Why nothing can be told of a container's differences, or made of them.
#[derive(Debug, Error)]
pub enum CommitError {
    /// The pool.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Its files, or those of its image.
    #[error("the files of the container '{container}' can't be compared with those of its image: {error}")]
    Read {
        /// Which container.
        container: String,
        /// What can't be read.
        error: io::Error,
    },
    /// The configuration of its image.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The name of its image's layer.
    #[error("the layer below the container is not known by a digest: {0}")]
    Digest(#[from] DigestError),
}

/// What changed in a container since it was made of its image. The container is looked at as it was at one moment, and
/// what uses it goes on.
pub fn container_changes(
    host: &Host,
    location: &Location,
    name: &ContainerName,
) -> Result<Vec<FileChange>, CommitError> {
    let store = DraftStore::open(host, location)?;
    let (container, draft) = store.snapshot(name)?;
    let below = store.read(Some(&Pool::open(host, location)?.layer_below(&container)?.chain))?;
    let found = changes(below.root(), draft.root()).map_err(reading(name));
    below.close()?;
    draft.discard()?;
    found
}

/// Makes an image of a container, as it is at one moment: the layers of its own image, and one more with what changed. A
/// container in which nothing changed becomes an image with the layers that are there. Nothing is left of what failed.
pub fn commit(
    host: &Host,
    location: &Location,
    container: &ContainerName,
    name: &ImageName,
    commit: &Commit,
    progress: &mut dyn Progress,
) -> Result<Image, CommitError> {
    let mut pool = Pool::open(host, location)?;
    pool.refuse_taken_image(name)?;
    let store = DraftStore::open(host, location)?;
    let committed = Committer { store: &store, pool: &mut pool, container, commit }.run(name, progress);
    if committed.is_err() {
        // A layer that was finished before its image got no name is of no use to anybody. While the store is open it
        // keeps it from being tidied away.
        drop(store);
        if let Err(error) = pool.reap() {
            tracing::warn!(%error, "the layer of the commit that failed stays until the next command");
        }
    }
    committed
}

struct Committer<'c, 'h> {
    store: &'c DraftStore<'h>,
    pool: &'c mut Pool<'h>,
    container: &'c ContainerName,
    commit: &'c Commit,
}

impl Committer<'_, '_> {
    fn run(self, name: &ImageName, progress: &mut dyn Progress) -> Result<Image, CommitError> {
        let (container, layer) = self.layer(progress)?;
        let config = self.config(&container, layer.as_ref())?;
        let chain = match layer {
            Some(layer) => layer.chain,
            None => self.pool.layer_below(&container)?.chain,
        };
        Ok(self.pool.add_image(name, &chain, Some(&config))?)
    }

    /// Makes the layer; none if nothing changed.
    fn layer(&self, progress: &mut dyn Progress) -> Result<(Container, Option<Layer>), CommitError> {
        let (container, draft) = self.store.snapshot(self.container)?;
        let parent = self.pool.layer_below(&container)?;
        let below = self.store.read(Some(&parent.chain))?;
        let reading = || reading(self.container);
        let mut difference = LayerDifference::find(below.root(), draft.root()).map_err(reading())?;
        if difference.is_empty() {
            draft.discard()?;
            return Ok((container, None));
        }
        progress.begin(Stage::Committing, Some(difference.bytes()));
        // The archive isn't kept: an export makes the same one again.
        let (hashed, written) = difference.write(HashWriter::new(io::sink()), progress).map_err(reading())?;
        below.close()?;
        let diff = DiffId(hashed.finish().1);
        let layer = Layer {
            chain: ChainId::of(Some(&parent.chain.parse()?), &diff).to_string(),
            diff: diff.to_string(),
            parent: Some(parent.chain),
            content: Bytes(written.bytes),
            device: container.device.id,
        };
        draft.commit(&layer.chain, &layer.diff, layer.parent.as_deref(), layer.content)?;
        Ok((container, Some(layer)))
    }

    /// The configuration of the container's image, with what is new.
    fn config(&self, container: &Container, layer: Option<&Layer>) -> Result<String, CommitError> {
        let Commit { message, author, changes } = self.commit;
        let now = rfc3339(jiff::Timestamp::now().as_second());
        let (known, created) = self.pool.config_of(container)?;
        let mut config = match known {
            Some(known) => ImageConfig::parse(&known)?,
            None => ImageConfig::minimal(created),
        };
        let below = self.pool.layers_of(&self.pool.layer_below(container)?.chain)?;
        config.complete_history(below.len(), created)?;
        let diffs = below.iter().chain(layer).map(|layer| layer.diff.parse());
        config.set_layers(&diffs.collect::<Result<Vec<_>, _>>()?)?;
        config.set_text("created", &now);
        if let Some(author) = author {
            config.set_text("author", author);
        }
        for change in changes {
            change.apply(&mut config)?;
        }
        config.add_history(&HistoryEntry {
            created: Some(now),
            created_by: Some(format!("thinpool container commit {}", container.name)),
            author: author.clone(),
            comment: message.clone(),
            empty_layer: layer.is_none(),
        })?;
        Ok(config.to_json())
    }
}

fn reading(container: &ContainerName) -> impl FnOnce(io::Error) -> CommitError {
    let container = container.to_string();
    move |error| CommitError::Read { container, error }
}
