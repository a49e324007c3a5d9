//! LVM's reports, read. With `--reportformat json` LVM writes every value as a text, an empty one for none; newer
//! versions can be configured to write numbers and lists (`json_std`), which are read as well.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::amounts::{Bytes, Extents};
use crate::names::{LvId, LvName, Tag, VgName};
use crate::uuid::{LvUuid, PvUuid, VgUuid};

/// A report that can't be read.
#[derive(Debug, Error)]
pub enum ReportError {
    /// Not JSON, or not a report.
    #[error("not a report in JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A value is missing, or isn't what it should be.
    #[error("the value of {field} is {value}: {why}")]
    Value {
        /// The field.
        field: &'static str,
        /// What is in its place.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A physical volume: a disk, or part of one, that was given to LVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pv {
    /// Its identity.
    pub uuid: PvUuid,
    /// The device, or none if that has vanished.
    pub device: Option<PathBuf>,
    /// The size of the device.
    pub device_size: Bytes,
    /// What LVM can use of it.
    pub size: Bytes,
    /// What is unused of that.
    pub free: Bytes,
    /// The group it is in.
    pub vg: Option<VgName>,
    /// Its tags.
    pub tags: Vec<Tag>,
}

/// A volume group: disks, out of which volumes are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vg {
    /// Its identity.
    pub uuid: VgUuid,
    /// Its name.
    pub name: VgName,
    /// The unit in which it gives out room.
    pub extent_size: Bytes,
    /// All its room.
    pub extents: Extents,
    /// What is unused of it.
    pub free_extents: Extents,
    /// How many physical volumes it has.
    pub pv_count: u64,
    /// How many of them have vanished.
    pub missing_pv_count: u64,
    /// How many volumes it has.
    pub lv_count: u64,
    /// Whether it was given up for being moved to another machine (`vgexport`).
    pub exported: bool,
    /// Whether it can be changed.
    pub writable: bool,
    /// The machine it belongs to, if that was ever said.
    pub system_id: Option<String>,
    /// Its tags.
    pub tags: Vec<Tag>,
}

impl Vg {
    /// Its size.
    #[must_use]
    pub fn size(&self) -> Bytes {
        self.extents.bytes(self.extent_size)
    }

    /// What is unused of it.
    #[must_use]
    pub fn free(&self) -> Bytes {
        self.free_extents.bytes(self.extent_size)
    }
}

/// How a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LvHealth {
    /// Nothing is known to be wrong.
    Good,
    /// A disk that it lies on has vanished.
    Partial,
    /// Something else, in LVM's word for it.
    Other(String),
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lv {
    /// Its identity.
    pub uuid: LvUuid,
    /// The identity of its group.
    pub vg_uuid: VgUuid,
    /// Its name, and its group's.
    pub id: LvId,
    /// Its size.
    pub size: Bytes,
    /// Whether it is plain: extents of disks one after the other.
    pub linear: bool,
    /// Whether it has a device on this machine.
    pub active: bool,
    /// Whether somebody has that device open; none if there is no device.
    pub open: Option<bool>,
    /// The device's path by LVM's names, `/dev/GROUP/VOLUME`. There only while the volume is active.
    pub path: Option<PathBuf>,
    /// Whether activation passes it over unless told not to.
    pub skip_activation: bool,
    /// Whether it is activated at boot; none if LVM is too old to know (before 2.03.12).
    pub autoactivation: Option<bool>,
    /// How it is.
    pub health: LvHealth,
    /// Its tags.
    pub tags: Vec<Tag>,
}

/// What LVM calls a row of its reports, what is asked for, and how it is read.
pub(crate) trait Row: Sized {
    /// The command.
    const COMMAND: &'static str;
    /// The name of a row.
    const KEY: &'static str;
    /// The fields that every version has.
    const FIELDS: &'static str;

    /// Reads a row.
    fn read(fields: &Fields) -> Result<Self, ReportError>;
}

impl Row for Pv {
    const COMMAND: &'static str = "pvs";
    const KEY: &'static str = "pv";
    const FIELDS: &'static str = "pv_uuid,pv_name,dev_size,pv_size,pv_free,pv_missing,pv_tags,vg_name";

    fn read(fields: &Fields) -> Result<Self, ReportError> {
        // A vanished disk's name is "[unknown]".
        let device = PathBuf::from(fields.text("pv_name"));
        let gone = fields.flag("pv_missing")?.unwrap_or(false) || !device.is_absolute();
        Ok(Self {
            uuid: fields.parse("pv_uuid")?,
            device: (!gone).then_some(device),
            device_size: Bytes(fields.number("dev_size")?),
            size: Bytes(fields.number("pv_size")?),
            free: Bytes(fields.number("pv_free")?),
            vg: if fields.text("vg_name").is_empty() { None } else { Some(fields.parse("vg_name")?) },
            tags: fields.tags("pv_tags")?,
        })
    }
}

impl Row for Vg {
    const COMMAND: &'static str = "vgs";
    const KEY: &'static str = "vg";
    const FIELDS: &'static str = "vg_uuid,vg_name,vg_extent_size,vg_extent_count,vg_free_count,pv_count,\
        vg_missing_pv_count,lv_count,vg_exported,vg_permissions,vg_systemid,vg_tags";

    fn read(fields: &Fields) -> Result<Self, ReportError> {
        Ok(Self {
            uuid: fields.parse("vg_uuid")?,
            name: fields.parse("vg_name")?,
            extent_size: Bytes(fields.number("vg_extent_size")?),
            extents: Extents(fields.number("vg_extent_count")?),
            free_extents: Extents(fields.number("vg_free_count")?),
            pv_count: fields.number("pv_count")?,
            missing_pv_count: fields.number("vg_missing_pv_count")?,
            lv_count: fields.number("lv_count")?,
            exported: fields.flag("vg_exported")?.unwrap_or(false),
            writable: fields.text("vg_permissions") == "writeable",
            system_id: Some(fields.text("vg_systemid")).filter(|id| !id.is_empty()),
            tags: fields.tags("vg_tags")?,
        })
    }
}

impl Row for Lv {
    const COMMAND: &'static str = "lvs";
    const KEY: &'static str = "lv";
    const FIELDS: &'static str = "lv_uuid,vg_uuid,lv_name,vg_name,lv_size,lv_layout,lv_active_locally,lv_device_open,\
        lv_path,lv_skip_activation,lv_health_status,lv_tags";

    fn read(fields: &Fields) -> Result<Self, ReportError> {
        let name = fields.text("lv_name");
        let lv = LvName::existing(&name).map_err(|why| fields.wrong("lv_name", &why))?;
        let health = match fields.text("lv_health_status").as_str() {
            "" => LvHealth::Good,
            "partial" => LvHealth::Partial,
            other => LvHealth::Other(other.to_owned()),
        };
        Ok(Self {
            uuid: fields.parse("lv_uuid")?,
            vg_uuid: fields.parse("vg_uuid")?,
            id: LvId { vg: fields.parse("vg_name")?, lv },
            size: Bytes(fields.number("lv_size")?),
            linear: fields.text("lv_layout") == "linear",
            active: fields.flag("lv_active_locally")?.unwrap_or(false),
            open: fields.flag("lv_device_open")?,
            path: Some(fields.text("lv_path")).filter(|path| !path.is_empty()).map(PathBuf::from),
            skip_activation: fields.flag("lv_skip_activation")?.unwrap_or(false),
            autoactivation: fields.flag(AUTOACTIVATION)?,
            health,
            tags: fields.tags("lv_tags")?,
        })
    }
}

/// A field that older versions don't know and would refuse.
pub(crate) const AUTOACTIVATION: &str = "lv_autoactivation";

#[derive(Deserialize)]
struct Report {
    report: Vec<HashMap<String, Vec<Fields>>>,
}

/// The values of one row.
#[derive(Deserialize)]
pub(crate) struct Fields(HashMap<String, Value>);

impl Fields {
    /// A value as text; empty if there is none.
    fn text(&self, field: &str) -> String {
        match self.0.get(field) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(Value::Array(list)) => {
                list.iter().map(|item| item.as_str().unwrap_or_default()).collect::<Vec<_>>().join(",")
            }
            Some(other) => other.to_string(),
        }
    }

    fn wrong(&self, field: &'static str, why: &impl ToString) -> ReportError {
        let value = match self.text(field) {
            text if text.is_empty() => "empty".to_owned(),
            text => format!("'{}'", text.chars().take(200).collect::<String>().escape_debug()),
        };
        ReportError::Value { field, value, why: why.to_string() }
    }

    fn parse<T>(&self, field: &'static str) -> Result<T, ReportError>
    where
        T: std::str::FromStr,
        T::Err: ToString,
    {
        self.text(field).parse().map_err(|why| self.wrong(field, &why))
    }

    fn number(&self, field: &'static str) -> Result<u64, ReportError> {
        self.parse(field)
    }

    /// Yes, no, or not known. `--binary` makes them 1, 0 and -1.
    fn flag(&self, field: &'static str) -> Result<Option<bool>, ReportError> {
        match self.text(field).as_str() {
            "1" | "true" => Ok(Some(true)),
            "0" | "false" => Ok(Some(false)),
            "-1" | "" => Ok(None),
            _ => Err(self.wrong(field, &"1, 0 or -1 is expected")),
        }
    }

    fn tags(&self, field: &'static str) -> Result<Vec<Tag>, ReportError> {
        let text = self.text(field);
        let tags = text.split(',').map(str::trim).filter(|tag| !tag.is_empty());
        tags.map(|tag| tag.parse().map_err(|why| self.wrong(field, &why))).collect()
    }
}

/// Reads a report.
pub(crate) fn read<R: Row>(output: &[u8]) -> Result<Vec<R>, ReportError> {
    let report: Report = serde_json::from_slice(output)?;
    let rows = report.report.iter().filter_map(|section| section.get(R::KEY)).flatten();
    rows.map(R::read).collect()
}

#[cfg(test)]
mod tests;
