//! `--storage-opt dm.KEY=VALUE`, as Docker's driver took it.

use super::error::{ConfigError, did_you_mean};
use super::registry::{SETTINGS, Setting};
use super::settings::{Given, Level, add};
use super::source::Source;

/// Docker writes these percentages without their sign.
const BARE_PERCENTAGES: [&str; 4] = [
    "dm.thinp_percent",
    "dm.thinp_metapercent",
    "dm.thinp_autoextend_threshold",
    "dm.thinp_autoextend_percent",
];

/// Reads all of them, in any case.
pub(super) fn read(options: &[String]) -> Result<Level, ConfigError> {
    let mut level = Level::new();
    for option in options {
        let (key, value) = option.split_once('=').ok_or_else(|| ConfigError::NotKeyValue(option.clone()))?;
        let setting = setting(key.trim())?;
        let key = key.trim().to_ascii_lowercase();
        let whence = format!("--storage-opt {key}");
        let value = if BARE_PERCENTAGES.contains(&key.as_str()) && value.parse::<u8>().is_ok() {
            format!("{value}%")
        } else {
            value.to_owned()
        };
        let given = Given { texts: vec![value], source: Source::StorageOpt(key), whence };
        add(&mut level, setting, given)?;
    }
    Ok(level)
}

fn setting(key: &str) -> Result<&'static Setting, ConfigError> {
    let lower = key.to_ascii_lowercase();
    Setting::by_docker_key(&lower).ok_or_else(|| {
        let keys = || SETTINGS.iter().filter_map(|s| s.docker_key);
        ConfigError::UnknownStorageOpt {
            key: key.to_owned(),
            hint: did_you_mean(&lower, keys()),
            allowed: keys().collect::<Vec<_>>().join(", "),
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(option: &str) -> String {
        read(&[option.to_owned()]).expect_err("refused").to_string()
    }

    #[test]
    fn every_option_of_dockers_driver_is_known() {
        for key in [
            "basesize",
            "loopdatasize",
            "loopmetadatasize",
            "fs",
            "mkfsarg",
            "mountopt",
            "blkdiscard",
            "blocksize",
            "override_udev_sync_check",
            "use_deferred_removal",
            "use_deferred_deletion",
            "min_free_space",
            "xfs_nospace_max_retries",
            "libdm_log_level",
            "datadev",
            "metadatadev",
            "thinpooldev",
            "directlvm_device",
            "directlvm_device_force",
            "thinp_percent",
            "thinp_metapercent",
            "thinp_autoextend_threshold",
            "thinp_autoextend_percent",
        ] {
            assert!(setting(&format!("dm.{key}")).is_ok(), "{key}");
            assert!(setting(&format!("DM.{}", key.to_uppercase())).is_ok(), "{key}");
        }
    }

    #[test]
    fn percentages_that_docker_wrote_without_a_sign_are_percentages() {
        for key in BARE_PERCENTAGES {
            let level = read(&[format!("{key}=40")]).expect("read");
            assert_eq!(
                level.values().next().map(|given| given.texts.clone()),
                Some(vec!["40%".to_owned()]),
                "{key}"
            );
            assert!(error(&format!("{key}=101")).contains("Allowed"), "{key}");
        }
    }

    #[test]
    fn an_unknown_option_names_itself_and_the_nearest() {
        let message = error("dm.basesizes=1G");
        assert!(
            message.contains("dm.basesizes") && message.contains("Did you mean dm.basesize?"),
            "{message}"
        );
        assert!(error("dm.basesize").contains("KEY=VALUE"));
        assert!(error("dm.min_free_space=10").contains("a percentage with its sign"));
    }

    proptest! {
        #[test]
        fn no_option_makes_the_parser_panic(option in ".*", key in "dm\\.[a-z_]{1,20}", value in ".*") {
            let _ = read(&[option]);
            let _ = read(&[format!("{key}={value}")]);
        }
    }
}
