//! Opens what a user points at, and finds out what it is by looking into it.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::decompress::{Compression, decompress, read_full};
use super::digest::{DiffId, Digest};
use super::directory;
use super::error::SourceError;
use super::members::Members;
use super::progress::{Progress, Stage};
use super::resolve::components;
use super::section::Section;
use super::tar_reader::{Entry, Kind, TarReader};
use super::unpack::LayerKind;
use super::{docker_save, oci};

/// So much of an archive is looked at to tell what it is.
const HEAD: usize = 512 << 10;

/// Where an image comes from.
pub enum Input {
    /// A file, a directory, or anything else that has a name, such as a fifo.
    Path(PathBuf),
    /// A stream that can only be read once, such as the standard input.
    Stream(Box<dyn Read + Send>),
}

impl Input {
    /// What an argument of the command line means: `-` is the standard input.
    #[must_use]
    pub fn from_argument(argument: &Path) -> Self {
        if argument == Path::new("-") {
            Self::Stream(Box::new(io::stdin()))
        } else {
            Self::Path(argument.to_owned())
        }
    }
}

/// How to open an image.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Which image, where there are several: a tag, the name in an OCI layout, or a manifest's digest.
    pub reference: Option<String>,
    /// Where archives go that can't be read in place: an unlinked temporary file there.
    pub spool_dir: PathBuf,
}

/// What an image was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A root file system as a directory.
    Directory,
    /// A root file system as a tar.
    Tar,
    /// What `docker save` writes.
    DockerSave,
    /// An OCI image layout.
    OciLayout,
}

/// An image that can be imported.
pub struct Image {
    /// What it was found in.
    pub format: Format,
    /// The names it goes by in the archive.
    pub names: Vec<String>,
    /// The digest of its manifest, which OCI layouts have.
    pub manifest: Option<Digest>,
    /// Its configuration, which a plain root file system doesn't have.
    pub config: Option<Config>,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// An image's configuration, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The JSON.
    pub json: Vec<u8>,
    /// Its digest, which is what Docker calls the image's id.
    pub digest: Digest,
}

impl Config {
    pub(super) fn new(json: Vec<u8>) -> Self {
        Self { digest: Digest::of(&json), json }
    }
}

/// A layer that can be read.
pub struct Layer {
    pub(super) kind: LayerKind,
    pub(super) diff: Option<DiffId>,
    pub(super) blob: Option<Digest>,
    pub(super) blob_size: Option<u64>,
    pub(super) content: Content,
}

impl Layer {
    /// The digest of its plain tar, if the image tells.
    #[must_use]
    pub fn diff_id(&self) -> Option<DiffId> {
        self.diff
    }

    /// How many bytes will be read for it, if that is known.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.blob_size
    }
}

/// Where the tar of a layer comes from.
pub(super) enum Content {
    Section(Section),
    Stream(Box<dyn Read + Send>),
    Directory { path: PathBuf, sockets: Arc<AtomicU64> },
}

impl Content {
    /// The blob as it is stored.
    pub(super) fn open(self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Section(section) => Box::new(section),
            Self::Stream(stream) => stream,
            Self::Directory { path, sockets } => Box::new(directory::stream(&path, sockets)?),
        })
    }

    /// Where the sockets are counted that can't be kept. The count is complete when all was read.
    pub(super) fn sockets(&self) -> Option<Arc<AtomicU64>> {
        match self {
            Self::Directory { sockets, .. } => Some(Arc::clone(sockets)),
            Self::Section(_) | Self::Stream(_) => None,
        }
    }
}

/// Opens an image and finds out what it is.
pub fn open(input: Input, options: &OpenOptions, progress: &mut dyn Progress) -> Result<Image, SourceError> {
    match input {
        Input::Stream(stream) => open_stream("the standard input", stream, options, progress),
        Input::Path(path) => {
            let what = path.display().to_string();
            let read = |error| SourceError::Read { what: what.clone(), error };
            let kind = std::fs::metadata(&path).map_err(read)?.file_type();
            if kind.is_dir() {
                return open_directory(path, options);
            }
            let file = File::open(&path).map_err(read)?;
            if kind.is_file() {
                open_file(&what, Section::whole(file).map_err(read)?, options, progress)
            } else if kind.is_fifo() || kind.is_char_device() || kind.is_block_device() {
                open_stream(&what, Box::new(file), options, progress)
            } else {
                Err(read(io::ErrorKind::InvalidInput.into()))
            }
        }
    }
}

fn open_directory(path: PathBuf, options: &OpenOptions) -> Result<Image, SourceError> {
    let members = Members::in_directory(&path)?;
    if let Some(image) = in_members(&members, options)? {
        return Ok(image);
    }
    let content = Content::Directory { path, sockets: Arc::new(AtomicU64::new(0)) };
    Ok(root_fs(Format::Directory, content, None))
}

fn open_file(
    what: &str,
    section: Section,
    options: &OpenOptions,
    progress: &mut dyn Progress,
) -> Result<Image, SourceError> {
    let mut head = vec![0; HEAD];
    let read = |error| SourceError::Read { what: what.to_owned(), error };
    let length = read_full(&mut section.clone(), &mut head).map_err(read)?;
    let (compression, shape) = look_into(what, &head[..length])?;
    if shape == Shape::ImageArchive {
        let size = section.size();
        let archive = match compression {
            Compression::Plain => section.clone(),
            _ => spool(what, Box::new(section.clone()), compression, Some(size), options, progress)?,
        };
        if let Some(image) = in_archive(what, archive, options)? {
            return Ok(image);
        }
    }
    let size = section.size();
    Ok(root_fs(Format::Tar, Content::Section(section), Some(size)))
}

fn open_stream(
    what: &str,
    mut stream: Box<dyn Read + Send>,
    options: &OpenOptions,
    progress: &mut dyn Progress,
) -> Result<Image, SourceError> {
    let mut head = vec![0; HEAD];
    let length = read_full(&mut *stream, &mut head)
        .map_err(|error| SourceError::Read { what: what.to_owned(), error })?;
    head.truncate(length);
    let (compression, shape) = look_into(what, &head)?;
    let stream: Box<dyn Read + Send> = Box::new(Cursor::new(head).chain(stream));
    if shape == Shape::RootFs {
        return Ok(root_fs(Format::Tar, Content::Stream(stream), None));
    }
    let archive = spool(what, stream, compression, None, options, progress)?;
    if let Some(image) = in_archive(what, archive.clone(), options)? {
        return Ok(image);
    }
    let size = archive.size();
    Ok(root_fs(Format::Tar, Content::Section(archive), Some(size)))
}

/// The image in a tar, or none if there is no manifest in it.
fn in_archive(what: &str, archive: Section, options: &OpenOptions) -> Result<Option<Image>, SourceError> {
    let members = Members::in_archive(archive)
        .map_err(|error| SourceError::Archive { what: what.to_owned(), error })?;
    members.map_or(Ok(None), |members| in_members(&members, options))
}

/// OCI's documents are preferred where there are both, as newer versions of Docker write them: they have more digests.
fn in_members(members: &Members, options: &OpenOptions) -> Result<Option<Image>, SourceError> {
    let reference = options.reference.as_deref();
    if members.find("index.json")?.is_some() && members.find("oci-layout")?.is_some() {
        let oci = oci::open(members, reference);
        // A tag that only Docker's manifest knows.
        let unknown = matches!(oci, Err(SourceError::NoSuchImage { .. }));
        return if unknown && is_docker_save(members)? {
            docker_save::open(members, reference).map(Some)
        } else {
            oci.map(Some)
        };
    }
    if is_docker_save(members)? { docker_save::open(members, reference).map(Some) } else { Ok(None) }
}

/// A root file system may have a `manifest.json` too; only Docker's is a list of images.
fn is_docker_save(members: &Members) -> Result<bool, SourceError> {
    if members.find("manifest.json")?.is_none() {
        return Ok(false);
    }
    let manifest = members.document("manifest.json", None)?;
    let json: Option<serde_json::Value> = serde_json::from_slice(&manifest).ok();
    let is_image = |image: &serde_json::Value| image.get("Config").is_some() && image.get("Layers").is_some();
    Ok(json.as_ref().and_then(serde_json::Value::as_array).is_some_and(|images| images.iter().all(is_image)))
}

fn root_fs(format: Format, content: Content, size: Option<u64>) -> Image {
    let layer = Layer { kind: LayerKind::RootFs, diff: None, blob: None, blob_size: size, content };
    Image { format, names: Vec::new(), manifest: None, config: None, layers: vec![layer] }
}

/// Writes the plain archive to an unlinked temporary file.
fn spool(
    what: &str,
    input: Box<dyn Read + Send>,
    compression: Compression,
    total: Option<u64>,
    options: &OpenOptions,
    progress: &mut dyn Progress,
) -> Result<Section, SourceError> {
    progress.begin(Stage::Spooling, total);
    let kept = |error| SourceError::Spool { dir: options.spool_dir.clone(), error };
    let read = |error| SourceError::Read { what: what.to_owned(), error };
    let mut file = tempfile::tempfile_in(&options.spool_dir).map_err(kept)?;
    let count = Arc::new(AtomicU64::new(0));
    let counted =
        io::BufReader::with_capacity(128 << 10, Counted { inner: input, count: Arc::clone(&count) });
    let mut plain = decompress(compression, counted).map_err(read)?;
    let mut buffer = vec![0; 256 << 10];
    let mut told = 0;
    loop {
        let length = read_full(&mut *plain, &mut buffer).map_err(read)?;
        if length == 0 {
            break;
        }
        file.write_all(&buffer[..length]).map_err(kept)?;
        let now = count.load(Ordering::Relaxed);
        progress.advance(now - told);
        told = now;
    }
    file.seek(SeekFrom::Start(0)).map_err(kept)?;
    Section::whole(file).map_err(kept)
}

/// Counts what goes through it.
struct Counted {
    inner: Box<dyn Read + Send>,
    count: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// What a tar looks like from its first entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    ImageArchive,
    RootFs,
}

/// What the first bytes of an archive tell.
fn look_into(what: &str, head: &[u8]) -> Result<(Compression, Shape), SourceError> {
    let compression = Compression::of(head);
    let plain =
        decompress(compression, head).map_err(|error| SourceError::Read { what: what.to_owned(), error })?;
    let mut start = Vec::new();
    // The data are cut off, so that they end in an error; what came before it is enough.
    let mut plain = plain.take(HEAD as u64);
    let _ = plain.read_to_end(&mut start);
    Ok((compression, shape(&start)))
}

fn shape(start: &[u8]) -> Shape {
    let mut reader = TarReader::new(start, true);
    // What is cut off or no tar at all is for the unpacking to report.
    while let Ok(Some(entry)) = reader.next() {
        if let Some(shape) = tells(&entry) {
            return shape;
        }
    }
    Shape::RootFs
}

/// What one entry says about the archive; none if it could be in either.
fn tells(entry: &Entry) -> Option<Shape> {
    let parts: Vec<&[u8]> = components(&entry.name).collect();
    let is_directory = entry.kind == Kind::Directory;
    let image = match parts[..] {
        [] => return None,
        [b"blobs"] | [b"blobs", b"sha256"] if is_directory => return None,
        [b"blobs", _, ..] => true,
        [b"oci-layout" | b"index.json" | b"manifest.json" | b"repositories"] => !is_directory,
        [first, ..] => is_digest(first),
    };
    Some(if image { Shape::ImageArchive } else { Shape::RootFs })
}

/// A name that begins with the 64 digits of a digest, as `docker save` and its kin give to files.
fn is_digest(name: &[u8]) -> bool {
    let name = name.strip_prefix(b"sha256:").unwrap_or(name);
    name.get(..64).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        && name.get(64).is_none_or(|&next| next == b'.')
}
