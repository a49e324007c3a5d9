//! `thinpool setup`

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::activate::activate_containers;
use super::settings::SetupSettings;
use super::{CliError, Context, exit, output};
use crate::backing::{Backing, Devices, LoopFiles, Sizes};
use crate::boot;
use crate::catalog::Policy;
use crate::config::{FsChoice, SETTINGS, Settings, Source};
use crate::dm::DeviceMapper;
use crate::fs::FileSystem;
use crate::pool::{Pool, SetUp, Setup, Wanted};

/// What to set up.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Wipe whatever is on this device, if it is one of those for the pool; can be given several times. A device that
    /// is in use is refused all the same.
    #[arg(long, value_name = "DEVICE")]
    wipe: Vec<PathBuf>,
    /// Do not make the pool active at boot: leave systemd and udev alone.
    #[arg(long)]
    no_enable: bool,
    #[command(flatten)]
    pub settings: SetupSettings,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8, CliError> {
    let host = context.host()?;
    let (mut pool, done) = request(context, arguments, &*host.dm)?.run(&host)?;
    match done {
        SetUp::Already => {
            output::line(format!("The pool '{}' is set up and active; nothing to do.", pool.name()))
        }
        SetUp::Activated => {
            output::line(format!("The pool '{}' was set up already; it is active again.", pool.name()))
        }
        SetUp::BaseGrown => output::line(format!(
            "The pool '{}' was set up already; its base has {} now, and so have images that are imported from now on.",
            pool.name(),
            pool.record().policy.base_size
        )),
        SetUp::Unchangeable => output::line(format!(
            "The pool '{}' was set up already; it is active, but can only be read: `thinpool status` tells why.",
            pool.name()
        )),
        SetUp::New => tell_new(&pool),
    }?;
    if !arguments.no_enable {
        enable(context, &pool)?;
    }
    let code = activate_containers(&mut pool)?;
    Ok(if done == SetUp::Unchangeable { exit::DEGRADED } else { code })
}

/// Makes the pool active at boot, where there is what can do that.
fn enable(context: &Context, pool: &Pool<'_>) -> Result<(), CliError> {
    let needs = boot::Needs::of(&pool.record().backing);
    let lacking = match boot::enable(pool.name(), &context.location().root, &needs)? {
        boot::Enabled::Yes => return Ok(()),
        boot::Enabled::NoSystemd => "this host was not booted by systemd",
        boot::Enabled::NoUnit => "thinpool@.service is not installed, or masked",
        boot::Enabled::OtherRoot => "a pool of the same name under another root has its unit",
    };
    output::note(&format!(
        "note: {lacking}, so nothing makes the pool active after a reboot; `thinpool activate` does it by hand"
    ));
    Ok(())
}

fn tell_new(pool: &Pool<'_>) -> Result<(), CliError> {
    let record = pool.record();
    let policy = &record.policy;
    let lies_on = match &record.backing {
        Backing::Loop(loopback) => on_files(&loopback.files, policy),
        Backing::Devices(devices) => on_devices(devices, policy),
        Backing::ThinPool(existing) => format!("in the thin pool {} that was there already", existing.name),
    };
    output::line(format!(
        "The pool '{}' is set up and active: {lies_on}; blocks of {}; an empty {} of {} as the base of all images.",
        pool.name(),
        policy.block_size,
        policy.filesystem,
        policy.base_size,
    ))?;
    if matches!(record.backing, Backing::Loop(_)) {
        output::note(
            "warning: a pool on loopback files is for trying things out and for test machines: every write passes \
             through two file systems, and when the host's file system is full, so is the pool, whatever its size says.",
        );
    }
    Ok(())
}

fn on_files(files: &LoopFiles, policy: &Policy) -> String {
    let directory = files.data.parent().unwrap_or(&files.data).display();
    format!(
        "{} for data and {} for metadata, in sparse files under {directory}",
        policy.data_size, policy.metadata_size
    )
}

/// What was chosen, where not everything was said, is told here.
fn on_devices(devices: &Devices, policy: &Policy) -> String {
    let name = |member: &Option<crate::backing::Member>| {
        member.as_ref().map_or_else(String::new, |member| member.name.display().to_string())
    };
    let mut told = format!(
        "data on {} ({}), metadata on {} ({})",
        name(&devices.data),
        policy.data_size,
        name(&devices.metadata),
        policy.metadata_size
    );
    let Some(volumes) = &devices.volumes else { return told };
    let Some(group) = &volumes.group else { return told + ", a volume that was made for it" };
    let disks: Vec<_> = group.disks.iter().map(|disk| disk.name.display().to_string()).collect();
    // Writing to a String can't fail.
    let _ = write!(told, ", in the volume group {} that was made of {}", volumes.vg, disks.join(", "));
    told
}

/// What the settings ask for.
fn request(context: &Context, arguments: &Arguments, dm: &dyn DeviceMapper) -> Result<Setup, CliError> {
    let settings = &context.settings;
    let filesystem = match settings.fs.get() {
        FsChoice::Auto => None,
        FsChoice::Ext4 => Some(FileSystem::Ext4),
        FsChoice::Xfs => Some(FileSystem::Xfs),
    };
    let mut wipe = arguments.wipe.clone();
    if *settings.wipe_devices.get() {
        wipe.extend(settings.device.get().0.iter().cloned());
    }
    let policy = policy(settings, dm)?;
    Ok(Setup {
        location: context.location(),
        wanted: wanted(settings),
        spare: settings.spare_datadev.get().as_path().map(std::path::Path::to_owned),
        wipe,
        policy: Policy { filesystem: filesystem.unwrap_or(policy.filesystem), ..policy },
        filesystem,
        asked: asked(settings),
        ignore_udev_races: *settings.override_udev_sync_check.get(),
    })
}

/// What the settings decide for a pool's whole life.
pub(super) fn policy(settings: &Settings, dm: &dyn DeviceMapper) -> Result<Policy, CliError> {
    let (deferred_removal, deferred_deletion) = settings.deferred(dm.versions()?.deferred_removal());
    // Docker's rule: a file shrinks by it, and on a device it only takes time.
    let on_files = matches!(wanted(settings), Wanted::LoopFiles(_));
    Ok(Policy {
        autoextend_threshold: settings.autoextend_threshold.get().percent(),
        autoextend_percent: settings.autoextend_percent.get().percent(),
        data_size: *settings.loop_data_size.get(),
        metadata_size: settings.loop_metadata_size.get().bytes(),
        block_size: *settings.block_size.get(),
        base_size: *settings.base_size.get(),
        filesystem: FileSystem::Xfs,
        mkfs_arguments: settings.mkfs_args.get().0.clone(),
        mount_options: settings.mount_options.get().0.clone(),
        zero_new_blocks: *settings.zero_new_blocks.get(),
        discard_on_remove: settings.discard_on_remove.get().resolve(on_files),
        min_free_space: settings.min_free_space.get().percent(),
        deferred_removal,
        deferred_deletion,
        xfs_nospace_max_retries: *settings.xfs_nospace_max_retries.get(),
    })
}

/// What the pool is to lie on. That only one way was said was checked with the settings.
fn wanted(settings: &Settings) -> Wanted {
    let path = |path: &std::path::Path| path.to_owned();
    if let Some(data) = settings.datadev.get().as_path() {
        return Wanted::Devices {
            data: path(data),
            metadata: settings.metadatadev.get().as_path().map(path),
        };
    }
    if let Some(name) = settings.thinpooldev.get().name() {
        return Wanted::ThinPool(name.to_owned());
    }
    let disks = settings.device.get().0.clone();
    if disks.is_empty() {
        return Wanted::LoopFiles(path(settings.dir.get().as_path()));
    }
    let sizes =
        Sizes { data: *settings.volume_data_size.get(), metadata: *settings.volume_metadata_size.get() };
    Wanted::Disks { disks, group: settings.volume_group.get().as_str().to_owned(), sizes }
}

/// The settings that are not just defaults.
fn asked(settings: &Settings) -> Vec<&'static str> {
    let by_somebody = settings.effective().into_iter().filter(|setting| setting.source != Source::Default);
    let names: Vec<&str> = by_somebody.map(|setting| setting.name).collect();
    SETTINGS.iter().map(|setting| setting.name).filter(|name| names.contains(name)).collect()
}
