//! Programs, run as a person would run them.

use std::error::Error;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// What came of something that can fail: the reason is told to people.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Runs a program, which must succeed, and gives what it printed, without the last line's end.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Outcome<String> {
    let mut command = Command::new(program);
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program} can't be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim_end().lines().last().unwrap_or_default();
    Err(format!("{command:?} failed ({}): {last}", output.status).into())
}
