//! A directory that looks like a machine.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::{Finding, Level, Machine};

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
        let path = format!("usr/sbin/{name}");
        let bench = self.with(&path, &format!("#!/bin/sh\n{script}\n"));
        let permissions = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(bench.root.path().join(path), permissions).unwrap();
        bench
    }

    pub(super) fn path(&self) -> &Path {
        self.root.path()
    }
}

/// The levels of what was found.
pub(super) fn levels(findings: &[Finding]) -> Vec<Level> {
    findings.iter().map(|finding| finding.level).collect()
}
