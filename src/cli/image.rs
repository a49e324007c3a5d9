//! `thinpool image`

mod export;
mod history;
mod inspect;
mod prune;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use serde::Serialize;

use super::listing::Listing;
use super::progress::Bar;
use super::{CliError, Context, output};
use crate::catalog::Image;
use crate::image::{self, Input};
use crate::pool::{ImageName, ImageStatus, Pool};
use crate::report::{Field, Filter, FilterKind, List, Show, age};

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
    ///
    /// Filters: name or reference (a part of it, or a pattern with * and ?), used (true or false: whether containers are made of
    /// it).
    #[command(visible_alias = "ls")]
    List(Listing),
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
        Command::List(listing) => list(context, &listing),
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

/// What a list of images can tell.
const IMAGES: List = List {
    fields: &[
        Field { key: "name", header: "NAME", show: Show::Plain, usual: true },
        Field { key: "layers", header: "LAYERS", show: Show::Number, usual: true },
        Field { key: "content_bytes", header: "SIZE", show: Show::Size, usual: true },
        Field { key: "top_layer", header: "TOP LAYER", show: Show::Layer, usual: true },
        Field { key: "parent", header: "PARENT", show: Show::Layer, usual: true },
        Field { key: "containers", header: "CONTAINERS", show: Show::Count, usual: true },
        Field { key: "imported_at", header: "IMPORTED", show: Show::Age, usual: true },
        Field { key: "device_bytes", header: "DEVICE SIZE", show: Show::Size, usual: false },
        Field { key: "device_id", header: "DEVICE ID", show: Show::Number, usual: false },
    ],
    aliases: &[
        ("Repository", "name"),
        ("ID", "top_layer"),
        ("Size", "content_bytes"),
        ("CreatedSince", "imported_at"),
        ("Created", "imported_at"),
    ],
    filters: &[
        Filter { key: "name", kind: FilterKind::Part("name") },
        Filter { key: "reference", kind: FilterKind::Part("name") },
        Filter { key: "used", kind: FilterKind::Any("containers") },
    ],
};

/// `thinpool image list`
pub(super) fn list(context: &Context, listing: &Listing) -> Result<(), CliError> {
    let host = context.host()?;
    let images = Pool::open(&host, &context.location())?.images()?;
    listing.print(&IMAGES, &images.iter().map(ImageJson::new).collect::<Vec<_>>())
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
