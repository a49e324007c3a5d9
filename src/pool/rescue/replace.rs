//! New metadata in the place of the old, which is kept.
//!
//! It is made and checked beside the old. How it gets into its place is up to what the pool lies on:
//!
//! | the metadata is | the new is made | and put in place by | a kill before that leaves | a kill in it |
//! |---|---|---|---|---|
//! | a loop file | in a file beside | a rename, after the old has got a second name | the old | the old or the new; the next command finishes |
//! | a volume that was made for the pool | on the spare | one change of the catalog | the old | the old or the new |
//! | any other device | in a file | being written over it, after the old was copied to a file | the old | part of each: the next command writes it again |
//!
//! What is about to be put in place is in the catalog, synced, before that begins ([`Replacement`]).

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::save::save;
use super::{RescueError, in_a_name};
use crate::backing::block::BlockDevice;
use crate::backing::{Backing, Devices, Loopback, Member, Part};
use crate::catalog::Replacement;
use crate::dm::Removal;
use crate::files;
use crate::pool::destroy::remove_if_there;
use crate::pool::lock::Lock;
use crate::pool::{Pool, PoolError, io_error, now};
use crate::thin_tools::{Depth, Outcome};

/// New metadata that isn't in its place yet.
#[derive(Debug)]
pub(super) enum NewMetadata {
    /// In a file that takes the place of the loop file.
    File(PathBuf),
    /// On a spare volume.
    Volume(BlockDevice),
    /// In a file whose content goes onto the device.
    Content(PathBuf),
}

/// Where the old metadata is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It wasn't there any more.
    Nothing,
    /// In this file.
    File(PathBuf),
    /// In this file, compressed by zstd.
    Compressed(PathBuf),
    /// On this volume, which is the spare from now on.
    Volume(PathBuf),
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("The old metadata was not there any more."),
            Self::File(path) => write!(f, "The old metadata is kept as {}.", path.display()),
            Self::Compressed(path) => {
                write!(f, "The old metadata is kept, compressed, as {}.", path.display())
            }
            Self::Volume(path) => {
                write!(
                    f,
                    "The old metadata is kept on {}, which is the spare volume from now on.",
                    path.display()
                )
            }
        }
    }
}

impl NewMetadata {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Content(path) => path,
            Self::Volume(device) => &device.node,
        }
    }

    /// Takes it away, where it is not to be used.
    pub(super) fn discard(&self) -> Result<(), PoolError> {
        match self {
            Self::File(path) | Self::Content(path) => remove_if_there(path),
            // A spare may have anything on it.
            Self::Volume(_) => Ok(()),
        }
    }
}

/// The names of metadata that was replaced.
const KEPT: &str = "metadata.replaced-";

impl Pool<'_> {
    /// Refuses what can't have its metadata replaced: a pool that is active, and one of somebody else's.
    pub(super) fn refuse_to_replace(&self) -> Result<(), PoolError> {
        if let Backing::ThinPool(existing) = &self.record.backing {
            return Err(RescueError::SomebodyElses(existing.name.clone()).into());
        }
        match self.active()? {
            Some(info) if info.live => Err(RescueError::Active(self.name.to_string()).into()),
            _ => Ok(()),
        }
    }

    /// Makes new metadata and makes sure that it is sound, beside the old.
    pub(super) fn make_metadata(
        &self,
        _life: &Lock,
        make: impl FnOnce(&Self, &Path) -> Result<(), PoolError>,
    ) -> Result<NewMetadata, PoolError> {
        self.refuse_to_replace()?;
        if self.active()?.is_some() {
            // Left by an activation that was killed between its two halves.
            self.host.dm.remove(&self.device, Removal::Now)?;
        }
        let new = self.place_for_new()?;
        match make(self, new.path()).and_then(|()| self.must_be_sound(new.path())) {
            Ok(()) => Ok(new),
            Err(cause) => Err(cause.after_cleaning_up(new.discard())),
        }
    }

    fn place_for_new(&self) -> Result<NewMetadata, PoolError> {
        let size = self.record.policy.metadata_size;
        let [content, ..] = self.paths.new_metadata();
        let new = match &self.record.backing {
            Backing::Loop(loopback) => NewMetadata::File(self.draft_beside(loopback)),
            Backing::Devices(Devices { volumes: Some(volumes), .. }) => {
                let lvm = lvm::Lvm::find()?;
                let path = volumes.ready_spare(&lvm, &self.record.uuid, size)?;
                return Ok(NewMetadata::Volume(self.host.blocks.look(&path)?));
            }
            Backing::Devices(_) | Backing::ThinPool(_) => NewMetadata::Content(content),
        };
        let path = new.path();
        // A sparse file, for root's eyes only, whatever an earlier try left.
        let file = files::create(path).map_err(io_error("create", path))?;
        files::set_length(&file, path, size.0).map_err(io_error("set the length of", path))?;
        Ok(new)
    }

    /// The name of a new loop file that isn't in its place yet.
    fn draft_beside(&self, loopback: &Loopback) -> PathBuf {
        let name = format!(".metadata.new.{}", self.record.uuid.simple());
        loopback.files.metadata.with_file_name(name)
    }

    fn must_be_sound(&self, metadata: &Path) -> Result<(), PoolError> {
        self.own_superblock(metadata)?;
        let said = match self.host.checker.check(metadata, Depth::Full, self.longest())?.outcome {
            Outcome::Sound => return Ok(()),
            Outcome::Damaged { said } => said,
            Outcome::Leaks => "it counts blocks as used that nobody uses".to_owned(),
            Outcome::Unfinished { .. } => "the check came to no end".to_owned(),
            Outcome::NoTool => {
                "thin_check isn't installed (Debian: apt-get install thin-provisioning-tools)".to_owned()
            }
            Outcome::Skipped => "it was not checked".to_owned(),
        };
        Err(RescueError::NotSound { said }.into())
    }

    /// Puts new metadata in the place of the old.
    pub(super) fn put_in_place(&mut self, new: NewMetadata) -> Result<Kept, PoolError> {
        match (new, self.record.backing.clone()) {
            (NewMetadata::Volume(device), Backing::Devices(devices)) => self.exchange(&device, devices),
            (NewMetadata::File(path), Backing::Loop(loopback)) => self.rename_in_place(path, &loopback),
            (NewMetadata::Content(path) | NewMetadata::File(path), _) => self.overwrite(path),
            (NewMetadata::Volume(_), _) => Err(RescueError::OtherBacking(self.name.to_string()).into()),
        }
    }

    /// The spare becomes the metadata, and the metadata the spare.
    fn exchange(&mut self, device: &BlockDevice, devices: Devices) -> Result<Kept, PoolError> {
        let member = Member::of(device).ok_or_else(|| PoolError::NoIdentity(device.name.clone()))?;
        let old = devices.metadata.as_ref().map(|member| member.name.clone());
        let volumes = devices.volumes.as_ref().map(crate::backing::Volumes::exchanged);
        self.end_replacement(Backing::Devices(Devices { metadata: Some(member), volumes, ..devices }))?;
        Ok(old.map_or(Kept::Nothing, Kept::Volume))
    }

    fn rename_in_place(&mut self, new: PathBuf, loopback: &Loopback) -> Result<Kept, PoolError> {
        let file = std::fs::File::open(&new).map_err(io_error("open", &new))?;
        files::sync(&file, &new).map_err(io_error("sync", &new))?;
        let inode = file.metadata().map_err(io_error("look at", &new))?.ino();
        let kept = name_to_keep(loopback.files.metadata.parent().unwrap_or(Path::new("/")), "");
        let is_there = loopback.files.metadata.exists();
        let replacement = Replacement::File { new, inode, kept: kept.clone() };
        self.catalog.intend_replacement(&replacement)?;
        self.finish(&replacement)?;
        Ok(if is_there { Kept::File(kept) } else { Kept::Nothing })
    }

    fn overwrite(&mut self, new: PathBuf) -> Result<Kept, PoolError> {
        let file = std::fs::File::open(&new).map_err(io_error("open", &new))?;
        files::sync(&file, &new).map_err(io_error("sync", &new))?;
        let device = self.find_part(Part::Metadata)?;
        let kept = name_to_keep(self.paths.directory(), ".zst");
        let [.., copy] = self.paths.new_metadata();
        save(device.path(), &copy, &kept)?;
        let replacement = Replacement::Device { new };
        self.catalog.intend_replacement(&replacement)?;
        self.finish(&replacement)?;
        Ok(Kept::Compressed(kept))
    }

    /// Finishes a replacement that an earlier process was killed at, and takes away what one that came less far left. The
    /// life lock must be held, and the pool must not be active.
    pub(in crate::pool) fn settle_replacement(&mut self) -> Result<(), PoolError> {
        if let Some(replacement) = self.catalog.replacement()? {
            tracing::info!(pool = %self.name, ?replacement, "finishing a replacement of the metadata that was interrupted");
            self.finish(&replacement)?;
        }
        for left in self.unfinished().iter().filter(|path| path.exists()) {
            remove_if_there(left)?;
        }
        Ok(())
    }

    fn unfinished(&self) -> Vec<PathBuf> {
        let beside = match &self.record.backing {
            Backing::Loop(loopback) => Some(self.draft_beside(loopback)),
            Backing::Devices(_) | Backing::ThinPool(_) => None,
        };
        self.paths.new_metadata().into_iter().chain(beside).collect()
    }

    /// Each step of it can be made again.
    fn finish(&mut self, replacement: &Replacement) -> Result<(), PoolError> {
        let mut backing = self.record.backing.clone();
        match (replacement, &mut backing) {
            (Replacement::File { new, inode, kept }, Backing::Loop(loopback)) => {
                take_place(new, *inode, &loopback.files.metadata, kept)?;
                if let Some(ids) = &mut loopback.ids {
                    ids.set_metadata(*inode);
                }
                self.end_replacement(backing)
            }
            (Replacement::Device { new }, Backing::Devices(_)) => {
                let device = self.find_part(Part::Metadata)?;
                files::overwrite(new, device.path()).map_err(io_error("overwrite", device.path()))?;
                self.end_replacement(backing)?;
                remove_if_there(new)
            }
            _ => Err(RescueError::OtherBacking(self.name.to_string()).into()),
        }
    }

    fn end_replacement(&mut self, backing: Backing) -> Result<(), PoolError> {
        self.catalog.end_replacement(&backing)?;
        self.record.backing = backing;
        self.record.clean = false;
        Ok(())
    }

    /// Removes the metadata that replacements kept, and what they left half done, of a pool that is being destroyed.
    pub(in crate::pool) fn remove_replaced(&mut self) -> Result<(), PoolError> {
        if let Some(replacement @ Replacement::File { .. }) = self.catalog.replacement()? {
            // The file that is there is known to be the pool's only then.
            self.finish(&replacement)?;
        }
        let beside = self.record.backing.loop_files().and_then(|files| files.metadata.parent());
        let own = self.paths.directory();
        for directory in [Some(own), beside.filter(|beside| *beside != own)].into_iter().flatten() {
            let Ok(entries) = directory.read_dir() else { continue };
            for entry in entries {
                let entry = entry.map_err(io_error("list", directory))?;
                let name = entry.file_name().into_string().unwrap_or_default();
                if name.strip_prefix(KEPT).is_some_and(is_time) {
                    remove_if_there(&entry.path())?;
                }
            }
        }
        self.unfinished().iter().try_for_each(|path| remove_if_there(path))
    }
}

/// The new file takes the place of the old one, which gets another name.
fn take_place(new: &Path, inode: u64, place: &Path, kept: &Path) -> Result<(), PoolError> {
    let is = |path: &Path| path.metadata().is_ok_and(|found| found.ino() == inode);
    if !is(place) {
        match files::hard_link(place, kept) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => {}
            linked => linked.map_err(io_error("keep", place))?,
        }
        files::rename(new, place).map_err(io_error("put in place", new))?;
    }
    let directory = place.parent().unwrap_or(Path::new("/"));
    files::sync_directory(directory).map_err(io_error("sync", directory))
}

/// `metadata.replaced-20261128T134500Z`, or the next second that nothing has.
fn name_to_keep(directory: &Path, suffix: &str) -> PathBuf {
    let mut second = now();
    loop {
        let path = directory.join(format!("{KEPT}{}{suffix}", in_a_name(second)));
        if !path.exists() {
            return path;
        }
        second += 1;
    }
}

fn is_time(text: &str) -> bool {
    let text = text.strip_suffix(".zst").unwrap_or(text);
    text.len() >= 8 && text.chars().all(|c| c.is_ascii_digit() || matches!(c, 'T' | 'Z'))
}
