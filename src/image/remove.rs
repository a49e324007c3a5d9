//! Removes trees, without ever following a link, and with a memory of what may not go.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::inodes::InodeSet;
use super::resolve::{as_path, file_type, look, open_below};

/// Removes what is called `name`, if it is there, with all in it. What is in `keep` stays, and so do the
/// directories above it: that is how a whiteout takes only what lower layers had.
pub(super) fn remove<F: AsFd>(directory: F, name: &[u8], keep: Option<&InodeSet>) -> nix::Result<()> {
    let stat = match look(&directory, as_path(name)) {
        Err(Errno::ENOENT) => return Ok(()),
        stat => stat?,
    };
    let kept = keep.is_some_and(|keep| keep.contains(stat.st_ino));
    if file_type(&stat) == SFlag::S_IFDIR {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        clear(&open_below(&directory, name, flags)?, keep)?;
        if kept { Ok(()) } else { remove_directory(&directory, as_path(name), keep) }
    } else if kept {
        Ok(())
    } else {
        unlinkat(&directory, as_path(name), UnlinkatFlags::NoRemoveDir)
    }
}

/// Removes all that is in a directory, except what is in `keep`.
///
/// Directories are opened by their path one at a time, so that a deep tree takes neither stack nor descriptors.
pub(super) fn clear(top: &OwnedFd, keep: Option<&InodeSet>) -> nix::Result<()> {
    // A directory is met twice: to look into it, and to remove it when what was in it is gone.
    let mut ahead = vec![(Vec::new(), false)];
    while let Some((path, seen)) = ahead.pop() {
        if seen {
            let stat = look(top, as_path(&path))?;
            if !keep.is_some_and(|keep| keep.contains(stat.st_ino)) {
                remove_directory(top, as_path(&path), keep)?;
            }
            continue;
        }
        let at = if path.is_empty() { &b"."[..] } else { &path };
        let fd = open_below(top, at, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        if !path.is_empty() {
            ahead.push((path.clone(), true));
        }
        let names = names(&fd)?;
        for (name, is_directory) in names {
            if is_directory {
                ahead.push((join(&path, &name), false));
            } else {
                let kept = match keep {
                    Some(keep) => keep.contains(look(&fd, as_path(&name))?.st_ino),
                    None => false,
                };
                if !kept {
                    unlinkat(&fd, as_path(&name), UnlinkatFlags::NoRemoveDir)?;
                }
            }
        }
    }
    Ok(())
}

fn remove_directory<F: AsFd>(directory: F, name: &Path, keep: Option<&InodeSet>) -> nix::Result<()> {
    match unlinkat(directory, name, UnlinkatFlags::RemoveDir) {
        // Something in it is kept.
        Err(Errno::ENOTEMPTY | Errno::EEXIST) if keep.is_some() => Ok(()),
        done => done,
    }
}

pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

/// The names in a directory, and which are directories.
pub(super) fn names(fd: &OwnedFd) -> nix::Result<Vec<(Vec<u8>, bool)>> {
    // A stream of its own: its position isn't shared with other uses of the descriptor.
    let mut stream = Dir::openat(
        fd,
        ".",
        OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    )?;
    let mut names = Vec::new();
    for entry in stream.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let is_directory = match entry.file_type() {
            Some(kind) => kind == Type::Directory,
            None => file_type(&look(fd, Path::new(std::ffi::OsStr::from_bytes(name)))?) == SFlag::S_IFDIR,
        };
        names.push((name.to_vec(), is_directory));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn removing_a_tree_never_follows_a_link_out_of_it() {
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().join("outside");
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("precious"), "x").unwrap();
        let root = temp.path().join("root");
        fs::create_dir_all(root.join("tree/a/b")).unwrap();
        symlink(&outside, root.join("tree/a/link")).unwrap();
        symlink(&outside, root.join("alone")).unwrap();
        let fd: OwnedFd = fs::File::open(&root).unwrap().into();
        remove(&fd, b"tree", None).unwrap();
        remove(&fd, b"alone", None).unwrap();
        remove(&fd, b"missing", None).unwrap();
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
        assert!(outside.join("precious").exists());
    }

    #[test]
    fn what_is_to_be_kept_stays_with_the_directories_above_it() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("tree/a/b")).unwrap();
        fs::create_dir_all(temp.path().join("tree/gone")).unwrap();
        fs::write(temp.path().join("tree/a/b/kept"), "x").unwrap();
        fs::write(temp.path().join("tree/a/lost"), "x").unwrap();
        let mut keep = InodeSet::default();
        keep.insert(fs::metadata(temp.path().join("tree/a/b/kept")).unwrap().ino());
        let fd: OwnedFd = fs::File::open(temp.path()).unwrap().into();
        remove(&fd, b"tree", Some(&keep)).unwrap();
        assert!(temp.path().join("tree/a/b/kept").exists());
        assert!(!temp.path().join("tree/a/lost").exists() && !temp.path().join("tree/gone").exists());
    }
}
