//! A file that has no name before it is whole: whoever is killed meanwhile leaves nothing.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc::O_TMPFILE;
use nix::unistd::linkat;
use tempfile::NamedTempFile;

use super::{remove_if_there, rename, step, sync};

/// How often somebody else who writes the same file may get in between.
pub(super) const TURNS: u32 = 10;

/// A file that is being written, and that has its name only when it is whole. It is gone with the process.
///
/// Where the file system knows no files without a name (FAT, NFS, FUSE; open(2), `O_TMPFILE`), it has a passing one
/// meanwhile, `.thinpool-…`, and a process that is killed leaves it.
pub(crate) struct Draft {
    kind: Kind,
    path: PathBuf,
}

enum Kind {
    Nameless(File),
    Named(NamedTempFile),
}

impl Draft {
    /// A file that anybody may read, which is to be `path`.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let kind = match nameless(directory_of(path)) {
            Ok(file) => Kind::Nameless(file),
            Err(error) if unknown_to_the_file_system(&error) => Kind::Named(named(directory_of(path))?),
            Err(error) => return Err(error),
        };
        Ok(Self { kind, path: path.to_owned() })
    }

    /// What is written to.
    pub(crate) fn file(&self) -> &File {
        match &self.kind {
            Kind::Nameless(file) => file,
            Kind::Named(file) => file.as_file(),
        }
    }

    /// Makes it durable and gives it its name, unless there is something of that name.
    ///
    /// # Errors
    /// `AlreadyExists`: there is.
    #[allow(clippy::disallowed_methods, reason = "this is the step")]
    pub(crate) fn name_new(self) -> io::Result<()> {
        sync(self.file(), &self.path)?;
        match self.kind {
            Kind::Nameless(file) => {
                link(&file, &self.path)?;
                // btrfs makes nothing durable of a file without a name.
                sync(&file, &self.path).inspect_err(|_| drop(remove_if_there(&self.path)))
            }
            Kind::Named(file) => step("name", &self.path, || {
                file.persist_noclobber(&self.path).map(drop).map_err(|failed| failed.error)
            }),
        }
    }

    /// Makes it durable and puts it in the place of what may have its name.
    ///
    /// # Errors
    /// `NotFound`: somebody else, who is at the same, was faster; whether what is there is his is not known.
    #[allow(clippy::disallowed_methods, reason = "this is the step")]
    pub(crate) fn replace(self) -> io::Result<()> {
        sync(self.file(), &self.path)?;
        match self.kind {
            Kind::Nameless(file) => link_over(&file, &self.path),
            Kind::Named(file) => step("replace", &self.path, || {
                file.persist(&self.path).map(drop).map_err(|failed| failed.error)
            }),
        }
    }
}

/// The directory that a name is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn nameless(directory: &Path) -> io::Result<File> {
    // Not tempfile's: those can never be given a name (`O_EXCL`).
    let file =
        OpenOptions::new().write(true).read(true).custom_flags(O_TMPFILE).mode(0o600).open(directory)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    Ok(file)
}

fn named(directory: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".thinpool-")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(directory)
}

/// A kernel that doesn't know the flag takes it for an attempt to write to a directory (open(2)).
fn unknown_to_the_file_system(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL)
    )
}

/// Gives a nameless file its name. Through /proc, as open(2) tells; by its descriptor alone only a capability allows it.
fn link(file: &File, path: &Path) -> io::Result<()> {
    let itself = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    step("name", path, || linkat(AT_FDCWD, &itself, AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW))
        .map_err(io::Error::from)
}

/// A name can't be given over another: the file gets one that is always the same, and is renamed. What somebody who was
/// killed in between has left is put out of the way by the next.
fn link_over(file: &File, path: &Path) -> io::Result<()> {
    let passing = passing_name(path);
    link_after_removing(file, &passing, TURNS)?;
    // btrfs makes nothing durable of a file without a name.
    sync(file, &passing)?;
    rename(&passing, path)
}

fn link_after_removing(file: &File, path: &Path, turns: u32) -> io::Result<()> {
    match link(file, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && turns > 0 => {
            remove_if_there(path)?;
            link_after_removing(file, path, turns - 1)
        }
        linked => linked,
    }
}

/// What a file that is replaced is called for a moment.
pub(crate) fn passing_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.thinpool"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = directory.read_dir().expect("listed");
        entries.map(|entry| entry.expect("listed").file_name().into_string().expect("UTF-8")).collect()
    }

    fn draft(path: &Path, text: &str) -> Draft {
        let draft = Draft::of(path).expect("made");
        draft.file().write_all(text.as_bytes()).expect("written");
        draft
    }

    #[test]
    fn who_is_killed_while_he_writes_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("archive");
        // As by a kill, nothing is done at the end.
        std::mem::forget(draft(&path, "half of it"));
        assert_eq!(names(directory.path()), [""; 0]);
    }

    #[test]
    fn what_is_there_already_is_not_lost_to_a_new_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("archive");
        draft(&path, "first").name_new().expect("named");
        let refused = draft(&path, "second").name_new().expect_err("taken");
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "first");
        assert_eq!(names(directory.path()), ["archive"]);
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn what_a_killed_replacement_left_is_gone_with_the_next() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pool.prom");
        std::fs::write(&path, "old").expect("written");
        std::fs::write(passing_name(&path), "left").expect("written");
        draft(&path, "new").replace().expect("replaced");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "new");
        assert_eq!(names(directory.path()), ["pool.prom"]);
    }

    #[test]
    fn of_many_who_replace_a_file_at_once_one_is_read_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pool.prom");
        let text = |number: usize| number.to_string().repeat(10_000);
        std::thread::scope(|scope| {
            for number in 1..=4 {
                let path = &path;
                scope.spawn(move || crate::files::put(path, &text(number)).expect("replaced"));
            }
        });
        let read = std::fs::read_to_string(&path).expect("read");
        assert!((1..=4).any(|number| read == text(number)), "{} bytes", read.len());
        assert_eq!(names(directory.path()), ["pool.prom"]);
    }
}
