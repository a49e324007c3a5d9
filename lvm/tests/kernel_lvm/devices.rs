//! Devices by the names that people give them.

use std::path::{Path, PathBuf};

use lvm::Refusal;

use crate::bench::{Bench, sh};

#[test]
fn a_volume_is_known_by_each_of_its_devices_names() {
    let bench = Bench::new(1);
    bench.make_group(&[0]);
    let id = bench.id("my-data");
    bench.lvm.lv_create(&id, &bench.new_lv(8)).unwrap();
    let path = PathBuf::from(format!("/dev/{id}"));
    let node = path.canonicalize().unwrap();
    let mapper = format!("/dev/mapper/{}-my--data", bench.vg.as_str().replace('-', "--"));
    for name in [path.as_path(), node.as_path(), Path::new(&mapper)] {
        let found = bench.lvm.lv_of_device(name).unwrap();
        assert_eq!(found.map(|lv| lv.id), Some(id.clone()), "{}", name.display());
    }
    assert_eq!(bench.lvm.lv_of_device(bench.disk(0)).unwrap(), None);
    bench.lvm.lv_deactivate(&id).unwrap();
    let inactive = bench.lvm.lv_of_device(&path).unwrap().unwrap();
    assert!(!inactive.active);
    assert_eq!(bench.lvm.lv_of_device(Path::new(&mapper)).unwrap(), None);
}

#[test]
fn metadata_beside_the_data_is_found_by_its_name_and_one_that_has_something_on_it_is_not_blank() {
    let bench = Bench::new(1);
    bench.make_group(&[0]);
    let (lvm, data) = (&bench.lvm, bench.id("data"));
    for name in ["data", "data_meta", "metadata", "other"] {
        lvm.lv_create(&bench.id(name), &bench.new_lv(8)).unwrap();
    }
    let found = lvm.metadata_beside(&data).unwrap();
    let names: Vec<_> = found.into_iter().map(|lv| lv.id.lv.to_string()).collect();
    assert_eq!(names, ["metadata", "data_meta"]);
    let metadata = PathBuf::from(format!("/dev/{}", bench.id("metadata")));
    assert!(lvm.is_blank(&metadata).unwrap());
    sh(&format!("echo something | dd of={} conv=fsync status=none", metadata.display()));
    assert!(!lvm.is_blank(&metadata).unwrap());
}

#[test]
fn a_disk_is_known_by_a_link_to_it() {
    let bench = Bench::new(1);
    bench.make_group(&[0]);
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("disk");
    std::os::unix::fs::symlink(bench.disk(0), &link).unwrap();
    let pv = bench.lvm.pv_of_device(&link).unwrap().unwrap();
    assert_eq!(pv.vg.as_ref(), Some(&bench.vg));
    let refused = bench.lvm.pv_create(&link, &lvm::NewPv::default()).unwrap_err();
    assert!(matches!(refused.refusal(), Some(Refusal::IsPv { .. })), "{refused:?}");
}
