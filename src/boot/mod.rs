//! What makes a pool active after a boot, and inactive before the machine goes down: its instance of
//! `thinpool@.service`, with a drop-in that says what it waits for, and a rule for udev that starts it when its backing
//! appears late. `docs/boot.md` tells the whole story.

mod file;
mod rule;
mod systemctl;
mod unit;

use std::path::{Path, PathBuf};

use thiserror::Error;

use self::systemctl::Systemctl;
use crate::backing::block::Identity;
use crate::backing::{Backing, ExistingPool};
use crate::units::PoolName;

/// What a pool needs before it can be activated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Block devices.
    pub devices: Vec<Identity>,
    /// A thin pool that somebody else makes active.
    pub thin_pool: Option<ExistingPool>,
    /// Directories that something may have to be mounted for.
    pub directories: Vec<PathBuf>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enabled {
    /// The pool is active after each boot.
    Yes,
    /// This host was not booted by systemd.
    NoSystemd,
    /// `thinpool@.service` is not installed, or masked.
    NoUnit,
    /// A pool of the same name under another root is active after each boot, and there is one unit for each name.
    OtherRoot,
}

/// An error of what makes pools active at boot.
#[derive(Debug, Error)]
pub enum BootError {
    /// A file could not be written, read or removed.
    #[error("could not {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// systemd did not do it.
    #[error(transparent)]
    Systemctl(#[from] lvm::RunError),
}

impl Needs {
    /// What the backing of a pool needs.
    #[must_use]
    pub fn of(backing: &Backing) -> Self {
        let files = backing.loop_files().map(|files| [&files.data, &files.metadata]);
        let directories = files.into_iter().flatten().filter_map(|file| file.parent()).map(Path::to_owned);
        let thin_pool = match backing {
            Backing::ThinPool(pool) => Some(pool.clone()),
            Backing::Loop(_) | Backing::Devices(_) => None,
        };
        Self {
            devices: backing.members().map(|(_, member)| member.identity.clone()).collect(),
            thin_pool,
            directories: directories.collect(),
        }
    }
}

/// Makes the pool, which is active now, active after each boot.
pub fn enable(pool: &PoolName, root: &Path, needs: &Needs) -> Result<Enabled, BootError> {
    let Some(systemctl) = Systemctl::find() else { return Ok(Enabled::NoSystemd) };
    let unit = unit::name(pool);
    if !systemctl.knows(&unit)? {
        return Ok(Enabled::NoUnit);
    }
    if belongs_to_other(pool, root) {
        return Ok(Enabled::OtherRoot);
    }
    let needs = needs.with_state_in(&root.join(pool.as_str()));
    file::replace(&unit::drop_in(pool), &unit::text(pool, root, &needs, needs.come_before_mounts()))?;
    match rule::text(pool, &needs) {
        Some(text) => file::replace(&rule::path(pool), &text)?,
        None => file::remove(&rule::path(pool))?,
    }
    systemctl.run(&["enable", &unit])?;
    let monitor = unit::monitor_name(pool);
    let has_monitor = systemctl.knows(&monitor)?;
    if has_monitor {
        file::replace(&unit::monitor_drop_in(pool), &unit::monitor_text(pool, root, &needs))?;
        systemctl.run(&["enable", &monitor])?;
    }
    // It finds the pool active and does nothing; but only what was started is stopped at shutdown.
    systemctl.run(&["start", "--no-block", &unit])?;
    if has_monitor {
        systemctl.run(&["start", "--no-block", &monitor])?;
    }
    systemctl::reload_rules()?;
    Ok(Enabled::Yes)
}

/// Starts the pool's monitor, where it is enabled. It ended when the pool was deactivated by hand, and the pool's unit, which
/// has seen nothing of that, doesn't start it again. Where that unit isn't active, the monitor would bring it along, perhaps
/// for a pool that is destroyed a moment later.
pub fn watch(pool: &PoolName, root: &Path) -> Result<(), BootError> {
    let is_enabled = unit::monitor_link(pool).symlink_metadata().is_ok() && !belongs_to_other(pool, root);
    match Systemctl::find().filter(|_| is_enabled) {
        Some(systemctl) if systemctl.is_active(&unit::name(pool))? => {
            systemctl.run(&["start", "--no-block", &unit::monitor_name(pool)])
        }
        _ => Ok(()),
    }
}

/// Whether what is there was written for a pool of this name under another root.
fn belongs_to_other(pool: &PoolName, root: &Path) -> bool {
    let found = std::fs::read_to_string(unit::drop_in(pool)).unwrap_or_default();
    found.starts_with("# Root: ") && !found.starts_with(&unit::owner(root))
}

/// Undoes that, of a pool that is gone.
pub fn disable(pool: &PoolName, root: &Path) -> Result<(), BootError> {
    if belongs_to_other(pool, root) {
        return Ok(());
    }
    let (drop_in, rule, unit) = (unit::drop_in(pool), rule::path(pool), unit::name(pool));
    let is_ours = drop_in.exists() || rule.exists();
    let Some(systemctl) = Systemctl::find().filter(|_| is_ours) else { return remove(pool) };
    file::remove(&rule)?;
    // Stopping the unit would deactivate a pool that is no longer there.
    file::replace(&drop_in, &[&unit::owner(root), unit::NOTHING_TO_STOP].concat())?;
    systemctl.run(&["disable", "--now", &unit])?;
    let monitor = unit::monitor_name(pool);
    if systemctl.knows(&monitor)? {
        systemctl.run(&["disable", "--now", &monitor])?;
    }
    remove(pool)?;
    systemctl.run(&["daemon-reload"])
}

fn remove(pool: &PoolName) -> Result<(), BootError> {
    file::remove(&rule::path(pool))?;
    file::remove(&unit::monitor_drop_in(pool))?;
    file::remove(&unit::drop_in(pool))
}

impl Needs {
    /// These needs with real paths, since systemd follows no links when it looks for the mounts of a path, and with
    /// the directory of the pool's catalog.
    fn with_state_in(&self, directory: &Path) -> Self {
        let mut all = vec![directory.to_owned()];
        all.extend(self.directories.iter().cloned());
        let mut directories = Vec::new();
        for path in all {
            let path = path.canonicalize().unwrap_or(path);
            if !directories.contains(&path) {
                directories.push(path);
            }
        }
        Self { directories, ..self.clone() }
    }

    /// Whether all of it can be there before the first file system is mounted: no mount is needed but that of the root
    /// file system, and nobody's thin pool, since whoever makes that active may want the mounts first.
    fn come_before_mounts(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let device = |path: &Path| path.metadata().ok().map(|metadata| metadata.dev());
        let root = device(Path::new("/"));
        self.thin_pool.is_none() && root.is_some() && self.directories.iter().all(|path| device(path) == root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backing::{LoopFiles, Loopback};

    #[test]
    fn a_pool_in_somebody_elses_pool_holds_no_mount_back() {
        let here = Needs { directories: vec!["/".into()], ..Needs::default() };
        assert!(here.come_before_mounts());
        let thin_pool = Some(ExistingPool { name: "other".into(), uuid: "OTHER-1".into() });
        assert!(!Needs { thin_pool, ..here }.come_before_mounts());
    }

    #[test]
    fn a_pool_on_files_waits_for_their_directory_and_for_its_own() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = LoopFiles::in_directory(&directory.path().join("files"));
        std::fs::create_dir(directory.path().join("files")).expect("a directory");
        std::os::unix::fs::symlink("files", directory.path().join("link")).expect("a link");
        let needs = Needs::of(&Backing::Loop(Loopback { files, ids: None }));
        let real = directory.path().canonicalize().expect("a path").join("files");
        assert_eq!(
            needs.with_state_in(Path::new("/var/nowhere")).directories[1..],
            std::slice::from_ref(&real)[..]
        );
        assert_eq!(needs.with_state_in(&directory.path().join("link")).directories, [real]);
    }
}
