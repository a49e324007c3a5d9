//! A pool that is brought into a state, with files that have to come out of it as they were.
//!
//! What is told of a state is what `docs/states.md` says: its table is read here, so the two can't differ.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use thinpool::dm::{Blocks, DeviceMapper, Kernel, Name, PoolMessage, PoolStatus, PoolUsage};
use thinpool::units::{DataBlocks, DeviceId};

use super::fragile::Fragile;
use crate::support::{Bench, Said, ok};
use crate::watched::Monitor;

/// A pool with a container `box` that is mounted, and files in it that are durable and known by their sums.
pub struct Bed {
    pub bench: Bench,
    pub at: PathBuf,
    pub under: Option<Fragile>,
    pub kernel: Kernel,
    pub pool: Name,
    sums: String,
}

impl Bed {
    /// On loop files of these sizes.
    pub fn on_loop_files(data: &str, metadata: &str) -> Self {
        Self::made(Bench::new(), &["--loop-data-size", data, "--loop-metadata-size", metadata])
    }

    /// With this file system, in a small pool. XFS has no less than 300 MiB, and 64 MiB of the
    /// pool are its log's from the beginning.
    pub fn with(file_system: &str, metadata: &str) -> Self {
        Self::with_flags(file_system, metadata, &[])
    }

    /// The same, by a setup with these flags besides.
    pub fn with_flags(file_system: &str, metadata: &str, flags: &[&str]) -> Self {
        let (base, data) = if file_system == "xfs" { ("400M", "192M") } else { ("256M", "96M") };
        let sizes = ["--base-size", base, "--loop-data-size", data, "--loop-metadata-size", metadata];
        Self::set_up(Bench::new(), &[&["--fs", file_system], &sizes[..], flags].concat())
    }

    /// On devices that can be made to fail.
    pub fn on_fragile_devices() -> Self {
        let bench = Bench::new();
        let under = Fragile::new(&bench);
        let nodes = under.nodes();
        let mut bed = Self::made(bench, &["--datadev", &nodes.data, "--metadatadev", &nodes.metadata]);
        bed.under = Some(under);
        bed
    }

    /// On what a setup with these flags takes.
    pub fn made(bench: Bench, flags: &[&str]) -> Self {
        Self::set_up(bench, &[&["--fs", "ext4", "--base-size", "256M"], flags].concat())
    }

    fn set_up(bench: Bench, flags: &[&str]) -> Self {
        bench.ok([&["setup", "--no-enable"], flags].concat());
        let at = bench.with_container();
        let kernel = Kernel::open(Duration::from_secs(10)).expect("device-mapper");
        let pool = Name::new(bench.pool()).expect("a name");
        let mut bed = Self { bench, at, under: None, kernel, pool, sums: String::new() };
        for number in 0..3 {
            bed.write(&format!("file{number}"), 1).expect("room");
        }
        bed.sums =
            ok(Command::new("sha256sum").args((0..3).map(|number| bed.at.join(format!("file{number}")))));
        bed
    }

    /// Writes a file of so many MiB, durably.
    pub fn write(&self, name: &str, mib: usize) -> std::io::Result<()> {
        let mut noise = Vec::new();
        File::open("/dev/urandom")?.take(1 << 20).read_to_end(&mut noise)?;
        let mut file = File::create(self.at.join(name))?;
        (0..mib).try_for_each(|_| file.write_all(&noise))?;
        file.sync_all()
    }

    /// Writes until the data is so full, in per cent.
    pub fn fill_data_to(&self, percent: u64) {
        let is_full = |data: Blocks<DataBlocks>| data.used.0 * 100 >= data.total.0 * percent;
        for number in 0..100 {
            if is_full(self.usage().data) {
                return;
            }
            self.write(&format!("more{number}"), 2).expect("room");
        }
        panic!("it doesn't get full: {:?}", self.usage());
    }

    /// Makes devices that nobody needs, from this one on, until there are enough or no more can be: each takes a block of
    /// metadata for its root. The next one.
    pub fn make_devices(&self, from: u32, enough: impl Fn(&PoolUsage) -> bool) -> u32 {
        let make = |number| self.kernel.message(&self.pool, &PoolMessage::CreateThin(useless(number)));
        (from..from + 1024)
            .find(|number| enough(&self.usage()) || make(*number).is_err())
            .expect("an end of it")
    }

    /// Takes one of them away.
    pub fn delete_device(&self, number: u32) -> Result<(), thinpool::dm::Error> {
        self.kernel.message(&self.pool, &PoolMessage::Delete(useless(number)))
    }

    /// Writes past the page cache, in a process of its own: it may have to wait.
    pub fn start_writing(&self, mib: u32) -> Child {
        let to = format!("of={}", self.at.join("ballast").display());
        let mut dd = Command::new("dd");
        dd.args(["if=/dev/zero", &to, "bs=1M", &format!("count={mib}"), "oflag=direct", "status=none"]);
        dd.stderr(Stdio::piped()).spawn().expect("dd starts")
    }

    /// Writes files of 1 MiB one after the other, until one can't be, or there are so many. Each is synced, and then named with
    /// its sum: from there on it is acknowledged.
    pub fn start_syncing(&self, series: &str, files: u32) -> Child {
        let each = format!("{}/{series}", self.at.display());
        let line = format!(
            "for n in $(seq {files}); do dd if=/dev/urandom of={each}$n bs=1M count=1 conv=fsync status=none; \
             sha256sum {each}$n; done"
        );
        let mut sh = Command::new("sh");
        sh.args(["-ec", &line]).stdout(Stdio::piped()).stderr(Stdio::piped());
        sh.spawn().expect("sh starts")
    }

    /// How such a writer ended; what it was acknowledged has to come through from now on.
    pub fn holds_to(&mut self, writer: Child) -> Said {
        let said: Said = writer.wait_with_output().expect("ends").into();
        assert!(said.out.lines().count() > 1, "{said:?}");
        self.sums += &said.out;
        said
    }

    /// The kernel's numbers, asked without a process.
    pub fn usage(&self) -> PoolUsage {
        match self.kernel.pool_status(&self.pool).expect("told") {
            PoolStatus::Working(usage) => usage,
            other => panic!("{other:?}"),
        }
    }

    /// That the status says of the pool, in all its forms, what the page says of this state.
    pub fn is_told(&self, state: &str) {
        let says = told_of(state);
        let text = self.bench.promptly(["status"]);
        let (code, json) = self.bench.health();
        let metrics = self.bench.promptly(["status", "--prometheus"]);
        let context = format!("{state}: {}\n{json}\n{}", text.out, metrics.out);
        assert_eq!(
            [text.code, code, metrics.code].map(|code| code.to_string()),
            [says["exit code"]; 3],
            "{context}"
        );
        for row in ["Pool Mode", "Health"] {
            let row = format!("{row}: {}", says[row]);
            assert!(text.out.lines().any(|line| line == row), "no '{row}': {context}");
        }
        let (key, severity) = says["problem"].split_once(", ").expect("a key and a severity");
        let problems = json["problems"].as_array().expect("an array");
        assert!(
            problems.iter().any(|problem| problem["key"] == key && problem["severity"] == severity),
            "{context}"
        );
        assert_eq!(
            (&json["health"], &json["kernel"]["mode"]),
            (&says["Health"].into(), &says["mode"].into()),
            "{context}"
        );
        let pool = format!("pool=\"{}\"", self.bench.name);
        let series = |name: &str, labels: &str| {
            let series = format!("thinpool_pool_{name}{{{pool}{labels}}} ");
            metrics.out.lines().find_map(|line| line.strip_prefix(&series)).unwrap_or("none")
        };
        assert_eq!(
            series("problem", &format!(",problem=\"{key}\",severity=\"{severity}\"")),
            "1",
            "{context}"
        );
        assert_eq!(series("mode", &format!(",mode=\"{}\"", says["mode"])), "1", "{context}");
        assert_eq!(series("needs_check", ""), says["needs check"], "{context}");
        match says["when full"] {
            "none" => assert_eq!(json["kernel"]["when_full"].as_str(), None, "{context}"),
            policy => {
                assert_eq!(json["kernel"]["when_full"], policy, "{context}");
                assert_eq!(series("when_full", &format!(",policy=\"{policy}\"")), "1", "{context}");
            }
        }
    }

    /// That the pool is healthy, and the files of the container are what they were, read from the pool anew.
    pub fn has_come_through(&self) {
        self.bench.ok(["container", "unmount", "box"]);
        self.bench.ok(["container", "mount", "box"]);
        let check = format!("echo '{}' | sha256sum --check --quiet", self.sums.trim_end());
        ok(Command::new("sh").args(["-ec", &check]));
        let (code, status) = self.bench.health();
        assert_eq!((code, &status["kernel"]["mode"]), (0, &"read_write".into()), "{status}");
        self.write("later", 1).expect("it can be written to again");
    }

    /// What the page says helps where the metadata is to be looked at: everything is stopped, repaired at rest, and started.
    pub fn stopped_and_repaired(&self) -> Said {
        self.bench.ok(["container", "unmount", "box"]);
        self.repaired()
    }

    /// The same, of a pool whose container isn't mounted.
    pub fn repaired(&self) -> Said {
        self.bench.ok(["deactivate"]);
        let said = self.bench.run(["repair", "--yes"]);
        assert!(matches!(said.code, 0 | 9), "{said:?}");
        self.bench.ok(["activate"]);
        self.bench.ok(["container", "mount", "box"]);
        said
    }
}

impl Drop for Bed {
    /// The pool goes before what it lies on.
    fn drop(&mut self) {
        self.bench.remove_nodes();
        self.under = None;
    }
}

/// The id of a device that nobody needs.
fn useless(number: u32) -> DeviceId {
    DeviceId::try_from(1_000_000 + number).expect("24 bits")
}

/// Whether the kernel's mark for metadata is reached.
pub fn is_low(usage: &PoolUsage) -> bool {
    usage.metadata_low_water.is_some_and(|mark| usage.metadata.free() <= mark)
}

/// That the journal of a monitor says of this state what the page says, by its priority.
pub fn is_in_the_journal(monitor: &Monitor, state: &str) {
    let says = told_of(state)["journal"];
    let (priority, words) = says.split_once(": ").expect("a priority and words");
    let number = match priority {
        "error" => 3,
        "warning" => 4,
        "info" => 6,
        other => panic!("no priority: {other}"),
    };
    monitor.says(&format!("<{number}>{words}"));
}

/// The row of a state in the page's first table, by the names of its columns.
fn told_of(state: &str) -> BTreeMap<&'static str, &'static str> {
    let cells =
        |row: &'static str| row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`'));
    let table =
        include_str!("../../../docs/states.md").split("\n## What is told\n").nth(1).expect("the table");
    let mut rows = table.lines().filter(|line| line.starts_with('|'));
    let names = rows.next().map(cells).expect("a head");
    let row = rows.map(cells).find(|row| row.clone().next() == Some(state));
    names.zip(row.unwrap_or_else(|| panic!("docs/states.md says nothing of '{state}'"))).collect()
}
