//! Archives, honest and hostile, and a store of directories, for the tests.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use tar::{EntryType, Header};

use super::pax::write_record;
use super::{ChainId, LayerDraft, LayerRecord, LayerStore};

/// Writes archives that no builder would write.
#[derive(Default)]
pub(super) struct Tar(pub(super) Vec<u8>);

impl Tar {
    pub(super) fn entry(mut self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(nix::unistd::getuid().as_raw().into());
        header.set_gid(nix::unistd::getgid().as_raw().into());
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(EntryType::Regular, name, "", content.as_ref())
    }

    pub(super) fn dir(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name, "", b"")
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, b"")
    }

    pub(super) fn link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, target, b"")
    }

    /// Records for the next entry.
    pub(super) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            write_record(&mut data, key.as_bytes(), value);
        }
        self.entry(EntryType::XHeader, "pax", "", &data)
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A store of directories, where a snapshot is a copy.
pub(super) struct Directories {
    pub(super) path: PathBuf,
    drafts: Cell<usize>,
    /// Whether discarding fails.
    pub(super) sticky: bool,
}

pub(super) struct Draft {
    root: PathBuf,
    layers: PathBuf,
    sticky: bool,
}

impl Directories {
    pub(super) fn new(path: &Path) -> Self {
        fs::create_dir_all(path.join("layers")).unwrap();
        Self { path: path.to_owned(), drafts: Cell::new(0), sticky: false }
    }

    pub(super) fn layer(&self, chain: &ChainId) -> PathBuf {
        self.path.join("layers").join(chain.0.hex())
    }

    /// The layers, and the drafts that were never finished.
    pub(super) fn count(&self) -> (usize, usize) {
        let layers = fs::read_dir(self.path.join("layers")).unwrap().count();
        (layers, fs::read_dir(&self.path).unwrap().count() - 1)
    }
}

impl LayerStore for Directories {
    type Error = io::Error;
    type Draft = Draft;

    fn contains(&self, chain: &ChainId) -> Result<bool, io::Error> {
        Ok(self.layer(chain).exists())
    }

    fn draft(&self, parent: Option<&ChainId>) -> Result<Draft, io::Error> {
        self.drafts.set(self.drafts.get() + 1);
        let root = self.path.join(format!("draft-{}", self.drafts.get()));
        match parent {
            None => fs::create_dir(&root)?,
            Some(parent) => {
                let copied = Command::new("cp").arg("-a").arg(self.layer(parent)).arg(&root).status()?;
                assert!(copied.success());
            }
        }
        Ok(Draft { root, layers: self.path.join("layers"), sticky: self.sticky })
    }
}

impl LayerDraft for Draft {
    type Error = io::Error;

    fn root(&self) -> &Path {
        &self.root
    }

    fn commit(self, layer: &LayerRecord) -> Result<(), io::Error> {
        fs::rename(&self.root, self.layers.join(layer.chain.0.hex()))
    }

    fn discard(self) -> Result<(), io::Error> {
        if self.sticky {
            return Err(io::Error::other("it is stuck"));
        }
        fs::remove_dir_all(&self.root)
    }
}
