//! What has to be refused, and leave everything as it was.

use lvm::{Bytes, End, LvmError, NewPv, NewVg, Refusal, RunError, Size};

use crate::bench::{Bench, sh};

/// The reason of a refusal; anything else fails the test.
fn reason<T: std::fmt::Debug>(result: Result<T, LvmError>) -> Refusal {
    let error = result.unwrap_err();
    match error.refusal() {
        Some(refusal) => refusal.clone(),
        None => panic!("no reason was found: {error:?}"),
    }
}

#[test]
fn a_disk_with_a_file_system_is_named_and_not_one_byte_of_it_changes() {
    let bench = Bench::new(1);
    let disk = bench.disk(0);
    sh(&format!("mkfs.ext4 -q {}", disk.display()));
    let before = bench.content(0);
    let refusal = reason(bench.lvm.pv_create(disk, &NewPv::default()));
    assert!(matches!(&refusal, Refusal::Signatures { found, .. } if found[0].kind == "ext4"), "{refusal:?}");
    assert!(bench.content(0) == before);
}

#[test]
fn a_mounted_disk_is_never_taken() {
    let bench = Bench::new(1);
    let disk = bench.disk(0);
    let at = tempfile::tempdir().unwrap();
    sh(&format!("mkfs.ext4 -q {0}; mount -o ro {0} {1}", disk.display(), at.path().display()));
    let before = bench.content(0);
    let result = bench.lvm.pv_create(disk, &NewPv::default());
    sh(&format!("umount {}", at.path().display()));
    assert_eq!(reason(result), Refusal::Busy { device: disk.to_owned() });
    assert!(bench.content(0) == before);
}

#[test]
fn a_disk_that_lvm_has_is_not_made_anew() {
    let bench = Bench::new(2);
    bench.lvm.pv_create(bench.disk(1), &NewPv::default()).unwrap();
    bench.make_group(&[0]);
    let before = bench.picture();
    let is_pv = |number: usize, vg| Refusal::IsPv { device: bench.disks[number].clone(), vg };
    let new = NewPv::default();
    assert_eq!(reason(bench.lvm.pv_create(bench.disk(0), &new)), is_pv(0, Some(bench.vg.clone())));
    assert_eq!(reason(bench.lvm.pv_create(bench.disk(1), &new)), is_pv(1, None));
    assert_eq!(reason(bench.lvm.pv_remove(bench.disk(0))), is_pv(0, Some(bench.vg.clone())));
    assert_eq!(bench.picture(), before);
}

#[test]
fn a_group_or_a_volume_that_exists_is_not_made_again() {
    let bench = Bench::new(2);
    bench.make_group(&[0]);
    bench.lvm.pv_create(bench.disk(1), &NewPv::default()).unwrap();
    let id = bench.id("data");
    bench.lvm.lv_create(&id, &bench.new_lv(8)).unwrap();
    let before = bench.picture();
    let again = bench.lvm.vg_create(&bench.vg, &[bench.disk(1)], &NewVg::default());
    assert_eq!(reason(again), Refusal::VgExists { vg: bench.vg.clone() });
    let other = "some-other-group".parse().unwrap();
    let taken = bench.lvm.vg_create(&other, &[bench.disk(0)], &NewVg::default());
    assert!(matches!(reason(taken), Refusal::IsPv { vg: Some(vg), .. } if vg == bench.vg));
    assert_eq!(reason(bench.lvm.lv_create(&id, &bench.new_lv(8))), Refusal::LvExists { lv: id });
    assert_eq!(bench.picture(), before);
}

#[test]
fn a_group_without_room_says_how_much_it_lacks() {
    let bench = Bench::new(1);
    bench.make_group(&[0]);
    let id = bench.id("data");
    bench.lvm.lv_create(&id, &bench.new_lv(100)).unwrap();
    let before = bench.picture();
    let (vg, free) = (bench.vg.clone(), Bytes(152 << 20));
    let large = bench.lvm.lv_create(&bench.id("large"), &bench.new_lv(1000));
    assert_eq!(reason(large), Refusal::NoRoom { vg: vg.clone(), needed: Bytes(1000 << 20), free });
    let grown = bench.lvm.lv_extend(&id, Size::Bytes(Bytes(300 << 20)));
    assert_eq!(reason(grown), Refusal::NoRoom { vg, needed: Bytes(200 << 20), free });
    assert_eq!(bench.picture(), before);
}

#[test]
fn a_volume_in_use_is_neither_removed_nor_deactivated() {
    let bench = Bench::new(1);
    bench.make_group(&[0]);
    let id = bench.id("data");
    bench.lvm.lv_create(&id, &bench.new_lv(8)).unwrap();
    let held = std::fs::File::open(format!("/dev/{id}")).unwrap();
    let in_use = Refusal::InUse { lv: id.clone() };
    assert_eq!(reason(bench.lvm.lv_deactivate(&id)), in_use);
    assert_eq!(reason(bench.lvm.lv_remove(&id, &bench.tag)), in_use);
    assert_eq!(bench.lvm.lv(&id).unwrap().open, Some(true));
    drop(held);
    bench.lvm.lv_remove(&id, &bench.tag).unwrap();
}

#[test]
fn nothing_without_our_tag_is_ever_removed() {
    let bench = Bench::new(1);
    bench.make_group(&[0]);
    let id = bench.id("data");
    bench.lvm.lv_create(&id, &bench.new_lv(8)).unwrap();
    let before = bench.picture();
    let other = "thinpool.test=other".parse().unwrap();
    assert!(matches!(reason(bench.lvm.lv_remove(&id, &other)), Refusal::NotOurs { .. }));
    assert!(matches!(reason(bench.lvm.vg_remove(&bench.vg, &other)), Refusal::NotOurs { .. }));
    let full = reason(bench.lvm.vg_remove(&bench.vg, &bench.tag));
    assert_eq!(full, Refusal::NotEmpty { vg: bench.vg.clone(), lvs: vec![id] });
    assert_eq!(bench.picture(), before);
}

#[test]
fn what_isnt_there_is_told_as_such() {
    let bench = Bench::new(1);
    let (vg, lv) = (bench.vg.clone(), bench.id("data"));
    assert_eq!(bench.lvm.find_vg(&vg).unwrap(), None);
    assert_eq!(bench.lvm.find_lv(&lv).unwrap(), None);
    assert_eq!(reason(bench.lvm.lv_create(&lv, &bench.new_lv(8))), Refusal::NoVg { vg: vg.clone() });
    let (disk, before) = (bench.disk(0), bench.content(0));
    let no_pv = Refusal::NotPv { device: disk.to_owned() };
    assert_eq!(reason(bench.lvm.vg_extend(&vg, &[disk])), no_pv);
    assert_eq!(reason(bench.lvm.vg_create(&vg, &[disk], &NewVg::default())), no_pv);
    assert!(bench.content(0) == before);
    bench.lvm.pv_create(disk, &NewPv::default()).unwrap();
    assert_eq!(reason(bench.lvm.vg_extend(&vg, &[disk])), Refusal::NoVg { vg });
    bench.lvm.pv_remove(disk).unwrap();
    bench.make_group(&[0]);
    assert_eq!(reason(bench.lvm.lv_activate(&lv)), Refusal::NoLv { lv: lv.clone() });
    assert_eq!(reason(bench.lvm.lv_extend(&lv, Size::Bytes(Bytes(1)))), Refusal::NoLv { lv });
    let nowhere = bench.lvm.pv_create(std::path::Path::new("/dev/nowhere"), &NewPv::default());
    assert!(matches!(nowhere, Err(LvmError::Device { .. })), "{nowhere:?}");
}

#[test]
fn somebody_who_keeps_a_groups_lock_keeps_nobody_waiting_for_ever() {
    let bench = Bench::new(1);
    bench.make_group(&[0]);
    let before = bench.picture();
    let lock = std::fs::File::create(format!("/run/lock/lvm/V_{}", bench.vg)).unwrap();
    lock.lock().unwrap();
    let impatient = bench.lvm.clone().with_time_limit(std::time::Duration::from_secs(3));
    let error = impatient.vg_tag(&bench.vg, &["never".parse().unwrap()], &[]).unwrap_err();
    assert!(matches!(error, LvmError::Run(RunError::TimedOut { end: End::Asked, .. })), "{error:?}");
    drop(lock);
    assert_eq!(bench.picture(), before);
}

#[test]
fn a_volume_that_lvm_passes_over_is_not_taken_for_active() {
    let bench = Bench::new(1);
    bench.make_group(&[0]);
    let id = bench.id("data");
    bench.lvm.lv_create(&id, &bench.new_lv(8)).unwrap();
    sh(&format!("lvchange --activate n {id}; lvchange --setactivationskip y {id}"));
    assert!(matches!(reason(bench.lvm.lv_activate(&id)), Refusal::NotActivated { .. }));
}

#[test]
fn a_group_that_lost_a_disk_is_reported_and_refuses_changes_with_that_reason() {
    let bench = Bench::new(2);
    bench.make_group(&[0, 1]);
    let id = bench.id("data");
    bench.lvm.lv_create(&id, &bench.new_lv(400)).unwrap();
    bench.lvm.lv_deactivate(&id).unwrap();
    bench.pull_out(1);

    assert_eq!(bench.lvm.vg(&bench.vg).unwrap().missing_pv_count, 1);
    assert_eq!(bench.lvm.lv(&id).unwrap().health, lvm::LvHealth::Partial);
    let pvs = bench.lvm.pvs_of(&bench.vg).unwrap();
    assert_eq!(pvs.iter().filter(|pv| pv.device.is_none()).count(), 1);
    let missing = Refusal::MissingDisks { vg: bench.vg.clone(), missing: 1 };
    assert_eq!(reason(bench.lvm.lv_extend(&id, Size::Bytes(Bytes(440 << 20)))), missing);
    assert_eq!(reason(bench.lvm.lv_create(&bench.id("more"), &bench.new_lv(8))), missing);
    let inactive = reason(bench.lvm.lv_activate(&id));
    assert!(inactive == missing || matches!(inactive, Refusal::NotActivated { .. }), "{inactive:?}");

    bench.attach(1);
    sh("udevadm settle");
    assert!(bench.lvm.lv_activate(&id).unwrap().active);
}
