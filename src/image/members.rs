//! The files of an image archive, whether it is a directory or a tar.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use serde::de::DeserializeOwned;

use super::digest::Digest;
use super::error::{ArchiveError, SourceError};
use super::resolve::{as_path, components};
use super::section::{Headers, Section};
use super::tar_reader::{Kind, TarReader};

/// The most that a manifest, an index or a configuration may take.
const MAX_DOCUMENT: u64 = 8 << 20;
/// The most files that an image archive may have; real ones have a few hundred.
const MAX_MEMBERS: usize = 100_000;
/// Links from member to member.
const MAX_LINKS: usize = 8;

/// Where the files of an image are.
pub(super) enum Members {
    /// In a directory, and nowhere outside of it.
    Directory(OwnedFd),
    /// In a tar that can be read at any place.
    Archive { archive: Section, index: HashMap<Vec<u8>, Member> },
}

/// Where a member of a tar is.
#[derive(Debug)]
pub(super) enum Member {
    Data {
        offset: u64,
        size: u64,
    },
    /// The same as another.
    Link(Vec<u8>),
}

impl Members {
    /// The files in a directory.
    pub(super) fn in_directory(path: &Path) -> Result<Self, SourceError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())
            .map_err(|errno| SourceError::Read { what: path.display().to_string(), error: errno.into() })?;
        Ok(Self::Directory(fd))
    }

    /// The files in a tar, of which only the headers are read. None if there are more than an image archive has.
    pub(super) fn in_archive(archive: Section) -> Result<Option<Self>, ArchiveError> {
        let mut index = HashMap::new();
        let mut reader = TarReader::new(Headers::new(archive.clone()), true);
        while let Some(entry) = reader.next()? {
            let name = clean(b"", &entry.name);
            let member = match entry.kind {
                Kind::File if entry.segments.is_none() => {
                    let (offset, size) = reader.data_position();
                    Member::Data { offset, size }
                }
                Kind::HardLink => Member::Link(clean(b"", &entry.link)),
                Kind::Symlink => Member::Link(clean(parent(&name), &entry.link)),
                _ => continue,
            };
            index.insert(name, member);
            if index.len() > MAX_MEMBERS {
                return Ok(None);
            }
        }
        Ok(Some(Self::Archive { archive, index }))
    }

    /// The file of this name, or none.
    pub(super) fn find(&self, name: &str) -> Result<Option<Section>, SourceError> {
        let read = |error| SourceError::Read { what: name.to_owned(), error };
        match self {
            Self::Directory(fd) => {
                let how = OpenHow::new()
                    .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
                    .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
                let file = match openat2(fd, as_path(name.as_bytes()), how) {
                    Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) => return Ok(None),
                    file => File::from(file.map_err(|errno| read(errno.into()))?),
                };
                let is_file = file.metadata().map_err(read)?.is_file();
                if is_file { Section::whole(file).map(Some).map_err(read) } else { Ok(None) }
            }
            Self::Archive { archive, index } => {
                let mut name = clean(b"", name.as_bytes());
                for _ in 0..MAX_LINKS {
                    match index.get(&name) {
                        None => return Ok(None),
                        Some(Member::Data { offset, size }) => return Ok(archive.part(*offset, *size)),
                        Some(Member::Link(target)) => name.clone_from(target),
                    }
                }
                Ok(None)
            }
        }
    }

    /// The file of this name, which the image must have.
    pub(super) fn get(&self, name: &str) -> Result<Section, SourceError> {
        self.find(name)?.ok_or_else(|| SourceError::Missing(name.to_owned()))
    }

    /// The bytes of a document, which has this digest if there is one.
    pub(super) fn document(&self, name: &str, digest: Option<Digest>) -> Result<Vec<u8>, SourceError> {
        let mut section = self.get(name)?;
        if section.size() > MAX_DOCUMENT {
            return Err(SourceError::TooLarge {
                name: name.to_owned(),
                size: section.size(),
                limit: MAX_DOCUMENT,
            });
        }
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut section, &mut bytes)
            .map_err(|error| SourceError::Read { what: name.to_owned(), error })?;
        let found = Digest::of(&bytes);
        match digest {
            Some(digest) if digest != found => Err(SourceError::WrongDigest { name: name.to_owned(), found }),
            _ => Ok(bytes),
        }
    }
}

/// Understands a document.
pub(super) fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, SourceError> {
    serde_json::from_slice(bytes).map_err(|error| SourceError::Document { name: name.to_owned(), error })
}

/// A member's name without `.`, `..` and doubled slashes. It is only looked up, never opened.
fn clean(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = components(directory).collect();
    for component in components(name) {
        if component == b".." {
            parts.pop();
        } else {
            parts.push(component);
        }
    }
    parts.join(&b'/')
}

fn parent(name: &[u8]) -> &[u8] {
    &name[..name.iter().rposition(|&b| b == b'/').unwrap_or(0)]
}
