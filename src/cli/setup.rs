//! `thinpool setup`

use super::{CliError, Context, output};
use crate::catalog::Policy;
use crate::config::{FsChoice, SETTINGS, Settings, Source};
use crate::dm::DeviceMapper;
use crate::fs::FileSystem;
use crate::pool::{Pool, SetUp, Setup};

pub(super) fn run(context: &Context) -> Result<(), CliError> {
    let host = context.host()?;
    let (pool, done) = request(context, &*host.dm)?.run(&host)?;
    match done {
        SetUp::Already => {
            output::line(format!("The pool '{}' is set up and active; nothing to do.", pool.name()))
        }
        SetUp::Activated => {
            output::line(format!("The pool '{}' was set up already; it is active again.", pool.name()))
        }
        SetUp::New => tell_new(&pool),
    }
}

fn tell_new(pool: &Pool<'_>) -> Result<(), CliError> {
    let record = pool.record();
    let policy = &record.policy;
    let crate::backing::Backing::Loop(loopback) = &record.backing;
    let directory = loopback.files.data.parent().unwrap_or(&loopback.files.data).display();
    output::line(format!(
        "The pool '{}' is set up and active: {} for data and {} for metadata, in sparse files under {directory}; \
         blocks of {}; an empty {} of {} as the base of all images.",
        pool.name(),
        policy.data_size,
        policy.metadata_size,
        policy.block_size,
        policy.filesystem,
        policy.base_size,
    ))?;
    output::note(
        "warning: a pool on loopback files is for trying things out and for test machines: every write passes \
         through two file systems, and when the host's file system is full, so is the pool, whatever its size says.",
    );
    Ok(())
}

/// What the settings ask for.
fn request(context: &Context, dm: &dyn DeviceMapper) -> Result<Setup, CliError> {
    let settings = &context.settings;
    let filesystem = match settings.fs.get() {
        FsChoice::Auto => None,
        FsChoice::Ext4 => Some(FileSystem::Ext4),
        FsChoice::Xfs => Some(FileSystem::Xfs),
    };
    let (deferred_removal, deferred_deletion) = settings.deferred(dm.versions()?.deferred_removal());
    let policy = Policy {
        data_size: *settings.loop_data_size.get(),
        metadata_size: settings.loop_metadata_size.get().bytes(),
        block_size: *settings.block_size.get(),
        base_size: *settings.base_size.get(),
        filesystem: filesystem.unwrap_or(FileSystem::Xfs),
        mkfs_arguments: settings.mkfs_args.get().0.clone(),
        mount_options: settings.mount_options.get().0.clone(),
        zero_new_blocks: *settings.zero_new_blocks.get(),
        discard_on_remove: settings.discard_on_remove.get().resolve(true),
        min_free_space: settings.min_free_space.get().percent(),
        deferred_removal,
        deferred_deletion,
        xfs_nospace_max_retries: *settings.xfs_nospace_max_retries.get(),
    };
    Ok(Setup {
        location: context.location(),
        directory: settings.dir.get().as_path().to_owned(),
        policy,
        filesystem,
        asked: asked(settings),
        ignore_udev_races: *settings.override_udev_sync_check.get(),
    })
}

/// The settings that are not just defaults.
fn asked(settings: &Settings) -> Vec<&'static str> {
    let by_somebody = settings.effective().into_iter().filter(|setting| setting.source != Source::Default);
    let names: Vec<&str> = by_somebody.map(|setting| setting.name).collect();
    SETTINGS.iter().map(|setting| setting.name).filter(|name| names.contains(name)).collect()
}
