//! A directory that looks like a machine.

use std::path::Path;

use tempfile::TempDir;

use super::{Finding, Level, Machine};
use crate::testing::write_script;

pub(super) struct Bench {
    root: TempDir,
}

impl Bench {
    /// A machine with nothing on it.
    pub(super) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub(super) fn machine(&self) -> Machine {
        Machine::in_directory(self.root.path())
    }

    pub(super) fn with(self, path: &str, content: &str) -> Self {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    /// A program that is a shell script.
    pub(super) fn with_program(self, name: &str, script: &str) -> Self {
        let directory = self.root.path().join("usr/sbin");
        std::fs::create_dir_all(&directory).unwrap();
        write_script(&directory.join(name), 0o755, script);
        self
    }

    pub(super) fn path(&self) -> &Path {
        self.root.path()
    }
}

/// The levels of what was found.
pub(super) fn levels(findings: &[Finding]) -> Vec<Level> {
    findings.iter().map(|finding| finding.level).collect()
}
