use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::error::SourceError;
use super::super::progress::NoProgress;
use super::super::source::{Input, OpenOptions, open};
use super::super::testing::{Directories, Tar};
use super::*;

type Failed = ImportError<io::Error>;

struct Scene {
    temp: TempDir,
    store: Directories,
}

impl Scene {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let store = Directories::new(&temp.path().join("store"));
        Self { temp, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn open(&self, input: Input, reference: Option<&str>) -> Result<Image, SourceError> {
        let options =
            OpenOptions { reference: reference.map(str::to_owned), spool_dir: self.temp.path().to_owned() };
        open(input, &options, &mut NoProgress)
    }

    fn import(&self, image: Image) -> Result<ImportedImage, Failed> {
        import(image, &self.store, self.temp.path(), &mut NoProgress)
    }

    /// The archive as a file, compressed in every way, and as a stream; all must come out the same.
    fn every_way(&self, archive: &[u8]) -> ImportedImage {
        fs::write(self.path("archive"), archive).unwrap();
        let first = self.import(self.open(Input::Path(self.path("archive")), None).unwrap()).unwrap();
        for packed in [archive.to_vec(), gzip(archive), zstd::encode_all(archive, 1).unwrap()] {
            fs::write(self.path("archive"), &packed).unwrap();
            for input in [Input::Path(self.path("archive")), Input::Stream(Box::new(io::Cursor::new(packed)))]
            {
                let again = self.import(self.open(input, None).unwrap()).unwrap();
                assert_eq!((again.top, again.format), (first.top, first.format));
                assert_eq!(again.reused, again.layers.len(), "a layer was stored twice");
            }
        }
        first
    }

    fn fails(&self, archive: &[u8]) -> String {
        fs::write(self.path("archive"), archive).unwrap();
        let before = self.store.count();
        let error = match self.open(Input::Path(self.path("archive")), None) {
            Ok(image) => self.import(image).expect_err("must fail").to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(self.store.count(), before, "something half-made is left: {error}");
        error
    }

    fn read(&self, imported: &ImportedImage, name: &str) -> String {
        fs::read_to_string(self.store.layer(&imported.top).join(name)).unwrap()
    }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn layers() -> [Vec<u8>; 2] {
    let lower = Tar::default().dir("etc").file("etc/hosts", "1").file("etc/gone", "1").end();
    [lower, Tar::default().file("etc/hosts", "2").file("etc/.wh.gone", "").end()]
}

fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}})
        .to_string()
        .into_bytes()
}

/// An OCI layout in the making.
#[derive(Default)]
struct Layout {
    tar: Tar,
}

impl Layout {
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.tar = std::mem::take(&mut self.tar).file(&format!("blobs/sha256/{}", digest.hex()), bytes);
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
    }

    fn manifest(&mut self, layers: &[Vec<u8>], pack: impl Fn(&[u8]) -> Vec<u8>) -> Value {
        let config = self.blob("application/vnd.oci.image.config.v1+json", &config(layers));
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| self.blob("application/vnd.oci.image.layer.v1.tar+gzip", &pack(layer)))
            .collect();
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string();
        self.blob("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes())
    }

    fn end(self, manifests: &[Value]) -> Vec<u8> {
        let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
        self.tar.file("index.json", index).file("oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#).end()
    }
}

fn oci(pack: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut layout = Layout::default();
    let manifest = layout.manifest(&layers(), pack);
    layout.end(&[manifest])
}

fn saved(names: [&str; 2], add: impl Fn(Tar, &str, &[u8]) -> Tar) -> Vec<u8> {
    let layers = layers();
    let config = config(&layers);
    let hex = Digest::of(&config).hex();
    let manifest =
        json!([{"Config": format!("{hex}.json"), "RepoTags": ["app:1"], "Layers": names}]).to_string();
    let mut tar = Tar::default().file(&format!("{hex}.json"), &config);
    for (name, layer) in names.iter().zip(&layers) {
        tar = add(tar, name, layer);
    }
    tar.file("manifest.json", manifest).end()
}

#[test]
fn an_oci_layout_comes_in_whatever_compresses_it() {
    for pack in [|layer: &[u8]| layer.to_vec(), gzip, |layer: &[u8]| zstd::encode_all(layer, 1).unwrap()] {
        let scene = Scene::new();
        let image = scene.every_way(&oci(pack));
        assert_eq!((image.format, image.layers.len(), image.reused), (Format::OciLayout, 2, 0));
        assert_eq!(scene.read(&image, "etc/hosts"), "2");
        assert!(!scene.store.layer(&image.top).join("etc/gone").exists());
        assert!(scene.store.layer(&image.layers[0].chain).join("etc/gone").exists());
        assert_eq!(image.config.map(|config| config.json), Some(config(&layers())));
        assert_eq!(scene.store.count(), (2, 0));
    }
}

#[test]
fn docker_archives_of_every_age_come_in() {
    let hex = "0123456789abcdef".repeat(4);
    let plain = saved([&format!("{hex}/layer.tar"), "b/layer.tar"], |tar, name, layer| tar.file(name, layer));
    let modern = saved(["blobs/sha256/a", "blobs/sha256/b"], |tar, name, layer| tar.file(name, layer));
    let linked = saved(["a/layer.tar", "b/layer.tar"], |tar, name, layer| {
        let real = format!("real-{}", &name[..1]);
        tar.file(&real, layer).symlink(name, &format!("../{real}"))
    });
    let tops: Vec<_> = [plain, modern, linked]
        .iter()
        .map(|archive| {
            let scene = Scene::new();
            let image = scene.every_way(archive);
            assert_eq!((image.format, &image.names[..]), (Format::DockerSave, &["app:1".to_owned()][..]));
            assert_eq!(scene.read(&image, "etc/hosts"), "2");
            image.top
        })
        .collect();
    assert_eq!(tops[0], tops[1]);
    assert_eq!(tops[1], tops[2]);
}

#[test]
fn an_unpacked_image_archive_is_an_image_and_not_a_root_file_system() {
    let scene = Scene::new();
    for (name, archive, format) in [
        ("oci", oci(gzip), Format::OciLayout),
        (
            "docker",
            saved(["a/layer.tar", "b/layer.tar"], |tar, name, layer| tar.file(name, layer)),
            Format::DockerSave,
        ),
    ] {
        fs::create_dir(scene.path(name)).unwrap();
        let options = UnpackOptions::new(LayerKind::RootFs);
        super::super::unpack(&archive[..], &scene.path(name), &options).unwrap();
        let image = scene.import(scene.open(Input::Path(scene.path(name)), None).unwrap()).unwrap();
        assert_eq!(image.format, format);
        assert_eq!(scene.read(&image, "etc/hosts"), "2");
    }
    assert_eq!(scene.store.count(), (2, 0), "the two hold the same layers");
}

#[test]
fn plain_archives_and_those_that_only_look_like_images_are_root_file_systems() {
    for archive in [
        Tar::default().dir("./").dir("./bin").file("./bin/sh", "x").end(),
        Tar::default().file("manifest.json", r#"{"name": "an app"}"#).file("bin/sh", "x").end(),
        Tar::default().file("manifest.json", "not even JSON").end(),
        Tar::default().dir("blobs").file("blobs/mine", "x").end(),
        Tar::default().end(),
    ] {
        let scene = Scene::new();
        let image = scene.every_way(&archive);
        assert_eq!((image.format, image.top.0), (Format::Tar, Digest::of(&archive)));
    }
}

#[test]
fn what_was_changed_on_the_way_is_refused_and_leaves_nothing() {
    let [lower, upper] = layers();
    let other = Tar::default().file("evil", "x").end();
    let replaced = saved(["a/layer.tar", "b/layer.tar"], |tar, name, layer| {
        tar.file(name, if layer == upper { &other } else { layer })
    });
    let scene = Scene::new();
    fs::write(scene.path("archive"), replaced).unwrap();
    let image = scene.open(Input::Path(scene.path("archive")), None).unwrap();
    let error = scene.import(image).expect_err("a changed layer").to_string();
    assert!(error.contains("layer 2 of 2") && error.contains(&Digest::of(&other).to_string()), "{error}");
    assert_eq!(scene.store.count(), (1, 0), "the sound lower layer stays, the other goes");

    // A blob of the right name and size with other content; then of another size.
    let plain = oci(<[u8]>::to_vec);
    let at = plain.windows(lower.len()).position(|window| window == lower).unwrap();
    let mut changed = plain.clone();
    changed[at + 1024] ^= 1;
    assert!(Scene::new().fails(&changed).contains("was damaged or changed"));
    let mut layout = Layout::default();
    let mut manifest = layout.manifest(&layers(), gzip);
    manifest["digest"] = json!(Digest::of(b"other").to_string());
    assert!(Scene::new().fails(&layout.end(&[manifest])).contains("missing"));
}

#[test]
fn a_blob_is_checked_to_its_last_byte_though_the_layer_ended_before() {
    let layer = layers()[0].clone();
    let mut layout = Layout::default();
    let honest = gzip(&layer);
    let padded = [&honest[..], &[0; 100]].concat();
    let digest = Digest::of(&honest).to_string();
    let config = layout.blob("application/vnd.oci.image.config.v1+json", &config(&[layer]));
    layout.tar = layout.tar.file(&format!("blobs/sha256/{}", Digest::of(&honest).hex()), &padded);
    let layers = json!([{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest}]);
    let manifest = json!({"config": config, "layers": layers}).to_string();
    let manifest = layout.blob("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
    let error = Scene::new().fails(&layout.end(&[manifest]));
    assert!(error.contains("layer 1 of 1"), "{error}");
}

#[test]
fn what_was_cut_off_leaves_nothing() {
    let archive = Tar::default().file("a", vec![7; 5000]).end();
    for packed in [archive.clone(), gzip(&archive), zstd::encode_all(&archive[..], 1).unwrap()] {
        let error = Scene::new().fails(&packed[..packed.len() - 3]);
        assert!(error.contains("cut off") || error.contains("incomplete"), "{error}");
    }
    let image = oci(gzip);
    Scene::new().fails(&image[..image.len() - 1500]);
    assert!(Scene::new().fails(b"no archive at all").contains("not a tar archive"));
    assert!(Scene::new().fails(b"BZh91AY&SY...").contains("bzip2"));
}

#[test]
fn an_attack_in_an_upper_layer_removes_the_half_made_layer() {
    let scene = Scene::new();
    let evil = Tar::default().symlink("door", "/").file("door/new", "x").end();
    let mut layout = Layout::default();
    let manifest = layout.manifest(&[layers()[0].clone(), evil], gzip);
    fs::write(scene.path("archive"), layout.end(&[manifest])).unwrap();
    let open = || scene.open(Input::Path(scene.path("archive")), None).unwrap();
    let error = scene.import(open()).expect_err("an attack").to_string();
    assert!(
        error.contains("layer 2 of 2") && error.contains("'door/new'") && error.contains("planted"),
        "{error}"
    );
    assert_eq!(scene.store.count(), (1, 0));
    let mut scene = scene;
    scene.store.sticky = true;
    let image = scene.open(Input::Path(scene.path("archive")), None).unwrap();
    let error = scene.import(image).expect_err("an attack").to_string();
    assert!(error.contains("planted") && error.contains("stuck"), "one error hides the other: {error}");
}

#[test]
fn the_platform_of_this_machine_is_chosen() {
    let nested = |platforms: &[&str]| {
        let mut layout = Layout::default();
        let manifests: Vec<_> = platforms
            .iter()
            .map(|platform| {
                let (os, architecture) = platform.split_once('/').unwrap();
                let layer = Tar::default().file("platform", platform).end();
                let mut manifest = layout.manifest(&[layer], gzip);
                manifest["platform"] = json!({"os": os, "architecture": architecture});
                manifest
            })
            .collect();
        let index = json!({"manifests": manifests}).to_string();
        let index = layout.blob("application/vnd.oci.image.index.v1+json", index.as_bytes());
        layout.end(&[index])
    };
    let ours = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
    let scene = Scene::new();
    let image = scene.every_way(&nested(&["windows/amd64", "linux/s390x", ours, "unknown/unknown"]));
    assert_eq!(scene.read(&image, "platform"), ours);
    let scene = Scene::new();
    let image = scene.every_way(&nested(&["linux/sparc", "unknown/unknown"]));
    assert_eq!(scene.read(&image, "platform"), "linux/sparc", "the only one there is");
    let error = Scene::new().fails(&nested(&["linux/sparc", "linux/vax"]));
    assert!(error.contains("linux/sparc, linux/vax"), "{error}");
}

#[test]
fn where_there_are_several_images_nobody_guesses() {
    let scene = Scene::new();
    let mut layout = Layout::default();
    let manifests: Vec<_> = ["one", "two"]
        .iter()
        .map(|name| {
            let mut manifest = layout.manifest(&[Tar::default().file("name", name).end()], gzip);
            manifest["annotations"] = json!({"org.opencontainers.image.ref.name": name});
            manifest
        })
        .collect();
    let archive = layout.end(&manifests);
    assert!(scene.fails(&archive).contains("one, two"));
    let open = |name| scene.open(Input::Path(scene.path("archive")), Some(name));
    let image = scene.import(open("two").unwrap()).unwrap();
    assert_eq!((scene.read(&image, "name"), &image.names[..]), ("two".to_owned(), &["two".to_owned()][..]));
    let error = open("three").err().unwrap().to_string();
    assert!(error.contains("'three'") && error.contains("one, two"), "{error}");
}

#[test]
fn what_is_no_image_is_called_what_it_is() {
    let mut layout = Layout::default();
    let config = layout.blob("application/vnd.cncf.helm.config.v1+json", b"{}");
    let manifest = json!({"config": config, "layers": []}).to_string();
    let manifest = layout.blob("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
    assert!(Scene::new().fails(&layout.end(&[manifest])).contains("helm"));
    let mut layout = Layout::default();
    let huge = vec![b' '; 9 << 20];
    let manifest = layout.blob("application/vnd.oci.image.manifest.v1+json", &huge);
    assert!(Scene::new().fails(&layout.end(&[manifest])).contains("refused above"));
    let mut layout = Layout::default();
    let manifest = layout.manifest(&[], gzip);
    assert!(Scene::new().fails(&layout.end(&[manifest])).contains("no layers"));
}

#[test]
fn progress_ends_at_its_total() {
    #[derive(Default)]
    struct Bar(Option<u64>, Cell<u64>);
    impl Progress for Bar {
        fn begin(&mut self, _: Stage, total: Option<u64>) {
            *self = Self(total, Cell::new(0));
        }
        fn advance(&mut self, bytes: u64) {
            self.1.set(self.1.get() + bytes);
        }
    }
    let scene = Scene::new();
    fs::write(scene.path("archive"), oci(gzip)).unwrap();
    for _ in 0..2 {
        let mut bar = Bar::default();
        let image = scene.open(Input::Path(scene.path("archive")), None).unwrap();
        import(image, &scene.store, Path::new("/tmp"), &mut bar).unwrap();
        assert_eq!(bar.0, Some(bar.1.get()), "new or reused, every byte counts once");
    }
}
