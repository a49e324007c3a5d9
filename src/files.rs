//! What is done to files and directories, each a step at which a test can kill the process.

mod draft;

use std::fmt::Display;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::Path;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::{Mode, SFlag, mknod};
use steps::around;

pub(crate) use self::draft::{Draft, directory_of, passing_name};

/// Makes a directory, with those above it that are missing. One that exists keeps its mode.
#[allow(clippy::disallowed_methods, reason = "this is the step")]
pub(crate) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    // Most of the time there is nothing to do.
    if path.is_dir() {
        return Ok(());
    }
    step("make the directory", path, || DirBuilder::new().recursive(true).mode(mode).create(path))
}

/// Makes a file that may not be there yet.
#[allow(clippy::disallowed_methods, reason = "this is the step")]
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    step("create", path, || OpenOptions::new().write(true).create_new(true).mode(0o600).open(path))
}

/// Opens a file for reading and writing, and makes it where it is missing.
#[allow(clippy::disallowed_methods, reason = "this is the step")]
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    step("open", path, || {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
    })
}

/// Gives a file a length.
#[allow(clippy::disallowed_methods, reason = "this is the step")]
pub(crate) fn set_length(file: &File, path: &Path, length: u64) -> io::Result<()> {
    step("set the length of", path, || file.set_len(length))
}

/// Writes a small file of the kernel's.
#[allow(clippy::disallowed_methods, reason = "this is the step")]
pub(crate) fn tell_kernel(path: &Path, text: &str) -> io::Result<()> {
    step("write", path, || std::fs::write(path, text))
}

/// Makes what was written to a file or a device durable.
#[allow(clippy::disallowed_methods, reason = "this is the step")]
pub(crate) fn sync(file: &File, path: &Path) -> io::Result<()> {
    step("sync", path, || file.sync_all())
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    sync(&File::open(path)?, path)
}

/// Gives a file another name, unless something has it.
#[allow(clippy::disallowed_methods, reason = "this is the step")]
pub(crate) fn rename_new(from: &Path, to: &Path) -> nix::Result<()> {
    step("name", to, || renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE))
}

/// Writes a text file that anybody may read, as a whole: whoever reads it meanwhile sees the old one or the new one.
pub(crate) fn put(path: &Path, text: &str) -> io::Result<()> {
    let once = || {
        let draft = Draft::of(path)?;
        draft.file().write_all(text.as_bytes())?;
        draft.replace()
    };
    let was_slower = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    for _ in 0..draft::TURNS {
        match once() {
            Err(error) if was_slower(&error) => {}
            put => return put,
        }
    }
    once()
}

/// Makes a file, or empties the one that is there.
#[allow(clippy::disallowed_methods, reason = "this is the step")]
pub(crate) fn create(path: &Path) -> io::Result<File> {
    step("create", path, || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path))
}

/// Gives a file another name, in the place of whatever has it.
#[allow(clippy::disallowed_methods, reason = "this is the step")]
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step("rename to", to, || std::fs::rename(from, to))
}

/// Writes a file's content over what is in another, or on a device, from its beginning, and makes it durable.
pub(crate) fn overwrite(from: &Path, to: &Path) -> io::Result<()> {
    let mut content = File::open(from)?;
    // Nobody else may use a device meanwhile: this is refused where somebody does.
    let exclusive = OpenOptions::new().write(true).custom_flags(nix::libc::O_EXCL).open(to);
    let mut over = exclusive?;
    step("overwrite", to, || io::copy(&mut content, &mut over).map(drop))?;
    sync(&over, to)
}

/// Gives a file a second name.
#[allow(clippy::disallowed_methods, reason = "this is the step")]
pub(crate) fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    step("keep as", to, || std::fs::hard_link(from, to))
}

/// Makes a symbolic link.
#[allow(clippy::disallowed_methods, reason = "this is the step")]
pub(crate) fn link(to: &Path, path: &Path) -> io::Result<()> {
    step("link", path, || symlink(to, path))
}

/// Makes a block device's node.
#[allow(clippy::disallowed_methods, reason = "this is the step")]
pub(crate) fn make_node(path: &Path, mode: Mode, device: nix::libc::dev_t) -> nix::Result<()> {
    step("make the node", path, || mknod(path, SFlag::S_IFBLK, mode, device))
}

/// Removes a file.
#[allow(clippy::disallowed_methods, reason = "this is the step")]
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    step("remove", path, || std::fs::remove_file(path))
}

/// Removes a file that may be gone.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes an empty directory.
#[allow(clippy::disallowed_methods, reason = "this is the step")]
pub(crate) fn remove_directory(path: &Path) -> io::Result<()> {
    step("remove the directory", path, || std::fs::remove_dir(path))
}

fn step<T>(what: impl Display, path: &Path, act: impl FnOnce() -> T) -> T {
    around(format_args!("{what} {}", path.display()), act)
}
