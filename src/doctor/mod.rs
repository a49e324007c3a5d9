//! What would bite a pool on this host, and what to do about it. Nothing here changes anything.

mod cookies;
mod kernel;
mod left_volumes;
mod loop_files;
mod lvm;
mod machine;
#[cfg(test)]
mod testing;
mod tools;
mod udev;
mod units;

use serde::Serialize;

pub use machine::{Machine, Pools};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// All is well.
    Ok,
    /// Good to know; nothing has to be done. Also what couldn't be looked at.
    Note,
    /// It works until it matters.
    Warning,
    /// Pools don't work.
    Problem,
}

impl Level {
    /// As it is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// What is.
    pub sentence: String,
    /// What to do about it; never missing from a warning or a problem.
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(sentence: impl Into<String>) -> Self {
        Self { level: Level::Ok, sentence: sentence.into(), remedy: None }
    }

    fn note(sentence: impl Into<String>) -> Self {
        Self { level: Level::Note, sentence: sentence.into(), remedy: None }
    }

    fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    fn warning(sentence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::note(sentence).with_remedy(remedy) }
    }

    fn problem(sentence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Problem, ..Self::note(sentence).with_remedy(remedy) }
    }

    /// What only root may look at, and somebody else asks.
    fn unseen(what: &str, why: impl std::fmt::Display) -> Self {
        Self::note(format!("{what} could not be looked at: {why}"))
            .with_remedy("run `thinpool doctor` as root")
    }
}

/// One thing that is looked at.
#[derive(Debug)]
pub struct Check {
    /// Its name, for people and programs; never changes.
    pub name: &'static str,
    /// What is looked at, for who reads the list of checks.
    pub about: &'static str,
    look: fn(&Machine) -> Vec<Finding>,
}

/// Every check, in the order in which things are needed.
pub const CHECKS: [Check; 10] = [
    Check {
        name: "driver",
        about: "the kernel's device-mapper, and what its version can do",
        look: kernel::driver,
    },
    Check { name: "thin-pool", about: "the kernel's thin-pool target", look: kernel::thin_pool },
    Check { name: "loop", about: "loop devices, for pools on files", look: kernel::loop_devices },
    Check { name: "udev", about: "udevd, and device-mapper's rules for it", look: udev::daemon_and_rules },
    Check {
        name: "semaphores",
        about: "System V semaphores, which waiting for udev needs",
        look: cookies::room,
    },
    Check { name: "cookies", about: "semaphores that killed commands left behind", look: cookies::abandoned },
    Check { name: "tools", about: "the programs that are called, and their versions", look: tools::all },
    Check {
        name: "units",
        about: "whether the pools that are set up come back at boot",
        look: units::enabled,
    },
    Check {
        name: "lvm",
        about: "whether LVM activates our volumes, has none of pools that are gone, and leaves those in containers alone",
        look: lvm::all,
    },
    Check {
        name: "loop-files",
        about: "the file system under a pool's loop files",
        look: loop_files::file_system,
    },
];

/// What a check found on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// The check's name.
    pub check: &'static str,
    /// What it found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// Looks at everything.
#[must_use]
pub fn examine(machine: &Machine) -> Vec<Diagnosis> {
    let findings = |check: &Check| {
        let name = check.name;
        (check.look)(machine).into_iter().map(move |finding| Diagnosis { check: name, finding })
    };
    CHECKS.iter().flat_map(findings).collect()
}

/// The worst of what was found.
#[must_use]
pub fn worst(diagnoses: &[Diagnosis]) -> Level {
    diagnoses.iter().map(|diagnosis| diagnosis.finding.level).max().unwrap_or(Level::Ok)
}

#[cfg(test)]
mod tests {
    use super::testing::Bench;
    use super::*;

    #[test]
    fn a_machine_with_nothing_on_it_gets_an_answer_from_every_check_and_a_remedy_with_every_worry() {
        let found = examine(&Bench::new().machine());
        for check in &CHECKS {
            assert!(
                found.iter().any(|diagnosis| diagnosis.check == check.name),
                "{} said nothing",
                check.name
            );
        }
        for Diagnosis { check, finding } in &found {
            assert!(finding.level <= Level::Note || finding.remedy.is_some(), "{check}: {finding:?}");
        }
        assert_eq!(worst(&found), Level::Problem);
    }

    #[test]
    fn this_very_machine_is_looked_at_without_a_panic_whoever_asks() {
        let root = tempfile::tempdir().unwrap();
        let pools = Pools { root: root.path().to_owned(), loop_files: root.path().join("deep/down") };
        assert!(examine(&Machine::this(pools)).len() >= CHECKS.len());
    }
}
