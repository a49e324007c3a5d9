//! Backups of the metadata as a table and as JSON, and what a restore would come to.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::row::printable;
use super::{Column, Table, age};
use crate::pool::{Generation, MetadataBackup, Outlook, RestorePlan};
use crate::units::{Bytes, DeviceId, DockerSize, TransactionId};

/// A backup for programs; `docs/json.md` explains the keys.
#[derive(Debug, Serialize)]
pub struct BackupJson<'a> {
    generation: Generation,
    path: &'a std::path::Path,
    bytes: Bytes,
    taken_at: i64,
    transaction_id: TransactionId,
    devices: usize,
    used_bytes: Bytes,
}

impl<'a> From<&'a MetadataBackup> for BackupJson<'a> {
    fn from(backup: &'a MetadataBackup) -> Self {
        let of = &backup.of;
        Self {
            generation: backup.generation,
            path: &backup.path,
            bytes: backup.size,
            taken_at: of.taken_at,
            transaction_id: of.transaction_id,
            devices: of.devices.len(),
            used_bytes: of.used_blocks.bytes(of.block_size),
        }
    }
}

/// What a restore would come to, for programs; `docs/json.md` explains the keys.
#[derive(Debug, Serialize)]
pub struct RestorePlanJson<'a> {
    backup: BackupJson<'a>,
    catalog_transaction_id: TransactionId,
    lost: &'a [String],
    back: &'a [DeviceId],
}

impl<'a> From<&'a RestorePlan> for RestorePlanJson<'a> {
    fn from(plan: &'a RestorePlan) -> Self {
        Self {
            backup: (&plan.backup).into(),
            catalog_transaction_id: plan.known,
            lost: &plan.outlook.lost,
            back: &plan.outlook.found,
        }
    }
}

/// A row for each backup.
#[must_use]
pub fn backups_table(backups: &[MetadataBackup], now: SystemTime) -> String {
    let mut table = Table::new([
        Column::right("GENERATION"),
        Column::left("TAKEN"),
        Column::right("TRANSACTION"),
        Column::right("DEVICES"),
        Column::right("DATA USED"),
        Column::right("SIZE"),
        Column::left("FILE"),
    ]);
    for backup in backups {
        let of = &backup.of;
        table.row([
            backup.generation.to_string(),
            age(moment(of.taken_at), now),
            of.transaction_id.to_string(),
            of.devices.len().to_string(),
            DockerSize(of.used_blocks.bytes(of.block_size)).to_string(),
            DockerSize(backup.size).to_string(),
            backup.path.display().to_string(),
        ]);
    }
    table.to_string()
}

/// What a restore would come to, for who has to say yes to it.
#[must_use]
pub fn restore_text(plan: &RestorePlan, now: SystemTime) -> String {
    let of = &plan.backup.of;
    let mut text = format!(
        "The backup {} was taken {}, at the pool's transaction {}; the catalog is at {}.\n",
        plan.backup.generation,
        age(moment(of.taken_at), now),
        of.transaction_id,
        plan.known,
    );
    text += &outlook_text(&plan.outlook);
    text + "What was written since then to blocks that were new is lost in every device, and a block that was freed since then \
            may have something else in it by now. In which devices that is so can't be known.\n"
}

/// What would be of the devices, a line for each that doesn't stay as it is.
#[must_use]
pub fn outlook_text(outlook: &Outlook) -> String {
    let mut text = String::new();
    for lost in &outlook.lost {
        // Writing to a String can't fail.
        let _ = writeln!(text, "Lost: {}", printable(lost));
    }
    for shrunk in &outlook.shrunk {
        let _ = writeln!(text, "In part: {}", printable(shrunk));
    }
    for found in &outlook.found {
        let _ = writeln!(text, "Back: the device {found}, as the container recovered-{found}");
    }
    if outlook.lost.is_empty() {
        text += "No device that the catalog knows is lost.\n";
    }
    text
}

fn moment(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
