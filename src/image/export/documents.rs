//! The documents of an OCI image layout.

use serde_json::{Value, json};

use super::LayerCompression;
use super::archive::Blob;
use crate::image::config::ImageConfig;
use crate::image::oci::{CONTAINERD_NAME, REF_NAME};

/// `oci-layout`, which says what the whole is.
pub(super) const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The manifest: which blobs are the image.
pub(super) fn manifest(config: Blob, layers: &[Blob], compression: LayerCompression) -> String {
    let layer_type = match compression {
        LayerCompression::None => "application/vnd.oci.image.layer.v1.tar",
        LayerCompression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        LayerCompression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
    };
    let layers: Vec<Value> = layers.iter().map(|layer| descriptor(layer_type, *layer)).collect();
    let config = descriptor(CONFIG, config);
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers }).to_string()
}

/// `index.json`: which images there are, with their names.
pub(super) fn index(manifest: Blob, name: &str, config: &ImageConfig) -> String {
    let mut descriptor = descriptor(MANIFEST, manifest);
    // The whole name where containerd and Docker look for it, and the tag alone for the rest.
    descriptor["annotations"] = json!({ REF_NAME: tag(name), CONTAINERD_NAME: name });
    for key in ["architecture", "os", "variant"] {
        if let Some(text) = config.text(key) {
            descriptor["platform"][key] = text.into();
        }
    }
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] }).to_string()
}

fn descriptor(media_type: &str, blob: Blob) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest.to_string(), "size": blob.size })
}

/// The tag in a name: `12` of `registry.example:5000/debian:12`, and `latest` where there is none.
fn tag(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split_once(':').map_or("latest", |(_, tag)| tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_what_other_tools_take_for_it() {
        for (name, expected) in [
            ("debian", "latest"),
            ("debian:12", "12"),
            ("registry.example:5000/team/app", "latest"),
            ("registry.example:5000/team/app:1.0@sha256:00", "1.0"),
        ] {
            assert_eq!(tag(name), expected);
        }
    }
}
