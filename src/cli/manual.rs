//! What `--help` and the manual pages tell besides the arguments: examples, files, exit codes. Each stands here once,
//! and `examples/manpages.rs` makes the pages of it.

use std::fmt::{Display, Write};

use clap::Command;

use super::exit;
use crate::config::DEFAULT_FILE;

/// How a command may be used.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// The line to type.
    pub line: &'static str,
    /// What it does.
    pub does: &'static str,
}

const fn example(line: &'static str, does: &'static str) -> Example {
    Example { line, does }
}

/// The examples of every command; "" is `thinpool` itself. A test insists that no command lacks one.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "",
        &[
            example("thinpool setup --device /dev/sdb", "A pool on a blank disk."),
            example("thinpool image import debian debian-rootfs.tar.zst", "An image in it."),
            example("thinpool container create debian --name web1", "A writable snapshot of the image."),
            example("thinpool container mount web1", "The snapshot as a directory, which is printed."),
            example("thinpool status", "How the pool is."),
        ],
    ),
    (
        "setup",
        &[
            example(
                "thinpool setup",
                "A pool on two sparse files in /var/lib/thinpool/thinpool, with every default.",
            ),
            example(
                "thinpool setup --device /dev/sdb --device /dev/sdc",
                "A pool on two blank disks, which become a volume group with room to grow.",
            ),
            example(
                "thinpool setup --datadev /dev/direct-lvm/data",
                "A pool on a volume of LVM's; one for the metadata is found beside it, or made.",
            ),
            example(
                "thinpool setup --datadev /dev/sdb1 --metadatadev /dev/sdc1 --wipe /dev/sdc1",
                "A pool on two partitions, whatever is on the second.",
            ),
            example(
                "thinpool setup --base-size 20G",
                "With a pool that is there: a larger base, for images that are imported from now on.",
            ),
            example("thinpool setup --thinpooldev vg-pool", "A pool in an empty thin pool of LVM's."),
            example(
                "thinpool setup --pool ci --loop-data-size 20G --base-size 4G --fs ext4",
                "A second, smaller pool, whose containers have ext4 on 4 GiB.",
            ),
            example(
                "thinpool setup --storage-opt dm.basesize=20G --storage-opt dm.fs=xfs",
                "The same settings under the names that Docker gave them.",
            ),
        ],
    ),
    (
        "status",
        &[
            example("thinpool status", "Every row, and below them what is wrong and what to do."),
            example("thinpool status --pool ci --json", "The same of the pool `ci`, for programs."),
            example("thinpool status --docker", "Only what `docker info` printed."),
            example(
                "thinpool status --prometheus --all --textfile /var/lib/prometheus/node-exporter/thinpool.prom",
                "The metrics of all pools, where node_exporter picks them up.",
            ),
        ],
    ),
    (
        "top",
        &[
            example("thinpool top", "The pool as it changes, every two seconds, until q is typed."),
            example("thinpool top --pool ci --interval 10s", "The pool `ci`, more calmly."),
        ],
    ),
    (
        "usage",
        &[
            example("thinpool usage", "Who has most to itself, first: what would be free without it."),
            example("thinpool usage --json", "The same in bytes, for programs."),
        ],
    ),
    ("tree", &[example("thinpool tree", "What descends from what, and what each uses.")]),
    (
        "activate",
        &[
            example("thinpool activate", "The pool is there again after a reboot."),
            example("thinpool activate --all", "Every pool is, each with its outcome on a line."),
        ],
    ),
    (
        "deactivate",
        &[
            example(
                "thinpool deactivate --pool ci",
                "The pool `ci` has no device nodes any more; all it holds stays.",
            ),
            example(
                "thinpool deactivate --all --wait 60s",
                "Every pool is put to rest, as soon as nobody uses it, and in a minute at the latest.",
            ),
        ],
    ),
    (
        "monitor",
        &[
            example(
                "thinpool monitor",
                "What the unit thinpool-monitor@thinpool.service does; Ctrl-C ends it.",
            ),
            example(
                "thinpool monitor --pool ci --log-level warn",
                "The same of the pool `ci`, saying only what goes wrong.",
            ),
            example(
                "thinpool monitor --test-hooks",
                "Runs what is in /etc/thinpool/hooks.d, to see that it works.",
            ),
        ],
    ),
    (
        "extend",
        &[
            example(
                "thinpool extend --data 200G --metadata 4G",
                "The pool has that much now; nothing has to stop.",
            ),
            example("thinpool extend --data +20%", "A fifth more for data."),
            example("thinpool extend", "The pool takes what its devices have grown by."),
            example(
                "thinpool extend --device /dev/sdd",
                "A third disk for a pool that was set up with --device, and larger volumes on it.",
            ),
        ],
    ),
    (
        "trim",
        &[example(
            "thinpool trim",
            "What was deleted in mounted containers is free again, for the pool and for the host.",
        )],
    ),
    (
        "destroy",
        &[
            example("thinpool destroy", "Asks first."),
            example("thinpool destroy --pool ci --yes", "Removes the pool `ci` without asking."),
            example(
                "thinpool destroy --abandon",
                "Removes what there is of a pool whose thin pool, of somebody else's, is gone for good.",
            ),
        ],
    ),
    (
        "check",
        &[
            example(
                "thinpool check",
                "What differs, and what a repair would do about it; exit code 5 if anything does.",
            ),
            example("thinpool check --pool ci --json", "The same of the pool `ci`, for programs."),
            example("thinpool check --repair --yes", "The same as `thinpool repair --yes`."),
        ],
    ),
    (
        "repair",
        &[
            example("thinpool repair", "Tells what it would do, and asks first."),
            example("thinpool repair --yes", "Mends what can be mended; exit code 9 if there was something."),
            example(
                "thinpool repair --delete-orphans",
                "Devices that the catalog doesn't know are deleted instead of becoming containers.",
            ),
            example("thinpool repair --rebuild-catalog", "A new catalog where it is lost or damaged."),
            example(
                "thinpool repair --rebuild-catalog --datadev /dev/vg/data --metadatadev /dev/vg/metadata",
                "The same, where nothing else tells what the pool lies on.",
            ),
        ],
    ),
    (
        "metadata backup",
        &[example("thinpool metadata backup", "Of a pool that may be in use; nobody waits for it.")],
    ),
    ("metadata list", &[example("thinpool metadata list", "The newest first, with the file of each.")]),
    (
        "metadata restore",
        &[
            example(
                "thinpool metadata restore",
                "The newest backup; tells what would be lost, and asks first.",
            ),
            example("thinpool metadata restore 7 --yes", "The backup 7, without asking."),
        ],
    ),
    (
        "image import",
        &[
            example(
                "thinpool image import debian debian-rootfs.tar.zst",
                "A root file system from an archive.",
            ),
            example("thinpool image import debian /srv/chroots/debian", "The same from a directory."),
            example(
                "docker save app:1.0 | thinpool image import app -",
                "An image of Docker's, with its layers.",
            ),
            example(
                "thinpool image import app ./oci-layout --reference 1.0",
                "One of the images in an OCI layout.",
            ),
        ],
    ),
    (
        "image list",
        &[
            example("thinpool image list --json", "All images, for programs."),
            example(
                "thinpool image list --filter used=false --quiet",
                "The names of those that no container needs.",
            ),
        ],
    ),
    (
        "image inspect",
        &[example(
            "thinpool image inspect debian",
            "Its layers, its devices, and what its maker says of it.",
        )],
    ),
    ("image history", &[example("thinpool image history debian --no-trunc", "With every command in full.")]),
    (
        "image tag",
        &[example("thinpool image tag debian:12 debian:stable", "The same image under a second name.")],
    ),
    (
        "image export",
        &[
            example(
                "thinpool image export app app.tar",
                "An archive for `skopeo copy oci-archive:app.tar …`.",
            ),
            example(
                "thinpool image export app --compression zstd | ssh host thinpool image import app -",
                "The image, on another machine.",
            ),
        ],
    ),
    (
        "image remove",
        &[
            example("thinpool image remove debian", "Refused while a container is made of it."),
            example("thinpool image remove --prune --yes", "All that no container was made of."),
        ],
    ),
    (
        "image prune",
        &[
            example("thinpool image prune --dry-run", "Only tells what would be removed."),
            example("thinpool image prune", "Asks first."),
        ],
    ),
    (
        "container create",
        &[
            example("thinpool container create debian", "Makes a name up and prints it."),
            example(
                "thinpool container create debian --name web1 --size 40G",
                "A larger file system than the image's.",
            ),
            example("thinpool container create debian --name db1 --label env=prod", "With a note on it."),
            example("thinpool container create debian --name web2 --mount", "Mounted at once; prints where."),
            example(
                "thinpool container create debian --name vm1 --activate",
                "As a device; prints its node.",
            ),
        ],
    ),
    (
        "container list",
        &[
            example("thinpool container list", "All containers, and where they are mounted."),
            example(
                "thinpool container list --filter label=env=prod --filter mounted=true --quiet",
                "The names of those that are mounted and have this label.",
            ),
            example("thinpool container list --format {{.Name}}\\t{{.Size}}", "Two columns, for a script."),
            example("thinpool container list --columns name,labels,device", "These columns."),
        ],
    ),
    (
        "container inspect",
        &[
            example("thinpool container inspect web1", "Everything, and who keeps it busy."),
            example("thinpool container inspect web1 db1 --format {{.uuid}}", "One value of each."),
        ],
    ),
    (
        "container activate",
        &[example(
            "thinpool container activate web1",
            "Prints /dev/mapper/thinpool-web1, for a virtual machine.",
        )],
    ),
    (
        "container deactivate",
        &[example("thinpool container deactivate web1", "Takes the device node away again.")],
    ),
    (
        "container mount",
        &[
            example("thinpool container mount web1", "At a directory of the pool's, which is printed."),
            example("thinpool container mount web1 /mnt", "At /mnt."),
            example("thinpool container mount web1 --read-only -o noatime", "So that nothing in it changes."),
        ],
    ),
    ("container unmount", &[example("thinpool container unmount web1", "From wherever it was mounted.")]),
    (
        "container diff",
        &[example("thinpool container diff web1", "What was added, changed and deleted since it was made.")],
    ),
    (
        "container commit",
        &[
            example(
                "thinpool container commit web1 app:2 --message 'new release'",
                "An image of it, as it is now.",
            ),
            example(
                "thinpool container commit web1 app:2 --change 'CMD [\"/opt/app/run\"]' --label stage=test",
                "The same, with another command and a label.",
            ),
        ],
    ),
    (
        "container rename",
        &[example(
            "thinpool container rename web1 web2",
            "Its node is /dev/mapper/thinpool-web2 from now on.",
        )],
    ),
    (
        "container resize",
        &[
            example("thinpool container resize web1 40G", "To this size, while it is mounted or not."),
            example("thinpool container resize web1 +10G", "So much larger than it is."),
        ],
    ),
    (
        "container remove",
        &[
            example("thinpool container remove web1 web2", "Both, with everything in them."),
            example("thinpool container remove --force web1", "Also while it is mounted."),
        ],
    ),
    (
        "config show",
        &[
            example("thinpool config show", "Every setting, and where its value came from."),
            example("thinpool config show --base-size 20G", "What `setup` would be given with this flag."),
        ],
    ),
    (
        "doctor",
        &[
            example("thinpool doctor", "What is found, and what helps."),
            example("thinpool doctor --json", "The same for programs."),
        ],
    ),
    (
        "completions",
        &[example(
            "thinpool completions bash > /etc/bash_completion.d/thinpool",
            "For who didn't install by `make install` or a package, which bring them along.",
        )],
    ),
];

/// The files that every command knows.
pub const FILES: [(&str, &str); 3] = [
    (DEFAULT_FILE, "settings; `thinpool config show` tells which are in force, and why"),
    ("/etc/thinpool/hooks.d/", "what a monitor runs when something happens to a pool"),
    ("/var/lib/thinpool/<pool>/", "a pool's catalog, locks, mount points and, by default, its loop files"),
];

/// The environment that every command reads.
pub const ENVIRONMENT: [(&str, &str); 2] = [
    (
        "THINPOOL_LOG",
        "how much is told on standard error, beating the setting `log-level`; `debug` shows what is asked of the kernel",
    ),
    ("NO_COLOR", "if it is set and not empty, `top` has no colours"),
];

/// A command's examples; `command` is what stands between `thinpool` and the arguments.
#[must_use]
pub fn examples(command: &str) -> &'static [Example] {
    EXAMPLES.iter().find(|(name, _)| *name == command).map_or(&[], |(_, examples)| examples)
}

/// The command line, with what stands here in each command's `--help`.
pub(super) fn complete(command: Command) -> Command {
    let help = [
        usage(examples("")),
        columns("Exit codes:", &exit::MEANINGS),
        columns("Files:", &FILES),
        columns("Environment:", &ENVIRONMENT),
    ];
    with_examples(command, "").after_long_help(help.join("\n\n"))
}

fn with_examples(command: Command, path: &str) -> Command {
    let command = command.mut_subcommands(|command| {
        let path = format!("{path} {}", command.get_name()).trim_start().to_owned();
        with_examples(command, &path)
    });
    match examples(path) {
        [] => command,
        examples => command.after_long_help(usage(examples)),
    }
}

fn usage(examples: &[Example]) -> String {
    let mut text = "Examples:".to_owned();
    for Example { line, does } in examples {
        let _ = write!(text, "\n  {line}\n          {does}");
    }
    text
}

fn columns<T: Display>(title: &str, rows: &[(T, &str)]) -> String {
    let width = rows.iter().map(|(name, _)| name.to_string().chars().count()).max().unwrap_or(0);
    let mut text = title.to_owned();
    for (name, tells) in rows {
        let _ = write!(text, "\n  {name:width$}  {tells}");
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;
    use crate::cli::command;

    /// Every command without commands of its own, by what stands behind `thinpool`.
    fn leaves(command: &Command, path: &str) -> Vec<String> {
        let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
        let below = |command: &Command| leaves(command, &format!("{path} {}", command.get_name()));
        let below: Vec<String> = visible.flat_map(below).collect();
        if below.is_empty() { vec![path.trim_start().to_owned()] } else { below }
    }

    #[test]
    fn no_command_is_without_an_example() {
        let without: Vec<String> =
            leaves(&command(), "").into_iter().filter(|leaf| examples(leaf).is_empty()).collect();
        assert_eq!(without, Vec::<String>::new(), "add them to EXAMPLES");
    }

    #[test]
    fn every_example_is_of_its_command_and_would_be_understood() {
        for (name, examples) in EXAMPLES {
            for Example { line, .. } in *examples {
                let (_, typed) =
                    line.split_once("thinpool ").unwrap_or_else(|| panic!("{line}: without thinpool"));
                let words = shlex::split(typed).unwrap_or_else(|| panic!("{line}: a quote has no end"));
                let words = words.into_iter().take_while(|word| !matches!(word.as_str(), "|" | ">"));
                assert!(typed.starts_with(name), "{line}: not of {name}");
                if let Err(error) =
                    command().try_get_matches_from(std::iter::once("thinpool".to_owned()).chain(words))
                {
                    panic!("{line}: {error}");
                }
            }
        }
    }

    #[test]
    fn no_exit_code_is_told_twice_or_left_out() {
        for (index, (code, _)) in exit::MEANINGS.iter().enumerate() {
            assert_eq!(usize::from(*code), index);
        }
    }
}
