//! The machine, and the versions of what takes part.

use crate::record::Record;
use crate::tool::run;

/// What is told, and the command whose first line that tells it has it.
const QUESTIONS: [(&str, &[&str], &str); 10] = [
    ("processors", &["nproc"], ""),
    ("processor", &["grep", "-m1", "model name", "/proc/cpuinfo"], ":"),
    ("memory", &["grep", "MemTotal", "/proc/meminfo"], ":"),
    ("Linux", &["uname", "-r"], ""),
    ("thinpool", &["thinpool", "--version"], ""),
    ("dmsetup", &["dmsetup", "version"], ":"),
    ("LVM", &["lvm", "version"], ":"),
    ("containerd", &["containerd", "--version"], ""),
    ("Docker", &["docker", "--version"], ""),
    ("btrfs", &["btrfs", "--version"], ""),
];

/// Tells all of it.
pub fn tell() {
    for (what, command, after) in QUESTIONS {
        let said = run(command[0], &command[1..]).unwrap_or_else(|_| "not there".to_owned());
        let line = said.lines().next().unwrap_or_default();
        let is = if after.is_empty() { line } else { line.split_once(after).map_or(line, |(_, is)| is) };
        Record::machine(what, is.trim()).emit();
    }
}
