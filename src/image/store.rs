//! A pool as a store of layers.

use std::path::Path;

use thiserror::Error;

use super::digest::ChainId;
use super::error::SourceError;
use super::import::{ImportError, ImportedImage, LayerDraft, LayerRecord, LayerStore, import};
use super::progress::Progress;
use super::source::{Input, OpenOptions, open};
use crate::catalog::Image;
use crate::pool::{Draft, DraftStore, Host, ImageName, Location, Pool, PoolError};
use crate::units::Bytes;

/// Why an image did not get into a pool.
#[derive(Debug, Error)]
pub enum AddError {
    /// It can't be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A layer can't be made.
    #[error(transparent)]
    Import(#[from] ImportError<PoolError>),
    /// The pool can't take it.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Its configuration can't be kept.
    #[error("the image's configuration is not text in UTF-8")]
    Config,
}

/// Imports an image into a pool and gives it a name. Nothing is left of one that failed.
pub fn add(
    host: &Host,
    location: &Location,
    name: &ImageName,
    input: Input,
    reference: Option<String>,
    progress: &mut dyn Progress,
) -> Result<(Image, ImportedImage), AddError> {
    let mut pool = Pool::open(host, location)?;
    pool.refuse_taken_image(name)?;
    let store = DraftStore::open(host, location)?;
    let spool_dir = location.paths().directory().to_owned();
    let options = OpenOptions { reference, spool_dir: spool_dir.clone() };
    let added = open(input, &options, progress)
        .map_err(AddError::from)
        .and_then(|image| Ok(import(image, &store, &spool_dir, progress)?))
        .and_then(|imported| Ok((name_it(&mut pool, name, &imported)?, imported)));
    if added.is_err() {
        // Layers that were finished before a later one failed are of no use to anybody. While the store is open
        // it keeps them from being tidied away.
        drop(store);
        if let Err(error) = pool.reap() {
            tracing::warn!(%error, "layers of the image that failed stay until the next command");
        }
    }
    added
}

fn name_it(pool: &mut Pool<'_>, name: &ImageName, imported: &ImportedImage) -> Result<Image, AddError> {
    let config = imported.config.as_ref().map(|config| std::str::from_utf8(&config.json)).transpose();
    Ok(pool.add_image(name, &imported.top.to_string(), config.map_err(|_| AddError::Config)?)?)
}

impl<'h> LayerStore for DraftStore<'h> {
    type Error = PoolError;
    type Draft = Draft<'h>;

    fn contains(&self, chain: &ChainId) -> Result<bool, PoolError> {
        DraftStore::contains(self, &chain.to_string())
    }

    fn draft(&self, parent: Option<&ChainId>) -> Result<Draft<'h>, PoolError> {
        DraftStore::draft(self, parent.map(ToString::to_string).as_deref())
    }
}

impl LayerDraft for Draft<'_> {
    type Error = PoolError;

    fn root(&self) -> &Path {
        Draft::root(self)
    }

    fn diagnosis(&self) -> Option<PoolError> {
        Draft::diagnosis(self)
    }

    fn commit(self, layer: &LayerRecord) -> Result<(), PoolError> {
        let parent = layer.parent.map(|parent| parent.to_string());
        let content = layer.unpacked.as_ref().map_or(Bytes(0), |unpacked| Bytes(unpacked.bytes));
        Draft::commit(self, &layer.chain.to_string(), &layer.diff.to_string(), parent.as_deref(), content)
    }

    fn discard(self) -> Result<(), PoolError> {
        Draft::discard(self)
    }
}
