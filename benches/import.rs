//! How fast an import unpacks, as a share of GNU tar's speed on the same archive in the same run: a time alone would say
//! more of the machine than of the program.
//!
//! ```text
//! cargo bench --bench import
//! THINPOOL_BENCH_TREE=/usr/share THINPOOL_BENCH_RUNS=9 cargo bench --bench import
//! ```
//!
//! The tree (`/usr/lib` unless told otherwise) is packed once for each compression, and unpacked in turns by both, below
//! `TMPDIR`: put that on the kind of file system you care for. Ours also computes the digests that name a layer, which
//! tar doesn't. Each line has the medians, the ratio of the medians (2.00 is twice as fast as tar), and the smallest and
//! largest ratio of a single turn.
#![allow(clippy::unwrap_used, reason = "a failure of a benchmark has nobody to be told to but who runs it")]

#[path = "../tests/one_directory/mod.rs"]
mod one_directory;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use self::one_directory::import_to;

fn main() {
    let tree = std::env::var_os("THINPOOL_BENCH_TREE").map_or(PathBuf::from("/usr/lib"), PathBuf::from);
    let runs = std::env::var("THINPOOL_BENCH_RUNS").map_or(5, |runs| runs.parse().unwrap());
    let work = tempfile::tempdir().unwrap();
    println!("{}, {runs} runs", tree.display());
    for (name, option) in
        [("plain", "--no-auto-compress"), ("gzip", "--gzip"), ("zstd", "--zstd"), ("xz", "--xz")]
    {
        let archive = work.path().join(name);
        run(Command::new("tar")
            .args(["--format=posix", option, "-cf"])
            .arg(&archive)
            .arg("-C")
            .arg(&tree)
            .arg("."));
        println!("{name:6} {}", compare(&archive, &work.path().join("root"), runs));
        fs::remove_file(&archive).unwrap();
    }
}

/// Unpacks an archive by both, in turns, so that a busy minute of the machine hits both.
fn compare(archive: &Path, root: &Path, runs: usize) -> String {
    let turn = || {
        let theirs = time(root, || {
            run(Command::new("tar").args(["--xattrs", "-xf"]).arg(archive).arg("-C").arg(root));
        });
        (theirs, time(root, || drop(import_to(archive, root))))
    };
    let turns: Vec<(Duration, Duration)> = (0..runs).map(|_| turn()).collect();
    let (theirs, ours) = turns.iter().copied().unzip();
    let (theirs, ours): (Duration, Duration) = (median(theirs), median(ours));
    let ratios: Vec<f64> = turns.iter().map(|(theirs, ours)| theirs.div_duration_f64(*ours)).collect();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    let ratio = theirs.div_duration_f64(ours);
    format!("tar {theirs:8.3?}  ours {ours:8.3?}  {ratio:.2} x tar's speed ({least:.2} to {most:.2})")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// How long it takes to fill an empty directory. What others left to be written doesn't count.
fn time(root: &Path, fill: impl FnOnce()) -> Duration {
    let _ = fs::remove_dir_all(root);
    fs::create_dir(root).unwrap();
    run(&mut Command::new("sync"));
    let start = Instant::now();
    fill();
    start.elapsed()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
