//! `thinpool usage` and `thinpool tree`: who has what, of a pool that is used meanwhile.

use std::process::Command;

use serde_json::Value;

use crate::support::{Bench, ok};

fn bytes(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} of {value}"))
}

fn device<'a>(usage: &'a Value, role: &str) -> &'a Value {
    let devices = usage["devices"].as_array().expect("an array");
    devices.iter().find(|device| device["role"] == role).unwrap_or_else(|| panic!("no {role} in {usage}"))
}

#[test]
fn what_each_device_has_adds_up_to_what_the_pool_uses_and_what_a_container_writes_is_its_own() {
    let bench = Bench::with_image("one");
    bench.ok(["container", "create", "one", "--name", "web"]);
    let at = bench.ok(["container", "mount", "web"]);
    let json =
        |command: &str| -> Value { serde_json::from_str(&bench.ok([command, "--json"])).expect("JSON") };
    let before = json("usage");
    std::fs::write(std::path::Path::new(at.trim_end()).join("large"), vec![7; 8 << 20]).expect("written");
    ok(Command::new("sync").arg("-f").arg(at.trim_end()));
    let after = json("usage");
    let grown = bytes(device(&after, "container"), "exclusive_bytes")
        - bytes(device(&before, "container"), "exclusive_bytes");
    assert!(grown >= 8 << 20, "{before}\n{after}");
    assert_eq!(
        bytes(&after, "exclusive_bytes") + bytes(&after, "shared_bytes"),
        bytes(&after, "used_bytes"),
        "{after}"
    );
    assert_eq!(bytes(&after, "unmapped_bytes"), 0);
    assert_eq!(bytes(&after, "used_bytes"), bytes(&bench.status()["kernel"]["data"], "used"));
    assert_eq!(bench.status()["kernel"]["held_metadata_root"], Value::Null);
    assert_eq!(device(&after, "image")["images"][0], "one");
    let tree = bench.ok(["tree"]);
    let names: Vec<&str> =
        tree.lines().skip(1).map(|line| line.trim_start().split("   ").next().expect("a name")).collect();
    assert_eq!(names, ["base", "`-- one", "`-- web"], "{tree}");
    bench.ok(["container", "unmount", "web"]);
    bench.ok(["deactivate"]);
    let resting = json("usage");
    assert_eq!(
        bytes(&resting, "used_bytes"),
        bytes(&resting, "exclusive_bytes") + bytes(&resting, "shared_bytes")
    );
    assert_eq!(json("tree")["unmeasured"], Value::Null);
}

#[test]
fn a_tree_is_shown_without_numbers_while_somebody_else_reads_the_metadata() {
    let bench = Bench::with_image("one");
    ok(Command::new("dmsetup").args(["message", &bench.pool(), "0", "reserve_metadata_snap"]));
    let said = bench.fails(6, ["usage"]);
    assert!(said.contains("release_metadata_snap"), "{said}");
    let said = bench.run(["tree"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("not shown") && said.out.contains("one"), "{said:?}");
    ok(Command::new("dmsetup").args(["message", &bench.pool(), "0", "release_metadata_snap"]));
    bench.ok(["usage"]);
}
