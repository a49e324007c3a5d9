//! `thinpool container inspect`

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::list::ContainerJson;
use super::{CliError, Context, open, output};
use crate::cli::image::since;
use crate::pool::{ContainerDetails, ContainerName, Holders};
use crate::report::{Show, Template, aligned};

/// Of which containers, and in which form.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Which.
    #[arg(required = true)]
    names: Vec<String>,
    /// A line for each, made of this template, as Docker's, with the keys of the JSON: '{{.uuid}} {{json .held_by}}'.
    #[arg(long, short, value_name = "TEMPLATE", conflicts_with = "json")]
    format: Option<String>,
    #[command(flatten)]
    output: output::Format,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), CliError> {
    let template = arguments.format.as_deref().map(Template::parse).transpose()?;
    let names: Vec<ContainerName> =
        arguments.names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let host = context.host()?;
    let pool = open(context, &host)?;
    let all = names.iter().map(|name| pool.inspect_container(name)).collect::<Result<Vec<_>, _>>()?;
    if arguments.output.json {
        return output::json(&all.iter().map(DetailsJson::new).collect::<Vec<_>>());
    }
    if let Some(template) = template {
        return all.iter().try_for_each(|details| {
            let value = serde_json::to_value(DetailsJson::new(details))?;
            output::line(template.fill(&value, &raw, &|_| None)?)
        });
    }
    let told: Vec<String> = all.iter().map(text).collect();
    output::print(&told.join("\n"))
}

/// A value as a script wants it: text without quotes, all else as in JSON.
fn raw(_key: &str, value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Everything for people, a line each.
fn text(details: &ContainerDetails) -> String {
    let container = &details.status.container;
    let device = &container.device;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let size = if device.growing {
        format!("{} (its file system is still to grow)", device.size)
    } else {
        device.size.to_string()
    };
    let mounts: Vec<String> = details
        .mounts
        .iter()
        .map(|mount| format!("{}{}", mount.at.display(), if mount.read_only { " (read-only)" } else { "" }))
        .collect();
    let others = Holders { mounts: Vec::new(), ..details.holders.clone() };
    aligned(&[
        ("Name", container.name.clone()),
        ("Image", container.image.clone()),
        ("Created", since(container.created)),
        ("Labels", Show::Plain.text(&serde_json::json!(container.labels))),
        ("Size", size),
        ("Mapped", or_dash(details.status.mapped.map(|mapped| mapped.to_string()))),
        ("File system", details.file_system.to_string()),
        ("Device", or_dash(details.status.path.as_ref().map(|path| path.display().to_string()))),
        ("Device id", format!("{} in the pool {}", device.id, details.pool)),
        ("Uuid", details.uuid.to_string()),
        ("Kept active", if container.active { "yes" } else { "no" }.to_owned()),
        ("Mounted at", or_dash((!mounts.is_empty()).then(|| mounts.join(", ")))),
        ("In use by", or_dash((!others.is_empty()).then(|| others.to_string()))),
    ])
}

/// Everything for programs; `docs/json.md` explains the keys.
#[derive(Debug, Serialize)]
struct DetailsJson<'a> {
    #[serde(flatten)]
    container: ContainerJson<'a>,
    pool: &'a str,
    node: PathBuf,
    uuid: &'a str,
    file_system: &'a str,
    growing: bool,
    top_layer: Option<&'a str>,
    origin_id: Option<u32>,
    open_count: Option<u32>,
    removed_when_closed: bool,
    mounts: Vec<MountJson<'a>>,
    held_by: &'a Holders,
}

#[derive(Debug, Serialize)]
struct MountJson<'a> {
    at: &'a PathBuf,
    read_only: bool,
}

impl<'a> DetailsJson<'a> {
    fn new(details: &'a ContainerDetails) -> Self {
        let device = &details.status.container.device;
        let kernel = details.kernel.as_ref();
        let mounts =
            details.mounts.iter().map(|mount| MountJson { at: &mount.at, read_only: mount.read_only });
        Self {
            container: ContainerJson::new(&details.status),
            pool: details.pool.as_str(),
            node: device.node.path(),
            uuid: details.uuid.as_str(),
            file_system: details.file_system.as_str(),
            growing: device.growing,
            top_layer: details.image.as_ref().map(|image| image.chain.as_str()),
            origin_id: details.origin.as_ref().map(|origin| origin.id.get()),
            open_count: kernel.map(|info| info.open_count),
            removed_when_closed: kernel.is_some_and(|info| info.deferred_remove),
            mounts: mounts.collect(),
            held_by: &details.holders,
        }
    }
}
