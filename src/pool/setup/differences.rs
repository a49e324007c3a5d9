//! A pool that exists, compared with what is asked for.

use std::path::{Path, PathBuf};

use super::{BASE_SIZE, Setup, Wanted};
use crate::backing::block::{BlockDevice, BlockError};
use crate::backing::{Backing, Disk, LoopFiles, Member, Part};
use crate::catalog::{Policy, PoolRecord};
use crate::pool::{Difference, Host, PoolError};
use crate::units::Bytes;

impl Setup {
    /// Refuses when a setting that somebody asked for is otherwise in the pool.
    pub(super) fn refuse_differences(&self, host: &Host, record: &PoolRecord) -> Result<(), PoolError> {
        let mut wanted = self.policy.clone();
        wanted.filesystem = self.filesystem.unwrap_or(record.policy.filesystem);
        // A pool that has grown since is no other pool.
        wanted.data_size = wanted.data_size.max(record.policy.data_size);
        wanted.metadata_size = wanted.metadata_size.max(record.policy.metadata_size);
        let mut differences = of_policies(&record.policy, &wanted);
        // What a pool's backing decided, no setting can contradict.
        differences.retain(|difference| !decided_by(&record.backing).contains(&difference.setting));
        differences.extend(self.of_backings(host, &record.backing)?);
        differences.extend(self.of_spares(host, &record.backing)?);
        differences.retain(|difference| self.asked.contains(&difference.setting));
        // A base can grow, and is grown when all else is found to be as asked for.
        let (is, asked) = (record.policy.base_size, wanted.base_size);
        if asked > is {
            differences.retain(|difference| difference.setting != BASE_SIZE);
        }
        if differences.is_empty() {
            return Ok(());
        }
        if asked < is && differences.iter().all(|difference| difference.setting == BASE_SIZE) {
            return Err(PoolError::NotSmaller { name: "the base".to_owned(), has: is, asked });
        }
        Err(PoolError::Differs { pool: self.location.name.to_string(), differences })
    }

    /// Another spare disk than the pool's.
    fn of_spares(&self, host: &Host, backing: &Backing) -> Result<Option<Difference>, PoolError> {
        let Some(path) = &self.spare else { return Ok(None) };
        let is = match backing {
            Backing::Devices(devices) => devices.spare.as_deref(),
            Backing::Loop(_) | Backing::ThinPool(_) => None,
        };
        if let Some(is) = is
            && are_same(host, std::slice::from_ref(is), std::slice::from_ref(path))?
        {
            return Ok(None);
        }
        let is = is.map_or_else(|| "none".to_owned(), |disk| told(&disk.name));
        Ok(Some(Difference { setting: "spare-datadev", is, asked: told(path) }))
    }

    fn of_backings(&self, host: &Host, backing: &Backing) -> Result<Vec<Difference>, PoolError> {
        let differs = |setting, is: String, asked: String| {
            (is != asked).then_some(Difference { setting, is, asked }).into_iter().collect()
        };
        Ok(match (&self.wanted, backing) {
            (Wanted::LoopFiles(directory), Backing::Loop(loopback)) => {
                let files = &loopback.files;
                let is = files.data.parent().unwrap_or(Path::new("/"));
                let differs = *files != LoopFiles::in_directory(directory);
                let difference = Difference { setting: "dir", is: told(is), asked: told(directory) };
                differs.then_some(difference).into_iter().collect()
            }
            (Wanted::ThinPool(name), Backing::ThinPool(existing)) => {
                differs("thinpooldev", existing.name.clone(), name.clone())
            }
            (Wanted::Devices { data, metadata }, Backing::Devices(_)) => {
                let mut differences = Vec::new();
                for (part, setting, path) in
                    [(Part::Data, "datadev", Some(data)), (Part::Metadata, "metadatadev", metadata.as_ref())]
                {
                    let Some(path) = path else { continue };
                    differences.extend(of_devices(host, backing, part, setting, path)?);
                }
                differences
            }
            (Wanted::Disks { disks, group, .. }, Backing::Devices(devices)) => {
                let made =
                    devices.volumes.as_ref().and_then(|volumes| Some((volumes, volumes.group.as_ref()?)));
                let group_is = made.map_or_else(String::new, |(volumes, _)| volumes.vg.clone());
                let disks_are = made.map_or(&[][..], |(_, made)| &made.disks);
                let mut differences: Vec<Difference> = differs("volume-group", group_is, group.clone());
                if !are_same(host, disks_are, disks)? {
                    let is = list(&disks_are.iter().map(|disk| disk.name.clone()).collect::<Vec<_>>());
                    differences.push(Difference { setting: "device", is, asked: list(disks) });
                }
                differences
            }
            (wanted, backing) => differs(setting_of(wanted), kind_of(backing).to_owned(), asked_of(wanted)),
        })
    }
}

/// Settings that don't count for a pool on this.
fn decided_by(backing: &Backing) -> &'static [&'static str] {
    match backing {
        Backing::Loop(_) => &[],
        Backing::Devices(_) => &["loop-data-size", "loop-metadata-size"],
        Backing::ThinPool(_) => &[
            "loop-data-size",
            "loop-metadata-size",
            "block-size",
            "zero-new-blocks",
            "autoextend-threshold",
            "autoextend-percent",
        ],
    }
}

/// Another device than the pool's, whatever it is called today.
fn of_devices(
    host: &Host,
    backing: &Backing,
    part: Part,
    setting: &'static str,
    path: &Path,
) -> Result<Option<Difference>, PoolError> {
    let member = backing.members().find(|(which, _)| *which == part).map(|(_, member)| member);
    // One that isn't there, such as an inactive volume, is still known by the name it was given by.
    let asked = unless_missing(host.blocks.look(path))?.and_then(|device| device.identity);
    let same =
        |member: &Member| asked.as_ref().map_or(member.name == path, |asked| *asked == member.identity);
    if member.is_some_and(same) {
        return Ok(None);
    }
    let is = member.map_or_else(|| "none".to_owned(), |member| told(&member.name));
    Ok(Some(Difference { setting, is, asked: told(path) }))
}

/// Whether the disks that are asked for are among those of the pool's group, whatever they are called today. Others may have
/// been added to it.
fn are_same(host: &Host, are: &[Disk], asked: &[PathBuf]) -> Result<bool, PoolError> {
    let mut same = true;
    for path in asked {
        let identity = unless_missing(host.blocks.look(path))?.and_then(|device| device.identity);
        same &= are.iter().any(|disk| disk.name == *path || identity.is_some() && disk.identity == identity);
    }
    Ok(same)
}

fn unless_missing(device: Result<BlockDevice, BlockError>) -> Result<Option<BlockDevice>, BlockError> {
    match device {
        Err(BlockError::NotThere { .. }) => Ok(None),
        device => device.map(Some),
    }
}

/// The setting that asks for a pool of this kind.
fn setting_of(wanted: &Wanted) -> &'static str {
    match wanted {
        Wanted::LoopFiles(_) => "dir",
        Wanted::Devices { .. } => "datadev",
        Wanted::Disks { .. } => "device",
        Wanted::ThinPool(_) => "thinpooldev",
    }
}

fn asked_of(wanted: &Wanted) -> String {
    match wanted {
        Wanted::LoopFiles(directory) => told(directory),
        Wanted::Devices { data, .. } => told(data),
        Wanted::Disks { disks, .. } => list(disks),
        Wanted::ThinPool(name) => name.clone(),
    }
}

fn kind_of(backing: &Backing) -> &'static str {
    match backing {
        Backing::Loop(_) => "not set: the pool lies on loop files",
        Backing::Devices(_) => "not set: the pool lies on block devices",
        Backing::ThinPool(_) => "not set: the pool is a thin pool that was there before",
    }
}

fn told(path: &Path) -> String {
    path.display().to_string()
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| told(path)).collect::<Vec<_>>().join(" ")
}

/// Every setting that two policies differ in.
fn of_policies(is: &Policy, asked: &Policy) -> Vec<Difference> {
    let told = |policy: &Policy| -> Vec<(&'static str, String)> {
        let size = |size: Bytes| size.to_string();
        let retries = policy.xfs_nospace_max_retries;
        vec![
            ("loop-data-size", size(policy.data_size)),
            ("loop-metadata-size", size(policy.metadata_size)),
            ("block-size", policy.block_size.to_string()),
            (BASE_SIZE, size(policy.base_size)),
            ("fs", policy.filesystem.to_string()),
            ("mkfs-args", policy.mkfs_arguments.join(" ")),
            ("mount-options", policy.mount_options.join(",")),
            ("zero-new-blocks", policy.zero_new_blocks.to_string()),
            ("discard-on-remove", policy.discard_on_remove.to_string()),
            ("min-free-space", policy.min_free_space.to_string()),
            ("deferred-removal", policy.deferred_removal.to_string()),
            ("deferred-deletion", policy.deferred_deletion.to_string()),
            ("xfs-nospace-max-retries", retries.map_or("not set".to_owned(), |retries| retries.to_string())),
            ("autoextend-threshold", policy.autoextend_threshold.to_string()),
            ("autoextend-percent", policy.autoextend_percent.to_string()),
        ]
    };
    let pairs = told(is).into_iter().zip(told(asked));
    pairs
        .filter(|(is, asked)| is.1 != asked.1)
        .map(|((setting, is), (_, asked))| Difference { setting, is, asked })
        .collect()
}
