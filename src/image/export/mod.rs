//! An image as an OCI image layout in a tar: what `skopeo`, `umoci`, `docker load` and `image import` read.
//!
//! The archives of the layers aren't kept, so they are made anew, from how each layer's device differs from the one below.
//! They hold the same files, but are not the same bytes as the archives that the image once came in: their digests are
//! others, and so are those of the configuration and the manifest, which are made to say what is in the archive. What is
//! exported once keeps its digests: imported and exported again, it is the same.

mod archive;
mod documents;

use std::fs::File;
use std::io::{self, IsTerminal, Seek, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use self::archive::{Blob, OciArchive};
use super::config::{ConfigError, ImageConfig};
use super::digest::{DiffId, Digest, HashWriter};
use super::error::EntryName;
use super::layer_tar::{LayerDifference, Written};
use super::progress::{Progress, Stage};
use crate::catalog::{Image, Layer};
use crate::files::{self, Draft};
use crate::pool::{DraftStore, Host, ImageName, Location, Pool, PoolError, Reading};

/// How the layers in the archive are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LayerCompression {
    /// Not at all.
    None,
    /// By gzip, which everything reads.
    #[default]
    Gzip,
    /// By zstd: faster and smaller, and known to tools since about 2020.
    Zstd,
}

/// Where an archive goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// The standard output.
    StandardOutput,
    /// A file that isn't there yet, or a pipe or a device that is.
    Path(PathBuf),
}

impl Destination {
    /// What a user wrote: `-` is the standard output.
    #[must_use]
    pub fn from_argument(argument: &Path) -> Self {
        if argument == Path::new("-") { Self::StandardOutput } else { Self::Path(argument.to_owned()) }
    }
}

/// What an export came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// The digest of the image's manifest.
    pub manifest: Digest,
    /// How long the archive is.
    pub size: u64,
    /// How many layers are in it.
    pub layers: usize,
    /// Sockets, which no archive can hold.
    pub skipped_sockets: u64,
}

/// Why an image could not be exported. Nothing is left of its archive.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The pool.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A layer's files can't be read, or its archive can't be written.
    #[error("layer {number} of {count} can't be exported: {error}")]
    Layer {
        /// Which, counted from 1.
        number: usize,
        /// Of how many.
        count: usize,
        /// Why.
        error: io::Error,
    },
    /// A file has a name that means something else in a layer.
    #[error(
        "layer {number} of {count} has the file '/{name}', and in an archive of layers that name would say that another \
         file is gone: such an image can't be exported"
    )]
    Whiteout {
        /// Which, counted from 1.
        number: usize,
        /// Of how many.
        count: usize,
        /// The file.
        name: EntryName,
    },
    /// The archive can't be written.
    #[error("could not write {what}: {error}")]
    Write {
        /// Where.
        what: String,
        /// Why.
        error: io::Error,
    },
    /// There is something of that name.
    #[error("{} is there already; remove it first, or give another name", .0.display())]
    Exists(PathBuf),
    /// An archive is nothing for the eyes.
    #[error("an archive is not written to a terminal: redirect the output, or name a file")]
    Terminal,
    /// The image's configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Writes an image to an archive. A file gets its name when all of it is written, and a stream gets its first byte then.
pub fn export(
    host: &Host,
    location: &Location,
    name: &ImageName,
    to: &Destination,
    compression: LayerCompression,
    progress: &mut dyn Progress,
) -> Result<Exported, ExportError> {
    let pool = Pool::open(host, location)?;
    let image = pool.image(name)?;
    let target = Target::of(to)?;
    let store = DraftStore::open(host, location)?;
    let exporter = Exporter { store: &store, layers: pool.layers_of(&image.chain)?, compression };
    let spool = location.paths().directory().to_owned();
    target.fill(&spool, |file| exporter.run(file, &image, progress))
}

/// Where an archive goes, looked at before there is one.
enum Target {
    New(PathBuf),
    Stream(Box<dyn Write>, String),
}

impl Target {
    fn of(to: &Destination) -> Result<Self, ExportError> {
        let path = match to {
            Destination::StandardOutput if io::stdout().is_terminal() => return Err(ExportError::Terminal),
            Destination::StandardOutput => {
                return Ok(Self::Stream(Box::new(io::stdout()), "the standard output".to_owned()));
            }
            Destination::Path(path) => path,
        };
        let what = path.display().to_string();
        match path.metadata() {
            Ok(there) if there.file_type().is_fifo() || there.file_type().is_char_device() => {
                let opened = File::options().write(true).open(path);
                let stream = opened.map_err(|error| ExportError::Write { what: what.clone(), error })?;
                Ok(Self::Stream(Box::new(stream), what))
            }
            Ok(_) => Err(ExportError::Exists(path.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::New(path.clone())),
            Err(error) => Err(ExportError::Write { what, error }),
        }
    }

    /// Has the archive written to a file without a name, and brings it to where it belongs when it is whole.
    fn fill(
        self,
        spool: &Path,
        write: impl FnOnce(&File) -> Result<Exported, ExportError>,
    ) -> Result<Exported, ExportError> {
        match self {
            Self::Stream(mut stream, what) => {
                let failed = |error| ExportError::Write { what: what.clone(), error };
                let mut file = tempfile::tempfile_in(spool).map_err(failed)?;
                let exported = write(&file)?;
                let copied = file.rewind().and_then(|()| io::copy(&mut file, &mut stream));
                copied.and_then(|_| stream.flush()).map_err(failed)?;
                Ok(exported)
            }
            Self::New(path) => {
                let failed = |error| ExportError::Write { what: path.display().to_string(), error };
                let draft = Draft::of(&path).map_err(failed)?;
                let exported = write(draft.file())?;
                draft.name_new().map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => ExportError::Exists(path.clone()),
                    _ => failed(error),
                })?;
                // The name too is to be there after a power cut.
                files::sync_directory(files::directory_of(&path)).map_err(failed)?;
                Ok(exported)
            }
        }
    }
}

/// Writes a layer through a compressor, and names it by what it was before that.
fn pack<W: Write, F>(
    difference: &mut LayerDifference<'_>,
    out: W,
    progress: &mut dyn Progress,
    finish: impl FnOnce(W) -> io::Result<F>,
) -> io::Result<(DiffId, Written)> {
    let (hashed, written) = difference.write(HashWriter::new(out), progress)?;
    let (out, diff, _) = hashed.finish();
    finish(out)?;
    Ok((DiffId(diff), written))
}

struct Exporter<'e, 'h> {
    store: &'e DraftStore<'h>,
    layers: Vec<Layer>,
    compression: LayerCompression,
}

/// A layer that is in the archive.
struct Packed {
    blob: Blob,
    diff: DiffId,
    written: Written,
}

impl<'h> Exporter<'_, 'h> {
    fn run(&self, file: &File, image: &Image, progress: &mut dyn Progress) -> Result<Exported, ExportError> {
        let failed = |error| ExportError::Write { what: "the archive".to_owned(), error };
        let mut archive = OciArchive::new(file);
        archive.file("oci-layout", documents::LAYOUT.as_bytes()).map_err(failed)?;
        let mut packed = Vec::new();
        let mut below = self.store.read(None)?;
        for number in 1..=self.layers.len() {
            let (layer, reading) = self.layer(&mut archive, number, below, progress)?;
            packed.push(layer);
            below = reading;
        }
        below.close()?;
        let config = configuration(image, &packed)?;
        let config_blob = archive.document(config.to_json().as_bytes()).map_err(failed)?;
        let blobs: Vec<Blob> = packed.iter().map(|layer| layer.blob).collect();
        let manifest = documents::manifest(config_blob, &blobs, self.compression);
        let manifest = archive.document(manifest.as_bytes()).map_err(failed)?;
        let index = documents::index(manifest, &image.name, &config);
        archive.file("index.json", index.as_bytes()).map_err(failed)?;
        Ok(Exported {
            manifest: manifest.digest,
            size: archive.finish().map_err(failed)?,
            layers: packed.len(),
            skipped_sockets: packed.iter().map(|layer| layer.written.sockets).sum(),
        })
    }

    /// Packs a layer; gives it back, mounted, for the one above it to be compared with.
    fn layer(
        &self,
        archive: &mut OciArchive<'_>,
        number: usize,
        below: Reading<'h>,
        progress: &mut dyn Progress,
    ) -> Result<(Packed, Reading<'h>), ExportError> {
        let count = self.layers.len();
        let failed = |error| ExportError::Layer { number, count, error };
        let layer = self.store.read(Some(&self.layers[number - 1].chain))?;
        let mut difference = LayerDifference::find(below.root(), layer.root()).map_err(failed)?;
        if let Some(name) = difference.misleading_name() {
            return Err(ExportError::Whiteout { number, count, name: EntryName(name.to_vec()) });
        }
        progress.begin(Stage::Packing { layer: number, of: count }, Some(difference.bytes()));
        let packed = archive.blob(|blob| match self.compression {
            LayerCompression::None => pack(&mut difference, blob, progress, Ok),
            // Its header gets no name and no time: the same layer is the same bytes.
            LayerCompression::Gzip => {
                let encoder = flate2::write::GzEncoder::new(blob, flate2::Compression::default());
                pack(&mut difference, encoder, progress, flate2::write::GzEncoder::finish)
            }
            LayerCompression::Zstd => {
                let encoder = zstd::stream::write::Encoder::new(blob, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                pack(&mut difference, encoder, progress, zstd::stream::write::Encoder::finish)
            }
        });
        let (blob, (diff, written)) = packed.map_err(failed)?;
        below.close()?;
        Ok((Packed { blob, diff, written }, layer))
    }
}

/// The image's configuration, changed as little as can be: the digests of the layers are those of the archive.
fn configuration(image: &Image, packed: &[Packed]) -> Result<ImageConfig, ExportError> {
    let mut config = match &image.config {
        Some(config) => ImageConfig::parse(config)?,
        None => ImageConfig::minimal(image.created),
    };
    config.set_layers(&packed.iter().map(|layer| layer.diff).collect::<Vec<_>>())?;
    Ok(config)
}
