//! A pool of its own for every test.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A pool's name and directory. What a test leaves of it is removed, whatever it was.
pub struct Bench {
    pub name: String,
    pub directory: TempDir,
}

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Bench {
    /// A name and a directory, and no pool yet.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { name, directory: tempfile::tempdir().expect("a directory") }
    }

    /// A small pool with an ext4 base, which is made in no time.
    pub fn with_pool() -> Self {
        let bench = Self::new();
        bench.ok(SMALL);
        bench
    }

    /// A small pool with this file system.
    pub fn with_file_system(fs: &str) -> Self {
        let bench = Self::new();
        bench.ok(SMALL.map(|argument| if argument == "ext4" { fs } else { argument }));
        bench
    }

    /// A small pool with an image that has one file, called `file`.
    pub fn with_image(image: &str) -> Self {
        Self::with_pool().and_image(image)
    }

    /// The same, where there is a pool already.
    pub fn and_image(self, image: &str) -> Self {
        self.import_tree(image);
        self
    }

    /// Imports an image of one file.
    pub fn import_tree(&self, image: &str) {
        let tree = self.beside(image);
        std::fs::create_dir(&tree).expect("a directory");
        std::fs::write(tree.join("file"), "of the image").expect("a file");
        self.ok(importing(image, &tree));
    }

    /// `/var/lib/thinpool` of this test.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// The pool's own directory.
    pub fn state(&self) -> PathBuf {
        self.root().join(&self.name)
    }

    /// The command with this test's pool and directory.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(thinpool());
        command.arg("--pool").arg(&self.name).arg("--root").arg(self.root()).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Runs the command.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Said {
        self.command(arguments).output().expect("thinpool runs").into()
    }

    /// Runs the command and gives the places before and after each of its steps, in their order.
    pub fn places<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> (Said, Vec<String>) {
        let names = self.beside("steps");
        let said =
            self.command(arguments).env("THINPOOL_STEPS", &names).output().expect("thinpool runs").into();
        let places = std::fs::read_to_string(&names).expect("names");
        std::fs::remove_file(&names).expect("removed");
        (said, places.lines().map(str::to_owned).collect())
    }

    /// Runs the command, which must succeed, and gives what it printed.
    pub fn ok<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    }

    /// Runs the command, which must fail with this code, and gives its error.
    pub fn fails<S: AsRef<OsStr>>(&self, code: i32, arguments: impl IntoIterator<Item = S>) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.err.starts_with("thinpool: ") || said.err.starts_with("error: "), "{said:?}");
        said.err
    }

    /// Starts the command, with pipes to and from it.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("thinpool starts")
    }

    /// A listing as JSON: of `image` or `container`.
    pub fn list(&self, what: &str) -> Vec<Value> {
        serde_json::from_str(&self.ok([what, "list", "--json"])).expect("an array")
    }

    /// The ids of the devices in a listing.
    pub fn listed(&self, what: &str) -> BTreeSet<u32> {
        let id = |value: &Value| u32::try_from(value["device_id"].as_u64().expect("an id")).expect("24 bits");
        self.list(what).iter().map(id).collect()
    }

    /// Shows what an image has in it: a container of it, for a moment.
    pub fn look_into(&self, image: &str, look: impl FnOnce(&Path)) {
        let container = self.ok(["container", "create", image]);
        let container = container.trim_end();
        let at = self.ok(["container", "mount", container]);
        look(Path::new(at.trim_end()));
        self.ok(["container", "unmount", container]);
        self.ok(["container", "remove", container]);
    }

    /// A path beside the pool, for what a test needs besides.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The status as JSON, whatever its exit code.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.run(["status", "--json"]).out).expect("JSON")
    }

    /// The device-mapper devices of this test.
    pub fn devices(&self) -> Vec<String> {
        let all = run(Command::new("dmsetup").args(["info", "-c", "--noheadings", "-o", "name"])).out;
        all.lines()
            .map(str::trim)
            .filter(|name| name.starts_with(&format!("{}-", self.name)))
            .map(str::to_owned)
            .collect()
    }

    /// Takes away whatever device-mapper has of this test.
    pub fn remove_nodes(&self) {
        self.unmount();
        let (pools, thins): (Vec<String>, Vec<String>) =
            self.devices().into_iter().partition(|name| name.ends_with("-pool"));
        for device in thins.iter().chain(&pools) {
            let _ = Command::new("dmsetup").args(["remove", "--retry", device]).output();
        }
    }

    /// Where anything of this test is mounted.
    fn mounts(&self) -> Vec<String> {
        let here = self.directory.path().display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours =
            |line: &&str| line.contains(&here) || line.contains(&format!("/dev/mapper/{}-", self.name));
        mounts.lines().filter(ours).filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect()
    }

    fn unmount(&self) {
        for mount in self.mounts() {
            let _ = Command::new("umount").arg(mount).output();
        }
    }

    /// The files of this test that loop devices are attached to.
    pub fn attached(&self) -> Vec<String> {
        let all = run(Command::new("losetup").args(["-ln", "-O", "BACK-FILE"])).out;
        let here = self.directory.path().display().to_string();
        all.lines().map(str::trim).filter(|file| file.starts_with(&here)).map(str::to_owned).collect()
    }
}

/// What a small pool is set up with.
pub const SMALL: [&str; 10] = [
    "setup",
    "--no-enable",
    "--loop-data-size",
    "2G",
    "--loop-metadata-size",
    "16M",
    "--base-size",
    "512M",
    "--fs",
    "ext4",
];

impl Drop for Bench {
    /// By other tools than the one under test, since that may be what is broken.
    fn drop(&mut self) {
        self.remove_nodes();
        for file in self.attached() {
            for device in run(Command::new("losetup").args(["-nl", "-O", "NAME", "-j", &file])).out.lines() {
                let _ = Command::new("losetup").args(["-d", device.trim()]).output();
            }
        }
        // What lay under the loop files, each of which is let go a moment after its last user has gone.
        happens(|| {
            self.unmount();
            self.mounts().is_empty()
        });
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs another command.
pub fn run(command: &mut Command) -> Said {
    command.stdin(Stdio::null()).output().expect("the command runs").into()
}

/// Runs another command, which must succeed.
pub fn ok(command: &mut Command) -> String {
    let said = run(command);
    assert_eq!(said.code, 0, "{command:?}: {said:?}");
    said.out
}

/// The binary under test: what cargo built, or, in the machine, what stands beside this test.
pub fn thinpool() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_thinpool"));
    if built.exists() { built.to_owned() } else { PathBuf::from("thinpool") }
}

/// The arguments that import an image.
pub fn importing<'a>(name: &'a str, source: &'a Path) -> [&'a OsStr; 4] {
    ["image".as_ref(), "import".as_ref(), name.as_ref(), source.as_os_str()]
}

/// What is to happen happens long before this, also in an emulated machine that others slow down: a test that hangs fails.
pub const GUARD: Duration = Duration::from_secs(120);

/// Waits for something that happens soon, and fails when it doesn't.
pub fn wait_until(what: &str, happened: impl FnMut() -> bool) {
    assert!(happens(happened), "waited {GUARD:?}: {what}");
}

/// Whether something happens before the guard's time is up.
pub fn happens(mut happened: impl FnMut() -> bool) -> bool {
    let give_up = Instant::now() + GUARD;
    while !happened() {
        if Instant::now() >= give_up {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Fails unless the pool has exactly the devices that the catalog knows, all of them finished and needed, and sound
/// metadata. Whatever a killed command left is settled here. Nothing of the pool may be in use.
pub fn assert_pool_and_catalog_agree(bench: &Bench) {
    bench.ok(["deactivate"]);
    bench.ok(["activate"]);
    assert_eq!(bench.devices(), [format!("{}-pool", bench.name)], "nodes that nobody asked for");
    let listed: BTreeSet<u32> = bench.listed("image").union(&bench.listed("container")).copied().collect();
    bench.ok(["deactivate"]);
    let metadata = bench.state().join("metadata");
    ok(Command::new("thin_check").arg(&metadata));
    let dump = ok(Command::new("thin_dump").arg(&metadata));
    let catalog = CatalogFile::read(&bench.state().join("catalog.db"));
    assert_eq!(numbers(&dump, "dev_id=\""), catalog.devices, "the pool's devices, and those of the catalog");
    let superblock = dump.lines().next().unwrap_or_default();
    assert_eq!(numbers(superblock, "transaction=\""), BTreeSet::from([catalog.transaction]));
    assert_eq!(
        catalog.useless,
        BTreeSet::new(),
        "devices that are half made, half deleted or needed by nothing"
    );
    assert!(listed.is_subset(&catalog.devices), "{listed:?} of {:?}", catalog.devices);
    bench.ok(["activate"]);
}

/// The numbers that stand after a word.
fn numbers(text: &str, before: &str) -> BTreeSet<u32> {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    text.split(before).skip(1).map(|rest| digits(rest).parse().expect("a number")).collect()
}

/// What the catalog says, read past the program that wrote it.
pub struct CatalogFile {
    pub transaction: u32,
    pub devices: BTreeSet<u32>,
    pub useless: BTreeSet<u32>,
}

impl CatalogFile {
    pub fn read(path: &Path) -> Self {
        const USELESS: &str = "
            WITH RECURSIVE needed (id) AS (
                SELECT id FROM device WHERE kind = 'base'
                UNION SELECT device FROM image
                UNION SELECT device FROM container
                UNION SELECT device.origin FROM device JOIN needed ON device.id = needed.id)
            SELECT id FROM device WHERE state != 'ready' OR id NOT IN (SELECT id FROM needed WHERE id NOT NULL)";
        let file = rusqlite::Connection::open(path).expect("the catalog");
        let ids = |query| {
            let mut query = file.prepare(query).expect("a query");
            query.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("ids")
        };
        Self {
            transaction: file
                .query_row("SELECT transaction_id FROM pool", [], |row| row.get(0))
                .expect("an id"),
            devices: ids("SELECT id FROM device"),
            useless: ids(USELESS),
        }
    }
}
