//! Statuses for tests.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use crate::backing::Part;
use crate::catalog::MetadataCheck;
use crate::dm::{Blocks, NoSpacePolicy};
use crate::fs::FileSystem;
use crate::pool::Trend;
use crate::pool::status::{
    DeviceCounts, Discard, Fate, Figures, HostSupport, Known, KnownDevice, LiesOn, Live, LoopFile, LoopFiles,
    Mode, Problem, SpareDisk, State, Status, Unchecked, Waiting,
};
use crate::thin_tools::{Checked, Depth, Outcome};
use crate::units::{BlockSize, Bytes, DataBlocks, MetaBlocks, Percent, Rate, TransactionId};

/// What Docker 20.10 was captured with: two disks of 8 GiB.
pub(super) fn dockers_capture() -> Status {
    let mut status = looped();
    if let Some(known) = &mut status.known {
        known.dm_name = "docker-254:0-131115-pool".to_owned();
        known.file_system = FileSystem::Xfs;
        known.loop_files = None;
        known.lies_on = on_disks();
        known.deferred_deleted = 0;
        known.waiting.clear();
    }
    if let Some(live) = &mut status.live {
        live.data_device = Some(PathBuf::from("/dev/vdc"));
        live.metadata_device = Some(PathBuf::from("/dev/vdd"));
    }
    with_figures(&mut status, |figures| {
        figures.data = Blocks { used: DataBlocks(1112), total: DataBlocks(131_072) };
        figures.metadata = Blocks { used: MetaBlocks(4250), total: MetaBlocks(2_097_152) };
    });
    status
}

/// What Docker's pool of the capture lay on.
fn on_disks() -> LiesOn {
    let device = |name: &str| {
        let identity = format!("serial number virtio-{name}");
        Some(KnownDevice { name: PathBuf::from("/dev").join(name), identity, size: Bytes::gib(8) })
    };
    LiesOn::BlockDevices {
        data: device("vdc"),
        metadata: device("vdd"),
        volume_group: Some("direct-lvm".to_owned()),
        metadata_spare: Some("direct-lvm/metadata-spare".to_owned()),
        data_spare: Some(SpareDisk { name: PathBuf::from("/dev/vde"), taken: true }),
    }
}

/// A healthy pool on loop files, with the numbers of the listing of Docker 1.7.
pub(crate) fn looped() -> Status {
    Status {
        pool: "thinpool".parse().expect("a name"),
        state: State::Active,
        known: Some(known()),
        live: Some(live()),
        problems: Vec::new(),
        host: host(),
    }
    .assessed()
}

pub(crate) fn inactive() -> Status {
    Status { state: State::Inactive, live: None, problems: Vec::new(), ..looped() }.assessed()
}

pub(super) fn absent() -> Status {
    let pool = "ci".parse().expect("a name");
    Status { pool, state: State::Absent, known: None, live: None, problems: Vec::new(), ..looped() }
        .assessed()
}

pub(super) fn half_set_up() -> Status {
    Status { state: State::HalfSetUp, known: None, live: None, problems: Vec::new(), ..looped() }.assessed()
}

/// A pool in somebody else's.
pub(super) fn on_a_thin_pool() -> Status {
    let mut status = dockers_capture();
    if let Some(known) = &mut status.known {
        known.lies_on = LiesOn::ThinPool { name: "vg-pool".to_owned() };
    }
    status
}

/// Changes the kernel's numbers.
pub(crate) fn with_figures(status: &mut Status, change: impl FnOnce(&mut Figures)) {
    if let Some(figures) = status.live.as_mut().and_then(|live| live.figures.as_mut()) {
        change(figures);
    }
}

/// One status of each kind, the last with every problem there is.
pub(crate) fn every_status() -> Vec<Status> {
    let path = || PathBuf::from("/var/lib/thinpool/thinpool/data");
    let (free, total, available) = (Bytes::mib(1), Bytes::gib(1), Bytes::mib(2));
    let problems = vec![
        Problem::Absent,
        Problem::HalfSetUp,
        Problem::Inactive,
        Problem::OutOfDataSpace,
        Problem::DataNearlyFull { free, total, refuses_new: true },
        Problem::OutOfMetadataSpace,
        Problem::MetadataNearlyFull { free, total },
        Problem::ReadOnly,
        Problem::NeedsCheck,
        Problem::Failed,
        Problem::TransactionMismatch { expected: TransactionId(1), found: TransactionId(2) },
        Problem::SuperblockDamaged { all_zero: true },
        Problem::SuperblockDamaged { all_zero: false },
        Problem::LoopFileMissing { path: path() },
        Problem::LoopFileShort { path: path(), expected: total, found: free },
        Problem::DeviceMissing { part: Part::Data, name: path(), identity: "serial number x".to_owned() },
        Problem::DeviceShort { part: Part::Metadata, name: path(), expected: total, found: free },
        Problem::MetadataDamaged { said: "bad checksum".to_owned() },
        Problem::MetadataLeaks,
        Problem::IdsScarce { used: 16_000_000, limit: 1 << 24 },
        Problem::SnapshotsScarce { made: 16_000_000, limit: 1 << 24 },
        Problem::NotChecked {
            after_crash: true,
            why: Unchecked::OutOfTime { limit: Duration::from_secs(30) },
        },
        Problem::NotChecked { after_crash: true, why: Unchecked::Skipped },
        Problem::NotChecked { after_crash: false, why: Unchecked::NoTool },
        Problem::ThinPoolMissing { name: "vg-pool".to_owned() },
        Problem::Suspended,
        Problem::HostNearlyFull { path: path(), available },
        Problem::HostRoomUnknown { path: path() },
        Problem::Overcommitted { path: path(), free, available },
        Problem::StatusUnreadable { why: "permission denied".to_owned() },
        Problem::NotMonitored,
        Problem::Loopback,
    ];
    vec![
        dockers_capture(),
        inactive(),
        absent(),
        half_set_up(),
        on_a_thin_pool(),
        Status { live: None, ..looped() },
        Status { known: None, ..looped() },
        Status { problems, ..looped() },
    ]
}

fn known() -> Known {
    let file = |name: &str, size, allocated| LoopFile {
        path: PathBuf::from("/var/lib/thinpool/thinpool").join(name),
        size: Some(size),
        allocated: Some(Bytes(allocated)),
        file_system_size: Some(Bytes(60_000_000_000)),
        file_system_available: Some(Bytes(33_910_000_000)),
    };
    Known {
        dm_name: "thinpool-pool".to_owned(),
        uuid: "6f1c1b0e-5d0a-4b7e-9d43-2f3c1f0b8a11".to_owned(),
        set_up: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        block_size: BlockSize::DEFAULT,
        base_size: Bytes::gib(10),
        file_system: FileSystem::Ext4,
        lies_on: LiesOn::LoopFiles,
        loop_files: Some(LoopFiles {
            data: file("data", Bytes::gib(100), 2_360_000_000),
            metadata: file("metadata", Bytes::gib(2), 2_500_000),
        }),
        min_free_space: Percent::try_from(10).expect("in range"),
        transaction_id: TransactionId(7),
        devices: DeviceCounts { base: 1, images: 3, containers: 1 },
        deferred_deleted: 1,
        waiting: vec![Waiting {
            device: "thinpool-web1".to_owned(),
            device_id: Some(7),
            to_be: Fate::Deleted,
            open_count: 1,
        }],
        deferred_removal: true,
        deferred_deletion: true,
        metadata_check: Some(MetadataCheck {
            at: 1_700_000_000,
            clean: true,
            checked: Checked {
                depth: Depth::Quick,
                outcome: Outcome::Sound,
                took: Duration::from_millis(120),
            },
        }),
    }
}

fn live() -> Live {
    Live {
        data_device: Some(PathBuf::from("/dev/loop0")),
        metadata_device: Some(PathBuf::from("/dev/loop1")),
        mode: Mode::ReadWrite,
        figures: Some(Figures {
            data: Blocks { used: DataBlocks(35_968), total: DataBlocks(1_638_400) },
            metadata: Blocks { used: MetaBlocks(589), total: MetaBlocks(524_288) },
            needs_check: false,
            transaction_id: TransactionId(7),
            no_space: NoSpacePolicy::Queue,
            discard: Discard::Passdown,
            low_water: DataBlocks(81_920),
            metadata_low_water: Some(MetaBlocks(1024)),
            held_root: None,
        }),
        monitored: true,
        trend: Some(Trend {
            over: Duration::from_secs(3540),
            data: rate(Bytes::mib(3540)),
            metadata: rate(Bytes::kib(3540)),
        }),
    }
}

/// What has come in 3540 seconds.
fn rate(bytes: Bytes) -> Rate {
    Rate::between(Bytes(0), bytes, Duration::from_secs(3540)).expect("a rate")
}

fn host() -> HostSupport {
    HostSupport {
        udev_sync: true,
        library_version: "1.02.185 (2022-05-18)".to_owned(),
        thin_pool_target: Some("1.22.0".to_owned()),
        kernel_driver: Some("4.47.0".to_owned()),
    }
}
