//! What a pool that is at rest holds: its devices and their content, to the byte, as `thin_dump` finds them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use thinpool::catalog::{Catalog, DeviceState};

use crate::support::{CatalogFile, ok};

/// The size of a data block.
const BLOCK: usize = 64 << 10;

/// What isn't zero on a device, by the number of the block.
type Content = BTreeMap<u64, Vec<u8>>;

/// The content of devices, by their ids.
#[derive(Default)]
pub struct Contents(BTreeMap<u32, Content>);

impl Contents {
    /// Of the pool in this directory, which must not be active.
    pub fn of(pool: &Path) -> Self {
        Self::from_dump(&dump(pool), &pool.join("data"), |_| true)
    }

    /// Fails unless the pool, which must not be active, is sound, and on these devices not a bit has changed.
    pub fn assert_kept(&self, pool: &Path, context: &str) {
        let dump = assert_sound(pool, context);
        let now = Self::from_dump(&dump, &pool.join("data"), |id| self.0.contains_key(&id));
        for (id, content) in &self.0 {
            let found = now.0.get(id).unwrap_or_else(|| panic!("{context}: device {id} is gone"));
            assert!(found == content, "{context}: what is on device {id} has changed");
        }
    }

    fn from_dump(dump: &str, data: &Path, wanted: impl Fn(u32) -> bool) -> Self {
        let data = File::open(data).expect("opens");
        let mut contents = Self::default();
        let mut current = None;
        for line in dump.lines() {
            let value = |name: &str| value(line, name);
            if let Some(id) = value("dev_id") {
                let id = u32::try_from(id).expect("24 bits");
                current = wanted(id).then_some(id);
                if wanted(id) {
                    contents.0.insert(id, Content::new());
                }
            }
            let (first, at, length) = match (value("origin_block"), value("origin_begin")) {
                (Some(block), _) => (block, value("data_block"), Some(1)),
                (_, Some(begin)) => (begin, value("data_begin"), value("length")),
                _ => continue,
            };
            let (at, length) = (at.expect("a place"), length.expect("a length"));
            let Some(content) = current.and_then(|id| contents.0.get_mut(&id)) else { continue };
            for number in 0..length {
                let mut block = vec![0; BLOCK];
                data.read_exact_at(&mut block, (at + number) * BLOCK as u64).expect("read");
                if block.iter().any(|byte| *byte != 0) {
                    content.insert(first + number, block);
                }
            }
        }
        contents
    }
}

/// Fails unless the pool, which must not be active, has exactly the devices that the catalog knows, all of them finished
/// and needed, in sound metadata; gives that as text.
pub fn assert_sound(pool: &Path, context: &str) -> String {
    let dump = dump(pool);
    assert_agree(pool, &dump, context);
    dump
}

/// Sound metadata, as text.
fn dump(pool: &Path) -> String {
    let metadata = pool.join("metadata");
    ok(Command::new("thin_check").arg("--quiet").arg(&metadata));
    ok(Command::new("thin_dump").arg(&metadata))
}

fn assert_agree(pool: &Path, dump: &str, context: &str) {
    let path = pool.join("catalog.db");
    let catalog = Catalog::open(&path).expect("opens").unwrap_or_else(|| panic!("{context}: no catalog"));
    assert_eq!(catalog.intent().expect("read"), None, "{context}: an intent is open");
    for state in [DeviceState::Pending, DeviceState::Draft, DeviceState::Deleted] {
        assert_eq!(catalog.devices_in(state).expect("listed"), [], "{context}: {state:?}");
    }
    let known = CatalogFile::read(&path);
    let there: BTreeSet<u32> = dump
        .lines()
        .filter_map(|line| value(line, "dev_id"))
        .map(|id| u32::try_from(id).expect("24 bits"))
        .collect();
    assert_eq!(there, known.devices, "{context}: the pool's devices, and those of the catalog");
    let transaction = dump.lines().next().and_then(|line| value(line, "transaction"));
    assert_eq!(transaction, Some(known.transaction.into()), "{context}: transaction ids");
    assert_eq!(known.useless, BTreeSet::new(), "{context}: devices that nothing needs");
}

/// The number that an attribute has.
fn value(line: &str, name: &str) -> Option<u64> {
    let from = line.split_once(&format!(" {name}=\""))?.1;
    from.split_once('"')?.0.parse().ok()
}
