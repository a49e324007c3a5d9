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
    for arguments in sets_of_arguments(new) {
        result = run(Command::new(&tool).args(arguments).arg(new.device));
        // An older tool doesn't know every argument: then the next set is tried.
        if !matches!(result, Err(FsError::Tool { .. })) {
            break;
        }
    }
    result
}

/// What mkfs is told, the best set first. No discard: the device is new and there is nothing to free. XFS reads nothing that it
/// hasn't written.
fn sets_of_arguments(new: &NewFileSystem<'_>) -> Vec<Vec<String>> {
    let owned = |own: &[&str]| own.iter().map(ToString::to_string).collect::<Vec<_>>();
    match new.kind {
        FileSystem::Xfs => vec![[owned(&["-q", "-K"]), new.arguments.to_vec()].concat()],
        FileSystem::Ext4 => {
            let options = extended_options(new.reads_as_zeroes).iter();
            options
                .map(|own| [owned(&["-q", "-F"]), with_extended_options(own, new.arguments)].concat())
                .collect()
        }
    }
}

/// ext4 must not leave anything to be zeroed later: the kernel's lazy initialisation would run in every snapshot again and
/// allocate blocks in each. `assume_storage_prezeroed` (e2fsprogs 1.47) costs nothing where it is true; without it the tables
/// are written now, once, in the base.
fn extended_options(reads_as_zeroes: bool) -> &'static [&'static str] {
    const ASSUMED: &str = "nodiscard,assume_storage_prezeroed=1";
    const WRITTEN: &str = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
    if reads_as_zeroes { &[ASSUMED, WRITTEN] } else { &[WRITTEN] }
}

/// The arguments with these extended options before theirs, in one `-E`: mke2fs forgets all but the last one.
fn with_extended_options(own: &str, arguments: &[String]) -> Vec<String> {
    let (mut options, mut others) = (vec![own], Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match (argument.strip_prefix("-E"), arguments.as_slice()) {
            (Some(""), [value, ..]) => {
                options.push(value);
                arguments.next();
            }
            (Some(value), _) if !value.is_empty() => options.push(value),
            _ => others.push(argument.clone()),
        }
    }
    [vec!["-E".to_owned(), options.join(",")], others].concat()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn told(arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        with_extended_options("nodiscard", &arguments).join(" ")
    }

    #[test]
    fn extended_options_of_somebodys_own_dont_take_ours_away() {
        assert_eq!(told(&[]), "-E nodiscard");
        assert_eq!(told(&["-m", "0"]), "-E nodiscard -m 0");
        assert_eq!(told(&["-E", "stride=16", "-m", "0"]), "-E nodiscard,stride=16 -m 0");
        assert_eq!(told(&["-m0", "-Estride=16", "-E", "discard"]), "-E nodiscard,stride=16,discard -m0");
        // For mkfs to complain of.
        assert_eq!(told(&["-E"]), "-E nodiscard -E");
    }

    #[test]
    fn what_may_hold_somebodys_old_data_is_never_said_to_be_zero() {
        assert!(extended_options(false).iter().all(|options| !options.contains("prezeroed")));
    }
}
