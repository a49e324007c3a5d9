//! Who uses a pool's space, as a list and as a tree, for people and for programs.

use std::fmt::Write;

use serde::Serialize;

use super::{Column, Table};
use crate::pool::{Branch, DeviceShare, DeviceUsage, Member, Role, Usage};
use crate::units::{Bytes, DeviceId};

/// The usage for programs; `docs/json.md` explains the keys.
#[derive(Debug, Serialize)]
pub struct UsageJson<'a> {
    exclusive_bytes: Bytes,
    shared_bytes: Bytes,
    unmapped_bytes: Bytes,
    used_bytes: Bytes,
    total_bytes: Bytes,
    devices: Vec<MemberJson<'a>>,
}

/// The tree for programs: its devices, each after the one it descends from.
#[derive(Debug, Serialize)]
pub struct TreeJson<'a> {
    devices: Vec<MemberJson<'a>>,
    unmeasured: Option<String>,
}

#[derive(Debug, Serialize)]
struct MemberJson<'a> {
    device_id: DeviceId,
    role: Role,
    name: Option<&'a str>,
    images: &'a [String],
    origin_device_id: Option<DeviceId>,
    exclusive_bytes: Option<Bytes>,
    shared_bytes: Option<Bytes>,
    mapped_bytes: Option<Bytes>,
}

impl<'a> MemberJson<'a> {
    fn new(member: &'a Member, share: Option<DeviceShare>) -> Self {
        Self {
            device_id: member.id,
            role: member.role,
            name: member.name.as_deref(),
            images: &member.images,
            origin_device_id: member.origin,
            exclusive_bytes: share.map(|share| share.exclusive),
            shared_bytes: share.map(|share| share.shared),
            mapped_bytes: share.map(|share| share.exclusive + share.shared),
        }
    }
}

impl<'a> From<&'a Usage> for UsageJson<'a> {
    fn from(usage: &'a Usage) -> Self {
        let device = |device: &'a DeviceUsage| MemberJson::new(&device.member, Some(device.share));
        Self {
            exclusive_bytes: usage.exclusive,
            shared_bytes: usage.shared,
            unmapped_bytes: usage.of_nobody(),
            used_bytes: usage.used,
            total_bytes: usage.total,
            devices: usage.devices.iter().map(device).collect(),
        }
    }
}

impl<'a> TreeJson<'a> {
    /// Of these devices; where they could not be measured, why.
    #[must_use]
    pub fn new(branches: &'a [Branch], unmeasured: Option<String>) -> Self {
        let device = |branch: &'a Branch| MemberJson::new(&branch.member, branch.share);
        Self { devices: branches.iter().map(device).collect(), unmeasured }
    }
}

/// A line for each device, and below them what they come to.
#[must_use]
pub fn usage_text(usage: &Usage) -> String {
    let mut table = Table::new([
        Column::left("NAME"),
        Column::left("KIND"),
        Column::right("EXCLUSIVE"),
        Column::right("SHARED"),
        Column::right("MAPPED"),
    ]);
    for DeviceUsage { member, share } in &usage.devices {
        let [exclusive, shared] = [share.exclusive, share.shared].map(|bytes| bytes.to_string());
        let mapped = (share.exclusive + share.shared).to_string();
        table.row([member.label(), member.role.as_str().to_owned(), exclusive, shared, mapped]);
    }
    let Usage { exclusive, shared, used, total, .. } = usage;
    let mut text = format!("{table}\n{exclusive} exclusive + {shared} shared");
    if usage.of_nobody() > Bytes(0) {
        let _ = write!(text, " + {} that no device has", usage.of_nobody());
    }
    let _ = writeln!(text, " = {used} used of {total}");
    text
}

/// The lines of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// Unicode's box drawing.
    Unicode,
    /// What every terminal and every program has.
    Ascii,
}

impl Lines {
    /// Past a family that goes on, past one that has ended, to a child, to the last child.
    fn parts(self) -> [&'static str; 4] {
        match self {
            Self::Unicode => ["│   ", "    ", "├── ", "└── "],
            Self::Ascii => ["|   ", "    ", "|-- ", "`-- "],
        }
    }
}

/// The tree, a line for each device.
#[must_use]
pub fn tree_text(branches: &[Branch], lines: Lines) -> String {
    let [on, over, child, last] = lines.parts();
    let mut table = Table::new([
        Column::left("NAME"),
        Column::left("KIND"),
        Column::right("EXCLUSIVE"),
        Column::right("SHARED"),
    ]);
    let mut above: Vec<&str> = Vec::new();
    for Branch { member, share, depth, is_last } in branches {
        above.truncate(depth.saturating_sub(1));
        let mut name = above.concat();
        if *depth > 0 {
            name.push_str(if *is_last { last } else { child });
            above.push(if *is_last { over } else { on });
        }
        name.push_str(&member.label());
        let told = |bytes: Option<Bytes>| bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
        let (exclusive, shared) = (share.map(|share| share.exclusive), share.map(|share| share.shared));
        table.row([name, member.role.as_str().to_owned(), told(exclusive), told(shared)]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u32, role: Role, name: &str, images: &[&str]) -> Member {
        let images = images.iter().map(|name| (*name).to_owned()).collect();
        let id = DeviceId::try_from(id).expect("24 bits");
        Member { id, role, name: Some(name.to_owned()), images, origin: None }
    }

    fn share(exclusive: u64, shared: u64) -> DeviceShare {
        DeviceShare { exclusive: Bytes::mib(exclusive), shared: Bytes::mib(shared) }
    }

    fn usage(used: u64) -> Usage {
        let web = member(3, Role::Container, "web", &[]);
        let layer = member(2, Role::Layer, "test-image-2", &["debian", "nginx"]);
        Usage {
            devices: vec![
                DeviceUsage { member: web, share: share(12, 30) },
                DeviceUsage { member: layer, share: share(0, 30) },
            ],
            exclusive: Bytes::mib(12),
            shared: Bytes::mib(30),
            used: Bytes::mib(used),
            total: Bytes::gib(1),
        }
    }

    #[test]
    fn what_all_have_comes_to_what_the_pool_uses() {
        let expected = [
            "NAME                         KIND        EXCLUSIVE   SHARED   MAPPED",
            "web                          container      12 MiB   30 MiB   42 MiB",
            "layer of debian and 1 more   layer             0 B   30 MiB   30 MiB",
            "",
            "12 MiB exclusive + 30 MiB shared = 42 MiB used of 1 GiB",
            "",
        ];
        assert_eq!(usage_text(&usage(42)), expected.join("\n"));
        assert!(usage_text(&usage(43)).contains("30 MiB shared + 1 MiB that no device has = 43 MiB used"));
    }

    fn branches() -> Vec<Branch> {
        let branch = |member, share, depth, is_last| Branch { member, share, depth, is_last };
        vec![
            branch(member(1, Role::Base, "test-base", &[]), Some(share(1, 0)), 0, true),
            branch(member(2, Role::Image, "test-image-2", &["a", "b"]), None, 1, false),
            branch(member(3, Role::Container, "web", &[]), None, 2, true),
            branch(member(4, Role::Image, "test-image-4", &["c"]), None, 1, true),
            branch(member(5, Role::Container, "web\n5", &[]), None, 2, true),
            branch(Member { name: None, ..member(6, Role::Unknown, "", &[]) }, None, 0, true),
        ]
    }

    #[test]
    fn a_tree_is_drawn_with_the_lines_that_can_be_shown() {
        let expected = [
            "NAME            KIND        EXCLUSIVE   SHARED",
            "base            base            1 MiB      0 B",
            "├── a, b        image               -        -",
            "│   └── web     container           -        -",
            "└── c           image               -        -",
            "    └── web?5   container           -        -",
            "device 6        unknown             -        -",
            "",
        ];
        assert_eq!(tree_text(&branches(), Lines::Unicode), expected.join("\n"));
        assert!(tree_text(&branches(), Lines::Ascii).is_ascii());
    }

    #[test]
    fn every_key_of_the_usage_and_of_the_tree_is_documented() {
        let docs = include_str!("../../docs/json.md");
        let (usage, branches) = (usage(42), branches());
        let usage = serde_json::to_value(UsageJson::from(&usage)).expect("serialises");
        let tree = serde_json::to_value(TreeJson::new(&branches, None)).expect("serialises");
        for object in [&usage, &usage["devices"][0], &tree, &tree["devices"][0]] {
            let above = if object.get("device_id").is_some() { "devices[]." } else { "" };
            for key in object.as_object().expect("an object").keys() {
                assert!(docs.contains(&format!("| `{above}{key}` |")), "{above}{key} is not in docs/json.md");
            }
        }
    }
}
