//! Making file systems, by the file systems' own tools.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{FileSystem, FsError, NewFileSystem};

/// Whether this host can make the file system and its kernel can mount it.
pub(super) fn is_supported(kind: FileSystem) -> bool {
    find_tool(kind).is_ok() && kernel_has(kind)
}

pub(super) fn make(new: &NewFileSystem<'_>) -> Result<(), FsError> {
    let tool = find_tool(new.kind)?;
    let mut result = Ok(());
    for own in own_arguments(new) {
        result = run(Command::new(&tool).args(*own).args(new.arguments).arg(new.device));
        // An older tool doesn't know every argument: then the next set is tried.
        if !matches!(result, Err(FsError::Tool { .. })) {
            break;
        }
    }
    result
}

/// Our arguments, the best set first. No discard: the device is new and there is nothing to free. ext4 must not
/// leave anything to be zeroed later: the kernel's lazy initialisation would run in every snapshot again and
/// allocate blocks in each. `assume_storage_prezeroed` (e2fsprogs 1.47) costs nothing where it is true; without it the tables
/// are written now, once, in the base.
fn own_arguments(new: &NewFileSystem<'_>) -> &'static [&'static [&'static str]] {
    const WRITTEN: &[&str] = &["-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"];
    match new.kind {
        FileSystem::Xfs => &[&["-q", "-K"]],
        FileSystem::Ext4 if new.unwritten_is_zero => {
            &[&["-q", "-F", "-E", "nodiscard,assume_storage_prezeroed=1"], WRITTEN]
        }
        FileSystem::Ext4 => &[WRITTEN],
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the step")]
fn run(command: &mut Command) -> Result<(), FsError> {
    let told = format!("{command:?}").replace('"', "");
    let tool = PathBuf::from(command.get_program());
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = steps::around(format_args!("run {told}"), || {
        let started = command.spawn()?;
        steps::during(format_args!("run {told}"));
        started.wait_with_output()
    });
    let output = ended.map_err(|source| FsError::Run { tool, source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stderr, output.stdout].concat();
    Err(FsError::Tool {
        command: told,
        status: output.status,
        output: reason(&String::from_utf8_lossy(&said)),
    })
}

/// What a tool said, in one line, without the page of usage that mkfs.xfs adds to its reason.
fn reason(said: &str) -> String {
    let reason = said.split("Usage:").next().filter(|reason| !reason.trim().is_empty());
    reason.unwrap_or(said).trim().replace('\n', "; ")
}

fn find_tool(kind: FileSystem) -> Result<PathBuf, FsError> {
    let (tool, package) = match kind {
        FileSystem::Ext4 => ("mkfs.ext4", "e2fsprogs"),
        FileSystem::Xfs => ("mkfs.xfs", "xfsprogs"),
    };
    // The PATH of a user who became root by `su` often lacks the sbin folders.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(tool)).find(|path| path.is_file());
    found.ok_or(FsError::NoTool { tool, package, kind })
}

/// Whether the kernel has the file system, loading its module if it must.
#[allow(
    clippy::disallowed_methods,
    reason = "a module that is loaded is nothing that a crash could leave half done"
)]
fn kernel_has(kind: FileSystem) -> bool {
    let listed = || {
        let list = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        list.lines().any(|line| line.split_ascii_whitespace().last() == Some(kind.as_str()))
    };
    listed()
        || (Command::new("/sbin/modprobe")
            .args(["-q", kind.as_str()])
            .status()
            .is_ok_and(|status| status.success())
            && listed())
}
