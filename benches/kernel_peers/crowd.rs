//! A pool with many devices.
//!
//! thinpool makes the first container. The others are snapshots that the kernel takes as it takes any, by `create_snap`, and
//! records that the catalog gets in one transaction: as thinpool's own would be, without two commits and a sync for each,
//! which take three times as long. `thinpool check` has to find nothing in what comes of it, or the report says so.

use rusqlite::{Connection, params};
use thinpool::pool::{Host, Location, Pool};

use crate::bed::Bed;
use crate::ioctl::Control;
use crate::record::{Record, Unit, count, way};
use crate::tool::{Outcome, run};
use crate::ways::thinpool::{OwnPool, create, name};

/// The first container's record, again and again: another name, the next id, made when the pool had the transaction id that
/// it has now.
const DEVICES: &str = "
    WITH RECURSIVE copy (number) AS (SELECT 2 UNION ALL SELECT number + 1 FROM copy WHERE number < ?2)
    INSERT INTO device (id, node, kind, state, origin, size, created, made_at)
    SELECT id + number - 1, node || number, kind, state, origin, size, created, (SELECT transaction_id FROM pool)
    FROM device, copy WHERE device.id = ?1";

const CONTAINERS: &str = "
    WITH RECURSIVE copy (number) AS (SELECT 2 UNION ALL SELECT number + 1 FROM copy WHERE number < ?2)
    INSERT INTO container (name, device, image, created, labels)
    SELECT name || number, device + number - 1, image, created, labels FROM container, copy WHERE device = ?1";

pub struct Crowd {
    pub own: OwnPool,
    pub location: Location,
    pub size: u32,
    /// The id of the first container; those of the others follow.
    pub first: u32,
}

impl Crowd {
    pub fn new(bed: &Bed, host: &Host, size: u32) -> Outcome<Self> {
        println!("makes a pool of {size} devices");
        let own = OwnPool::with_small_image(bed, &format!("bench-{size}"))?;
        let location = own.location()?;
        let before = metadata(&own)?;
        create(&mut Pool::open(host, &location)?, 1)?;
        let mut catalog = Connection::open(location.paths().catalog())?;
        let (first, origin): (u32, u32) = catalog.query_row(
            "SELECT id, origin FROM device JOIN container ON device = id WHERE name = ?1",
            [name(1)?.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let control = Control::open()?;
        for id in first + 1..first + size {
            control.message(&own.device(), &format!("create_snap {id} {origin}"))?;
        }
        let records = catalog.transaction()?;
        for query in [DEVICES, CONTAINERS] {
            records.execute(query, params![first, size])?;
        }
        records.commit()?;
        if let Err(found) = own.run(&["check"]) {
            Record::absent(&format!("the check of a pool of {size} devices"), found.to_string()).emit();
        }
        let crowd = Self { own, location, size, first };
        let (used, of) = (crowd.metadata()?, way::of_size(size));
        let each = used.saturating_sub(before) / u64::from(size);
        Record::count(count::METADATA, &of, used, Unit::Bytes).emit();
        Record::count(count::METADATA_EACH, &of, each, Unit::Bytes).emit();
        Ok(crowd)
    }

    /// How much of its metadata the pool uses, in bytes.
    pub fn metadata(&self) -> Outcome<u64> {
        metadata(&self.own)
    }
}

/// As the kernel counts it, in blocks of 4 KiB. dmsetup's status commits what is in use.
fn metadata(own: &OwnPool) -> Outcome<u64> {
    let status = run("dmsetup", ["status", &own.device()])?;
    // Beginning, length, target, transaction id, and then used/total.
    let used =
        status.split_whitespace().nth(4).and_then(|blocks| blocks.split_once('/')?.0.parse::<u64>().ok());
    Ok(4096 * used.ok_or_else(|| format!("the pool's status is '{status}'"))?)
}
