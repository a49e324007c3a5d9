//! systemd and udev, by their commands.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::BootError;

/// A manager that is busy with a boot answers in a second or two.
const LIMIT: Duration = Duration::from_secs(30);

/// The running systemd.
pub(super) struct Systemctl(());

#[allow(clippy::unused_self, reason = "having one is the proof that there is a systemd to talk to")]
impl Systemctl {
    /// systemd, if it is what this host was booted by (sd_booted(3)); a chroot or a container has its files, too.
    pub(super) fn find() -> Option<Self> {
        Path::new("/run/systemd/system").is_dir().then_some(Self(()))
    }

    /// Whether there is such a unit.
    pub(super) fn knows(&self, unit: &str) -> Result<bool, BootError> {
        self.has(unit, "LoadState", "loaded")
    }

    /// Whether a unit is active; one that is starting isn't yet.
    pub(super) fn is_active(&self, unit: &str) -> Result<bool, BootError> {
        self.has(unit, "ActiveState", "active")
    }

    fn has(&self, unit: &str, property: &str, value: &str) -> Result<bool, BootError> {
        let found = lvm::run(&mut command(&["show", "--property", property, "--value", unit]), LIMIT)?;
        Ok(found.trim_ascii() == value.as_bytes())
    }

    /// Runs a command that changes something.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<(), BootError> {
        Ok(lvm::run(&mut command(arguments), LIMIT).map(drop)?)
    }
}

/// Lets udevd read its rules again. By itself it looks for changed ones every few seconds only.
pub(super) fn reload_rules() -> Result<(), BootError> {
    Ok(lvm::run(Command::new("udevadm").args(["control", "--reload"]), LIMIT).map(drop)?)
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("systemctl");
    command.env("LC_ALL", "C").args(["--quiet", "--no-ask-password"]).args(arguments);
    command
}
