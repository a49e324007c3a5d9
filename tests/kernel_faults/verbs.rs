//! Every command that changes something, and how it comes to have something to do.

use std::fmt::Debug;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use thinpool::pool::{Checking, Host, Labels, Location, MountRequest, NewContainer, Pool, PoolError};

use crate::support::{Bench, SMALL, ok};

/// A command that changes something.
pub struct Verb {
    /// Its words, as in `thinpool container create`, and what is particular about this way to call it.
    pub name: &'static str,
    /// Brings a pool into the state in which the command has something to do, whatever the last one left.
    pub prepare: fn(&Bench),
    /// What is called.
    pub arguments: fn(&Bench) -> Vec<String>,
    /// How it may end when it is called again after it was killed: it may have been done by then.
    pub again: &'static [i32],
}

/// Every one. The pool that they are called on has the image `small` and the container `kept`, which none of them
/// touches.
pub const VERBS: &[Verb] = &[
    verb("setup", destroy, |_| words(&SMALL.map(small)), &[0]),
    verb("destroy", there, |_| words(&["destroy", "--yes"]), &[0, 4]),
    verb("setup --base-size", anew, |_| words(&["setup", "--base-size", "96M"]), &[0]),
    verb("activate", at_rest, |_| words(&["activate"]), &[0]),
    verb("deactivate", active_pool, |_| words(&["deactivate"]), &[0]),
    verb("extend", active_pool, |_| words(&["extend", "--data", "+1M"]), &[0]),
    verb("trim", mounted, |_| words(&["trim"]), &[0]),
    verb("check", active_pool, |_| words(&["check"]), &[0]),
    verb("repair", orphan, |_| words(&["repair", "--yes"]), &[0, 9]),
    verb("repair --delete-orphans", orphan, |_| words(&["repair", "--delete-orphans", "--yes"]), &[0, 9]),
    verb("repair --of-metadata", wiped, |_| words(&["repair", "--yes"]), &[0, 9]),
    verb("metadata backup", active_pool, |_| words(&["metadata", "backup"]), &[0]),
    verb("metadata restore", backed_up, |_| words(&["metadata", "restore", "--yes"]), &[0]),
    verb("image tag", no_image, |_| words(&["image", "tag", "small", "second"]), &[0, 7]),
    verb("image export", no_export, export, &[0, 7]),
    verb("image prune", image, |_| words(&["image", "prune", "--yes"]), &[0]),
    verb("usage", active_pool, |_| words(&["usage"]), &[0]),
    verb("tree", active_pool, |_| words(&["tree"]), &[0]),
    verb("container rename", only_web, |_| words(&["container", "rename", "web", "renamed"]), &[0, 4]),
    verb(
        "container rename --active",
        active_web,
        |_| words(&["container", "rename", "web", "renamed"]),
        &[0, 4],
    ),
    verb("container resize", fresh, |_| words(&["container", "resize", "web", "96M"]), &[0]),
    verb(
        "container resize --mounted",
        fresh_and_mounted,
        |_| words(&["container", "resize", "web", "96M"]),
        &[0],
    ),
    verb("container diff", inactive, |_| words(&["container", "diff", "web"]), &[0]),
    verb(
        "container commit",
        |bench| {
            no_image(bench);
            inactive(bench);
        },
        |_| words(&["container", "commit", "web", "second"]),
        &[0, 7],
    ),
    verb(
        "container commit --mounted",
        |bench| {
            no_image(bench);
            written(bench);
        },
        |_| words(&["container", "commit", "web", "second"]),
        &[0, 7],
    ),
    verb("image import", no_image, importing, &[0, 7]),
    verb("image remove", image, |_| words(&["image", "remove", "second"]), &[0, 4]),
    verb("container create", no_web, |_| words(&["container", "create", "small", "--name", "web"]), &[0, 7]),
    verb(
        "container create --size",
        no_web,
        |_| words(&["container", "create", "small", "--name", "web", "--size", "96M"]),
        &[0, 7],
    ),
    verb(
        "container create --mount",
        no_web,
        |_| words(&["container", "create", "small", "--name", "web", "--mount"]),
        &[0, 7],
    ),
    verb(
        "container create --activate",
        no_web,
        |_| words(&["container", "create", "small", "--name", "web", "--activate"]),
        &[0, 7],
    ),
    verb(
        "container create --mount=FILE",
        no_web,
        |_| words(&["container", "create", "small", "--name", "web", "--mount=/etc/passwd"]),
        // It can't be mounted there.
        &[1, 7],
    ),
    verb("container activate", inactive, |_| words(&["container", "activate", "web"]), &[0]),
    verb("container deactivate", active, |_| words(&["container", "deactivate", "web"]), &[0]),
    verb("container mount", inactive, |_| words(&["container", "mount", "web"]), &[0]),
    verb("container unmount", mounted, |_| words(&["container", "unmount", "web"]), &[0, 1]),
    verb("container remove", inactive, |_| words(&["container", "remove", "web"]), &[0, 4]),
    verb("container remove --active", active, |_| words(&["container", "remove", "web"]), &[0, 4]),
];

/// The leaves of the command line that change nothing.
pub const READERS: &[&str] = &[
    "status",
    "metadata list",
    "top",
    "image list",
    "image inspect",
    "image history",
    "images",
    "container list",
    "container inspect",
    "ps",
    "config show",
    "doctor",
    "completions",
];

/// What doesn't end by itself. Its steps are those of `extend`; `monitor` in `kernel_alone` kills it while it makes them.
pub const ENDLESS: &[&str] = &["monitor"];

const fn verb(
    name: &'static str,
    prepare: fn(&Bench),
    arguments: fn(&Bench) -> Vec<String>,
    again: &'static [i32],
) -> Verb {
    Verb { name, prepare, arguments, again }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Smaller still than a small pool: all of a device is compared, again and again.
pub fn small(argument: &str) -> &str {
    match argument {
        "512M" => "64M",
        "2G" => "1G",
        "16M" => "4M",
        other => other,
    }
}

fn destroy(bench: &Bench) {
    // Where there is none there is nothing to do.
    drop(bench.location().destroy(&host(), false));
}

fn there(bench: &Bench) {
    bench.ok(SMALL.map(small));
}

/// A base that has grown doesn't shrink.
fn anew(bench: &Bench) {
    destroy(bench);
    there(bench);
}

fn at_rest(bench: &Bench) {
    pool(bench, |pool| pool.deactivate().map(drop));
}

/// At rest, with a backup of that.
fn backed_up(bench: &Bench) {
    pool(bench, |pool| {
        put_away(pool);
        pool.back_up_metadata()?;
        pool.deactivate().map(drop)
    });
}

/// The same, and then all of its metadata is wiped. Of anything less, thin_repair makes something at one time and nothing at
/// another, and what is to be killed would be another command each time.
fn wiped(bench: &Bench) {
    backed_up(bench);
    let metadata = bench.state().join("metadata");
    let length = metadata.metadata().expect("there").len();
    std::fs::write(&metadata, vec![0; usize::try_from(length).expect("small")]).expect("written");
}

fn active_pool(bench: &Bench) {
    pool(bench, |_| Ok(()));
}

/// A snapshot in the pool that the catalog doesn't know.
fn orphan(bench: &Bench) {
    const ID: u32 = 4000;
    pool(bench, |pool| done_or_absent(pool.remove_container(&name("recovered-4000"), false).map(drop)));
    let kept =
        bench.list("container").iter().find(|one| one["name"] == "kept").expect("kept")["device_id"].clone();
    let message = format!("create_snap {ID} {kept}");
    ok(Command::new("dmsetup").args(["message", &format!("{}-pool", bench.name), "0", &message]));
}

fn no_export(bench: &Bench) {
    active_pool(bench);
    // It is only there when the last one came to its end.
    drop(std::fs::remove_file(bench.beside("export.tar")));
}

fn export(bench: &Bench) -> Vec<String> {
    [words(&["image", "export", "small"]), vec![bench.beside("export.tar").display().to_string()]].concat()
}

fn importing(bench: &Bench) -> Vec<String> {
    let tree = bench.beside("second");
    if !tree.exists() {
        std::fs::create_dir(&tree).expect("made");
        std::fs::write(tree.join("file"), "of the second image").expect("written");
    }
    [words(&["image", "import", "second"]), vec![tree.display().to_string()]].concat()
}

fn no_image(bench: &Bench) {
    pool(bench, |pool| done_or_absent(pool.remove_image(&name("second"))));
}

fn image(bench: &Bench) {
    // It may be another name of `small`, which nobody would prune.
    no_image(bench);
    bench.ok(importing(bench));
}

fn no_web(bench: &Bench) {
    pool(bench, |pool| {
        put_away(pool);
        done_or_absent(pool.remove_container(&name("web"), false).map(drop))
    });
}

fn inactive(bench: &Bench) {
    pool(bench, |pool| {
        put_away(pool);
        let new = NewContainer {
            name: Some(name("web")),
            image: name("small"),
            size: None,
            labels: Labels::default(),
        };
        match pool.create_container(&new) {
            Err(PoolError::NameTaken { .. }) => Ok(()),
            created => created.map(drop),
        }
    });
}

fn only_web(bench: &Bench) {
    pool(bench, |pool| done_or_absent(pool.remove_container(&name("renamed"), false).map(drop)));
    inactive(bench);
}

fn active_web(bench: &Bench) {
    // It may have kept its node.
    pool(bench, |pool| {
        drop(pool.deactivate_container(&name("renamed")));
        Ok(())
    });
    only_web(bench);
    active(bench);
}

/// One that has its image's size.
fn fresh(bench: &Bench) {
    no_web(bench);
    inactive(bench);
}

fn fresh_and_mounted(bench: &Bench) {
    no_web(bench);
    mounted(bench);
}

fn active(bench: &Bench) {
    inactive(bench);
    pool(bench, |pool| pool.activate_container(&name("web")).map(drop));
}

fn mounted(bench: &Bench) {
    inactive(bench);
    pool(bench, |pool| pool.mount_container(&name("web"), &MountRequest::default()).map(drop));
}

/// Mounted, with a file that no layer has yet.
fn written(bench: &Bench) {
    inactive(bench);
    pool(bench, |pool| {
        let at = pool.mount_container(&name("web"), &MountRequest::default())?;
        std::fs::write(at.join("new"), uuid::Uuid::new_v4().to_string()).expect("written");
        Ok(())
    });
}

/// Takes what a verb has made of the container `web` back, by whichever name: its mount and its node.
pub fn put_away(pool: &mut Pool<'_>) {
    for web in ["web", "renamed"].map(name) {
        // None of it need be there; what can't be taken back is found by who looks for strays.
        drop(pool.unmount_container(&web));
        drop(pool.deactivate_container(&web));
    }
}

/// Works on the pool, which is active, by the library: a process costs more than what it does.
pub fn pool(bench: &Bench, work: impl FnOnce(&mut Pool<'_>) -> Result<(), PoolError>) {
    let host = host();
    let mut pool = Pool::open(&host, &bench.location()).expect("a pool");
    pool.activate(Checking::AsNeeded).expect("active");
    work(&mut pool).expect("done");
}

/// The system.
pub fn host() -> Host {
    Host::system(Duration::from_secs(60)).expect("a system")
}

fn done_or_absent(result: Result<(), PoolError>) -> Result<(), PoolError> {
    match result {
        Err(PoolError::NoSuch { .. }) => Ok(()),
        result => result,
    }
}

/// Some name.
pub fn name<N: FromStr<Err: Debug>>(name: &str) -> N {
    name.parse().expect("a name")
}

impl Bench {
    /// Where the library finds the pool.
    pub fn location(&self) -> Location {
        Location {
            name: name(&self.name),
            root: self.root(),
            patience: Duration::from_secs(60),
            device_patience: Duration::ZERO,
            metadata_backups: 3,
        }
    }
}

#[test]
fn a_command_that_changes_something_and_is_never_killed_is_one_that_nobody_knows_to_be_safe() {
    let tested = |leaf: &str| {
        VERBS.iter().any(|verb| verb.name == leaf || verb.name.starts_with(&format!("{leaf} --")))
            || READERS.contains(&leaf)
            || ENDLESS.contains(&leaf)
    };
    let leaves = leaves(&thinpool::cli::command(), "");
    let missing: Vec<_> = leaves.iter().filter(|leaf| !tested(leaf)).collect();
    assert!(missing.is_empty(), "neither among VERBS nor among READERS: {missing:?}");
    assert!(
        leaves.len() > VERBS.len() / 2
            && READERS.iter().all(|reader| leaves.iter().any(|leaf| leaf == reader))
    );
}

/// The commands that have none below them.
fn leaves(command: &clap::Command, above: &str) -> Vec<String> {
    let below: Vec<_> = command.get_subcommands().collect();
    if below.is_empty() {
        return vec![above.to_owned()];
    }
    let path = |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above} {name}") };
    below.into_iter().flat_map(|one| leaves(one, &path(one.get_name()))).collect()
}
