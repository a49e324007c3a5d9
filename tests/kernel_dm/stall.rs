//! What the kernel waits for, if it waits for ever: a test that hangs would tell nothing, and be killed with its machine an hour later.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// Longer than anything that is bounded takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// Hears of each thing that is about to be done, and ends the whole process when the next one doesn't come.
pub struct Watch(Sender<String>);

impl Watch {
    pub fn new() -> Self {
        let (told, hears) = channel::<String>();
        thread::spawn(move || {
            let mut last = String::new();
            loop {
                match hears.recv_timeout(PATIENCE) {
                    Ok(next) => last = next,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => break,
                }
            }
            eprintln!("nothing has come of this for {PATIENCE:?}: {last}");
            tell_of(Path::new("/proc/self/task"), |_| true);
            tell_of(Path::new("/proc"), |process| {
                stat(process, "State:").is_some_and(|state| state.starts_with('D'))
            });
            std::process::abort();
        });
        Self(told)
    }

    pub fn next(&self, what: String) {
        // It is there as long as this is.
        let _ = self.0.send(what);
    }
}

/// Where in the kernel these are.
fn tell_of(all: &Path, wanted: impl Fn(&Path) -> bool) {
    let Ok(entries) = all.read_dir() else { return };
    for task in entries.flatten().map(|entry| entry.path()).filter(|task| wanted(task)) {
        let (name, state) = (stat(&task, "Name:"), stat(&task, "State:"));
        let stack = fs::read_to_string(task.join("stack")).unwrap_or_default();
        eprintln!("{}: {name:?} {state:?}\n{stack}", task.display());
    }
}

fn stat(task: &Path, key: &str) -> Option<String> {
    let status = fs::read_to_string(task.join("status")).ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix(key))?.trim().to_owned())
}
