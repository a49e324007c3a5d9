//! containerd's devmapper snapshotter, which calls dmsetup, asked by its own client.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::bed::{Bed, PlainPool, fill_device, text};
use crate::contender::{Contender, write_first_byte};
use crate::daemon::Daemon;
use crate::mount::{mount_ext4, unmount};
use crate::tool::{Outcome, run};

/// How long its collection may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Containerd {
    daemon: Daemon,
    pool: PlainPool,
    socket: String,
    root: PathBuf,
    count: u32,
}

impl Containerd {
    pub fn new(bed: &Bed) -> Outcome<Self> {
        let (pool, own) = (PlainPool::new(bed, "containerd")?, bed.directory("containerd")?);
        let (root, socket) = (bed.directory("containerd-copy")?, text(&own.join("socket")).to_owned());
        let configuration = own.join("config.toml");
        fs::write(&configuration, configured(&own, &socket, &pool.name))?;
        let answers = || run("ctr", ["--address", &socket, "version"]).is_ok();
        let arguments = ["--config", text(&configuration)];
        let daemon = Daemon::start("containerd", &arguments, &own.join("log"), answers)?;
        let this = Self { daemon, pool, socket, root, count: 0 };
        this.make_base(bed)?;
        Ok(this)
    }

    fn make_base(&self, bed: &Bed) -> Outcome {
        self.snapshots(&["prepare", "filling"])?;
        fill_device(bed, &self.device("filling")?)?;
        self.snapshots(&["commit", "base", "filling"]).map(drop)
    }

    fn snapshots(&self, arguments: &[&str]) -> Outcome<String> {
        let ours = ["--address", &self.socket, "snapshots", "--snapshotter=devmapper"];
        run("ctr", [&ours, arguments].concat())
    }

    /// The device to be mounted, out of the command that the client prints for it.
    fn device(&self, key: &str) -> Outcome<String> {
        let command = self.snapshots(&["mounts", text(&self.root), key])?;
        let device = command.split_whitespace().find(|word| word.starts_with("/dev/mapper/"));
        Ok(device.ok_or_else(|| format!("no device in '{command}'"))?.to_owned())
    }

    /// Its devices go some time after they were removed.
    fn wait_until_collected(&self) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        while run("dmsetup", ["ls"])?.contains(&format!("{}-snap-", self.pool.name)) {
            if Instant::now() > deadline {
                return Err(format!("devices of {} are still there", self.pool.name).into());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn key(&self) -> String {
        format!("copy{}", self.count)
    }
}

/// Only what it needs: no runtime, no network, none of its other snapshotters. A removal only marks; what is marked goes as soon
/// as one thing is, instead of some time later.
fn configured(own: &Path, socket: &str, pool: &str) -> String {
    let own = own.display();
    format!(
        r#"version = 2
root = "{own}/root"
state = "{own}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "{socket}"
[ttrpc]
address = "{socket}.ttrpc"
[plugins."io.containerd.gc.v1.scheduler"]
deletion_threshold = 1
[plugins."io.containerd.snapshotter.v1.devmapper"]
root_path = "{own}/devmapper"
pool_name = "{pool}"
base_image_size = "10GB"
fs_type = "ext4"
"#
    )
}

impl Contender for Containerd {
    fn snapshot(&mut self) -> Outcome {
        self.count += 1;
        self.snapshots(&["prepare", &self.key(), "base"]).map(drop)
    }

    fn write(&mut self) -> Outcome {
        mount_ext4(self.device(&self.key())?.as_ref(), &self.root)?;
        write_first_byte(&self.root)
    }

    fn close(&mut self) -> Outcome {
        unmount(&self.root)
    }

    fn remove(&mut self) -> Outcome {
        self.snapshots(&["remove", &self.key()]).map(drop)
    }

    fn idle(&mut self) -> Option<Outcome> {
        Some(run("ctr", ["--address", &self.socket, "version"]).map(drop))
    }

    fn finish(self: Box<Self>) -> Outcome {
        self.snapshots(&["remove", "base"])?;
        self.wait_until_collected()?;
        self.daemon.stop()?;
        self.pool.remove()
    }
}
