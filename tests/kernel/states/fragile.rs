//! Devices that can be made to fail.

use std::process::Command;

use crate::support::{Bench, ok, run};
use crate::tools::reload;

/// What the metadata lies on at first, and what there is for it, in sectors.
const METADATA: u32 = 8 << 11;
const ROOM: u32 = 16 << 11;
const DATA: u32 = 256 << 11;

/// Two devices of device-mapper's on one loop device: for the data, and for the metadata of a pool.
pub struct Fragile {
    disk: String,
    names: [String; 2],
}

/// Where they are.
pub struct Nodes {
    pub data: String,
    pub metadata: String,
}

impl Fragile {
    pub fn new(bench: &Bench) -> Self {
        let file = bench.beside("fragile");
        std::fs::File::create(&file)
            .and_then(|made| made.set_len(u64::from(ROOM + DATA) * 512))
            .expect("a file");
        let disk = ok(Command::new("losetup").args(["--find", "--show"]).arg(&file)).trim().to_owned();
        // Not the pool's own by their names.
        let names = ["data", "metadata"].map(|part| format!("under-{}-{part}", bench.name));
        let fragile = Self { disk, names };
        for (name, table) in fragile
            .names
            .iter()
            .zip([format!("0 {DATA} linear {} {ROOM}", fragile.disk), fragile.sound(METADATA)])
        {
            ok(Command::new("dmsetup").args([
                "create",
                name,
                "--uuid",
                &format!("TEST-{name}"),
                "--table",
                &table,
            ]));
        }
        ok(Command::new("udevadm").arg("settle"));
        fragile
    }

    pub fn nodes(&self) -> Nodes {
        let [data, metadata] = self.names.each_ref().map(|name| format!("/dev/mapper/{name}"));
        Nodes { data, metadata }
    }

    fn sound(&self, sectors: u32) -> String {
        format!("0 {sectors} linear {} 0", self.disk)
    }

    fn metadata_becomes(&self, table: &str) {
        reload(&self.names[1], table);
    }

    /// The metadata can be read and not written.
    pub fn metadata_takes_no_writes(&self) {
        self.metadata_becomes(&format!("0 {METADATA} flakey {} 0 0 60 1 error_writes", self.disk));
    }

    /// The same, of a device that is twice as large by now.
    pub fn larger_metadata_takes_no_writes(&self) {
        self.metadata_becomes(&format!("0 {ROOM} flakey {} 0 0 60 1 error_writes", self.disk));
    }

    /// The metadata's disk is gone.
    pub fn metadata_is_gone(&self) {
        self.metadata_becomes(&format!("0 {METADATA} error"));
    }

    /// The disk is well again.
    pub fn metadata_is_back(&self) {
        self.metadata_becomes(&self.sound(METADATA));
    }

    /// The same, and it is twice as large.
    pub fn larger_metadata_is_back(&self) {
        self.metadata_becomes(&self.sound(ROOM));
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        for name in &self.names {
            run(Command::new("dmsetup").args(["remove", "--retry", name]));
        }
        run(Command::new("losetup").args(["--detach", &self.disk]));
    }
}
