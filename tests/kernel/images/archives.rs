//! Archives for tests: honest ones made by GNU tar and umoci, and hostile ones made by hand.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::support::ok;
use crate::tree;

/// An OCI image layout, made by umoci.
pub struct OciLayout {
    pub path: PathBuf,
    /// The archives of the layers of `latest`, the lowest first.
    pub layers: Vec<PathBuf>,
}

impl OciLayout {
    /// A layer with one of everything, and one that changes and removes some of it.
    pub fn two_layers(path: &Path) -> Self {
        let work = path.with_extension("work");
        let (lower, upper) = (work.join("lower"), work.join("upper"));
        fs::create_dir_all(&lower).unwrap();
        fs::create_dir_all(&upper).unwrap();
        tree::make(&lower);
        // In a layer this name would be a whiteout.
        fs::remove_file(lower.join(".wh.kept")).unwrap();
        // GNU tar writes such a name in a way of its own, and umoci takes that for the name.
        xattr::remove(lower.join("a/large"), "trusted.odd=%name").unwrap();
        tree::run(Command::new("touch").args(["-d", "2001-02-03 04:05:06.8"]).arg(&lower));
        make_upper(&upper);
        let layers: Vec<PathBuf> = [&lower, &upper]
            .into_iter()
            .map(|layer| {
                let archive = layer.with_extension("tar");
                tree::tar(&archive, layer, &["--format=posix", "--xattrs", "--xattrs-include=*"]);
                archive
            })
            .collect();
        ok(Command::new("umoci").arg("init").arg("--layout").arg(path));
        let layout = Self { path: path.to_owned(), layers };
        layout.add_image("latest", &layout.layers.iter().map(PathBuf::as_path).collect::<Vec<_>>());
        layout
    }

    /// Adds an image of these layers.
    pub fn add_image(&self, reference: &str, layers: &[&Path]) {
        let image = self.name(reference);
        ok(Command::new("umoci").args(["new", "--image", &image]));
        for layer in layers {
            ok(Command::new("umoci").args(["raw", "add-layer", "--image", &image]).arg(layer));
        }
    }

    /// What umoci makes of an image.
    pub fn unpacked(&self, reference: &str, to: &Path) -> PathBuf {
        ok(Command::new("umoci").args(["raw", "unpack", "--image", &self.name(reference)]).arg(to));
        to.to_owned()
    }

    /// The file of an image's topmost layer.
    pub fn blob_of_top_layer(&self, reference: &str) -> PathBuf {
        let index = document(&self.path.join("index.json"));
        let manifests = index["manifests"].as_array().unwrap();
        let ours =
            |manifest: &&Value| manifest["annotations"]["org.opencontainers.image.ref.name"] == reference;
        let manifest = document(&self.blob(manifests.iter().find(ours).unwrap()));
        self.blob(manifest["layers"].as_array().unwrap().last().unwrap())
    }

    fn blob(&self, descriptor: &Value) -> PathBuf {
        self.path.join("blobs").join(descriptor["digest"].as_str().unwrap().replace(':', "/"))
    }

    fn name(&self, reference: &str) -> String {
        format!("{}:{reference}", self.path.display())
    }
}

fn document(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Takes away files of the layer below, empties a directory, and makes files of other types what they were.
fn make_upper(upper: &Path) {
    fs::create_dir_all(upper.join("a/b")).unwrap();
    fs::write(upper.join("a/.wh.file"), "").unwrap();
    fs::write(upper.join("a/b/.wh..wh..opq"), "").unwrap();
    fs::write(upper.join("a/b/new"), "new").unwrap();
    fs::write(upper.join(".wh.dangling"), "").unwrap();
    fs::write(upper.join("link"), "a file now").unwrap();
    fs::write(upper.join("empty"), "a file now").unwrap();
    fs::create_dir(upper.join("null")).unwrap();
    symlink("a/large", upper.join("sparse")).unwrap();
    fs::write(upper.join("z-linked"), "no longer linked").unwrap();
    xattr::set(upper.join("z-linked"), "user.of.upper", b"value").unwrap();
    tree::run(Command::new("chmod").arg("4755").arg(upper.join("z-linked")));
    for (time, folder) in
        [("2010-01-01 00:00:01.25", "a/b"), ("2010-01-01 00:00:02.5", "a"), ("2010-01-01", "")]
    {
        tree::run(Command::new("touch").args(["-d", time]).arg(upper.join(folder)));
    }
}

/// What `docker save` would write, unpacked: layers by their digest, and the table of contents after them.
pub fn docker_save(layers: &[PathBuf], to: &Path) -> PathBuf {
    fs::create_dir(to).unwrap();
    let digest = |layer: &PathBuf| ok(Command::new("sha256sum").arg(layer))[..64].to_owned();
    let digests: Vec<String> = layers.iter().map(digest).collect();
    let names: Vec<String> = digests.iter().map(|digest| format!("{digest}.tar")).collect();
    for (layer, name) in layers.iter().zip(&names) {
        fs::copy(layer, to.join(name)).unwrap();
    }
    let diff_ids: Vec<String> = digests.iter().map(|digest| format!("sha256:{digest}")).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    // Named by its digest, as every real tool names it: tar may put any of the files first.
    let config_name = format!("{}.json", thinpool::image::Digest::of(config.to_string().as_bytes()));
    let config_name = config_name.trim_start_matches("sha256:");
    let manifest = json!([{ "Config": config_name, "RepoTags": ["app:latest"], "Layers": names }]);
    fs::write(to.join(config_name), config.to_string()).unwrap();
    fs::write(to.join("manifest.json"), manifest.to_string()).unwrap();
    to.to_owned()
}

/// An entry of an archive made by hand.
pub struct Entry<'e> {
    kind: EntryType,
    name: &'e str,
    link: &'e str,
    content: &'e str,
}

impl<'e> Entry<'e> {
    pub fn file(name: &'e str, content: &'e str) -> Self {
        Self { kind: EntryType::Regular, name, link: "", content }
    }

    fn link(kind: EntryType, name: &'e str, link: &'e str) -> Self {
        Self { kind, name, link, content: "" }
    }
}

/// Packs entries as they are: honest programs refuse to write such names.
pub fn pack(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for Entry { kind, name, link, content } in entries {
        let mut header = Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(0o777);
        header.set_size(content.len() as u64);
        let fields = header.as_ustar_mut().unwrap();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        archive.append(&header, content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// Archives that go for what is outside their root: what they try, whether they must be refused (or else be harmless),
/// and they themselves.
pub fn hostile(outside: &Path) -> Vec<(&'static str, bool, Vec<u8>)> {
    let outside = outside.to_str().unwrap();
    let (canary, folder) = (format!("{outside}/canary"), format!("{outside}/folder"));
    let up = "../".repeat(12);
    let (far, far_folder) = (format!("{up}{}", &canary[1..]), format!("{up}{}", &outside[1..]));
    let file = |name| Entry::file(name, "dead");
    let soft = |name, to| Entry::link(EntryType::Symlink, name, to);
    let hard = |name, to| Entry::link(EntryType::Link, name, to);
    let directory = |name| Entry::link(EntryType::Directory, name, "");
    vec![
        ("a name with ..", true, pack(&[file(&far)])),
        ("a name with .. inside", true, pack(&[file("a/../../canary")])),
        ("an absolute name", true, pack(&[file(&canary)])),
        ("a file through a planted link", true, pack(&[soft("out", outside), file("out/canary")])),
        (
            "a file through a planted relative link",
            true,
            pack(&[soft("out", &far_folder), file("out/canary")]),
        ),
        (
            "a file through two planted links",
            true,
            pack(&[soft("out", outside), soft("out2", "out"), file("out2/canary")]),
        ),
        ("a directory through a planted link", true, pack(&[soft("out", outside), directory("out/new")])),
        (
            "a whole way through a planted link",
            true,
            pack(&[soft("out", outside), file("out/folder/deeper/file")]),
        ),
        ("a hard link to an absolute name", true, pack(&[hard("in", &canary), file("in")])),
        ("a hard link with ..", true, pack(&[hard("in", &far), file("in")])),
        ("a hard link through a planted link", true, pack(&[soft("out", outside), hard("in", "out/canary")])),
        ("a hard link to what isn't there", true, pack(&[hard("in", "missing")])),
        ("a file over a planted link", false, pack(&[soft("out", &canary), file("out")])),
        ("a directory over a planted link", false, pack(&[soft("out", &folder), directory("out")])),
        (
            "a file over a link to a planted link",
            false,
            pack(&[soft("out", &canary), hard("in", "out"), file("in")]),
        ),
    ]
}
