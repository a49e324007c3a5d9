//! Volumes and groups that LVM made for pools which aren't there any more. A setup that was killed leaves none that the
//! next one wouldn't take away, as long as its catalog is there.

use std::path::Path;

use lvm::{Lv, Tag, Vg};

use super::Finding;
use super::lvm::{Known, owner};

/// Every group and volume with the tag of an unknown pool.
pub(super) fn all(root: &Path, known: &Known, groups: &[Vg], volumes: &[Lv]) -> Vec<Finding> {
    let left = |tags: &[Tag]| owner(tags).filter(|pool| !known.pools.contains(pool));
    let of_groups = groups.iter().filter_map(|group| {
        let (name, pool) = (&group.name, left(&group.tags)?);
        let remedy =
            format!("`pvs -S vg_name={name}` (its disks), `vgremove {name}`, and `pvremove` of those disks");
        Some(finding(root, &format!("volume group {name}"), &pool, &remedy))
    });
    // With a group that was made for the same pool, its volumes go as well.
    let goes_with_group = |volume: &Lv| {
        let group = groups.iter().find(|group| group.uuid == volume.vg_uuid);
        group.is_some_and(|group| owner(&group.tags) == owner(&volume.tags))
    };
    let of_volumes = volumes.iter().filter(|volume| !goes_with_group(volume)).filter_map(|volume| {
        let (id, pool) = (&volume.id, left(&volume.tags)?);
        Some(finding(root, &format!("volume {id}"), &pool, &format!("`lvremove {id}`")))
    });
    of_groups.chain(of_volumes).collect()
}

fn finding(root: &Path, what: &str, pool: &uuid::Uuid, removal: &str) -> Finding {
    Finding::warning(
        format!("the {what} was made for a pool that isn't under {} (uuid {pool})", root.display()),
        format!(
            "if that pool is under no other root, and not one whose catalog is lost (`thinpool repair`): {removal}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use lvm::{Bytes, Extents, LvHealth};

    use super::*;

    const GROUP: &str = "aaaaaa-bbbb-cccc-dddd-eeee-ffff-hhhhhh";

    fn tags(pool: Option<u128>) -> Vec<Tag> {
        let tag = |pool| format!("thinpool.pool={}", uuid::Uuid::from_u128(pool).simple());
        pool.map(|pool| tag(pool).parse().expect("a tag")).into_iter().collect()
    }

    fn group(pool: Option<u128>) -> Vg {
        Vg {
            uuid: GROUP.parse().expect("a uuid"),
            name: "direct-lvm".parse().expect("a name"),
            extent_size: Bytes(4 << 20),
            extents: Extents(100),
            free_extents: Extents(0),
            pv_count: 1,
            missing_pv_count: 0,
            lv_count: 1,
            exported: false,
            writable: true,
            system_id: None,
            tags: tags(pool),
        }
    }

    fn volume(pool: Option<u128>) -> Lv {
        Lv {
            uuid: "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg".parse().expect("a uuid"),
            vg_uuid: GROUP.parse().expect("a uuid"),
            id: "direct-lvm/data_meta".parse().expect("an id"),
            size: Bytes(1 << 30),
            linear: true,
            active: true,
            open: Some(false),
            path: None,
            skip_activation: false,
            autoactivation: Some(true),
            health: LvHealth::Good,
            tags: tags(pool),
        }
    }

    fn told(group: Vg, volume: Lv) -> Vec<String> {
        let known = Known { pools: vec![uuid::Uuid::from_u128(1)], ..Known::default() };
        let found = all(Path::new("/var/lib/thinpool"), &known, &[group], &[volume]);
        found.into_iter().filter_map(|finding| finding.remedy).collect()
    }

    #[test]
    fn what_a_pool_has_or_somebody_else_made_is_not_called_left_over() {
        for pool in [None, Some(1)] {
            assert_eq!(told(group(pool), volume(pool)), [""; 0]);
        }
    }

    #[test]
    fn a_group_that_no_pool_has_is_told_of_once_with_what_removes_it() {
        let told = told(group(Some(2)), volume(Some(2)));
        assert!(told.len() == 1 && told[0].contains("`vgremove direct-lvm`"), "{told:?}");
    }

    #[test]
    fn a_volume_in_somebody_elses_group_that_no_pool_has_is_told_of() {
        let told = told(group(None), volume(Some(2)));
        assert!(told.len() == 1 && told[0].contains("`lvremove direct-lvm/data_meta`"), "{told:?}");
    }
}
