//! What the kernel tells of a process that runs.

use std::fs;

use crate::tool::Outcome;

/// A number of /proc/PID/status, by its name there; memory in bytes.
pub fn status(pid: u32, name: &str) -> Outcome<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    number(&text, name).ok_or_else(|| format!("/proc/{pid}/status has no {name}").into())
}

fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut words = line.split_whitespace();
    let value: u64 = words.next()?.parse().ok()?;
    Some(if words.next() == Some("kB") { value << 10 } else { value })
}

/// What all threads of a process had of the processors so far.
#[derive(Clone, Copy)]
pub struct Share {
    pub nanoseconds: u64,
    /// How often one of them was given a processor.
    pub times: u64,
}

impl Share {
    /// From /proc/PID/task/*/schedstat: nanoseconds that it ran, nanoseconds that it waited to run, how often it ran.
    pub fn of(pid: u32) -> Outcome<Self> {
        let mut share = Self { nanoseconds: 0, times: 0 };
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let numbers = text.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
            let [ran, _, times] = numbers[..] else { return Err(format!("schedstat says '{text}'").into()) };
            share.nanoseconds += ran;
            share.times += times;
        }
        Ok(share)
    }

    /// What came on top since.
    pub fn since(self, before: Self) -> Self {
        Self { nanoseconds: self.nanoseconds - before.nanoseconds, times: self.times - before.times }
    }
}
