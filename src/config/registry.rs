//! The registry: every setting, once.

use super::error::ConfigError;
use super::settings::{Effective, Given};
use super::source::Sourced;
use super::value::{
    AbsolutePath, AutoBool, Backups, DevicePath, DevicePaths, FsChoice, LogLevel, LoopDir, MetadataSize,
    MetricsListen, MinFreeSpace, MkfsArgs, MountOptions, PoolDevice, SettingType, Shape, Share, Timeout,
    Transactions, VolumeGroup, WhenFull,
};
use crate::backing::{MetadataVolumeSize, VolumeSize};
use crate::units::{BlockSize, Bytes, PoolName};

/// What is known about a setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the configuration file; with two dashes before it, its flag.
    pub name: &'static str,
    /// Docker's key for `--storage-opt`, in lower case.
    pub docker_key: Option<&'static str>,
    /// What it is for, in one sentence.
    pub help: &'static str,
    /// Its default, as it would be written; a list has none or several texts.
    pub default: &'static [&'static str],
    pub(super) shape: Shape,
    allowed: fn() -> String,
    check: fn(&[String]) -> Result<(), Option<String>>,
}

impl Setting {
    /// What is allowed, as the end of a sentence "allowed is …".
    #[must_use]
    pub fn allowed(&self) -> String {
        (self.allowed)()
    }

    /// Whether it can be given several times, each time adding to it.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.shape == Shape::List
    }

    /// The setting of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|s| s.name == name)
    }

    /// The setting that Docker calls so, in any case.
    #[must_use]
    pub fn by_docker_key(key: &str) -> Option<&'static Setting> {
        let key = key.to_ascii_lowercase();
        SETTINGS.iter().find(|s| s.docker_key == Some(&key))
    }

    /// The error for a value that can't be read.
    pub(super) fn bad(&self, whence: &str, found: &str, reason: Option<String>) -> ConfigError {
        ConfigError::BadValue {
            whence: whence.to_owned(),
            name: self.name.to_owned(),
            found: found.to_owned(),
            reason: reason.map(|r| format!(": {r}")).unwrap_or_default(),
            allowed: self.allowed(),
        }
    }

    /// Finds out whether a value can be read, also where another one will be taken in the end.
    pub(super) fn check(&self, given: &Given) -> Result<(), ConfigError> {
        (self.check)(&given.texts).map_err(|reason| self.bad(&given.whence, &given.quoted(), reason))
    }

    fn read<T: SettingType>(&self, given: &Given) -> Result<Sourced<T>, ConfigError> {
        T::parse_all(&given.texts)
            .map(|value| Sourced::new(value, given.source.clone()))
            .map_err(|reason| self.bad(&given.whence, &given.quoted(), reason))
    }

    fn effective<T: SettingType>(&self, sourced: &Sourced<T>) -> Effective {
        Effective {
            name: self.name,
            value: sourced.get().show(),
            source: sourced.source().clone(),
            docker_key: self.docker_key,
            help: self.help,
        }
    }
}

/// Makes the registry, the struct of typed values, and the ways between them from one list.
macro_rules! settings {
    ($($field:ident: $type:ty = $default:expr, $name:literal, $docker:expr, $help:literal;)*) => {
        /// Every setting there is, in the order that files and tables show them.
        pub static SETTINGS: &[Setting] = &[$(Setting {
            name: $name,
            docker_key: $docker,
            help: $help,
            default: &$default,
            shape: <$type as SettingType>::SHAPE,
            allowed: <$type as SettingType>::allowed,
            check: |texts| <$type as SettingType>::parse_all(texts).map(|_| ()),
        },)*];

        /// The settings in force, each with its source.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Settings {
            $(#[doc = $help] pub $field: Sourced<$type>,)*
        }

        impl Settings {
            /// Reads every setting from the text that `pick` chooses for it.
            pub(super) fn read(pick: impl Fn(&'static Setting) -> Given) -> Result<Self, ConfigError> {
                let mut settings = SETTINGS.iter();
                // The struct's fields and the list come from the same lines above, so the order is the same.
                let mut next = || settings.next().map(|s| (s, pick(s)));
                Ok(Self {
                    $($field: match next() {
                        Some((setting, given)) => setting.read::<$type>(&given)?,
                        None => return Err(ConfigError::unknown_setting("the registry", $name)),
                    },)*
                })
            }

            /// Every setting with its value and source, for `config show`.
            #[must_use]
            pub fn effective(&self) -> Vec<Effective> {
                let mut settings = SETTINGS.iter();
                let mut rows = Vec::with_capacity(SETTINGS.len());
                $(rows.extend(settings.next().map(|s| s.effective(&self.$field)));)*
                rows
            }
        }
    };
}

settings! {
    pool: PoolName = ["thinpool"], "pool", None,
        "The pool to work on.";
    root: AbsolutePath = ["/var/lib/thinpool"], "root", None,
        "The directory for the state of all pools.";
    dir: LoopDir = ["<root>/<pool>"], "dir", None,
        "The directory for the loop files of the pool.";
    loop_data_size: Bytes = ["100G"], "loop-data-size", Some("dm.loopdatasize"),
        "The size of the loop file for data; it is sparse, so it takes room only as it is used.";
    loop_metadata_size: MetadataSize = ["2G"], "loop-metadata-size", Some("dm.loopmetadatasize"),
        "The size of the loop file for metadata; it is sparse too.";
    datadev: DevicePath = ["unset"], "datadev", Some("dm.datadev"),
        "The block device for the pool's data, by any of its paths; without it, the pool lies on loop files.";
    metadatadev: DevicePath = ["unset"], "metadatadev", Some("dm.metadatadev"),
        "The block device for the pool's metadata; where datadev is a volume of LVM, one beside it is found or made.";
    device: DevicePaths = [], "device", Some("dm.directlvm_device"),
        "Whole disks or partitions that are given to LVM, and become a volume group with the pool's volumes.";
    spare_datadev: DevicePath = ["unset"], "spare-datadev", None,
        "A blank disk or partition kept for the day the pool's volume group is full; growing the data then takes it.";
    wipe_devices: bool = ["false"], "wipe-devices", Some("dm.directlvm_device_force"),
        "Whether signatures on what is given as device are wiped; what is in use is refused all the same.";
    volume_group: VolumeGroup = ["direct-lvm-<pool>"], "volume-group", None,
        "The volume group that is made of the disks given as device.";
    volume_data_size: VolumeSize = ["95%"], "volume-data-size", Some("dm.thinp_percent"),
        "How much of that group the pool's data gets; what nothing gets is room to grow.";
    volume_metadata_size: MetadataVolumeSize = ["auto"], "volume-metadata-size", Some("dm.thinp_metapercent"),
        "How much of that group the pool's metadata gets, and a spare of the same size for its repair.";
    thinpooldev: PoolDevice = ["unset"], "thinpooldev", Some("dm.thinpooldev"),
        "A thin pool that is there already and empty, which is used in place of one of our own.";
    autoextend_threshold: Share = ["80%"], "autoextend-threshold", Some("dm.thinp_autoextend_threshold"),
        "How full the pool's data gets before it grows, where there is room, and status warns; 100% is off.";
    autoextend_percent: Share = ["20%"], "autoextend-percent", Some("dm.thinp_autoextend_percent"),
        "By how much of its size the pool's data grows then; at least 128M, and by more where it is filled fast.";
    when_full: WhenFull = ["auto"], "when-full", None,
        "What a write meets that finds the pool full while a monitor watches; without one it fails at once.";
    hooks: AbsolutePath = ["/etc/thinpool/hooks.d"], "hooks", None,
        "A command that a monitor runs when something happens to the pool, or a directory of them.";
    metrics_listen: MetricsListen = ["unset"], "metrics-listen", None,
        "Where a monitor tells Prometheus' metrics of the pool to who asks over HTTP; each pool needs a place of its own.";
    block_size: BlockSize = ["64K"], "block-size", Some("dm.blocksize"),
        "The size of the pool's blocks, fixed for the life of the pool.";
    base_size: Bytes = ["10G"], "base-size", Some("dm.basesize"),
        "The size of the base device, and so the smallest size of every image and container.";
    fs: FsChoice = ["auto"], "fs", Some("dm.fs"),
        "The file system on the base device, fixed once that exists.";
    mkfs_args: MkfsArgs = [], "mkfs-args", Some("dm.mkfsarg"),
        "More arguments for mkfs when it makes the base device's file system.";
    mount_options: MountOptions = [], "mount-options", Some("dm.mountopt"),
        "More options for mounting containers.";
    discard_on_remove: AutoBool = ["auto"], "discard-on-remove", Some("dm.blkdiscard"),
        "Whether removing a device discards its blocks first; auto: on loop files, which shrink by it, and not on devices.";
    zero_new_blocks: bool = ["true"], "zero-new-blocks", None,
        "Whether a block is zeroed before its first use; without, one container can read what another deleted.";
    min_free_space: MinFreeSpace = ["10%"], "min-free-space", Some("dm.min_free_space"),
        "The share of the pool that must be free for a new image or container to be made.";
    deferred_removal: AutoBool = ["auto"], "deferred-removal", Some("dm.use_deferred_removal"),
        "Whether a device in use is removed by the kernel once nobody has it open, in place of an error; auto: where it can.";
    deferred_deletion: AutoBool = ["auto"], "deferred-deletion", Some("dm.use_deferred_deletion"),
        "Whether a device in use is deleted from the pool later; it needs deferred-removal.";
    xfs_nospace_max_retries: Option<u32> = ["unset"], "xfs-nospace-max-retries",
        Some("dm.xfs_nospace_max_retries"),
        "How often xfs tries to write again when the pool is full before it gives up; unset leaves it to the kernel.";
    metadata_backups: Backups = ["5"], "metadata-backups", None,
        "How many backups of the pool's metadata are kept; one is made at each deactivation, unless nothing has changed, and by a monitor; 0 is none.";
    metadata_backup_changes: Transactions = ["100"], "metadata-backup-changes", None,
        "After how many devices made or removed, or else a tenth of the data, a monitor has the pool's metadata backed up; 0 is never.";
    udev_timeout: Timeout = ["30s"], "udev-timeout", None,
        "The longest wait for udev after a device appeared or went.";
    lock_timeout: Timeout = ["60s"], "lock-timeout", None,
        "The longest wait for another command that works on the same pool.";
    device_timeout: Timeout = ["60s"], "device-timeout", None,
        "The longest wait for a device under the pool to appear.";
    override_udev_sync_check: bool = ["false"], "override-udev-sync-check", Some("dm.override_udev_sync_check"),
        "Whether to go on where udev can't be waited for.";
    log_level: LogLevel = ["warn"], "log-level", Some("dm.libdm_log_level"),
        "How much is said about what happens.";
}
