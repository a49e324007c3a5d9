//! What `docker save` writes: `manifest.json`, which lists images with their configuration and layers.

use serde::Deserialize;

use super::error::SourceError;
use super::members::{Members, parse};
use super::oci::{diff_ids, is_named};
use super::source::{Config, Content, Format, Image, Layer};
use super::unpack::LayerKind;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

impl Saved {
    fn tags(&self) -> &[String] {
        self.repo_tags.as_deref().unwrap_or_default()
    }

    fn name(&self) -> String {
        self.tags().first().unwrap_or(&self.config).clone()
    }
}

/// The image in a `docker save` archive.
pub(super) fn open(members: &Members, reference: Option<&str>) -> Result<Image, SourceError> {
    let images: Vec<Saved> = parse("manifest.json", &members.document("manifest.json", None)?)?;
    let saved = choose(images, reference)?;
    let config = members.document(&saved.config, None)?;
    let diff_ids = diff_ids(&saved.config, &config, saved.layers.len())?;
    let layers = saved.layers.iter().zip(diff_ids).map(|(name, diff)| {
        let section = members.get(name)?;
        let size = section.size();
        let content = Content::Section(section);
        // There is no digest of the file, but one of what is in it.
        Ok(Layer { kind: LayerKind::Image, diff: Some(diff), blob: None, blob_size: Some(size), content })
    });
    Ok(Image {
        format: Format::DockerSave,
        names: saved.tags().to_vec(),
        manifest: None,
        layers: layers.collect::<Result<_, SourceError>>()?,
        config: Some(Config::new(config)),
    })
}

fn choose(mut images: Vec<Saved>, reference: Option<&str>) -> Result<Saved, SourceError> {
    let names = |images: &[Saved]| images.iter().map(Saved::name).collect();
    let at = match reference {
        None if images.len() > 1 => return Err(SourceError::Several { names: names(&images) }),
        None => (!images.is_empty()).then_some(0),
        Some(wanted) => {
            let fits = |image: &Saved| {
                image.config == wanted || image.tags().iter().any(|tag| is_named(tag, wanted))
            };
            let at = images.iter().position(fits);
            if at.is_none() {
                return Err(SourceError::NoSuchImage { wanted: wanted.to_owned(), names: names(&images) });
            }
            at
        }
    };
    at.map(|at| images.swap_remove(at))
        .ok_or_else(|| SourceError::Missing("an image in manifest.json".to_owned()))
}
