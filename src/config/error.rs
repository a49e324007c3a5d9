//! What can be wrong with settings, told to the person who wrote them.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::file::MAX_FILE;
use super::source::Place;
use crate::units::Percent;

/// Settings that can't be used. Nothing was changed on the machine.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file couldn't be read.
    #[error(
        "cannot read the configuration file {path}: {source}. Check the path after --config and its permissions"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// The file is larger than any configuration.
    #[error("{0} is larger than {MAX_FILE}, so it can't be a configuration file of thinpool")]
    TooLarge(PathBuf),

    /// The file is not text.
    #[error("{0} is not a configuration file of thinpool: it is not UTF-8 text")]
    NotText(PathBuf),

    /// The file is not TOML.
    #[error("{place}: {message}. The file is TOML: one `name = value` a line, texts in double quotes")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },

    /// A name that no setting has.
    #[error("{whence}: there is no setting '{name}'.{hint} Settings are: {allowed}")]
    UnknownSetting {
        /// Where it was written: a place in a file, or the command line.
        whence: String,
        /// The name.
        name: String,
        /// A sentence with the name that was probably meant, or empty.
        hint: String,
        /// All names.
        allowed: String,
    },

    /// A value of the wrong type, or outside of what is allowed.
    #[error("{whence}: {name} can't be {found}{reason}. Allowed is {allowed}")]
    BadValue {
        /// Where it was written.
        whence: String,
        /// The setting.
        name: String,
        /// The value, as it was written.
        found: String,
        /// What is wrong with it, or empty when what is allowed says it all.
        reason: String,
        /// What is allowed.
        allowed: String,
    },

    /// A table `[pools.NAME]` for a name that no pool can have.
    #[error("{place}: {message}")]
    BadPoolTable {
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
    },

    /// A `--storage-opt` without `=`.
    #[error("--storage-opt {0}: write it as KEY=VALUE, such as dm.basesize=20G")]
    NotKeyValue(String),

    /// A `--storage-opt` that Docker's driver didn't have.
    #[error("--storage-opt {key}: there is no such option.{hint} Options are: {allowed}")]
    UnknownStorageOpt {
        /// The key as it was written.
        key: String,
        /// A sentence with the key that was probably meant, or empty.
        hint: String,
        /// All keys.
        allowed: String,
    },

    /// Two settings that each say what the pool lies on.
    #[error("{one} and {other} each say what the pool lies on. Keep one of them")]
    TwoBackings {
        /// A setting, and where it was written.
        one: String,
        /// Another.
        other: String,
    },

    /// A setting that means nothing without another.
    #[error("{one} says nothing without {needed}. Give {needed}, or leave it out")]
    Needs {
        /// The setting, and where it was written.
        one: String,
        /// The setting it needs.
        needed: &'static str,
    },

    /// Volumes that would need more than all of their group.
    #[error(
        "the data volume ({data}) and two metadata volumes ({metadata} each, one a spare) are more than the whole volume group"
    )]
    MoreThanAll {
        /// The data volume's share.
        data: Percent,
        /// The metadata volume's share.
        metadata: Percent,
    },

    /// The same setting twice with different values, at the same level.
    #[error("{name} is given twice with different values, '{first}' and '{second}'. Keep one of them")]
    Twice {
        /// The flag or the storage-opt.
        name: String,
        /// The first value.
        first: String,
        /// The other value.
        second: String,
    },

    /// Deferred deletion without deferred removal.
    #[error(
        "deferred-deletion is on ({deletion}) but deferred-removal is off ({removal}): a device that is still in \
         use can only be deleted later if it can be removed later. Turn deferred-removal on, or \
         deferred-deletion off"
    )]
    DeletionNeedsRemoval {
        /// Where deletion was turned on.
        deletion: String,
        /// Where removal was turned off.
        removal: String,
    },
}

/// A sentence with the nearest of the names, if one is near enough to be what was meant.
pub(super) fn did_you_mean<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, nearest)| format!(" Did you mean {nearest}?"))
        .unwrap_or_default()
}
