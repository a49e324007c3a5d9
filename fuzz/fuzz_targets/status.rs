//! What the kernel says, and what stands on a metadata device.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thinpool::dm::{PoolStatus, Superblock, Table, ThinStatus};
use thinpool::units::Sectors;

fuzz_target!(|bytes: &[u8]| {
    drop(Superblock::read(bytes));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    drop(text.parse::<PoolStatus>());
    drop(text.parse::<ThinStatus>());
    for target in ["thin-pool", "thin", "linear"] {
        // A table that is understood is printed as it was read.
        if let Ok(Some(table)) = Table::parse(target, Sectors(2048), text) {
            let again = Table::parse(target, Sectors(2048), &table.to_string());
            assert_eq!(again.expect("what was printed is read"), Some(table));
        }
    }
});
