//! What an activation costs a pool with many devices, as a multiple of what it costs one with few, in the same run: a time
//! alone would say more of the machine than of the program. It runs in the test machine.
//!
//! ```text
//! cargo bench --bench kernel_activation
//! THINPOOL_BENCH_DEVICES=5000 THINPOOL_BENCH_RUNS=31 cargo bench --bench kernel_activation
//! ```
//!
//! Two pools on loop files, one with 10 containers and one with 1,000 (unless told otherwise), are put to rest and made
//! active again in turns: the whole of it; the same without the check of the metadata; and `thin_check` alone, as it is
//! run then. Before that, a disk is looked for by its serial number, with as many device-mapper devices about. Each line has
//! the medians of few and of many, and their ratio.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure of a benchmark has nobody to be told to but who runs it"
)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use thinpool::backing::block::{BlockDevices, Identity, SystemBlockDevices};
use thinpool::dm::{
    Access, DeviceMapper, DeviceNumber, Kernel, Linear, Name, NewDevice, Removal, Rules, Table, Uuid,
    Visibility,
};
use thinpool::pool::{Checking, Host, Location, NewContainer, Pool};
use thinpool::thin_tools::{Depth, MetadataChecker, ThinCheck};
use thinpool::units::{Bytes, Sectors};

const FEW: u32 = 10;
const LIMIT: Duration = Duration::from_secs(60);

fn main() {
    let many = setting("THINPOOL_BENCH_DEVICES", 1000);
    let turns = setting("THINPOOL_BENCH_RUNS", 15);
    println!("{FEW} and {many} devices, medians of {turns}");
    look_for_a_disk(many, turns);
    let host = Host::system(LIMIT).unwrap();
    let work = tempfile::tempdir().unwrap();
    let [few, many_pool] =
        [("few", FEW), ("many", many)].map(|(name, count)| make(&host, work.path(), name, count));
    let pools = [&few, &many_pool];
    compare("activation", turns, pools, |pool| {
        time(|| activate(&host, pool, Checking::AsNeeded), || rest(&host, pool))
    });
    compare("without the check", turns, pools, |pool| {
        time(|| activate(&host, pool, Checking::Skip), || rest(&host, pool))
    });
    compare("the check alone", turns, pools, |pool| {
        let metadata = pool.paths().directory().join("metadata");
        time(|| drop(ThinCheck.check(&metadata, Depth::Quick, LIMIT).unwrap()), || {})
    });
    for pool in pools {
        pool.destroy(&host, false).unwrap();
    }
}

fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// A pool with so many containers, at rest.
fn make(host: &Host, work: &Path, name: &str, containers: u32) -> Location {
    let (root, tree) = (work.join("root"), work.join("tree"));
    std::fs::create_dir_all(&tree).unwrap();
    let location = Location {
        name: name.parse().unwrap(),
        root: root.clone(),
        patience: LIMIT,
        device_patience: Duration::ZERO,
        metadata_backups: 0,
    };
    let thinpool = |arguments: &[&str]| {
        run(Command::new("thinpool").args(["--pool", name, "--root"]).arg(&root).args(arguments));
    };
    thinpool(&[
        "setup",
        "--no-enable",
        "--fs",
        "ext4",
        "--base-size",
        "64M",
        "--loop-data-size",
        "8G",
        "--loop-metadata-size",
        "128M",
        "--min-free-space",
        "0%",
    ]);
    thinpool(&["image", "import", "empty", tree.to_str().unwrap()]);
    for container in 0..containers {
        let name = Some(format!("c{container}").parse().unwrap());
        let new = NewContainer {
            name,
            image: "empty".parse().unwrap(),
            size: None,
            labels: thinpool::pool::Labels::default(),
        };
        open(host, &location).create_container(&new).unwrap();
    }
    rest(host, &location);
    location
}

fn open<'h>(host: &'h Host, pool: &Location) -> Pool<'h> {
    Pool::open(host, pool).unwrap()
}

fn activate(host: &Host, pool: &Location, checking: Checking) {
    open(host, pool).activate(checking).unwrap();
}

fn rest(host: &Host, pool: &Location) {
    open(host, pool).deactivate().unwrap();
}

/// Looks for a disk with few and with many device-mapper devices about.
fn look_for_a_disk(many: u32, turns: u32) {
    let Some((disk, identity)) = disk() else { return println!("no disk with a serial number to look for") };
    // Nobody needs their links, and udev would take a quarter of a second for each where processors are emulated.
    udevadm(&["control", "--stop-exec-queue"]);
    let kernel = Kernel::open(Duration::ZERO).unwrap();
    let mut made = Vec::new();
    let [few, many] = [FEW, many].map(|count| {
        while made.len() < count as usize {
            made.push(linear(&kernel, disk, made.len()));
        }
        let find = || time(|| assert!(SystemBlockDevices.find(&identity).unwrap().is_some()), || {});
        median((0..turns).map(|_| find()).collect())
    });
    print(&format!("{identity}"), few, many);
    for name in &made {
        kernel.remove(name, Removal::Now).unwrap();
    }
    udevadm(&["control", "--start-exec-queue"]);
}

fn udevadm(arguments: &[&str]) {
    run(Command::new("udevadm").args(arguments));
}

/// A disk with a serial number that nobody uses.
fn disk() -> Option<(DeviceNumber, Identity)> {
    let links = Path::new("/dev/disk/by-id").read_dir().ok()?;
    let disks = links.filter_map(|link| SystemBlockDevices.look(&link.ok()?.path()).ok());
    let mut unused = disks.filter(|disk| SystemBlockDevices.users(disk).is_ok_and(|users| users.is_empty()));
    unused.find_map(|disk| match disk.identity {
        Some(identity @ Identity::Serial(_)) => Some((disk.number, identity)),
        _ => None,
    })
}

fn linear(kernel: &Kernel, disk: DeviceNumber, index: usize) -> Name {
    let name = Name::new(format!("bench-{index}")).unwrap();
    let table = Table::Linear(Linear { length: Bytes::kib(4).sectors(), device: disk, offset: Sectors(0) });
    let new = NewDevice {
        name: &name,
        uuid: &Uuid::of_somebody_else(&format!("BENCH-{index}")),
        table: &table,
        access: Access::ReadOnly,
        visibility: Visibility::Internal,
        rules: Rules::Unawaited,
    };
    kernel.create(&new).unwrap();
    name
}

/// Takes turns, so that a busy minute of the machine hits both.
fn compare(what: &str, turns: u32, [few, many]: [&Location; 2], mut take: impl FnMut(&Location) -> Duration) {
    let (few, many) = (0..turns).map(|_| (take(few), take(many))).unzip();
    print(what, median(few), median(many));
}

fn print(what: &str, few: Duration, many: Duration) {
    println!("{what:20} {few:9.3?} {many:9.3?}  {:.2} times as long", many.div_duration_f64(few));
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// How long something takes; what undoes it doesn't count.
fn time(act: impl FnOnce(), undo: impl FnOnce()) -> Duration {
    let start = Instant::now();
    act();
    let took = start.elapsed();
    undo();
    took
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
