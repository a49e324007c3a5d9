//! From blank disks to a pool's volumes, and back.

use lvm::{Bytes, Extents, NewPv, Percent, Refusal, Size};

use crate::bench::{Bench, DISK, sh};

#[test]
fn a_whole_life_ends_with_nothing_left() {
    let bench = Bench::new(2);
    let (lvm, vg) = (&bench.lvm, &bench.vg);
    let before = bench.picture();
    let pv =
        lvm.pv_create(bench.disk(0), &NewPv { alignment: Some(Bytes(1 << 20)), ..NewPv::default() }).unwrap();
    assert_eq!((pv.vg, pv.device_size), (None, Bytes(DISK)));
    lvm.pv_remove(bench.disk(0)).unwrap();
    assert_eq!(bench.picture(), before);

    bench.make_group(&[0]);
    let group = lvm.vg(vg).unwrap();
    assert_eq!((group.extents, group.free_extents, group.lv_count), (Extents(63), Extents(63), 0));
    assert_eq!(lvm.vgs_tagged(&bench.tag).unwrap(), [group]);

    let (data, meta) = (bench.id("data"), bench.id("data-metadata"));
    let made = lvm.lv_create(&data, &bench.new_lv(100)).unwrap();
    assert!(made.active && made.linear);
    assert_eq!(made.size, Bytes(100 << 20));
    // What was wiped is looked into by udev, which has it open for that.
    sh("udevadm settle");
    assert_eq!(lvm.lv(&data).unwrap().open, Some(false));
    lvm.lv_create(&meta, &bench.new_lv(5)).unwrap();
    assert_eq!(lvm.lv(&meta).unwrap().size, Bytes(8 << 20), "rounded up to whole extents");

    lvm.pv_create(bench.disk(1), &NewPv::default()).unwrap();
    assert_eq!(lvm.vg_extend(vg, &[bench.disk(1)]).unwrap().pv_count, 2);
    assert_eq!(lvm.pvs_of(vg).unwrap().len(), 2);
    let grown = lvm.lv_extend(&data, Size::Bytes(Bytes(400 << 20))).unwrap();
    assert_eq!((grown.size, grown.linear, &grown.uuid), (Bytes(400 << 20), true, &made.uuid));
    let sectors = sh(&format!("blockdev --getsz /dev/{data}"));
    assert_eq!(sectors, (400_u64 << 11).to_string(), "the device grew with the volume");
    assert_eq!(lvm.lv_extend(&data, Size::Bytes(Bytes(1))).unwrap(), grown, "nothing ever shrinks");

    let mut left: Vec<_> = lvm.lvs_tagged(&bench.tag).unwrap().into_iter().map(|lv| lv.id).collect();
    left.sort();
    assert_eq!(left, [data.clone(), meta.clone()]);
    for id in &left {
        lvm.lv_remove(id, &bench.tag).unwrap();
        lvm.lv_remove(id, &bench.tag).unwrap();
    }
    lvm.vg_remove(vg, &bench.tag).unwrap();
    lvm.vg_remove(vg, &bench.tag).unwrap();
    for disk in &bench.disks {
        lvm.pv_remove(disk).unwrap();
        lvm.pv_remove(disk).unwrap();
        assert!(lvm.signatures(disk).unwrap().is_empty());
    }
    assert_eq!(bench.picture(), before);
}

#[test]
fn room_for_growth_is_what_a_share_leaves() {
    let bench = Bench::new(1);
    bench.make_group(&[0]);
    let share = |percent| Percent::new(percent).unwrap();
    let mut new = bench.new_lv(0);
    new.size = Size::PercentOfVg(share(50));
    assert_eq!(bench.lvm.lv_create(&bench.id("a"), &new).unwrap().size, Bytes(31 * (4 << 20)));
    new.size = Size::PercentOfFree(share(100));
    assert_eq!(bench.lvm.lv_create(&bench.id("b"), &new).unwrap().size, Bytes(32 * (4 << 20)));
    assert_eq!(bench.lvm.vg(&bench.vg).unwrap().free(), Bytes(0));
    let error = bench.lvm.lv_create(&bench.id("c"), &new).unwrap_err();
    assert!(matches!(error.refusal(), Some(Refusal::NoRoom { .. })), "{error:?}");
}

#[test]
fn what_an_earlier_volume_left_on_the_disk_is_not_in_the_next() {
    let bench = Bench::new(1);
    bench.make_group(&[0]);
    let id = bench.id("data");
    bench.lvm.lv_create(&id, &bench.new_lv(64)).unwrap();
    sh(&format!("mkfs.ext4 -q /dev/{id}; echo superblock | dd of=/dev/{id} conv=fsync status=none"));
    bench.lvm.lv_remove(&id, &bench.tag).unwrap();
    bench.lvm.lv_create(&id, &bench.new_lv(64)).unwrap();
    let device = format!("/dev/{id}").into();
    let device: &std::path::PathBuf = &device;
    assert!(bench.lvm.signatures(device).unwrap().is_empty());
    assert!(std::fs::read(device).unwrap()[..4096].iter().all(|byte| *byte == 0));
}

#[test]
fn a_volumes_tags_and_activation_are_what_was_asked_for() {
    let bench = Bench::new(1);
    bench.make_group(&[0]);
    let (lvm, id) = (&bench.lvm, bench.id("data"));
    lvm.lv_create(&id, &bench.new_lv(8)).unwrap();
    let (one, two) = ("a/b=c#1&2".parse().unwrap(), "+x.y-z:!".parse().unwrap());
    let lv = lvm.lv_tag(&id, &[one, two], std::slice::from_ref(&bench.tag)).unwrap();
    let tags: Vec<&str> = lv.tags.iter().map(lvm::Tag::as_str).collect();
    assert_eq!(tags, ["+x.y-z:!", "a/b=c#1&2"]);
    assert_eq!(lvm.lvs_tagged(&lv.tags[1]).unwrap().len(), 1, "found by one tag of several");
    assert!(lvm.lvs_tagged(&bench.tag).unwrap().is_empty());

    for _ in 0..2 {
        assert!(!lvm.lv_deactivate(&id).unwrap().active);
        assert!(!std::path::Path::new(&format!("/dev/{id}")).exists());
    }
    for _ in 0..2 {
        assert!(lvm.lv_activate(&id).unwrap().active);
        assert!(std::path::Path::new(&format!("/dev/{id}")).exists());
    }
    assert_eq!(lvm.lv_set_autoactivation(&id, false).unwrap().autoactivation, Some(false));

    let group = lvm.vg_tag(&bench.vg, &["more".parse().unwrap()], std::slice::from_ref(&bench.tag)).unwrap();
    assert_eq!(group.tags, ["more".parse().unwrap()]);
}
