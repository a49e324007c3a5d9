//! `thinpool container list`

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::{CliError, Context, Listing, open};
use crate::catalog::Container;
use crate::pool::ContainerStatus;
use crate::report::{Field, Filter, FilterKind, List, Show};

/// What a list of containers can tell.
const CONTAINERS: List = List {
    fields: &[
        Field { key: "name", header: "NAME", show: Show::Plain, usual: true },
        Field { key: "image", header: "IMAGE", show: Show::Plain, usual: true },
        Field { key: "device_bytes", header: "SIZE", show: Show::Size, usual: true },
        Field { key: "mapped_bytes", header: "MAPPED", show: Show::Size, usual: true },
        Field { key: "created_at", header: "CREATED", show: Show::Age, usual: true },
        Field { key: "mounted_at", header: "MOUNTED AT", show: Show::Plain, usual: true },
        Field { key: "device", header: "DEVICE", show: Show::Plain, usual: false },
        Field { key: "device_id", header: "DEVICE ID", show: Show::Number, usual: false },
        Field { key: "kept_active", header: "KEPT ACTIVE", show: Show::Plain, usual: false },
        Field { key: "labels", header: "LABELS", show: Show::Plain, usual: false },
    ],
    aliases: &[
        ("Names", "name"),
        ("ID", "device_id"),
        ("Size", "device_bytes"),
        ("Mapped", "mapped_bytes"),
        ("CreatedSince", "created_at"),
        ("RunningFor", "created_at"),
        ("Created", "created_at"),
        ("Mounts", "mounted_at"),
    ],
    filters: &[
        Filter { key: "name", kind: FilterKind::Part("name") },
        Filter { key: "image", kind: FilterKind::Whole("image") },
        Filter { key: "ancestor", kind: FilterKind::Whole("image") },
        Filter { key: "label", kind: FilterKind::Label },
        Filter { key: "mounted", kind: FilterKind::Any("mounted_at") },
        Filter { key: "active", kind: FilterKind::Some("device") },
        Filter { key: "kept", kind: FilterKind::Flag("kept_active") },
    ],
};

pub(in crate::cli) fn list(context: &Context, listing: &Listing) -> Result<(), CliError> {
    let containers = open(context, &context.host()?)?.containers()?;
    listing.print(&CONTAINERS, &containers.iter().map(ContainerJson::new).collect::<Vec<_>>())
}

/// A container for programs; `docs/json.md` explains the keys.
#[derive(Debug, Serialize)]
pub(super) struct ContainerJson<'a> {
    pub(super) name: &'a str,
    image: &'a str,
    device_bytes: u64,
    device_id: u32,
    mapped_bytes: Option<u64>,
    device: Option<&'a PathBuf>,
    kept_active: bool,
    mounted_at: &'a [PathBuf],
    created_at: i64,
    labels: &'a BTreeMap<String, String>,
}

impl<'a> ContainerJson<'a> {
    pub(super) fn new(status: &'a ContainerStatus) -> Self {
        let Container { name, image, device, created, active, labels } = &status.container;
        Self {
            name,
            image,
            device_bytes: device.size.0,
            device_id: device.id.get(),
            mapped_bytes: status.mapped.map(|mapped| mapped.0),
            device: status.path.as_ref(),
            kept_active: *active,
            mounted_at: &status.mounts,
            created_at: *created,
            labels,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_documented_key_of_a_container_can_be_a_column() {
        let docs = include_str!("../../../docs/json.md");
        let documented =
            docs.lines().filter_map(|line| line.strip_prefix("| `containers[].")?.split('`').next());
        let columns: BTreeSet<&str> = CONTAINERS.fields.iter().map(|field| field.key).collect();
        assert_eq!(columns, documented.collect());
    }
}
