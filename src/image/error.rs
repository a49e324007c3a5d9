//! What can go wrong with an image, told for people.

use std::fmt;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use thiserror::Error;

use super::digest::{Digest, DigestError};

/// The name of an entry as the archive gives it: bytes, and possibly hostile ones, so it is escaped and cut when
/// it is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct EntryName(pub Vec<u8>);

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        let text = String::from_utf8_lossy(&self.0);
        for c in text.chars().take(SHOWN) {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        if text.chars().nth(SHOWN).is_some() { f.write_str("…") } else { Ok(()) }
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{self}'")
    }
}

/// What is wrong with a tar archive as such.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The first block is no tar header.
    #[error("this is not a tar archive")]
    NotTar,
    /// A later block is no tar header, or contradicts itself.
    #[error("the tar archive is damaged at byte {offset}: {why}")]
    Damaged {
        /// Where the header begins in the uncompressed archive.
        offset: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The data end inside the archive.
    #[error("the tar archive ends at byte {offset}, before its end mark: it was cut off; get it again")]
    Truncated {
        /// How long what there is of it is.
        offset: u64,
    },
    /// An entry that is not a kind of file this program knows.
    #[error(
        "entry '{entry}' has the unknown type '{kind}': make the archive with GNU tar, bsdtar or an image builder"
    )]
    UnknownType {
        /// Its name.
        entry: EntryName,
        /// The type flag in its header.
        kind: char,
    },
    /// The data can't be read or decompressed.
    #[error("cannot read the archive: {0}")]
    Read(#[from] io::Error),
}

/// Why an entry is refused: it isn't what an honest archive holds.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Nothing is left of the name.
    #[error("its name is empty")]
    EmptyName,
    /// The name begins with a slash.
    #[error("its name is absolute: an archive may only name what is inside its root")]
    AbsoluteName,
    /// The name has a `..`.
    #[error("its name contains '..': an archive may not reach outside its root")]
    ParentInName,
    /// The name has a zero byte.
    #[error("its name contains a zero byte")]
    ZeroByte,
    /// The root directory as something other than a directory, or removed.
    #[error("the root of the archive can only be a directory")]
    RootNotDirectory,
    /// The way to the entry leads through a symbolic link of the same archive.
    #[error("its path goes through '{0}', a symbolic link planted by an earlier entry of the same archive")]
    PlantedSymlink(EntryName),
    /// The target of a hard link isn't inside the root.
    #[error("it is a hard link to '{0}', which is not a name inside the archive's root")]
    LinkOutside(EntryName),
    /// The target of a hard link isn't there.
    #[error("it is a hard link to '{0}', which does not exist")]
    LinkMissing(EntryName),
    /// The target of a hard link is a directory.
    #[error("it is a hard link to '{0}', which is a directory")]
    LinkToDirectory(EntryName),
    /// A whiteout that names no file.
    #[error("it is a whiteout that names no file")]
    BadWhiteout,
    /// The owner is the number that means "no owner" to the kernel.
    #[error("its owner or group is not a number that a file system can keep")]
    BadOwner,
    /// An attribute without a proper name.
    #[error("it has an extended attribute without a proper name")]
    BadXattrName,
}

/// Why a layer could not be unpacked.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// The archive itself is at fault.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An entry is hostile or senseless.
    #[error("entry '{entry}' is refused: {why}")]
    Refused {
        /// Its name.
        entry: EntryName,
        /// Why.
        why: Refusal,
    },
    /// The kernel refused something.
    #[error("entry '{entry}': cannot {action}: {}{}", errno.desc(), advice(*errno))]
    System {
        /// The name of the entry.
        entry: EntryName,
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// An attribute can't be kept.
    #[error("entry '{entry}': cannot set the extended attribute '{name}': {}{}", errno.desc(), advice(*errno))]
    Xattr {
        /// The name of the entry.
        entry: EntryName,
        /// The name of the attribute.
        name: EntryName,
        /// What the kernel said.
        errno: Errno,
    },
    /// The directory to unpack into can't be used.
    #[error("cannot unpack into {}: {}", path.display(), errno.desc())]
    Root {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// The times of directories wait in a temporary file until the end, and it can't be used.
    #[error("cannot keep the times of directories in a temporary file: {0}")]
    DirectoryTimes(#[source] io::Error),
    /// The content isn't what the image's manifest promised.
    #[error(
        "its compressed content is {found}, and the image's manifest says {expected}: it was damaged or changed"
    )]
    WrongDigest {
        /// What the manifest says.
        expected: Digest,
        /// What was read.
        found: Digest,
    },
    /// The content isn't as long as the image's manifest promised.
    #[error("it is {found} bytes long, and the image's manifest says {expected}: it was damaged or changed")]
    WrongSize {
        /// What the manifest says.
        expected: u64,
        /// What was read.
        found: u64,
    },
    /// The content isn't what the image's configuration promised.
    #[error(
        "its content is {found}, and the image's configuration says {expected}: it was damaged or changed"
    )]
    WrongDiffId {
        /// What the configuration says.
        expected: Digest,
        /// What was unpacked.
        found: Digest,
    },
}

impl UnpackError {
    /// Whether the kernel refused something that an honest archive may ask for.
    pub(super) fn is_of_the_system(&self) -> bool {
        matches!(self, Self::System { .. } | Self::Xattr { .. } | Self::Root { .. } | Self::DirectoryTimes(_))
    }
}

/// What to do about an errno, where there is something to do.
fn advice(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOSPC => ". The layer is full: it needs a larger base size, or the pool more room",
        Errno::EOPNOTSUPP => ". The file system of the layers doesn't take it",
        Errno::EPERM => ". Root may do it",
        Errno::ENAMETOOLONG => ". File systems take 255 bytes a name and 4095 a path",
        _ => "",
    }
}

/// Why an image could not be opened.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The file, or something in it, can't be read.
    #[error("cannot read {what}: {error}")]
    Read {
        /// What.
        what: String,
        /// Why not.
        error: io::Error,
    },
    /// No room for the unpacked archive, most likely.
    #[error("cannot keep the archive in a temporary file in {}: {error}", dir.display())]
    Spool {
        /// Where temporary files go.
        dir: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It isn't a tar archive, or a broken one.
    #[error("{what}: {error}")]
    Archive {
        /// The file.
        what: String,
        /// What is wrong with it.
        error: ArchiveError,
    },
    /// A part of the image isn't there.
    #[error("the image is incomplete: {0} is missing from it")]
    Missing(String),
    /// A document is too large to be honest.
    #[error("{name} is {size} bytes long: such a document is refused above {limit}")]
    TooLarge {
        /// The document.
        name: String,
        /// Its size.
        size: u64,
        /// The most that is read.
        limit: u64,
    },
    /// A document isn't what it should be.
    #[error("{name} can't be understood: {error}")]
    Document {
        /// The document.
        name: String,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// A name of content that can't be checked.
    #[error("{name}: {error}")]
    Digest {
        /// The document that has it.
        name: String,
        /// What is wrong with it.
        error: DigestError,
    },
    /// A document was changed.
    #[error("{name} has the digest {found}: it was damaged or changed")]
    WrongDigest {
        /// The document, named by the digest it should have.
        name: String,
        /// The digest it has.
        found: Digest,
    },
    /// The manifest and the configuration don't fit.
    #[error("the image has {layers} layers, and its configuration lists {diff_ids}: it is damaged")]
    LayerCount {
        /// Layers in the manifest.
        layers: usize,
        /// Layers in the configuration.
        diff_ids: usize,
    },
    /// There is nothing to unpack.
    #[error("the image has no layers: there is nothing to make a snapshot of")]
    NoLayers,
    /// An OCI artifact that is not a container image.
    #[error("this is no container image but an artifact of the type '{0}'")]
    NotAnImage(String),
    /// A layer in a form that can't be unpacked.
    #[error("a layer has the type '{0}', which can't be unpacked")]
    LayerType(String),
    /// No image was asked for, and there are several.
    #[error("it holds {} images; say which: {}", names.len(), names.join(", "))]
    Several {
        /// Their names.
        names: Vec<String>,
    },
    /// The image that was asked for isn't there.
    #[error("it holds no image '{wanted}', but {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") })]
    NoSuchImage {
        /// What was asked for.
        wanted: String,
        /// The names that are there.
        names: Vec<String>,
    },
    /// The image isn't for this machine.
    #[error("the image is not for this machine (linux/{machine}), but for {}", platforms.join(", "))]
    NoPlatform {
        /// This machine's architecture.
        machine: String,
        /// The platforms there are.
        platforms: Vec<String>,
    },
    /// Indexes in indexes in indexes.
    #[error("the image's indexes are nested more than {0} deep")]
    TooDeep(usize),
}
