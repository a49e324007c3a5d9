//! What the devices of a pool take of its metadata, as the kernel counts it, once they are written to.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::crowd::Crowd;
use crate::ioctl::Control;
use crate::record::{Record, Unit, count, way};
use crate::tool::{Outcome, run};

/// So many snapshots are written to.
const WRITTEN: u32 = 100;

/// In so many places, each in a leaf of its own: 250 blocks of 64 KiB are in one.
const PLACES: u64 = 14;
const APART: u64 = 18 << 20;

const LENGTH: u64 = PLACES * APART;

const PAGE: [u8; 4096] = [b'1'; 4096];

/// Writes to snapshots of a device that is all mapped, in a pool that goes afterwards: the catalog knows none of them.
pub fn write(crowd: &Crowd) -> Outcome {
    println!("writes to {WRITTEN} snapshots in the pool of {} devices", crowd.size);
    let (control, pool) = (Control::open()?, crowd.own.device());
    let origin = crowd.first + crowd.size + 1000;
    control.message(&pool, &format!("create_thin {origin}"))?;
    with_device(&control, &pool, origin, |node| {
        let whole = format!("of={}", node.display());
        let count = format!("count={}", LENGTH >> 20);
        run("dd", ["if=/dev/zero", &whole, "bs=1M", &count, "oflag=direct", "status=none"]).map(drop)
    })?;
    let before = crowd.metadata()?;
    for id in origin + 1..=origin + WRITTEN {
        control.message(&pool, &format!("create_snap {id} {origin}"))?;
        with_device(&control, &pool, id, |node| {
            let device = File::options().write(true).open(node)?;
            (0..PLACES).try_for_each(|place| device.write_all_at(&PAGE, place * APART))?;
            Ok(device.sync_data()?)
        })?;
    }
    let each = crowd.metadata()?.saturating_sub(before) / u64::from(WRITTEN);
    Record::count(count::METADATA_WRITTEN, &way::of_size(crowd.size), each, Unit::Bytes).emit();
    Ok(())
}

fn with_device(control: &Control, pool: &str, id: u32, act: impl FnOnce(&Path) -> Outcome) -> Outcome {
    let name = format!("{pool}-{id}");
    let node = control.activate(&name, LENGTH / 512, "thin", &format!("/dev/mapper/{pool} {id}"))?;
    let done = act(&node);
    control.remove(&name)?;
    done
}
