//! A program that stays, and answers when it is ready.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::tool::Outcome;

/// How long it may take to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Daemon {
    program: String,
    child: Child,
}

impl Daemon {
    /// Starts it, with what it says in a file, and asks until it answers.
    pub fn start(program: &str, arguments: &[&str], log: &Path, answers: impl Fn() -> bool) -> Outcome<Self> {
        let output = File::create(log)?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| format!("{program} can't be run: {error}"))?;
        let mut daemon = Self { program: program.to_owned(), child };
        let deadline = Instant::now() + PATIENCE;
        while !answers() {
            if let Some(status) = daemon.child.try_wait()? {
                return Err(format!("{program} ended ({status}): {}", last_line(log)).into());
            }
            if Instant::now() > deadline {
                drop(daemon.stop());
                return Err(format!("{program} didn't answer in {PATIENCE:?}: {}", last_line(log)).into());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(daemon)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, as a shutdown would.
    pub fn stop(mut self) -> Outcome {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill()?;
                return Err(format!("{} didn't end in {PATIENCE:?}", self.program).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.trim_end().lines().last().unwrap_or_default().to_owned()
}
