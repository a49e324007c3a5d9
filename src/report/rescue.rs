//! Backups of the metadata as a table and as JSON, and what a restore would come to.

use std::cmp::Reverse;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::row::printable;
use super::{Column, Table, age};
use crate::pool::{Backups, Generation, MetadataBackup, Outlook, RestorePlan, UnreadableBackup};
use crate::units::{Bytes, DeviceId, DockerSize, TransactionId};

/// A backup for programs; `docs/json.md` explains the keys.
#[derive(Debug, Serialize)]
pub struct BackupJson<'a> {
    generation: Generation,
    path: &'a std::path::Path,
    bytes: Option<Bytes>,
    taken_at: Option<i64>,
    transaction_id: Option<TransactionId>,
    devices: Option<usize>,
    used_bytes: Option<Bytes>,
    unreadable: Option<String>,
}

impl<'a> From<&'a MetadataBackup> for BackupJson<'a> {
    fn from(backup: &'a MetadataBackup) -> Self {
        let of = &backup.of;
        Self {
            generation: backup.generation,
            path: &backup.path,
            bytes: Some(backup.size),
            taken_at: Some(of.taken_at),
            transaction_id: Some(of.transaction_id),
            devices: Some(of.devices.len()),
            used_bytes: Some(of.used_blocks.bytes(of.block_size)),
            unreadable: None,
        }
    }
}

impl<'a> From<&'a UnreadableBackup> for BackupJson<'a> {
    fn from(backup: &'a UnreadableBackup) -> Self {
        Self {
            generation: backup.generation,
            path: &backup.path,
            bytes: None,
            taken_at: None,
            transaction_id: None,
            devices: None,
            used_bytes: None,
            unreadable: Some(backup.why.to_string()),
        }
    }
}

/// All backups for programs, the newest first.
#[must_use]
pub fn backups_json(backups: &Backups) -> Vec<BackupJson<'_>> {
    let readable = backups.readable.iter().map(BackupJson::from);
    let mut all: Vec<_> = readable.chain(backups.unreadable.iter().map(BackupJson::from)).collect();
    all.sort_by_key(|backup| Reverse(backup.generation));
    all
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

/// A row for each backup, the newest first.
#[must_use]
pub fn backups_table(backups: &Backups, now: SystemTime) -> String {
    let mut table = Table::new([
        Column::right("GENERATION"),
        Column::left("TAKEN"),
        Column::right("TRANSACTION"),
        Column::right("DEVICES"),
        Column::right("DATA USED"),
        Column::right("SIZE"),
        Column::left("FILE"),
    ]);
    let readable = backups.readable.iter().map(|backup| (backup.generation, row(backup, now)));
    let unreadable = backups.unreadable.iter().map(|backup| (backup.generation, unreadable_row(backup)));
    let mut rows: Vec<_> = readable.chain(unreadable).collect();
    rows.sort_by_key(|(generation, _)| Reverse(*generation));
    for (_, row) in rows {
        table.row(row);
    }
    table.to_string()
}

fn row(backup: &MetadataBackup, now: SystemTime) -> [String; 7] {
    let of = &backup.of;
    [
        backup.generation.to_string(),
        age(moment(of.taken_at), now),
        of.transaction_id.to_string(),
        of.devices.len().to_string(),
        DockerSize(of.used_blocks.bytes(of.block_size)).to_string(),
        DockerSize(backup.size).to_string(),
        backup.path.display().to_string(),
    ]
}

fn unreadable_row(backup: &UnreadableBackup) -> [String; 7] {
    let unknown = || "-".to_owned();
    let file = format!("{} (can't be read: {})", backup.path.display(), backup.why);
    [backup.generation.to_string(), unknown(), unknown(), unknown(), unknown(), unknown(), file]
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
