//! `thinpool image`

mod export;
mod history;
mod inspect;
mod prune;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use serde::Serialize;

use super::progress::Bar;
use super::{CliError, Context, output};
use crate::catalog::Image;
use crate::image::{self, Input};
use crate::pool::{ImageName, ImageStatus, Pool};
use crate::report::{Column, Table, age};

/// What to do with images.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Import an image, whatever it comes as.
    ///
    /// A root file system as a tar archive (plain, gzip, zstd, xz) or a directory, an archive of `docker save`, or an
    /// OCI image layout. What it is, its content tells.
    Import {
        /// What the image is to be called.
        name: String,
        /// The archive or the directory; - reads an archive from the standard input.
        source: PathBuf,
        /// Which image to take, where there are several: its tag, or its name in the OCI layout.
        #[arg(long, value_name = "NAME")]
        reference: Option<String>,
        #[command(flatten)]
        format: output::Format,
    },
    /// List the images.
    #[command(visible_alias = "ls")]
    List(output::Format),
    /// Tell all that is known of an image.
    Inspect(inspect::Arguments),
    /// Tell how an image was made, step by step, the last first.
    History(history::Arguments),
    /// Give an image another name besides the one it has.
    Tag {
        /// Which.
        name: String,
        /// Its new name.
        new: String,
    },
    /// Write an image to an archive: an OCI image layout, as skopeo, umoci and `image import` read it.
    #[command(visible_alias = "save", long_about = export::ABOUT)]
    Export(export::Arguments),
    /// Take an image's name away, and if it was its last one, the layers that nothing else needs.
    ///
    /// Refused for the last name of an image that containers were made of. If it has another name, those containers
    /// are listed under that one.
    #[command(visible_alias = "rm")]
    Remove {
        /// Which.
        #[arg(required_unless_present = "prune", conflicts_with = "prune")]
        names: Vec<String>,
        /// Remove all that no container was made of, as `image prune` does.
        #[arg(long)]
        prune: bool,
        #[command(flatten)]
        how: prune::Arguments,
    },
    /// Remove every image that no container was made of.
    Prune(prune::Arguments),
}

pub(super) fn run(context: &Context, command: Command) -> Result<(), CliError> {
    match command {
        Command::Import { name, source, reference, format } => {
            import(context, &name.parse()?, Input::from_argument(&source), reference, format)
        }
        Command::List(format) => list(context, format),
        Command::Inspect(arguments) => inspect::run(context, &arguments),
        Command::History(arguments) => history::run(context, &arguments),
        Command::Tag { name, new } => {
            let host = context.host()?;
            let image = Pool::open(&host, &context.location())?.tag_image(&name.parse()?, &new.parse()?)?;
            output::line(image.name)
        }
        Command::Export(arguments) => export::run(context, &arguments),
        Command::Remove { prune: true, how, .. } | Command::Prune(how) => prune::run(context, &how),
        Command::Remove { names, .. } => {
            let names: Vec<ImageName> = names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
            let host = context.host()?;
            let mut pool = Pool::open(&host, &context.location())?;
            names.iter().try_for_each(|name| {
                pool.remove_image(name)?;
                output::line(name)
            })
        }
    }
}

fn import(
    context: &Context,
    name: &ImageName,
    input: Input,
    reference: Option<String>,
    format: output::Format,
) -> Result<(), CliError> {
    let mut bar = Bar::new();
    let added = image::add(&context.host()?, &context.location(), name, input, reference, &mut bar);
    bar.finish();
    let (image, imported) = added?;
    if format.json {
        return output::json(&ImageJson::new(&ImageStatus { image, containers: Vec::new() }));
    }
    let reused = match imported.reused {
        0 => String::new(),
        1 => ", 1 of them there already".to_owned(),
        count => format!(", {count} of them there already"),
    };
    let layers = match imported.layers.len() {
        1 => "1 layer".to_owned(),
        count => format!("{count} layers"),
    };
    output::line(format!("{name}: {layers}{reused}, {}", image.content))
}

/// `thinpool image list`
pub(super) fn list(context: &Context, format: output::Format) -> Result<(), CliError> {
    let host = context.host()?;
    let images = Pool::open(&host, &context.location())?.images()?;
    if format.json {
        return output::json(&images.iter().map(ImageJson::new).collect::<Vec<_>>());
    }
    let mut table = Table::new([
        Column::left("NAME"),
        Column::right("LAYERS"),
        Column::right("SIZE"),
        Column::left("TOP LAYER"),
        Column::left("PARENT"),
        Column::right("CONTAINERS"),
        Column::left("IMPORTED"),
    ]);
    for ImageStatus { image, containers } in &images {
        table.row([
            image.name.clone(),
            image.layers.to_string(),
            image.content.to_string(),
            short(&image.chain),
            image.parent.as_deref().map_or_else(|| "base".to_owned(), short),
            containers.len().to_string(),
            since(image.created),
        ]);
    }
    output::print(&table.to_string())
}

/// The first digits of a digest: enough for people.
fn short(chain: &str) -> String {
    chain.trim_start_matches("sha256:").chars().take(12).collect()
}

/// How long ago something was, from seconds since 1970.
pub(super) fn since(seconds: i64) -> String {
    age(UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs()), SystemTime::now())
}

/// An image for programs; `docs/json.md` explains the keys.
#[derive(Debug, Serialize)]
pub(super) struct ImageJson<'a> {
    name: &'a str,
    layers: u64,
    content_bytes: u64,
    device_bytes: u64,
    device_id: u32,
    top_layer: &'a str,
    parent: Option<&'a str>,
    containers: &'a [String],
    imported_at: i64,
}

impl<'a> ImageJson<'a> {
    pub(super) fn new(status: &'a ImageStatus) -> Self {
        let Image { name, device, chain, parent, layers, content, created, .. } = &status.image;
        Self {
            name,
            layers: *layers,
            content_bytes: content.0,
            device_bytes: device.size.0,
            device_id: device.id.get(),
            top_layer: chain,
            parent: parent.as_deref(),
            containers: &status.containers,
            imported_at: *created,
        }
    }
}
