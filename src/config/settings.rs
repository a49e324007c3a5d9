//! From what people wrote to the settings in force.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::error::{ConfigError, did_you_mean};
use super::file::FileSettings;
use super::registry::{SETTINGS, Setting, Settings};
use super::source::Source;
use super::storage_opt;
use super::value::AutoBool;
use crate::backing::{MetadataVolumeSize, VolumeSize};

/// The file that is read when nobody names one.
pub const DEFAULT_FILE: &str = "/etc/thinpool/thinpool.toml";

/// Everything that people can write settings in.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Flags of the command line, in their order.
    pub flags: Vec<Flag>,
    /// Values of `--storage-opt`, in their order: `dm.basesize=20G`.
    pub storage_opts: Vec<String>,
    /// The configuration file.
    pub file: ConfigFile,
}

/// A setting given as a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The setting's name: `base-size` for the flag `--base-size`.
    pub name: String,
    /// Its value as text.
    pub value: String,
}

/// Which configuration file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigFile {
    /// This one, if it is there.
    IfThere(PathBuf),
    /// This one, which somebody named: it is an error if it is missing.
    Named(PathBuf),
    /// None.
    Ignored,
}

impl Default for ConfigFile {
    fn default() -> Self {
        Self::IfThere(PathBuf::from(DEFAULT_FILE))
    }
}

/// A setting as `config show` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effective {
    /// The setting's name.
    pub name: &'static str,
    /// The value in force, as it would be written; empty for an empty list.
    pub value: String,
    /// Where it came from.
    pub source: Source,
    /// Docker's key, if it has one.
    pub docker_key: Option<&'static str>,
    /// What it is for.
    pub help: &'static str,
}

/// A value as it was written, before it is read.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub texts: Vec<String>,
    pub source: Source,
    /// Where it was written, as an error begins.
    pub whence: String,
}

impl Given {
    fn default_of(setting: &Setting) -> Self {
        Self {
            texts: setting.default.iter().map(|&t| t.to_owned()).collect(),
            source: Source::Default,
            whence: "the default".to_owned(),
        }
    }

    /// The value as an error shows it: in quotes, and not without end.
    pub(super) fn quoted(&self) -> String {
        const SHOWN: usize = 60;
        let text = self.texts.join(" ");
        let cut: String = text.chars().take(SHOWN).collect();
        if cut.len() < text.len() { format!("'{cut}…'") } else { format!("'{cut}'") }
    }
}

/// The values of one level, by the names of their settings.
pub(super) type Level = BTreeMap<&'static str, Given>;

/// Adds a value to a level: to a list's end, or as the only one.
pub(super) fn add(level: &mut Level, setting: &'static Setting, mut given: Given) -> Result<(), ConfigError> {
    setting.check(&given)?;
    match level.get_mut(setting.name) {
        Some(earlier) if setting.is_list() => earlier.texts.append(&mut given.texts),
        Some(earlier) if earlier.texts != given.texts => {
            return Err(ConfigError::Twice {
                name: given.whence,
                first: earlier.texts.join(" "),
                second: given.texts.join(" "),
            });
        }
        Some(_) => {}
        None => {
            level.insert(setting.name, given);
        }
    }
    Ok(())
}

impl ConfigError {
    /// The error for a name that no setting has.
    pub(super) fn unknown_setting(whence: &str, name: &str) -> Self {
        let names = || SETTINGS.iter().map(|s| s.name);
        let hint =
            match Setting::by_docker_key(name).or_else(|| Setting::by_docker_key(&format!("dm.{name}"))) {
                Some(setting) => format!(" Docker's option of this name is called {} here.", setting.name),
                None => did_you_mean(name, names()),
            };
        Self::UnknownSetting {
            whence: whence.to_owned(),
            name: name.to_owned(),
            hint,
            allowed: names().collect::<Vec<_>>().join(", "),
        }
    }
}

fn read_flags(flags: &[Flag]) -> Result<Level, ConfigError> {
    let mut level = Level::new();
    for flag in flags {
        let dashed = format!("--{}", flag.name);
        let Some(setting) = Setting::by_name(&flag.name) else {
            return Err(ConfigError::unknown_setting("the command line", &flag.name));
        };
        let given =
            Given { texts: vec![flag.value.clone()], source: Source::Flag(dashed.clone()), whence: dashed };
        add(&mut level, setting, given)?;
    }
    Ok(level)
}

impl Settings {
    /// Reads everything, strongest first: flags, storage-opts, the file (a table `[pools.NAME]` for the chosen
    /// pool before the file's top), defaults. What is wrong anywhere is an error, also where a stronger value
    /// hides it.
    pub fn load(inputs: &Inputs) -> Result<Self, ConfigError> {
        let flags = read_flags(&inputs.flags)?;
        let storage_opts = storage_opt::read(&inputs.storage_opts)?;
        let file = FileSettings::load(&inputs.file)?;

        let pool_setting = [&flags, &storage_opts, &file.top].into_iter().find_map(|level| level.get("pool"));
        let pool = pool_setting.and_then(|given| given.texts.first()).map_or("thinpool", String::as_str);
        let nothing = Level::new();
        let for_pool = file.pools.get(pool).unwrap_or(&nothing);

        let levels = [&flags, &storage_opts, for_pool, &file.top];
        let settings = Self::read(|setting| {
            let given = levels.into_iter().find_map(|level| level.get(setting.name));
            given.cloned().unwrap_or_else(|| Given::default_of(setting))
        })?;
        settings.checked_together()
    }

    /// What no value can know alone.
    fn checked_together(mut self) -> Result<Self, ConfigError> {
        self.dir = self.dir.map(|dir| dir.fill_in(self.root.get(), self.pool.get()));
        if *self.deferred_deletion.get() == AutoBool::On && *self.deferred_removal.get() == AutoBool::Off {
            return Err(ConfigError::DeletionNeedsRemoval {
                deletion: self.deferred_deletion.source().to_string(),
                removal: self.deferred_removal.source().to_string(),
            });
        }
        self.volume_group = self.volume_group.map(|group| group.fill_in(self.pool.get()));
        self.check_backing()?;
        Ok(self)
    }

    /// What a pool lies on can be said in one way only.
    fn check_backing(&self) -> Result<(), ConfigError> {
        let told = |name: &str, source: &Source| format!("{name} ({source})");
        let datadev = (self.datadev.get().as_path().is_some(), "datadev", self.datadev.source());
        let metadatadev =
            (self.metadatadev.get().as_path().is_some(), "metadatadev", self.metadatadev.source());
        let device = (!self.device.get().0.is_empty(), "device", self.device.source());
        let thinpooldev = (self.thinpooldev.get().name().is_some(), "thinpooldev", self.thinpooldev.source());
        let mut ways = [datadev, device, thinpooldev].into_iter().filter(|(given, ..)| *given);
        if let (Some((_, one, from)), Some((_, other, from_other))) = (ways.next(), ways.next()) {
            return Err(ConfigError::TwoBackings { one: told(one, from), other: told(other, from_other) });
        }
        let spare =
            (self.spare_datadev.get().as_path().is_some(), "spare-datadev", self.spare_datadev.source());
        if spare.0 && !datadev.0 && !device.0 {
            return Err(ConfigError::Needs { one: told(spare.1, spare.2), needed: "device" });
        }
        for ((given, name, source), (needed_given, needed, _)) in [
            (metadatadev, datadev),
            ((*self.wipe_devices.get(), "wipe-devices", self.wipe_devices.source()), device),
        ] {
            if given && !needed_given {
                return Err(ConfigError::Needs { one: told(name, source), needed });
            }
        }
        match (self.volume_data_size.get(), self.volume_metadata_size.get()) {
            (VolumeSize::Share(data), MetadataVolumeSize::Given(VolumeSize::Share(metadata)))
                if u16::from(data.get()) + 2 * u16::from(metadata.get()) > 100 =>
            {
                Err(ConfigError::MoreThanAll { data: *data, metadata: *metadata })
            }
            _ => Ok(()),
        }
    }

    /// Whether this pool removes devices later, and whether it deletes them later, on a machine that can or
    /// can't. Deletion that nobody asked for follows removal.
    #[must_use]
    pub fn deferred(&self, machine_can: bool) -> (bool, bool) {
        let removal = self.deferred_removal.get().resolve(machine_can);
        let deletion = self.deferred_deletion.get().resolve(machine_can && removal);
        (removal, deletion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;

    fn flag(name: &str, value: &str) -> Flag {
        Flag { name: name.to_owned(), value: value.to_owned() }
    }

    fn load(flags: &[(&str, &str)], opts: &[&str], toml: &str) -> Result<Settings, ConfigError> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("t.toml");
        std::fs::write(&path, toml).expect("writes");
        Settings::load(&Inputs {
            flags: flags.iter().map(|(n, v)| flag(n, v)).collect(),
            storage_opts: opts.iter().map(|&o| o.to_owned()).collect(),
            file: ConfigFile::Named(path),
        })
    }

    fn error(flags: &[(&str, &str)], opts: &[&str], toml: &str) -> String {
        let error = load(flags, opts, toml).expect_err("refused").to_string();
        // The file's directory is another one each time.
        error.split_once("t.toml").map_or(error.clone(), |(_, rest)| format!("t.toml{rest}"))
    }

    #[test]
    fn every_default_can_be_read_and_shown_as_it_is_written() {
        let settings = load(&[], &[], "").expect("defaults");
        for (setting, row) in SETTINGS.iter().zip(settings.effective()) {
            assert_eq!(row.source, Source::Default);
            assert_eq!(row.name, setting.name);
            if !["dir", "volume-group"].contains(&setting.name) {
                assert_eq!(row.value, setting.default.join(" "), "{}", setting.name);
            }
        }
        assert_eq!(settings.dir.get().as_path(), std::path::Path::new("/var/lib/thinpool/thinpool"));
    }

    #[test]
    fn a_flag_beats_a_storage_opt_beats_the_file_beats_the_default() {
        let file = "base-size = '20G'";
        let size = |s: &Settings| (*s.base_size.get(), s.base_size.source().to_string());
        let from_file = load(&[], &[], file).expect("loads");
        assert_eq!(size(&from_file).0, Bytes::gib(20));
        assert!(size(&from_file).1.ends_with("t.toml:1"));
        let opt = load(&[], &["dm.basesize=30G"], file).expect("loads");
        assert_eq!(size(&opt), (Bytes::gib(30), "storage-opt dm.basesize".to_owned()));
        let flag = load(&[("base-size", "40G")], &["dm.basesize=30G"], file).expect("loads");
        assert_eq!(size(&flag), (Bytes::gib(40), "flag --base-size".to_owned()));
        assert_eq!(flag.base_size.explicit(), Some(&Bytes::gib(40)));
        assert_eq!(flag.block_size.explicit(), None);
    }

    #[test]
    fn a_pools_own_table_beats_the_top_of_the_file_for_that_pool_only() {
        let file = "base-size = '20G'\nfs = 'ext4'\n[pools.ci]\nbase-size = '5G'\n";
        let ci = load(&[("pool", "ci")], &[], file).expect("loads");
        assert_eq!(ci.base_size.get(), &Bytes::gib(5));
        assert_eq!(ci.dir.get().as_path(), std::path::Path::new("/var/lib/thinpool/ci"));
        let other = load(&[], &[], file).expect("loads");
        assert_eq!(other.base_size.get(), &Bytes::gib(20));
    }

    #[test]
    fn a_wrong_value_is_refused_even_where_a_stronger_one_hides_it() {
        let message = error(&[("fs", "xfs")], &[], "fs = 'btrfs'");
        assert_eq!(
            message,
            "t.toml:1:6: fs can't be 'btrfs'. Allowed is ext4, xfs or auto (xfs where this machine has it, \
             else ext4)"
        );
    }

    #[test]
    fn two_opposite_orders_at_one_level_are_refused_and_lists_add_up() {
        assert_eq!(
            error(&[], &["dm.basesize=1G", "DM.BaseSize=2G"], ""),
            "--storage-opt dm.basesize is given twice with different values, '1G' and '2G'. Keep one of them"
        );
        assert!(error(&[("fs", "xfs"), ("fs", "ext4")], &[], "").starts_with("--fs is given twice"));
        let options =
            ["dm.fs=xfs", "dm.fs=xfs", "dm.mkfsarg=-K", "dm.mkfsarg=-i size=512", "dm.mountopt=a,b"];
        let settings = load(&[], &options, "mount-options = ['c']").expect("loads");
        assert_eq!(settings.mkfs_args.get().0, ["-K", "-i size=512"]);
        assert_eq!(settings.mount_options.get().0, ["a", "b"]);
    }

    #[test]
    fn deferred_deletion_without_removal_is_refused() {
        let message = error(&[("deferred-removal", "false")], &["dm.use_deferred_deletion=true"], "");
        assert!(message.contains("(storage-opt dm.use_deferred_deletion)"), "{message}");
        assert!(message.contains("(flag --deferred-removal)"), "{message}");
        let settings = load(&[("deferred-removal", "false")], &[], "").expect("loads");
        assert_eq!(settings.deferred(true), (false, false));
        let settings = load(&[], &[], "").expect("loads");
        assert_eq!(settings.deferred(true), (true, true));
        assert_eq!(settings.deferred(false), (false, false));
    }

    #[test]
    fn a_misspelt_flag_names_the_one_that_was_meant() {
        let message = error(&[("basesize", "1G")], &[], "");
        assert!(message.contains("called base-size here"), "{message}");
        let message = error(&[("base-sizes", "1G")], &[], "");
        assert!(message.contains("Did you mean base-size?"), "{message}");
    }

    #[test]
    fn the_json_of_config_show_says_where_each_value_came_from() {
        let settings = load(&[("fs", "xfs")], &[], "").expect("loads");
        let rows = serde_json::to_value(settings.effective()).expect("serialises");
        let fs = rows.as_array().and_then(|r| r.iter().find(|r| r["name"] == "fs")).expect("a row");
        assert_eq!(fs["value"], "xfs");
        assert_eq!(fs["source"], serde_json::json!({"kind": "flag", "at": "--fs"}));
        assert_eq!(fs["docker_key"], "dm.fs");
        assert_eq!(rows[0]["source"], serde_json::json!({"kind": "default"}));
    }
}
