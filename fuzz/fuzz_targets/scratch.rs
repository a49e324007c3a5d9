//! A directory in memory that is empty each time.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Two directories: one for what is unpacked, and one beside it that nothing may get into.
pub struct Scratch {
    directory: TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
        for name in ["root", "outside", "spool"] {
            std::fs::create_dir(directory.path().join(name)).expect("made");
        }
        Self { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Fails if anything was made outside of the root.
    pub fn assert_nothing_outside(&self) {
        let names = |path: &Path| path.read_dir().expect("listed").count();
        assert_eq!(names(&self.path("outside")), 0, "something got out of the root");
        assert_eq!(names(&self.path("spool")), 0, "a temporary file is left");
        assert!(names(self.directory.path()) <= 4, "something got out of the root");
    }
}
