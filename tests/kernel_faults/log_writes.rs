//! A disk whose writes are written down in the order in which they became durable: dm-log-writes, and its log played back.
//!
//! The target logs a write only once a flush that came after it has ended (or at once, if it had FUA). So whatever
//! precedes a point of the log is what a disk with a volatile cache may hold when the power goes there, and all that was not
//! flushed by then is lost. Format: `struct log_write_super` and `log_write_entry` of drivers/md/dm-log-writes.c.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{ok, run};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

/// A disk under dm-log-writes.
pub struct LoggedDisk {
    name: String,

    log: PathBuf,
    loops: Vec<String>,
}

/// One entry of a log.
#[derive(Debug)]
pub struct Entry {
    flags: u64,
    /// Where on the disk it belongs, and how long it is.
    offset: u64,
    length: u64,
    /// Where in the log its data is.
    data: u64,
    /// What it marks.
    pub mark: Option<String>,
}

impl LoggedDisk {
    /// What is written to `disk`, a file, from now on goes to a log in `log`.
    pub fn new(name: &str, disk: &Path, log: &Path) -> Self {
        ok(Command::new("modprobe").arg("dm-log-writes"));
        File::create(log).and_then(|file| file.set_len(4 << 30)).expect("made");
        let loops: Vec<String> = [disk, log].iter().map(|file| attach(file)).collect();
        let sectors = disk.metadata().expect("there").len() / 512;
        let table = format!("0 {sectors} log-writes {} {}", loops[0], loops[1]);
        ok(Command::new("dmsetup").args(["create", name, "--table", &table]));
        Self { name: name.to_owned(), log: log.to_owned(), loops }
    }

    /// The device to use.
    pub fn node(&self) -> PathBuf {
        Path::new("/dev/mapper").join(&self.name)
    }

    /// Notes that something was acknowledged. What is not yet flushed comes after it.
    pub fn mark(&self, what: &str) {
        ok(Command::new("dmsetup").args(["message", &self.name, "0", "mark", what]));
    }

    /// Ends the log. Nobody may use the disk any more.
    pub fn end(self) -> Vec<Entry> {
        ok(Command::new("dmsetup").args(["remove", "--retry", &self.name]));
        read(&File::open(&self.log).expect("opens"))
    }
}

impl Drop for LoggedDisk {
    fn drop(&mut self) {
        run(Command::new("dmsetup").args(["remove", "--retry", &self.name]));
        for node in &self.loops {
            run(Command::new("losetup").args(["--detach", node]));
        }
    }
}

/// A loop device for a file.
pub fn attach(file: &Path) -> String {
    ok(Command::new("losetup").args(["--find", "--show"]).arg(file)).trim().to_owned()
}

fn read(log: &File) -> Vec<Entry> {
    let [magic, version, count] = [0, 8, 16].map(|at| number(log, at));
    assert_eq!((magic, version), (MAGIC, 1), "no log");
    let sector = number(log, 24) & 0xffff_ffff;
    let mut at = sector;
    let mut entries = Vec::new();
    for _ in 0..count {
        let [first, sectors, flags, length] = [0, 8, 16, 24].map(|field| number(log, at + field));
        let mark = (flags & MARK != 0).then(|| {
            let mut text = vec![0; usize::try_from(length).expect("short")];
            log.read_exact_at(&mut text, at + 32).expect("read");
            String::from_utf8(text).expect("a word").trim_end_matches('\0').to_owned()
        });
        let data = at + sector;
        entries.push(Entry { flags, offset: first * sector, length: sectors * sector, data, mark });
        at = if flags & DISCARD == 0 { data + sectors * sector } else { data };
    }
    entries
}

fn number(log: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    log.read_exact_at(&mut bytes, at).expect("read");
    u64::from_le_bytes(bytes)
}

impl Entry {
    /// Whether the power may go right after it, with nothing on the disk but what came before.
    pub fn is_cut(&self) -> bool {
        self.flags & (FLUSH | FUA | MARK) != 0
    }

    /// Does to a disk what was done to the logged one.
    pub fn replay(&self, log: &File, disk: &File) {
        if self.flags & MARK != 0 || self.length == 0 {
            return;
        }
        let mut bytes = vec![0; usize::try_from(self.length).expect("short")];
        if self.flags & DISCARD == 0 {
            log.read_exact_at(&mut bytes, self.data).expect("read");
        }
        disk.write_all_at(&bytes, self.offset).expect("written");
    }
}
