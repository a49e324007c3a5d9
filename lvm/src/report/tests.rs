use proptest::prelude::*;

use super::*;

const PVS: &[u8] = include_bytes!("../../tests/recorded/pvs.json");
const VGS: &[u8] = include_bytes!("../../tests/recorded/vgs.json");
const LVS: &[u8] = include_bytes!("../../tests/recorded/lvs.json");
const EMPTY: &[u8] = include_bytes!("../../tests/recorded/vgs-none.json");
const MISSING_PVS: &[u8] = include_bytes!("../../tests/recorded/missing-pvs.json");
const MISSING_VGS: &[u8] = include_bytes!("../../tests/recorded/missing-vgs.json");
const MISSING_LVS: &[u8] = include_bytes!("../../tests/recorded/missing-lvs.json");

fn tags(tags: &[&str]) -> Vec<Tag> {
    tags.iter().map(|tag| tag.parse().unwrap()).collect()
}

#[test]
fn a_disk_in_a_group_and_one_in_none_are_told_apart() {
    let pvs: Vec<Pv> = read(PVS).unwrap();
    assert_eq!(pvs.len(), 2);
    assert_eq!(pvs[0].device, Some(PathBuf::from("/dev/loop0")));
    assert_eq!(pvs[0].vg, Some("direct-lvm".parse().unwrap()));
    assert_eq!((pvs[0].device_size, pvs[0].size), (Bytes(268_435_456), Bytes(264_241_152)));
    assert_eq!(pvs[0].free, Bytes(134_217_728));
    assert_eq!(pvs[1].vg, None);
}

#[test]
fn the_room_for_growth_is_known() {
    let vgs: Vec<Vg> = read(VGS).unwrap();
    assert_eq!((vgs[0].size(), vgs[0].free()), (Bytes(264_241_152), Bytes(134_217_728)));
    assert_eq!((vgs[0].extents, vgs[0].extent_size), (Extents(63), Bytes(4 << 20)));
    assert_eq!(vgs[0].tags, tags(&["thinpool.x=ci"]));
    assert!(vgs[0].writable && !vgs[0].exported && vgs[0].system_id.is_none());
    assert!(read::<Vg>(EMPTY).unwrap().is_empty());
}

#[test]
fn an_active_volume_and_an_inactive_one_are_told_apart() {
    let lvs: Vec<Lv> = read(LVS).unwrap();
    let [again, data] = lvs.as_slice() else { panic!("{lvs:?}") };
    assert_eq!((again.active, again.open), (true, Some(false)));
    assert_eq!(again.path, Some(PathBuf::from("/dev/direct-lvm/again")));
    assert_eq!((data.active, data.open), (false, None));
    assert_eq!((data.size, data.linear), (Bytes(134_217_728), true));
    assert_eq!(data.tags, tags(&["a/b=c"]));
    assert_eq!((data.autoactivation, data.skip_activation), (Some(true), false));
    assert_eq!(data.health, LvHealth::Good);
    assert_eq!(data.id.to_string(), "direct-lvm/data");
}

#[test]
fn every_tag_of_several_is_read() {
    let lvs: Vec<Lv> = read(include_bytes!("../../tests/recorded/lvs-created.json")).unwrap();
    assert_eq!(lvs[0].tags, tags(&["a/b=c", "thinpool"]));
}

#[test]
fn a_disk_that_vanished_is_reported_with_all_it_took_along() {
    let pvs: Vec<Pv> = read(MISSING_PVS).unwrap();
    assert_eq!((pvs[0].device.is_some(), &pvs[1].device), (true, &None));
    let vgs: Vec<Vg> = read(MISSING_VGS).unwrap();
    assert_eq!((vgs[0].pv_count, vgs[0].missing_pv_count), (2, 1));
    let lvs: Vec<Lv> = read(MISSING_LVS).unwrap();
    assert_eq!(lvs[1].health, LvHealth::Partial);
}

#[test]
fn numbers_and_lists_of_newer_versions_are_read_as_well() {
    let report = br#"{"report":[{"vg":[{"vg_uuid":"s38eQz-1qQQ-MKSd-cshv-MKyb-saTW-jXTxDX","vg_name":"v",
        "vg_extent_size":4194304,"vg_extent_count":63,"vg_free_count":32,"pv_count":1,"vg_missing_pv_count":0,
        "lv_count":1,"vg_exported":0,"vg_permissions":"writeable","vg_systemid":null,"vg_tags":["a","b=c"]}]}],
        "log":[]}"#;
    let vgs: Vec<Vg> = read(report).unwrap();
    assert_eq!((vgs[0].free_extents, &vgs[0].tags), (Extents(32), &tags(&["a", "b=c"])));
}

#[test]
fn a_value_that_cant_be_is_an_error_that_names_the_field() {
    let broken = String::from_utf8_lossy(VGS).replace("\"63\"", "\"-63\"");
    let error = read::<Vg>(broken.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("vg_extent_count") && error.contains("'-63'"), "{error}");
}

/// A recorded report with some bytes changed, left out or doubled.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let whole = proptest::sample::select(vec![PVS, VGS, LVS, MISSING_PVS, MISSING_VGS, MISSING_LVS]);
    let change = (any::<proptest::sample::Index>(), any::<u8>(), 0..3_u8);
    (whole, proptest::collection::vec(change, 1..6)).prop_map(|(whole, changes)| {
        let mut bytes = whole.to_vec();
        for (index, byte, how) in changes {
            let at = index.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn no_damage_makes_the_reader_panic(bytes in damaged()) {
        let _ = (read::<Pv>(&bytes), read::<Vg>(&bytes), read::<Lv>(&bytes));
    }

    #[test]
    fn no_value_makes_the_reader_panic(field in 0..20_usize, value in ".*|-?[0-9]{1,25}") {
        for fields in [Pv::FIELDS, Vg::FIELDS, Lv::FIELDS] {
            let mut row: HashMap<String, Value> =
                fields.split(',').map(|name| (name.to_owned(), Value::from("1"))).collect();
            if let Some(name) = fields.split(',').nth(field) {
                row.insert(name.to_owned(), Value::from(value.clone()));
            }
            let row = Fields(row);
            let _ = (Pv::read(&row), Vg::read(&row), Lv::read(&row));
        }
    }
}
