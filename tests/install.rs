//! `make install`: what it brings, and that `make uninstall` takes all of it away.
#![allow(clippy::unwrap_used, reason = "the lints spare only unit tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Command as Verb;
use tempfile::TempDir;

/// A tree that is installed into, and the prefix in it.
struct Tree {
    root: TempDir,
    prefix: &'static str,
}

impl Tree {
    fn new(prefix: &'static str) -> Self {
        Self { root: tempfile::tempdir().unwrap(), prefix }
    }

    fn script<'a>(&self, arguments: impl IntoIterator<Item = &'a Path>) {
        let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install"));
        script.env("PREFIX", self.prefix).env("DESTDIR", self.root.path()).args(arguments);
        assert!(script.status().unwrap().success());
    }

    fn install(&self) {
        let binary = Path::new(env!("CARGO_BIN_EXE_thinpool"));
        self.script([binary, &manpages(binary)]);
    }

    fn uninstall(&self) {
        self.script([Path::new("--remove")]);
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(self.prefix.trim_start_matches('/')).join(path)
    }

    /// Every file, by its path below the prefix.
    fn files(&self) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        let mut directories = vec![self.root.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    directories.push(entry.path());
                } else {
                    files.insert(entry.path().strip_prefix(self.path("")).unwrap().display().to_string());
                }
            }
        }
        files
    }
}

/// The program that writes the manual pages: cargo doesn't build it for a test.
fn manpages(binary: &Path) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--example", "manpages"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if binary.parent().unwrap().ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.stdin(Stdio::null()).status().unwrap().success());
    binary.with_file_name("examples").join("manpages")
}

/// The pages that there must be: one for each command that `--help` shows.
fn pages(command: &Verb, name: &str) -> Vec<String> {
    let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
    let below = visible.flat_map(|command| pages(command, &format!("{name}-{}", command.get_name())));
    std::iter::once(format!("share/man/man8/{name}.8")).chain(below).collect()
}

/// What a folder of configs/ has for a folder of the system.
fn from_configs(folder: &str, installed: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(folder)) else {
        return Vec::new();
    };
    entries.map(|entry| format!("{installed}/{}", entry.unwrap().file_name().display())).collect()
}

#[test]
fn everything_is_installed_where_it_is_looked_for_and_nothing_else() {
    let tree = Tree::new("/usr/local");
    tree.install();
    let mut expected: BTreeSet<String> = pages(&thinpool::cli::command(), "thinpool").into_iter().collect();
    expected.extend(from_configs("systemd", "lib/systemd/system"));
    expected.extend(from_configs("udev", "lib/udev/rules.d"));
    expected.extend(
        [
            "sbin/thinpool",
            "share/bash-completion/completions/thinpool",
            "share/fish/vendor_completions.d/thinpool.fish",
            "share/zsh/site-functions/_thinpool",
            "share/doc/thinpool/CHANGELOG.md",
            "share/doc/thinpool/LICENSE-APACHE",
            "share/doc/thinpool/LICENSE-MIT",
            "share/doc/thinpool/examples/thinpool-alerts.yml",
            "share/doc/thinpool/examples/thinpool.json",
            "share/doc/thinpool/examples/thinpool.toml",
        ]
        .map(str::to_owned),
    );
    assert_eq!(tree.files(), expected);
}

#[test]
fn uninstalling_leaves_no_file_behind() {
    let tree = Tree::new("/usr/local");
    tree.install();
    tree.uninstall();
    assert_eq!(tree.files(), BTreeSet::new());
}

#[test]
fn units_and_rules_call_the_binary_that_was_installed_with_them() {
    let tree = Tree::new("/opt/thinpool");
    tree.install();
    for file in tree.files().iter().filter(|file| file.starts_with("lib/")) {
        let text = fs::read_to_string(tree.path(file)).unwrap();
        assert!(!text.contains("/usr/sbin/thinpool"), "{file}: {text}");
    }
}

#[test]
fn every_page_has_the_sections_that_people_look_for() {
    let tree = Tree::new("/usr");
    tree.install();
    for page in pages(&thinpool::cli::command(), "thinpool") {
        let text = fs::read_to_string(tree.path(&page)).unwrap();
        for section in ["NAME", "SYNOPSIS", "OPTIONS", "FILES", "\"EXIT STATUS\"", "\"SEE ALSO\""] {
            assert!(text.contains(&format!(".SH {section}\n")), "{page} lacks {section}");
        }
    }
    let import = fs::read_to_string(tree.path("share/man/man8/thinpool-image-import.8")).unwrap();
    assert!(import.contains("docker save app:1.0 | thinpool image import app \\-"), "{import}");
    assert!(import.contains("thinpool\\-image\\-list(8)"), "{import}");
}
