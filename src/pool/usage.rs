//! Who uses the pool's space: counted in its metadata, told by the catalog's names.

use std::collections::{BTreeMap, BTreeSet};

use super::family::Member;
use super::{Pool, PoolError};
use crate::units::{Bytes, DeviceId};

/// Who uses a pool's space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Every thin device of the pool; that which has most to itself first.
    pub devices: Vec<DeviceUsage>,
    /// What one device has to itself, all together.
    pub exclusive: Bytes,
    /// What several devices have, each block counted once.
    pub shared: Bytes,
    /// What the pool says is in use.
    pub used: Bytes,
    /// What the pool has.
    pub total: Bytes,
}

/// What one device uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceUsage {
    /// The device.
    pub member: Member,
    /// Its share.
    pub share: DeviceShare,
}

/// What one device has of the pool's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceShare {
    /// What no other device has: what would be free without it.
    pub exclusive: Bytes,
    /// What others have as well.
    pub shared: Bytes,
}

impl Usage {
    /// What is in use, and no device has it: the pool's metadata has leaked it, or somebody else holds a metadata snapshot
    /// that still sees it.
    #[must_use]
    pub fn of_nobody(&self) -> Bytes {
        self.used - self.exclusive - self.shared
    }
}

/// A device of the pool's family tree. They come in the order of the tree: each after what it descends from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// The device.
    pub member: Member,
    /// What it uses, if that could be counted.
    pub share: Option<DeviceShare>,
    /// How many devices are above it.
    pub depth: usize,
    /// Whether it is the last of those that descend from the same device.
    pub is_last: bool,
}

impl Pool<'_> {
    /// Counts who uses the pool's space, whether it is active or not. All its metadata is read.
    pub fn space_usage(&self) -> Result<Usage, PoolError> {
        // What was made or removed meanwhile is known from one of the two.
        let mut members = self.members()?;
        let (counted, data) = self.read_metadata(|metadata| Ok((metadata.usage()?, metadata.data())))?;
        for (id, member) in self.members()? {
            members.entry(id).or_insert(member);
        }
        let block_size = self.record.policy.block_size;
        let mut devices: Vec<DeviceUsage> = Vec::new();
        for (id, share) in counted.devices {
            let member = members.remove(&id).unwrap_or_else(|| Member::unknown(id));
            let exclusive = share.exclusive.bytes(block_size);
            let shared = (share.mapped - share.exclusive).bytes(block_size);
            devices.push(DeviceUsage { member, share: DeviceShare { exclusive, shared } });
        }
        devices.sort_by_key(|device| {
            let DeviceShare { exclusive, shared } = device.share;
            (std::cmp::Reverse((exclusive, shared)), device.member.id)
        });
        Ok(Usage {
            exclusive: devices.iter().map(|device| device.share.exclusive).sum(),
            shared: counted.shared.bytes(block_size),
            used: data.used.bytes(block_size),
            total: data.total.bytes(block_size),
            devices,
        })
    }

    /// The pool's devices as a tree. Where what they use can't be counted, it is told why.
    pub fn family_tree(&self) -> Result<(Vec<Branch>, Option<PoolError>), PoolError> {
        let mut members = self.members()?;
        let (shares, why) = match self.space_usage() {
            Ok(usage) => (usage.devices, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let mut known = BTreeMap::new();
        for DeviceUsage { member, share } in shares {
            known.insert(member.id, share);
            members.entry(member.id).or_insert(member);
        }
        Ok((tree(&members, &known), why))
    }
}

fn tree(members: &BTreeMap<DeviceId, Member>, shares: &BTreeMap<DeviceId, DeviceShare>) -> Vec<Branch> {
    let parent = |member: &Member| member.origin.filter(|origin| members.contains_key(origin));
    let mut children: BTreeMap<Option<DeviceId>, Vec<&Member>> = BTreeMap::new();
    for member in members.values() {
        children.entry(parent(member)).or_default().push(member);
    }
    for family in children.values_mut() {
        family.sort_by_cached_key(|member| (member.role, member.label(), member.id));
    }
    let (mut branches, mut met) = (Vec::new(), BTreeSet::new());
    let roots = children.get(&None).into_iter().flatten().copied();
    // What a damaged catalog says to descend from itself begins a tree of its own.
    for root in roots.chain(members.values()) {
        let mut open = vec![(root, 0, true)];
        while let Some((member, depth, is_last)) = open.pop() {
            if !met.insert(member.id) {
                continue;
            }
            let share = shares.get(&member.id).copied();
            branches.push(Branch { member: member.clone(), share, depth, is_last });
            let family = children.get(&Some(member.id)).into_iter().flatten();
            open.extend(family.rev().enumerate().map(|(index, child)| (*child, depth + 1, index == 0)));
        }
    }
    branches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Role;

    fn member(id: u32, origin: Option<u32>) -> (DeviceId, Member) {
        let id = DeviceId::try_from(id).expect("24 bits");
        let origin = origin.map(|origin| origin.try_into().expect("24 bits"));
        (id, Member { role: Role::Container, name: Some(format!("c{id}")), origin, ..Member::unknown(id) })
    }

    fn drawn(members: impl IntoIterator<Item = (DeviceId, Member)>) -> Vec<(u32, usize, bool)> {
        let branches = tree(&members.into_iter().collect(), &BTreeMap::new());
        branches.iter().map(|branch| (branch.member.id.get(), branch.depth, branch.is_last)).collect()
    }

    #[test]
    fn every_device_stands_once_below_what_it_descends_from() {
        let members = [(1, None), (2, Some(1)), (3, Some(2)), (4, Some(1)), (5, Some(99)), (6, Some(2))];
        let expected = [(1, 0, true), (2, 1, false), (3, 2, false), (6, 2, true), (4, 1, true), (5, 0, true)];
        assert_eq!(drawn(members.map(|(id, origin)| member(id, origin))), expected);
    }

    #[test]
    fn devices_that_a_damaged_catalog_makes_their_own_origins_are_not_lost() {
        let drawn = drawn([member(1, Some(2)), member(2, Some(1)), member(3, None)]);
        assert_eq!(drawn, [(3, 0, true), (1, 0, true), (2, 1, true)]);
    }
}
