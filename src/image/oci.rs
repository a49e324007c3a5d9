//! OCI image layouts: `oci-layout`, `index.json` and blobs named by their digests.
//!
//! The documents are read tolerantly: what isn't needed may be missing, and unknown fields are ignored.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::digest::{DiffId, Digest};
use super::error::SourceError;
use super::members::{Members, parse};
use super::source::{Config, Content, Format, Image, Layer};
use super::unpack::LayerKind;

const MAX_NESTING: usize = 4;
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub(super) const CONTAINERD_NAME: &str = "io.containerd.image.name";

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: Option<u64>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    artifact_type: Option<String>,
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

/// What is needed of an image's configuration, in both OCI's and Docker's form.
#[derive(Debug, Deserialize)]
pub(super) struct ConfigDocument {
    pub(super) rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
pub(super) struct RootFs {
    #[serde(default)]
    pub(super) diff_ids: Vec<DiffId>,
}

impl Descriptor {
    fn digest(&self, name: &str) -> Result<Digest, SourceError> {
        self.digest.parse().map_err(|error| SourceError::Digest { name: name.to_owned(), error })
    }

    fn is_index(&self) -> bool {
        self.media_type.contains("image.index") || self.media_type.contains("manifest.list")
    }

    /// The names it goes by.
    fn names(&self) -> impl Iterator<Item = &String> {
        let annotations = self.annotations.iter();
        annotations.flat_map(|annotations| {
            [CONTAINERD_NAME, REF_NAME].into_iter().filter_map(|key| annotations.get(key))
        })
    }

    /// Attestations and the like lie beside the images they are about, for no platform at all.
    fn is_attestation(&self) -> bool {
        self.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
    }
}

/// The image in an OCI layout.
pub(super) fn open(members: &Members, reference: Option<&str>) -> Result<Image, SourceError> {
    let index: Index = parse("index.json", &members.document("index.json", None)?)?;
    let chosen = choose(index.manifests, reference)?;
    let names = chosen.iter().flat_map(Descriptor::names).cloned().collect();
    let descriptor = chosen.into_iter().next().ok_or(SourceError::NoLayers)?;
    let (digest, manifest) = manifest(members, descriptor)?;
    image(members, digest, &manifest, names)
}

/// The descriptors of the image that is asked for: several if it goes by several names.
fn choose(manifests: Vec<Descriptor>, reference: Option<&str>) -> Result<Vec<Descriptor>, SourceError> {
    let (attestations, images): (Vec<_>, Vec<_>) =
        manifests.into_iter().partition(Descriptor::is_attestation);
    let all = if images.is_empty() { attestations } else { images };
    let told = |all: &[Descriptor]| {
        let name =
            |descriptor: &Descriptor| descriptor.names().next().cloned().unwrap_or(descriptor.digest.clone());
        all.iter().map(name).collect::<Vec<_>>()
    };
    if let Some(wanted) = reference {
        let fits = |descriptor: &Descriptor| {
            descriptor.digest == wanted || descriptor.names().any(|name| is_named(name, wanted))
        };
        let fitting: Vec<_> = all.iter().filter(|descriptor| fits(descriptor)).cloned().collect();
        let Some(first) = fitting.first() else {
            return Err(SourceError::NoSuchImage { wanted: wanted.to_owned(), names: told(&all) });
        };
        // Two images may go by the same short name ("latest").
        return if fitting.iter().all(|other| other.digest == first.digest) {
            Ok(fitting)
        } else {
            Err(SourceError::Several {
                names: fitting.into_iter().map(|descriptor| descriptor.digest).collect(),
            })
        };
    }
    let Some(first) = all.first() else {
        return Err(SourceError::Missing("an image in index.json".to_owned()));
    };
    if all.iter().all(|other| other.digest == first.digest) {
        return Ok(all);
    }
    // One name for several platforms, without an index in between.
    let platforms = all.iter().all(|descriptor| descriptor.platform.is_some());
    let first_name = first.names().next();
    if platforms && all.iter().all(|other| other.names().next() == first_name) {
        return for_this_machine(all).map(|descriptor| vec![descriptor]);
    }
    Err(SourceError::Several { names: told(&all) })
}

/// Whether a name in an archive is the one that is asked for, which may leave out the tag "latest".
pub(super) fn is_named(name: &str, wanted: &str) -> bool {
    name == wanted || name.strip_suffix(":latest") == Some(wanted)
}

/// Follows nested indexes to a manifest for this machine.
fn manifest(members: &Members, mut descriptor: Descriptor) -> Result<(Digest, Manifest), SourceError> {
    for _ in 0..MAX_NESTING {
        let digest = descriptor.digest("index.json")?;
        let name = blob(&digest);
        let bytes = members.document(&name, Some(digest))?;
        // Without a media type, the content tells.
        let has_manifests =
            || serde_json::from_slice::<Index>(&bytes).is_ok_and(|index| !index.manifests.is_empty());
        if !descriptor.is_index() && (descriptor.media_type.contains("manifest") || !has_manifests()) {
            return Ok((digest, parse(&name, &bytes)?));
        }
        let index: Index = parse(&name, &bytes)?;
        descriptor = for_this_machine(index.manifests)?;
    }
    Err(SourceError::TooDeep(MAX_NESTING))
}

/// The one for this machine, or the only one there is.
fn for_this_machine(manifests: Vec<Descriptor>) -> Result<Descriptor, SourceError> {
    let machine = architecture();
    let mut images: Vec<_> =
        manifests.into_iter().filter(|descriptor| !descriptor.is_attestation()).collect();
    let fits = |descriptor: &Descriptor| {
        let platform = descriptor.platform.as_ref();
        platform.is_some_and(|platform| platform.os == "linux" && platform.architecture == machine)
    };
    if let Some(at) = images.iter().position(fits) {
        return Ok(images.swap_remove(at));
    }
    if images.len() == 1 {
        return Ok(images.swap_remove(0));
    }
    let told = |descriptor: Descriptor| match descriptor.platform {
        Some(platform) => format!("{}/{}", platform.os, platform.architecture),
        None => descriptor.digest,
    };
    let platforms = images.into_iter().map(told).collect();
    Err(SourceError::NoPlatform { machine: machine.to_owned(), platforms })
}

/// This machine's architecture as Go, and so every image, calls it.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        other => other,
    }
}

fn image(
    members: &Members,
    digest: Digest,
    manifest: &Manifest,
    names: Vec<String>,
) -> Result<Image, SourceError> {
    let kind = &manifest.config.media_type;
    let is_config = kind.is_empty() || kind.contains("image.config") || kind.contains("container.image");
    if let Some(artifact) = manifest.artifact_type.as_ref().or((!is_config).then_some(kind)) {
        return Err(SourceError::NotAnImage(artifact.clone()));
    }
    let config_digest = manifest.config.digest("the manifest")?;
    let config = members.document(&blob(&config_digest), Some(config_digest))?;
    let diff_ids = diff_ids("the image's configuration", &config, manifest.layers.len())?;
    let layers =
        manifest.layers.iter().zip(diff_ids).map(|(descriptor, diff)| layer(members, descriptor, diff));
    Ok(Image {
        format: Format::OciLayout,
        names,
        manifest: Some(digest),
        config: Some(Config::new(config)),
        layers: layers.collect::<Result<_, _>>()?,
    })
}

/// The layers' diff ids, of which there must be as many as layers.
pub(super) fn diff_ids(name: &str, config: &[u8], layers: usize) -> Result<Vec<DiffId>, SourceError> {
    let config: ConfigDocument = parse(name, config)?;
    let diff_ids = config.rootfs.diff_ids;
    if layers == 0 && diff_ids.is_empty() {
        return Err(SourceError::NoLayers);
    }
    if diff_ids.len() == layers {
        Ok(diff_ids)
    } else {
        Err(SourceError::LayerCount { layers, diff_ids: diff_ids.len() })
    }
}

fn layer(members: &Members, descriptor: &Descriptor, diff: DiffId) -> Result<Layer, SourceError> {
    let kind = &descriptor.media_type;
    let is_tar = kind.is_empty() || ((kind.contains(".tar")) && !kind.contains("encrypted"));
    if !is_tar {
        return Err(SourceError::LayerType(kind.clone()));
    }
    let digest = descriptor.digest("the manifest")?;
    let section = members.get(&blob(&digest))?;
    Ok(Layer {
        kind: LayerKind::Image,
        diff: Some(diff),
        blob: Some(digest),
        blob_size: Some(descriptor.size.unwrap_or(section.size())),
        content: Content::Section(section),
    })
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
