//! What others do when something happens to a pool: commands of theirs, run beside the monitor and never in its way.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use lvm::RunError;
use rustix::fs::{MemfdFlags, memfd_create};
use thiserror::Error;

use super::Notice;

/// How long a hook may take. The next one waits for it, a growth doesn't.
pub const LIMIT: Duration = Duration::from_secs(30);

/// How many events may wait for their hooks.
const WAITING: usize = 64;

/// How long a monitor that ends waits for the hooks of what it has told.
const AT_THE_END: Duration = Duration::from_secs(5);

/// Why a hook was not run, or not well.
#[derive(Debug, Error)]
pub enum HookError {
    /// The directory can't be read.
    #[error("the hooks in {path} can't be listed: {source}")]
    List {
        /// The directory, or what is in its place.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Anybody could have written it, and it would run as root.
    #[error(
        "the hook {0} is not run: others than its owner can write it, or its owner isn't root; `chown root` and `chmod go-w` \
         make it trusted"
    )]
    Untrusted(PathBuf),
    /// It can't be given what it is to read.
    #[error("the hook {path} can't be told anything: {source}")]
    Input {
        /// The hook.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It failed, or took too long.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// The hooks of a monitor; by default there are none.
#[derive(Debug, Default)]
pub struct Hooks {
    path: PathBuf,
    /// Made when there is something to tell and somebody to tell it to.
    queue: Option<Queue>,
}

/// The way to the thread that runs them, one after the other.
#[derive(Debug)]
struct Queue {
    notices: SyncSender<Notice>,
    ended: Receiver<()>,
}

impl Hooks {
    /// A command, or a directory of them. It need not be there: then nobody is told.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, queue: None }
    }

    /// Has every hook told, some time soon.
    pub(super) fn tell(&mut self, notice: Notice) {
        if !self.path.exists() {
            return;
        }
        let queue = match self.queue.take().map_or_else(|| Queue::begin(self.path.clone()), Ok) {
            Ok(queue) => self.queue.insert(queue),
            Err(error) => {
                return tracing::warn!(%error, "the hooks are not told: there is no thread for them");
            }
        };
        if let Err(TrySendError::Full(notice) | TrySendError::Disconnected(notice)) =
            queue.notices.try_send(notice)
        {
            let (pool, event) = (notice.pool(), notice.kind().as_str());
            tracing::warn!(%pool, event, "the hooks are not told of this one: {WAITING} events wait for them");
        }
    }

    /// Gives those that are still to be told a moment.
    pub(super) fn finish(self) {
        let Some(Queue { notices, ended }) = self.queue else { return };
        drop(notices);
        if ended.recv_timeout(AT_THE_END) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("hooks that were still to be told are left out: they take too long");
        }
    }
}

impl Queue {
    fn begin(path: PathBuf) -> io::Result<Self> {
        let (notices, to_tell) = sync_channel::<Notice>(WAITING);
        let (done, ended) = sync_channel(0);
        std::thread::Builder::new().name("hooks".to_owned()).spawn(move || {
            // Dropped when this ends, which is what whoever waits for it hears.
            let _done: SyncSender<()> = done;
            for notice in to_tell {
                let pool = notice.pool();
                for error in run_all(&path, &notice).into_iter().filter_map(|told| told.outcome.err()) {
                    tracing::warn!(%pool, event = notice.kind().as_str(), "{error}");
                }
            }
        })?;
        Ok(Self { notices, ended })
    }
}

/// A hook, and what came of it.
#[derive(Debug)]
pub struct Told {
    /// The hook.
    pub hook: PathBuf,
    /// What came of it.
    pub outcome: Result<(), HookError>,
}

/// Runs every hook there is, one after the other, and waits for each.
#[must_use]
pub fn run_all(path: &Path, notice: &Notice) -> Vec<Told> {
    match commands(path) {
        Ok(hooks) => hooks
            .into_iter()
            .map(|hook| {
                let outcome = run(&hook, notice);
                Told { hook, outcome }
            })
            .collect(),
        Err(source) => {
            let path = path.to_owned();
            vec![Told { hook: path.clone(), outcome: Err(HookError::List { path, source }) }]
        }
    }
}

/// The command itself, or what can be executed in the directory, by name; not what an editor or a package manager left there.
fn commands(path: &Path) -> io::Result<Vec<PathBuf>> {
    let metadata = match path.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        metadata => metadata?,
    };
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = path.read_dir()?.collect::<io::Result<Vec<_>>>()?;
    let is_command = |path: &PathBuf| {
        let left_over = |name: &[u8]| {
            let endings: [&[u8]; 6] =
                [b"~", b".dpkg-old", b".dpkg-new", b".dpkg-dist", b".rpmsave", b".rpmnew"];
            name.starts_with(b".") || endings.iter().any(|ending| name.ends_with(ending))
        };
        let named = path.file_name().is_some_and(|name| !left_over(name.as_bytes()));
        let runs = |metadata: Metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
        named && path.metadata().is_ok_and(runs)
    };
    let mut hooks: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).filter(is_command).collect();
    hooks.sort();
    Ok(hooks)
}

fn run(hook: &Path, notice: &Notice) -> Result<(), HookError> {
    let input = |source| HookError::Input { path: hook.to_owned(), source };
    if !(is_trusted(hook).map_err(input)? && hook.parent().map_or(Ok(true), is_trusted).map_err(input)?) {
        return Err(HookError::Untrusted(hook.to_owned()));
    }
    let told = as_file(notice).map_err(input)?;
    let mut command = Command::new(hook);
    command.env("THINPOOL_EVENT", notice.kind().as_str()).env("THINPOOL_POOL", notice.pool().as_str());
    let said = lvm::run_with_input(&mut command, told, LIMIT)?;
    tracing::debug!(hook = %hook.display(), said = %String::from_utf8_lossy(&said).trim_end(), "told");
    Ok(())
}

/// Whether nobody but root, or whoever we are, can have written it.
fn is_trusted(path: &Path) -> io::Result<bool> {
    let metadata = path.metadata()?;
    let owner = metadata.uid();
    let is_ours = owner == 0 || owner == nix::unistd::geteuid().as_raw();
    // In a directory like /tmp, where all may write, nobody else's file can be replaced.
    let is_sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
    Ok(is_ours && (metadata.mode() & 0o022 == 0 || is_sticky))
}

/// A file, so that nobody has to wait until it is read.
fn as_file(notice: &Notice) -> io::Result<File> {
    let mut file = File::from(memfd_create("notice", MemfdFlags::CLOEXEC)?);
    serde_json::to_writer(&mut file, notice)?;
    file.write_all(b"\n")?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;
    use crate::testing::write_script;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a directory"))
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        /// A script of this name.
        fn hook(&self, name: &str, mode: u32, script: &str) -> PathBuf {
            let path = self.path().join(name);
            write_script(&path, mode, script);
            path
        }
    }

    fn notice() -> Notice {
        Notice::test(&"ci".parse().expect("a name"))
    }

    #[test]
    fn each_hook_reads_the_event_in_the_order_of_their_names() {
        let folder = Folder::new();
        let seen = folder.path().join("seen");
        let script =
            format!("{{ basename $0; echo $THINPOOL_EVENT $THINPOOL_POOL; cat; }} >>{}", seen.display());
        for name in ["20-second", "10-first"] {
            folder.hook(name, 0o755, &script);
        }
        for left_over in [".hidden", "10-first~", "10-first.dpkg-old"] {
            folder.hook(left_over, 0o755, "exit 1");
        }
        folder.hook("README", 0o644, "exit 1");
        let told = run_all(folder.path(), &notice());
        assert!(told.iter().all(|told| told.outcome.is_ok()) && told.len() == 2, "{told:?}");
        let json = serde_json::to_string(&notice()).expect("serialises");
        let at = |text: &str| text.split("\"at\":").next().map(str::to_owned);
        let seen = fs::read_to_string(seen).expect("read");
        let lines: Vec<&str> = seen.lines().collect();
        assert_eq!([lines[0], lines[1], lines[3]], ["10-first", "test ci", "20-second"]);
        assert_eq!(at(lines[2]), at(&json));
    }

    #[test]
    fn what_anybody_can_write_is_not_run_as_root() {
        let folder = Folder::new();
        let ran = folder.path().join("ran");
        let hook = folder.hook("hook", 0o757, &format!("touch {}", ran.display()));
        let told = run_all(&hook, &notice());
        assert!(matches!(told[0].outcome, Err(HookError::Untrusted(_))), "{told:?}");
        fs::set_permissions(&hook, Permissions::from_mode(0o755)).expect("set");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("set");
        let told = run_all(&hook, &notice());
        assert!(matches!(told[0].outcome, Err(HookError::Untrusted(_))), "{told:?}");
        assert!(!ran.exists());
    }

    #[test]
    fn a_hook_that_fails_says_why_and_keeps_no_other_from_its_turn() {
        let folder = Folder::new();
        folder.hook("1", 0o755, "echo no mail today >&2; exit 3");
        folder.hook("2", 0o755, "exit 0");
        let [first, second] = &run_all(folder.path(), &notice())[..] else { panic!("two") };
        let why = first.outcome.as_ref().expect_err("it failed").to_string();
        assert!(why.contains("no mail today") && why.contains("exit status: 3"), "{why}");
        assert!(second.outcome.is_ok());
    }

    #[test]
    fn whoever_tells_never_waits_and_what_is_told_last_is_heard_before_the_end() {
        let folder = Folder::new();
        let (lock, seen) = (folder.path().join("lock"), folder.path().join("seen"));
        let held = fs::File::create(&lock).expect("made");
        held.lock().expect("locked");
        let script = format!("flock {} echo told >>{}", lock.display(), seen.display());
        let mut hooks = Hooks::new(folder.hook("hook", 0o755, &script));
        // More than may wait, while the first of them hangs: none of these calls does.
        for _ in 0..WAITING + 2 {
            hooks.tell(notice());
        }
        drop(held);
        let lines = || fs::read_to_string(&seen).map_or(0, |text| text.lines().count());
        while lines() < WAITING {
            std::thread::yield_now();
        }
        let mut hooks = Hooks::new(folder.hook("last", 0o755, &format!("echo last >>{}", seen.display())));
        hooks.tell(notice());
        hooks.finish();
        assert!(fs::read_to_string(&seen).expect("read").contains("last"));
    }

    #[test]
    fn without_hooks_nobody_is_told_and_nothing_is_started() {
        let folder = Folder::new();
        let mut hooks = Hooks::new(folder.path().join("none"));
        hooks.tell(notice());
        assert!(hooks.queue.is_none() && run_all(&hooks.path, &notice()).is_empty());
        hooks.finish();
    }
}
