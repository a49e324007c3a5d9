//! The programs that are called.

use super::machine::ask;
use super::{Finding, Level, Machine};

/// A program that is called.
struct Tool {
    name: &'static str,
    /// Debian's package.
    package: &'static str,
    /// What makes it tell its version.
    version: &'static str,
    /// How bad it is when it is missing, and what doesn't work then.
    missing: (Level, &'static str),
}

const TOOLS: [Tool; 7] = [
    Tool {
        name: "thin_check",
        package: "thin-provisioning-tools",
        version: "--version",
        missing: (Level::Warning, "metadata can't be checked"),
    },
    Tool {
        name: "thin_repair",
        package: "thin-provisioning-tools",
        version: "--version",
        missing: (Level::Warning, "metadata can't be repaired"),
    },
    Tool {
        name: "dmsetup",
        package: "dmsetup",
        version: "--version",
        missing: (Level::Warning, "udev's rules call it to say that they are done"),
    },
    Tool {
        name: "mkfs.xfs",
        package: "xfsprogs",
        version: "-V",
        missing: (Level::Note, "pools can have no xfs"),
    },
    Tool {
        name: "mkfs.ext4",
        package: "e2fsprogs",
        version: "-V",
        missing: (Level::Note, "pools can have no ext4"),
    },
    Tool {
        name: "wipefs",
        package: "util-linux",
        version: "--version",
        missing: (Level::Note, "pools on block devices need it, to see what is on a disk"),
    },
    Tool { name: "lvm", package: "lvm2", version: "version", missing: (Level::Note, "pools on LVM need it") },
];

pub(super) fn all(machine: &Machine) -> Vec<Finding> {
    let mut findings: Vec<Finding> = TOOLS.iter().map(|tool| tool.look(machine)).collect();
    if ["mkfs.xfs", "mkfs.ext4"].iter().all(|mkfs| machine.find(mkfs).is_none()) {
        findings.push(Finding::problem(
            "neither mkfs.xfs nor mkfs.ext4 is installed: no pool can be set up",
            "install xfsprogs or e2fsprogs",
        ));
    }
    findings
}

impl Tool {
    fn look(&self, machine: &Machine) -> Finding {
        let Some(path) = machine.find(self.name) else {
            let (level, lacks) = self.missing;
            let sentence = format!("{} is not installed: {lacks}", self.name);
            return Finding { level, ..Finding::note(sentence) }
                .with_remedy(format!("install {}", self.package));
        };
        match ask(&path, &[self.version]) {
            Ok(said) => Finding::ok(format!("{}: {}", self.name, version(&said))),
            Err(error) => Finding::warning(
                format!("{} is there and doesn't work: {error}", path.display()),
                format!("install {} again", self.package),
            ),
        }
    }
}

/// The first word of what was said that is a version: each of these programs puts other words around it.
fn version(said: &str) -> &str {
    let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    said.split_whitespace().find(is_version).unwrap_or("of an unknown version")
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;

    #[test]
    fn the_version_is_found_among_the_words_of_each_program() {
        for (said, expected) in [
            ("0.9.0\n", "0.9.0"),
            ("thin_check 1.0.6\n", "1.0.6"),
            ("mke2fs 1.47.0 (5-Feb-2023)\n\tUsing EXT2FS Library version 1.47.0\n", "1.47.0"),
            ("mkfs.xfs version 6.1.0\n", "6.1.0"),
            ("wipefs from util-linux 2.38.1\n", "2.38.1"),
            ("Library version:   1.02.185 (2022-05-18)\nDriver version:    4.47.0\n", "1.02.185"),
            ("  LVM version:     2.03.16(2) (2022-05-18)\n", "2.03.16(2)"),
            ("", "of an unknown version"),
        ] {
            assert_eq!(version(said), expected);
        }
    }

    #[test]
    fn a_machine_that_can_make_no_file_system_can_set_up_no_pool() {
        let none = all(&Bench::new().machine());
        assert_eq!(none.iter().map(|finding| finding.level).max(), Some(Level::Problem));
        let one = all(&Bench::new().with_program("mkfs.ext4", "echo mke2fs 1.47.0 >&2").machine());
        assert!(one.iter().all(|finding| finding.level < Level::Problem), "{one:?}");
        assert!(
            one.contains(&Finding::ok("mkfs.ext4: 1.47.0")),
            "what it says as a message is read: {one:?}"
        );
    }

    #[test]
    fn a_program_that_is_broken_is_not_taken_for_one_that_works() {
        let found =
            all(&Bench::new().with_program("thin_check", "echo 'no such library' >&2; exit 127").machine());
        let broken = found.iter().find(|finding| finding.sentence.contains("thin_check")).unwrap();
        assert!(broken.level == Level::Warning && broken.sentence.contains("127"), "{broken:?}");
    }
}
