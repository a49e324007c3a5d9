//! `thinpool container mount`, `unmount`, `rename`, `resize`, `remove`

use std::path::{Path, PathBuf};

use super::{CliError, Context, open, output};
use crate::pool::{ContainerName, Grown, MountRequest, NewSize};

pub(super) fn mount(
    context: &Context,
    name: &str,
    at: Option<PathBuf>,
    read_only: bool,
    options: Vec<String>,
) -> Result<(), CliError> {
    let request = MountRequest { at, options, read_only };
    let at = open(context, &context.host()?)?.mount_container(&name.parse()?, &request)?;
    output::line(at.display())
}

pub(super) fn unmount(context: &Context, name: &str) -> Result<(), CliError> {
    if let Some(holders) = open(context, &context.host()?)?.unmount_container(&name.parse()?)? {
        output::note(&format!("note: '{name}' is unmounted here, and still in use{}", told(&holders)));
    }
    Ok(())
}

pub(super) fn rename(context: &Context, name: &str, new_name: &str) -> Result<(), CliError> {
    let renamed = open(context, &context.host()?)?.rename_container(&name.parse()?, &new_name.parse()?)?;
    if let Some((from, to)) = &renamed.moved {
        output::note(&format!("note: it was mounted at {}, and is at {} now", from.display(), to.display()));
    }
    if is_in_fstab(&renamed.old_node) {
        output::note(&format!(
            "warning: /etc/fstab names {}, which is {} now",
            renamed.old_node.display(),
            renamed.new_node.display()
        ));
    }
    output::line(new_name)
}

pub(super) fn resize(context: &Context, name: &str, size: &str) -> Result<(), CliError> {
    let to: NewSize = size.parse()?;
    let resized = open(context, &context.host()?)?.resize_container(&name.parse()?, to)?;
    if let Grown::DeviceOnly(holders) = &resized.grown {
        output::note(&format!(
            "note: only the device is larger by now, since it is in use{}; the file system in it is grown by who has it, or with \
             the next `thinpool container mount` or `resize`",
            told(holders)
        ));
    }
    output::line(resized.size)
}

pub(super) fn remove(context: &Context, names: &[String], force: bool) -> Result<(), CliError> {
    let names: Vec<ContainerName> = names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let host = context.host()?;
    let mut pool = open(context, &host)?;
    names.iter().try_for_each(|name| {
        if let Some(holders) = pool.remove_container(name, force)? {
            output::note(&format!(
                "note: '{name}' is removed, and its blocks are freed when it is no longer in use{}",
                told(&holders)
            ));
        }
        output::line(name)
    })
}

/// By whom, if anybody was found.
fn told(holders: &crate::pool::Holders) -> String {
    if holders.is_empty() { String::new() } else { format!(": {holders}") }
}

/// Whether a line of /etc/fstab is about a node. Not to be able to tell is no reason to worry anybody.
fn is_in_fstab(node: &Path) -> bool {
    let table = std::fs::read_to_string("/etc/fstab").unwrap_or_default();
    table.lines().any(|line| line.split_whitespace().next().map(Path::new) == Some(node))
}
