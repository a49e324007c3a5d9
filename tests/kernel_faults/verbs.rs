//! Every command that changes something, and how it comes to have something to do.

use crate::support::{Bench, SMALL};

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
    verb("setup", |bench| destroy(bench), |_| words(&SMALL.map(small)), &[0]),
    verb("destroy", there, |_| words(&["destroy", "--yes"]), &[0, 4]),
    verb("activate", |bench| bench.ok_again(&["deactivate"]), |_| words(&["activate"]), &[0]),
    verb("deactivate", |bench| bench.ok_again(&["activate"]), |_| words(&["deactivate"]), &[0]),
    verb("image import", no_image, |bench| importing(bench), &[0, 1]),
    verb("image remove", image, |_| words(&["image", "remove", "second"]), &[0, 4]),
    verb("container create", no_web, |_| words(&["container", "create", "small", "--name", "web"]), &[0, 1]),
    verb(
        "container create --size",
        no_web,
        |_| words(&["container", "create", "small", "--name", "web", "--size", "96M"]),
        &[0, 1],
    ),
    verb("container activate", inactive, |_| words(&["container", "activate", "web"]), &[0]),
    verb("container deactivate", active, |_| words(&["container", "deactivate", "web"]), &[0]),
    verb("container mount", inactive, |_| words(&["container", "mount", "web"]), &[0]),
    verb("container unmount", mounted, |_| words(&["container", "unmount", "web"]), &[0, 1]),
    verb("container remove", inactive, |_| words(&["container", "remove", "web"]), &[0, 4]),
    verb("container remove, active", active, |_| words(&["container", "remove", "web"]), &[0, 4]),
];

/// The leaves of the command line that change nothing.
pub const READERS: &[&str] =
    &["status", "image list", "images", "container list", "ps", "config show", "doctor", "completions"];

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
    bench.run(["destroy", "--yes"]);
}

fn there(bench: &Bench) {
    bench.ok(SMALL.map(small));
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
    if bench.names("image").contains(&"second".to_owned()) {
        bench.ok(["image", "remove", "second"]);
    }
}

fn image(bench: &Bench) {
    if !bench.names("image").contains(&"second".to_owned()) {
        bench.ok(importing(bench));
    }
}

fn no_web(bench: &Bench) {
    if bench.names("container").contains(&"web".to_owned()) {
        bench.run(["container", "unmount", "web"]);
        bench.ok(["container", "remove", "web"]);
    }
}

fn web(bench: &Bench) {
    if !bench.names("container").contains(&"web".to_owned()) {
        bench.ok(["container", "create", "small", "--name", "web"]);
    }
    bench.run(["container", "unmount", "web"]);
}

fn inactive(bench: &Bench) {
    web(bench);
    bench.ok(["container", "deactivate", "web"]);
}

fn active(bench: &Bench) {
    web(bench);
    bench.ok(["container", "activate", "web"]);
}

fn mounted(bench: &Bench) {
    web(bench);
    bench.ok(["container", "mount", "web"]);
}

impl Bench {
    fn ok_again(&self, words: &[&str]) {
        self.ok(words);
    }

    /// The names in a listing.
    pub fn names(&self, what: &str) -> Vec<String> {
        let name = |value: &serde_json::Value| value["name"].as_str().expect("a name").to_owned();
        self.list(what).iter().map(name).collect()
    }
}

#[test]
fn a_command_that_changes_something_and_is_never_killed_is_one_that_nobody_knows_to_be_safe() {
    let tested = |leaf: &str| {
        VERBS.iter().any(|verb| verb.name == leaf || verb.name.starts_with(&format!("{leaf} --")))
            || READERS.contains(&leaf)
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
