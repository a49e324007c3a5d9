//! The binary `lvm`: where it is, what it can do, and how it is called.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::{LvmError, NotInstalled};
use crate::parent::ends_with_its_caller;
use crate::report::{self, Row};
use crate::run::run;
use crate::signatures::Wipefs;
use crate::version::Version;

/// How reports are written, whatever `lvm.conf` says: their reader depends on it. And no colours or prefixes in
/// messages.
const CONFIG: &str = "report{compact_output=0 list_item_separator=\",\" mark_hidden_devices=0} \
    log{verbose=0 command_names=0 report_command_log=0}";

/// How long a command may take if nobody says otherwise. Most take a second; one that waits for a group's lock, or
/// for udev, takes as long as somebody else does.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(120);

/// LVM, as it is on this machine.
#[derive(Debug, Clone)]
pub struct Lvm {
    path: PathBuf,
    wipefs: Result<Wipefs, NotInstalled>,
    version: Version,
    time_limit: Duration,
}

impl Lvm {
    /// Finds `lvm` and asks for its version. Everything else that is run comes from where it was found now.
    pub fn find() -> Result<Self, LvmError> {
        let path = find_tool("lvm", "lvm2")?;
        let output = run(clean(&path).arg("version"), TIME_LIMIT)?;
        let version = Version::of_output(&String::from_utf8_lossy(&output))
            .map_err(|source| LvmError::NoVersion { path: path.clone(), source })?;
        let lvm = Self { path, wipefs: Wipefs::find(), version, time_limit: TIME_LIMIT };
        lvm.require(Version::OLDEST, "reading its reports")?;
        Ok(lvm)
    }

    /// The same, with another time for each command. It is rather too long than too short: a command that has to be
    /// killed may leave things half done.
    #[must_use]
    pub fn with_time_limit(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn require(&self, needed: Version, what: &'static str) -> Result<(), LvmError> {
        if self.version >= needed {
            return Ok(());
        }
        Err(LvmError::TooOld { path: self.path.clone(), found: self.version, needed, what })
    }

    /// Runs one of LVM's commands that changes something.
    pub(crate) fn change<I, S>(&self, command: &str, arguments: I) -> Result<(), LvmError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut changing = clean(&self.path);
        changing.arg(command).args(arguments);
        ends_with_its_caller(&mut changing);
        run(&mut changing, self.time_limit)?;
        Ok(())
    }

    /// One of LVM's reports, of the rows that a selection (lvmreport(7)) picks.
    pub(crate) fn report<R: Row>(&self, selection: Option<&str>) -> Result<Vec<R>, LvmError> {
        let mut fields = R::FIELDS.to_owned();
        if R::KEY == "lv" && self.version >= Version::AUTOACTIVATION {
            fields = format!("{fields},{}", report::AUTOACTIVATION);
        }
        let mut command = clean(&self.path);
        command.args([R::COMMAND, "--config", CONFIG, "--reportformat", "json", "--binary"]);
        command.args(["--units", "b", "--nosuffix", "--options", &fields]);
        if let Some(selection) = selection {
            command.args(["--select", selection]);
        }
        let output = run(&mut command, self.time_limit)?;
        report::read(&output).map_err(|source| LvmError::Report { command: R::COMMAND, source })
    }

    /// The finder of signatures, with the time limit of all commands.
    pub(crate) fn wipefs(&self) -> Result<Wipefs, NotInstalled> {
        self.wipefs.clone().map(|wipefs| wipefs.with_time_limit(self.time_limit))
    }
}

/// A command in English, so that its messages can be looked up; without LVM's warning about open files, of which
/// the caller has every right to have some.
pub(crate) fn clean(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env("LC_ALL", "C").env("LVM_SUPPRESS_FD_WARNINGS", "1").current_dir("/");
    command
}

/// Where a tool is, as an absolute path.
pub fn find_tool(tool: &'static str, package: &'static str) -> Result<PathBuf, NotInstalled> {
    // The PATH of a user who became root by `su` often lacks the sbin folders.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    // A relative folder would be another one with every change of the working directory.
    let mut paths = folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(tool));
    paths.find(|path| path.is_file()).ok_or(NotInstalled { tool, package })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_cant_do_it_is_an_error_that_names_both() {
        let lvm = Lvm {
            path: "/sbin/lvm".into(),
            wipefs: Err(NotInstalled { tool: "wipefs", package: "util-linux" }),
            version: Version::new(2, 2, 100),
            time_limit: TIME_LIMIT,
        };
        let error = lvm.require(Version::OLDEST, "reading its reports").unwrap_err().to_string();
        assert_eq!(error, "/sbin/lvm is version 2.02.100; reading its reports needs 2.02.158 or later");
        let error = lvm.signatures(Path::new("/dev/null")).unwrap_err().to_string();
        assert!(error.contains("util-linux"), "{error}");
    }
}
