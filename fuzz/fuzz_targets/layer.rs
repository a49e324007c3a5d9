//! Any bytes as the tar of a layer, unpacked over another one: whiteouts, links and all.
#![no_main]

mod scratch;

use libfuzzer_sys::fuzz_target;
use thinpool::image::{LayerKind, UnpackOptions, unpack};

use scratch::Scratch;

fuzz_target!(|tar: &[u8]| {
    let scratch = Scratch::new();
    // What a layer below has: among it a link that leads out.
    let root = scratch.path("root");
    std::fs::create_dir(root.join("d")).expect("made");
    std::fs::write(root.join("d/f"), "below").expect("written");
    std::os::unix::fs::symlink("../outside", root.join("out")).expect("linked");
    let options = UnpackOptions { kind: LayerKind::Image, strict_end: tar.len() % 2 == 0, spool_dir: scratch.path("spool") };
    drop(unpack(tar, &root, &options));
    scratch.assert_nothing_outside();
});
