//! What tests of several modules need.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A shell script that can be run at once. Another process writes it: what this one has open for writing, whatever another test
/// starts in that very moment has open, too, and then it can't be run (`ETXTBSY`, execve(2)).
pub(crate) fn write_script(path: &Path, mode: u32, script: &str) {
    let mut install = Command::new("install");
    install.arg(format!("--mode={mode:o}")).arg("/dev/stdin").arg(path).stdin(Stdio::piped());
    let mut install = install.spawn().expect("install starts");
    let mut to = install.stdin.take().expect("piped");
    write!(to, "#!/bin/sh\n{script}\n").expect("written");
    drop(to);
    assert!(install.wait().expect("it ends").success(), "{}", path.display());
}
