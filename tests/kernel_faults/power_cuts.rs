//! The power goes at any flush: catalog, data and metadata on one disk, whose writes are played back up to there.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use thinpool::pool::{MountRequest, Pool, PoolError};

use super::content::assert_sound;
use super::log_writes::{LoggedDisk, attach};
use super::support::{Bench, SMALL, ok, run};
use super::verbs::{name, pool, small};

/// How many cuts are tried when nobody asks for more: other ones in each run.
const SAMPLE: usize = 12;

/// What people did, and what is there once it was acknowledged: images, containers, and what `kept` has in its file.
struct Step {
    does: &'static str,
    images: &'static [&'static str],
    containers: &'static [&'static str],
    written: Option<&'static str>,
}

const fn step(
    does: &'static str,
    images: &'static [&'static str],
    containers: &'static [&'static str],
    written: Option<&'static str>,
) -> Step {
    Step { does, images, containers, written }
}

const STEPS: &[Step] = &[
    step("setup", &[], &[], None),
    step("image import small SMALL", &["small"], &[], None),
    step("container create small --name kept", &["small"], &["kept"], None),
    step("write one", &["small"], &["kept"], Some("one")),
    step("container create small --name large --size 96M", &["small"], &["kept", "large"], Some("one")),
    step("image import second SECOND", &["second", "small"], &["kept", "large"], Some("one")),
    step("container remove large", &["second", "small"], &["kept"], Some("one")),
    step("image remove second", &["small"], &["kept"], Some("one")),
    step("container create small --name web", &["small"], &["kept", "web"], Some("one")),
    step("write two", &["small"], &["kept", "web"], Some("two")),
    step("container rename web ui", &["small"], &["kept", "ui"], Some("two")),
    step("container activate ui", &["small"], &["kept", "ui"], Some("two")),
    step("container resize ui 96M", &["small"], &["kept", "ui"], Some("two")),
    step("container deactivate ui", &["small"], &["kept", "ui"], Some("two")),
    step("container resize kept 96M", &["small"], &["kept", "ui"], Some("two")),
    step("container commit kept third", &["small", "third"], &["kept", "ui"], Some("two")),
    step("setup --base-size 96M", &["small", "third"], &["kept", "ui"], Some("two")),
    step("deactivate", &["small", "third"], &["kept", "ui"], Some("two")),
    step("activate", &["small", "third"], &["kept", "ui"], Some("two")),
    step("container remove ui", &["small", "third"], &["kept"], Some("two")),
];

#[test]
fn a_power_cut_at_any_flush_loses_nothing_that_was_acknowledged_and_keeps_nothing_else() {
    let _alone = super::alone();
    let bench = Bench::new();
    let bed = Bed::new(&bench);
    let disk = bed.logged();
    for step in STEPS {
        println!("{}", step.does);
        take(&bench, step);
        disk.mark(&step.does.replace(' ', "_"));
    }
    bench.ok(["deactivate"]);
    bed.unmount();
    let entries = disk.end();
    let (log, replay) = (File::open(bed.path("log")).expect("opens"), bed.path("replay"));
    ok(Command::new("cp").arg("--sparse=always").arg(bed.path("blank")).arg(&replay));
    let onto = File::options().write(true).open(&replay).expect("opens");
    let chosen = chosen(entries.iter().filter(|entry| entry.is_cut()).count());
    let (mut cut, mut acknowledged) = (0, 0);
    for (at, entry) in entries.iter().enumerate() {
        entry.replay(&log, &onto);
        if entry.mark.as_deref().is_some_and(|mark| mark != "dm-log-writes-end") {
            acknowledged += 1;
        }
        if entry.is_cut() {
            if chosen.contains(&cut) {
                println!("cut {cut}, entry {at} of {}, {acknowledged} acknowledged", entries.len());
                bed.come_up(&bench, acknowledged, &format!("cut {cut}, {acknowledged} acknowledged"));
            }
            cut += 1;
        }
    }
    assert_eq!(acknowledged, STEPS.len(), "marks are missing");
    println!("{cut} cuts");
}

/// All cuts, or some that are spread evenly from a random one on.
fn chosen(count: usize) -> BTreeSet<usize> {
    if std::env::var("THINPOOL_FAULTS").is_ok_and(|asked| asked == "all") {
        return (0..count).collect();
    }
    let start = usize::from(uuid::Uuid::new_v4().as_bytes()[0]);
    (0..SAMPLE).map(|at| (start + at * count / SAMPLE) % count).collect()
}

fn take(bench: &Bench, step: &Step) {
    let words: Vec<String> = step
        .does
        .split(' ')
        .map(|word| match word {
            "SMALL" | "SECOND" => tree(bench, word).display().to_string(),
            word => word.to_owned(),
        })
        .collect();
    match words[0].as_str() {
        "setup" if words.len() == 1 => drop(bench.ok(SETUP.map(small))),
        "write" => write(bench, &words[1]),
        _ => drop(bench.ok(words)),
    }
}

const SETUP: [&str; 10] = SMALL;

/// A tree to import.
fn tree(bench: &Bench, name: &str) -> PathBuf {
    let tree = bench.beside(name);
    if !tree.exists() {
        std::fs::create_dir(&tree).expect("made");
        std::fs::write(tree.join("file"), name).expect("written");
    }
    tree
}

fn write(bench: &Bench, what: &str) {
    let at = bench.ok(["container", "mount", "kept"]);
    std::fs::write(Path::new(at.trim_end()).join("written"), content(what)).expect("written");
    bench.ok(["container", "unmount", "kept"]);
}

fn content(what: &str) -> String {
    what.repeat(100_000)
}

/// The directory with the pool, on a disk of its own.
struct Bed<'b> {
    bench: &'b Bench,
}

impl<'b> Bed<'b> {
    fn new(bench: &'b Bench) -> Self {
        let bed = Self { bench };
        std::fs::create_dir(bench.root()).expect("made");
        File::create(bed.path("disk")).and_then(|file| file.set_len(384 << 20)).expect("made");
        let lazy = "lazy_itable_init=0,lazy_journal_init=0";
        ok(Command::new("mkfs.ext4").args(["-q", "-F", "-E", lazy]).arg(bed.path("disk")));
        ok(Command::new("cp").arg("--sparse=always").arg(bed.path("disk")).arg(bed.path("blank")));
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench.beside(name)
    }

    fn logged(&self) -> LoggedDisk {
        let name = format!("{}-logged", self.bench.name);
        let disk = LoggedDisk::new(&name, &self.path("disk"), &self.path("log"));
        ok(Command::new("mount").arg(disk.node()).arg(self.bench.root()));
        disk
    }

    fn unmount(&self) {
        // A loop device lets go of its file a moment after its last user has gone.
        super::support::wait_until("the disk's last user to go", || {
            run(Command::new("umount").arg(self.bench.root())).code == 0
        });
    }

    /// The machine comes up with what is on the disk now, and has to find what was acknowledged.
    fn come_up(&self, bench: &Bench, acknowledged: usize, context: &str) {
        let disk = self.path("cut");
        ok(Command::new("cp").arg("--sparse=always").arg(self.path("replay")).arg(&disk));
        let node = attach(&disk);
        ok(Command::new("mount").args([&node, &bench.root().display().to_string()]));
        settled(bench, acknowledged, context);
        pool(bench, |pool| pool.deactivate().map(drop));
        assert_sound(&bench.state(), context);
        self.unmount();
        ok(Command::new("losetup").args(["--detach", &node]));
        std::fs::remove_file(&disk).expect("removed");
    }
}

/// Fails unless there is what was acknowledged, and of what came next all or nothing.
fn settled(bench: &Bench, acknowledged: usize, context: &str) {
    if acknowledged == 0 {
        // A setup that was not acknowledged is finished or done over by the next.
        bench.ok(SETUP.map(small));
    }
    let before = acknowledged.saturating_sub(1);
    let after = acknowledged.min(STEPS.len() - 1);
    pool(bench, |pool| {
        let found = found(pool)?;
        let all_or_nothing =
            [&STEPS[before], &STEPS[after]].map(|step| (owned(step.images), owned(step.containers)));
        assert!(all_or_nothing.contains(&found), "{context}: {found:?} is none of {all_or_nothing:?}");
        let writes: BTreeSet<_> = [STEPS[before].written, STEPS[after].written].into();
        if let (Some(Some(written)), 1) = (writes.first(), writes.len()) {
            let at = pool.mount_container(&name("kept"), &MountRequest::default())?;
            let read = std::fs::read_to_string(at.join("written")).expect("what was acknowledged");
            assert!(read == content(written), "{context}: the content is another");
            pool.unmount_container(&name("kept"))?;
        }
        Ok(())
    });
}

fn found(pool: &Pool<'_>) -> Result<(BTreeSet<String>, BTreeSet<String>), PoolError> {
    let images = pool.images()?.into_iter().map(|status| status.image.name).collect();
    let containers = pool.containers()?.into_iter().map(|status| status.container.name).collect();
    Ok((images, containers))
}

fn owned(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
