//! How an image was made, step by step.

use super::config::{HistoryEntry, ImageConfig, from_rfc3339};
use crate::catalog::Layer;
use crate::units::Bytes;

/// A step in the making of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The chain id of the layer it made, if it made one.
    pub layer: Option<String>,
    /// How much that unpacked to.
    pub size: Bytes,
    /// When, in seconds since 1970, if its maker says.
    pub created: Option<i64>,
    /// What its maker says of it.
    pub told: HistoryEntry,
}

/// The steps, the last first, each with its layer. A maker who says less than there are layers leaves the uppermost ones
/// without a word: that is where other tools add layers and forget to tell.
#[must_use]
pub fn history(config: Option<&ImageConfig>, layers: &[Layer]) -> Vec<Step> {
    let mut layers = layers.iter();
    let step = |told: HistoryEntry, layer: Option<&Layer>| Step {
        layer: layer.map(|layer| layer.chain.clone()),
        size: layer.map_or(Bytes(0), |layer| layer.content),
        created: told.created.as_deref().and_then(from_rfc3339),
        told,
    };
    let told = config.map(ImageConfig::history).unwrap_or_default();
    let mut steps: Vec<Step> = told
        .into_iter()
        .map(|told| {
            let layer = if told.empty_layer { None } else { layers.next() };
            step(told, layer)
        })
        .collect();
    steps.extend(layers.map(|layer| step(HistoryEntry::default(), Some(layer))));
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(chain: &str, content: u64) -> Layer {
        let device = 1.try_into().unwrap();
        Layer { chain: chain.to_owned(), diff: String::new(), parent: None, content: Bytes(content), device }
    }

    #[test]
    fn every_layer_has_its_step_also_when_its_maker_forgot_to_tell() {
        let config = ImageConfig::parse(
            r#"{"history":[{"created_by":"ADD","created":"1970-01-01T00:00:09Z"},{"created_by":"ENV","empty_layer":true}]}"#,
        )
        .unwrap();
        let steps = history(Some(&config), &[layer("a", 1), layer("b", 2)]);
        let told: Vec<_> = steps
            .iter()
            .map(|step| (step.layer.as_deref(), step.told.created_by.as_deref(), step.size.0))
            .collect();
        assert_eq!(told, [(Some("b"), None, 2), (None, Some("ENV"), 0), (Some("a"), Some("ADD"), 1)]);
        assert_eq!(steps[2].created, Some(9));
        assert_eq!(history(None, &[layer("a", 1)]).len(), 1);
    }
}
