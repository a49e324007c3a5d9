//! Names in an archive to places below the root, and never anywhere else.
//!
//! Every place is opened relative to a descriptor of the root with openat2(2), which is told not to follow any
//! symbolic link. Where a path does lead through one (`var/run -> /run` in a lower layer), it is followed here, step
//! by step and inside the root, unless this very archive has made the link.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, mkdirat};

use super::error::{EntryName, Refusal, UnpackError};
use super::inodes::InodeSet;

/// Symbolic links on one path, as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// What went wrong with an entry, before its name is added.
#[derive(Debug)]
pub(super) enum Problem {
    Refused(Refusal),
    System(&'static str, Errno),
    Xattr(Vec<u8>, Errno),
}

impl Problem {
    pub(super) fn at(self, entry: &[u8]) -> UnpackError {
        let entry = EntryName(entry.to_vec());
        match self {
            Self::Refused(why) => UnpackError::Refused { entry, why },
            Self::System(action, errno) => UnpackError::System { entry, action, errno },
            Self::Xattr(name, errno) => UnpackError::Xattr { entry, name: EntryName(name), errno },
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Adds what was tried to an errno.
pub(super) trait Doing<T> {
    fn doing(self, action: &'static str) -> Result<T, Problem>;
}

impl<T> Doing<T> for nix::Result<T> {
    fn doing(self, action: &'static str) -> Result<T, Problem> {
        self.map_err(|errno| Problem::System(action, errno))
    }
}

/// A name inside the root: the directory, and the last component in it. Both empty for the root itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) parent: Vec<u8>,
    pub(super) name: Vec<u8>,
}

impl Place {
    /// The place that an entry's name means. Whatever could lead outside is refused.
    pub(super) fn of(name: &[u8]) -> Result<Self, Refusal> {
        if name.is_empty() {
            return Err(Refusal::EmptyName);
        }
        if name.contains(&0) {
            return Err(Refusal::ZeroByte);
        }
        if name.starts_with(b"/") {
            return Err(Refusal::AbsoluteName);
        }
        let mut place = Self { parent: Vec::with_capacity(name.len()), name: Vec::new() };
        for component in components(name) {
            if component == b".." {
                return Err(Refusal::ParentInName);
            }
            if !place.name.is_empty() {
                push(&mut place.parent, &place.name);
            }
            place.name.clear();
            place.name.extend(component);
        }
        Ok(place)
    }

    pub(super) fn is_root(&self) -> bool {
        self.name.is_empty()
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let mut path = self.parent.clone();
        if !self.is_root() {
            push(&mut path, &self.name);
        }
        path
    }
}

/// The components that say something.
pub(super) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|component| !matches!(*component, b"" | b"."))
}

fn push(path: &mut Vec<u8>, component: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend(component);
}

fn pop(path: &mut Vec<u8>) {
    path.truncate(path.iter().rposition(|&b| b == b'/').unwrap_or(0));
}

/// Bytes as the path that system calls take.
pub(super) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// The root of a layer, and what this archive did to it so far.
pub(super) struct Root {
    fd: Rc<OwnedFd>,
    /// The directory that the last entry was in: most often the next one is there too.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// Symbolic links that this archive has made.
    pub(super) planted: InodeSet,
    /// All that this archive has made or changed; only kept where whiteouts need to know.
    pub(super) touched: Option<InodeSet>,
}

impl Root {
    pub(super) fn open(path: &Path, whiteouts: bool) -> Result<Self, UnpackError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(path, flags, Mode::empty())
            .map_err(|errno| UnpackError::Root { path: path.to_owned(), errno })?;
        let touched = whiteouts.then(InodeSet::default);
        Ok(Self { fd: Rc::new(fd), last: None, planted: InodeSet::default(), touched })
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(super) fn touch(&mut self, inode: u64) {
        if let Some(touched) = &mut self.touched {
            touched.insert(inode);
        }
    }

    /// To be called after a directory may have been removed.
    pub(super) fn forget_last(&mut self) {
        self.last = None;
    }

    /// To be called with a directory that was just opened at `path`.
    pub(super) fn remember_last(&mut self, path: Vec<u8>, fd: OwnedFd) {
        self.last = Some((path, Rc::new(fd)));
    }

    /// The directory at `path`; made, with those above it, if it isn't there and `create` says so.
    pub(super) fn directory(&mut self, path: &[u8], create: bool) -> Result<Option<Rc<OwnedFd>>, Problem> {
        if path.is_empty() {
            return Ok(Some(Rc::clone(&self.fd)));
        }
        if let Some((last, fd)) = &self.last
            && last == path
        {
            return Ok(Some(Rc::clone(fd)));
        }
        let fd = match self.open_below(path, OFlag::O_DIRECTORY) {
            Err(Errno::ENOENT) if !create => return Ok(None),
            Err(Errno::ENOENT | Errno::ELOOP) => match self.walk(path, create)? {
                None => return Ok(None),
                Some(real) if real.is_empty() => return Ok(Some(Rc::clone(&self.fd))),
                Some(real) => self.open_below(&real, OFlag::O_DIRECTORY),
            },
            fd => fd,
        };
        let fd = Rc::new(fd.doing("open its directory")?);
        self.last = Some((path.to_owned(), Rc::clone(&fd)));
        Ok(Some(fd))
    }

    /// Opens without following a single link; a link at the end is opened itself, unless the flags forbid it.
    fn open_below(&self, path: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
        open_below(&*self.fd, path, OFlag::O_PATH | flags)
    }

    /// The path without links that `path` means inside the root. It makes directories that aren't there, or returns
    /// none.
    fn walk(&mut self, path: &[u8], create: bool) -> Result<Option<Vec<u8>>, Problem> {
        let mut real = Vec::new();
        let mut ahead: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut links = 0;
        while let Some(component) = ahead.pop() {
            if component == b".." {
                // No link is in `real`, so the parent is what the text says; and the root is its own parent.
                pop(&mut real);
                continue;
            }
            let above = real.len();
            push(&mut real, &component);
            let fd = match self.open_below(&real, OFlag::O_NOFOLLOW) {
                Err(Errno::ENOENT) if create => {
                    self.make_directory(&real[..above], &component)?;
                    continue;
                }
                Err(Errno::ENOENT) => return Ok(None),
                fd => fd.doing("open a directory above it")?,
            };
            let stat = fstat(&fd).doing("look at a directory above it")?;
            match file_type(&stat) {
                SFlag::S_IFDIR => {}
                SFlag::S_IFLNK => {
                    links += 1;
                    if self.planted.contains(stat.st_ino) {
                        return Err(Refusal::PlantedSymlink(EntryName(real)).into());
                    }
                    if links > MAX_LINKS {
                        return Err(Problem::System("follow the links on its path", Errno::ELOOP));
                    }
                    let target = readlinkat(&fd, "").doing("read a link on its path")?.into_vec();
                    real.truncate(if target.starts_with(b"/") { 0 } else { above });
                    ahead.extend(components(&target).rev().map(<[u8]>::to_vec));
                }
                _ => return Err(Problem::System("open a directory above it", Errno::ENOTDIR)),
            }
        }
        Ok(Some(real))
    }

    /// A directory that the archive forgot to mention: of root, for all to read.
    fn make_directory(&mut self, above: &[u8], name: &[u8]) -> Result<(), Problem> {
        const ACTION: &str = "make a directory above it";
        let above = if above.is_empty() {
            Rc::clone(&self.fd)
        } else {
            Rc::new(self.open_below(above, OFlag::O_DIRECTORY).doing(ACTION)?)
        };
        let (name, mode) = (as_path(name), Mode::from_bits_truncate(0o755));
        mkdirat(&*above, name, mode).doing(ACTION)?;
        fchmodat(&*above, name, mode, FchmodatFlags::FollowSymlink).doing(ACTION)?;
        if self.touched.is_some() {
            self.touch(look(&*above, name).doing(ACTION)?.st_ino);
        }
        Ok(())
    }
}

/// Opens `path` below `root`, through no link at all.
pub(super) fn open_below<F: AsFd>(root: F, path: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS,
    );
    openat2(root, as_path(path), how)
}

/// What is there, itself and not what it links to.
pub(super) fn look<F: AsFd>(directory: F, name: &Path) -> nix::Result<FileStat> {
    nix::sys::stat::fstatat(directory, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// The type bits of a mode.
pub(super) fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_that_lead_outside_are_refused() {
        for (name, why) in [
            (&b""[..], Refusal::EmptyName),
            (b"/etc/passwd", Refusal::AbsoluteName),
            (b"..", Refusal::ParentInName),
            (b"a/../../b", Refusal::ParentInName),
            (b"a/..", Refusal::ParentInName),
            (b"a\0b", Refusal::ZeroByte),
        ] {
            assert_eq!(Place::of(name), Err(why));
        }
    }

    #[test]
    fn a_name_means_the_same_however_it_is_written() {
        let place = Place { parent: b"a/b".to_vec(), name: b"c..".to_vec() };
        for name in [&b"a/b/c.."[..], b"./a//b/./c../", b"a/b/c.././"] {
            assert_eq!(Place::of(name).as_ref(), Ok(&place));
        }
        assert!(Place::of(b"./").unwrap().is_root());
    }

    #[test]
    fn a_link_of_a_lower_layer_is_followed_inside_the_root_only() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("root");
        std::fs::create_dir_all(root.join("real/deep")).unwrap();
        symlink("/real", root.join("absolute")).unwrap();
        symlink("../../../../../real/deep", root.join("real/climbs")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("/new/made", root.join("dangling")).unwrap();
        let mut opened = Root::open(&root, true).unwrap();
        let mut real =
            |path: &str, create| opened.walk(path.as_bytes(), create).map(|real| real.map(String::from_utf8));
        assert_eq!(real("absolute/deep", false).unwrap(), Some(Ok("real/deep".to_owned())));
        assert_eq!(real("absolute/climbs", false).unwrap(), Some(Ok("real/deep".to_owned())));
        assert_eq!(real("dangling", false).unwrap(), None);
        assert_eq!(real("dangling/x", true).unwrap(), Some(Ok("new/made/x".to_owned())));
        assert!(root.join("new/made/x").is_dir() && !outside.path().join("new").exists());
        assert!(matches!(real("loop", true), Err(Problem::System(_, Errno::ELOOP))));
    }
}
