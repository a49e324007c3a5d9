//! Brings an image into a store of layers, each once.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use thiserror::Error;

use super::digest::{ChainId, DiffId, Digest};
use super::error::{ArchiveError, UnpackError};
use super::progress::{Progress, Stage};
use super::pump::{Pump, Totals};
use super::source::{Config, Format, Image, Layer};
use super::unpack::{LayerKind, UnpackOptions, Unpacked, unpack_input};

/// Where layers are kept. The pool implements it; tests use directories.
pub trait LayerStore {
    /// What can go wrong in it.
    type Error: std::error::Error + Send + Sync + 'static;
    /// A layer in the making.
    type Draft: LayerDraft<Error = Self::Error>;
    /// Whether a finished layer with this chain id is there already.
    fn contains(&self, chain: &ChainId) -> Result<bool, Self::Error>;
    /// A new writable layer: a snapshot of `parent` (or of the empty base), mounted.
    fn draft(&self, parent: Option<&ChainId>) -> Result<Self::Draft, Self::Error>;
}

/// A layer in the making. Dropping it discards it.
pub trait LayerDraft {
    /// What can go wrong with it.
    type Error;
    /// Where it is mounted.
    fn root(&self) -> &Path;
    /// What is wrong with the store, where that explains why a write failed better than the file system's errno does:
    /// a full pool looks like a broken disk from there.
    fn diagnosis(&self) -> Option<Self::Error> {
        None
    }
    /// Makes the layer durable and known by its chain id. If another import finished the same layer meanwhile, drops
    /// this one.
    fn commit(self, layer: &LayerRecord) -> Result<(), Self::Error>;
    /// Removes it.
    fn discard(self) -> Result<(), Self::Error>;
}

/// A layer of an imported image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRecord {
    /// Its name in the store.
    pub chain: ChainId,
    /// The digest of its plain tar.
    pub diff: DiffId,
    /// The layer below it.
    pub parent: Option<ChainId>,
    /// What was unpacked; none if the layer was there already.
    pub unpacked: Option<Unpacked>,
}

/// An image, all of whose layers are in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedImage {
    /// The layer that has all others below it: what a container is a snapshot of.
    pub top: ChainId,
    /// The layers, the lowest first.
    pub layers: Vec<LayerRecord>,
    /// How many of them were there already.
    pub reused: usize,
    /// What it was found in.
    pub format: Format,
    /// The names it went by there.
    pub names: Vec<String>,
    /// The digest of its manifest, which OCI layouts have.
    pub manifest: Option<Digest>,
    /// Its configuration, which a plain root file system doesn't have.
    pub config: Option<Config>,
    /// Sockets in a directory, which can't be kept.
    pub skipped_sockets: u64,
}

/// Why an image could not be imported. Nothing of the layer that failed is left.
#[derive(Debug, Error)]
pub enum ImportError<E: std::error::Error + 'static> {
    /// The image has no layers.
    #[error("the image has no layers: there is nothing to make a snapshot of")]
    NoLayers,
    /// A layer can't be unpacked.
    #[error("layer {number} of {count}{}: {error}", named(*.diff))]
    Layer {
        /// Which, counted from 1.
        number: usize,
        /// Of how many.
        count: usize,
        /// Its name, if it is known.
        diff: Option<DiffId>,
        /// What is wrong with it.
        error: UnpackError,
    },
    /// The store can't take a layer.
    #[error("layer {number} of {count}: {error}")]
    Store {
        /// Which, counted from 1.
        number: usize,
        /// Of how many.
        count: usize,
        /// What the store says.
        error: E,
    },
    /// It failed, and what was made of the layer can't be removed either.
    #[error("{cause}. What was made of that layer could not be removed: {discard}")]
    NotDiscarded {
        /// Why the import failed.
        cause: Box<dyn std::error::Error + Send + Sync>,
        /// Why the layer couldn't be removed.
        discard: E,
    },
}

fn named(diff: Option<DiffId>) -> String {
    diff.map(|diff| format!(" ({diff})")).unwrap_or_default()
}

/// Imports an image: every layer that the store doesn't have becomes a draft on top of the one below it, is filled,
/// checked and committed. `spool_dir` is for temporary files.
pub fn import<S: LayerStore>(
    image: Image,
    store: &S,
    spool_dir: &Path,
    progress: &mut dyn Progress,
) -> Result<ImportedImage, ImportError<S::Error>> {
    let total = image.layers.iter().map(Layer::size).sum();
    progress.begin(Stage::Unpacking, total);
    let count = image.layers.len();
    let mut importer = Importer { store, progress, spool_dir: spool_dir.to_owned(), sockets: 0 };
    let mut layers: Vec<LayerRecord> = Vec::with_capacity(count);
    for (at, layer) in image.layers.into_iter().enumerate() {
        let parent = layers.last().map(|layer| layer.chain);
        let place = Position { number: at + 1, count, diff: layer.diff };
        layers.push(importer.layer(layer, parent, place)?);
    }
    let top = layers.last().ok_or(ImportError::NoLayers)?.chain;
    let reused = layers.iter().filter(|layer| layer.unpacked.is_none()).count();
    Ok(ImportedImage {
        top,
        layers,
        reused,
        format: image.format,
        names: image.names,
        manifest: image.manifest,
        config: image.config,
        skipped_sockets: importer.sockets,
    })
}

/// Which layer this is, for errors.
#[derive(Clone, Copy)]
struct Position {
    number: usize,
    count: usize,
    diff: Option<DiffId>,
}

impl Position {
    fn store<E: std::error::Error>(self) -> impl FnOnce(E) -> ImportError<E> {
        move |error| ImportError::Store { number: self.number, count: self.count, error }
    }
}

struct Importer<'i, S> {
    store: &'i S,
    progress: &'i mut dyn Progress,
    spool_dir: PathBuf,
    sockets: u64,
}

impl<S: LayerStore> Importer<'_, S> {
    fn layer(
        &mut self,
        layer: Layer,
        parent: Option<ChainId>,
        place: Position,
    ) -> Result<LayerRecord, ImportError<S::Error>> {
        if let Some(diff) = layer.diff {
            let chain = ChainId::of(parent.as_ref(), &diff);
            if self.store.contains(&chain).map_err(place.store())? {
                self.progress.advance(layer.blob_size.unwrap_or(0));
                return Ok(LayerRecord { chain, diff, parent, unpacked: None });
            }
        }
        let known = layer.diff.is_some();
        let draft = self.store.draft(parent.as_ref()).map_err(place.store())?;
        let filled = self.fill(layer, draft.root()).map_err(|error| match draft.diagnosis() {
            Some(cause) if error.is_of_the_system() => place.store()(cause),
            _ => ImportError::Layer { number: place.number, count: place.count, diff: place.diff, error },
        });
        let record = filled.map(|(diff, unpacked)| {
            let chain = ChainId::of(parent.as_ref(), &diff);
            LayerRecord { chain, diff, parent, unpacked: Some(unpacked) }
        });
        // What a plain archive is, only its end tells.
        let there = match &record {
            Ok(record) if !known => self.store.contains(&record.chain).map_err(place.store()),
            _ => Ok(false),
        };
        match record.and_then(|record| there.map(|there| (record, there))) {
            Ok((record, false)) => draft.commit(&record).map_err(place.store()).map(|()| record),
            Ok((record, true)) => {
                draft.discard().map_err(place.store())?;
                Ok(LayerRecord { unpacked: None, ..record })
            }
            Err(cause) => Err(match draft.discard() {
                Ok(()) => cause,
                Err(discard) => ImportError::NotDiscarded { cause: Box::new(cause), discard },
            }),
        }
    }

    /// Unpacks a layer, and checks that it is what it was said to be.
    fn fill(&mut self, layer: Layer, root: &Path) -> Result<(DiffId, Unpacked), UnpackError> {
        let options = UnpackOptions {
            kind: layer.kind,
            strict_end: layer.diff.is_none(),
            spool_dir: self.spool_dir.clone(),
        };
        let sockets = layer.content.sockets();
        let blob = layer.content.open().map_err(ArchiveError::Read)?;
        let mut pump = Pump::start(blob, layer.blob.is_some(), self.progress).map_err(ArchiveError::Read)?;
        let unpacked = unpack_input(&mut pump, root, &options)?;
        let totals = pump.totals().ok_or_else(|| ArchiveError::Read(io::ErrorKind::UnexpectedEof.into()))?;
        self.sockets += sockets.map_or(0, |sockets| sockets.load(Ordering::Relaxed));
        if layer.kind == LayerKind::Image {
            let size = layer.blob.and(layer.blob_size);
            check(&totals, layer.blob, size, layer.diff)?;
        }
        Ok((DiffId(totals.diff), unpacked))
    }
}

fn check(
    totals: &Totals,
    blob: Option<Digest>,
    size: Option<u64>,
    diff: Option<DiffId>,
) -> Result<(), UnpackError> {
    match (blob, size, diff) {
        (_, Some(expected), _) if expected != totals.blob_size => {
            Err(UnpackError::WrongSize { expected, found: totals.blob_size })
        }
        (Some(expected), _, _) if expected != totals.blob => {
            Err(UnpackError::WrongDigest { expected, found: totals.blob })
        }
        (_, _, Some(expected)) if expected.0 != totals.diff => {
            Err(UnpackError::WrongDiffId { expected: expected.0, found: totals.diff })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
