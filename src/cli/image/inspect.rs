//! `thinpool image inspect`

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::since;
use crate::catalog::{Device, Layer};
use crate::cli::{CliError, Context, output};
use crate::image::{Digest, ImageConfig};
use crate::pool::{ImageDetails, Pool};
use crate::report::short;
use crate::report::{Column, Table, fields};

/// Which image.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Which.
    name: String,
    #[command(flatten)]
    format: output::Format,
}

/// An image for programs; `docs/json.md` explains the keys.
#[derive(Debug, Serialize)]
struct DetailsJson<'a> {
    name: &'a str,
    names: &'a [String],
    containers: &'a [String],
    content_bytes: u64,
    device_bytes: u64,
    device_id: u32,
    imported_at: i64,
    config_digest: Option<String>,
    config: Option<Value>,
    layers: Vec<LayerJson<'a>>,
}

#[derive(Debug, Serialize)]
struct LayerJson<'a> {
    chain: &'a str,
    diff: &'a str,
    content_bytes: u64,
    device_bytes: u64,
    device_id: u32,
    device: &'a str,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), CliError> {
    let host = context.host()?;
    let details = Pool::open(&host, &context.location())?.image_details(&arguments.name.parse()?)?;
    let config = details.status.image.config.as_deref().map(ImageConfig::parse).transpose()?;
    if arguments.format.json {
        return output::json(&DetailsJson::new(&details, config));
    }
    output::print(&format!("{}\n{}", text(&details, config.as_ref()), layers(&details)))
}

/// All but the layers, one row each.
fn text(details: &ImageDetails, config: Option<&ImageConfig>) -> String {
    let image = &details.status.image;
    let mut rows = vec![("Name".to_owned(), image.name.clone())];
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    let others: Vec<&str> =
        details.names.iter().map(String::as_str).filter(|name| *name != image.name).collect();
    if !others.is_empty() {
        row("Other names", others.join(", "));
    }
    let containers = &details.status.containers;
    row("Containers", if containers.is_empty() { "none".to_owned() } else { containers.join(", ") });
    row("Size", image.content.to_string());
    row("Device", format!("{} (id {}, {})", image.device.node, image.device.id, image.device.size));
    row("Imported", since(image.created));
    let Some(config) = config else { return fields(&rows) };
    for (name, key) in
        [("Created", "created"), ("Author", "author"), ("Architecture", "architecture"), ("OS", "os")]
    {
        if let Some(value) = config.text(key) {
            row(name, value.to_owned());
        }
    }
    for (key, value) in config.settings().into_iter().flatten() {
        match value {
            Value::Null => {}
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => row(key, text.clone()),
            // One row for each variable or label; a command stays one, as it was written.
            Value::Array(items) if key == "Env" => {
                for item in items {
                    row(key, plain(item));
                }
            }
            Value::Object(items) if key == "Labels" => {
                for (label, item) in items {
                    row("Label", format!("{label}={}", plain(item)));
                }
            }
            Value::Object(items) => row(key, items.keys().cloned().collect::<Vec<_>>().join(", ")),
            other => row(key, other.to_string()),
        }
    }
    fields(&rows)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn layers(details: &ImageDetails) -> String {
    let mut table = Table::new([
        Column::left("LAYER"),
        Column::left("DIFF"),
        Column::right("SIZE"),
        Column::left("DEVICE"),
        Column::right("DEVICE SIZE"),
    ]);
    for (layer, device) in &details.layers {
        table.row([
            short(&layer.chain),
            short(&layer.diff),
            layer.content.to_string(),
            device.node.to_string(),
            device.size.to_string(),
        ]);
    }
    table.to_string()
}

impl<'a> DetailsJson<'a> {
    fn new(details: &'a ImageDetails, config: Option<ImageConfig>) -> Self {
        let image = &details.status.image;
        Self {
            name: &image.name,
            names: &details.names,
            containers: &details.status.containers,
            content_bytes: image.content.0,
            device_bytes: image.device.size.0,
            device_id: image.device.id.get(),
            imported_at: image.created,
            config_digest: image.config.as_ref().map(|config| Digest::of(config.as_bytes()).to_string()),
            config: config.map(ImageConfig::into_value),
            layers: details.layers.iter().map(|(layer, device)| LayerJson::new(layer, device)).collect(),
        }
    }
}

impl<'a> LayerJson<'a> {
    fn new(layer: &'a Layer, device: &'a Device) -> Self {
        Self {
            chain: &layer.chain,
            diff: &layer.diff,
            content_bytes: layer.content.0,
            device_bytes: device.size.0,
            device_id: device.id.get(),
            device: device.node.as_str(),
        }
    }
}
