//! Commands that don't go on after the process that started them.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Asks the command to stop when its caller dies. A command that came to its turn only then would make what nobody
/// knows of any more: whoever cleared up after the caller has looked already.
///
/// LVM blocks signals as long as it holds the lock of a group, so that it ends either before it changed anything or when
/// all is done; and then everybody's next command waits for that lock, and sees what became of it.
pub(crate) fn ends_with_its_caller(command: &mut Command) {
    let caller = getpid();
    let ask = move || {
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // The caller may have died before it was asked for.
        if getppid() == Some(caller) { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
    };
    // SAFETY: between fork and exec only prctl(2) and getppid(2) are called, and nothing is allocated.
    unsafe { command.pre_exec(ask) };
}
