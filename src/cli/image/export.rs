//! `thinpool image export`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::progress::Bar;
use crate::cli::{CliError, Context, output};
use crate::image::{self, Destination, LayerCompression};

pub(super) const ABOUT: &str = "\
Write an image to an archive: an OCI image layout in a tar, as skopeo, umoci and `image import` read it.

The file gets its name when all of it is written; one that is there already is not replaced. The layers are made anew from \
their devices: they hold the same files as those that were imported, but have other digests.";

/// Which image, and where to.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Which.
    name: String,
    /// The file; without one, or with -, the archive goes to the standard output.
    #[arg(default_value = "-", hide_default_value = true)]
    file: PathBuf,
    /// How the layers in it are compressed.
    #[arg(long, value_enum, default_value_t = Compression::Gzip)]
    compression: Compression,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Compression {
    /// Not at all.
    None,
    /// By gzip, which everything reads.
    Gzip,
    /// By zstd: faster and smaller, and known to tools since about 2020.
    Zstd,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), CliError> {
    let compression = match arguments.compression {
        Compression::None => LayerCompression::None,
        Compression::Gzip => LayerCompression::Gzip,
        Compression::Zstd => LayerCompression::Zstd,
    };
    let (host, location, name) = (context.host()?, context.location(), arguments.name.parse()?);
    let to = Destination::from_argument(&arguments.file);
    let mut bar = Bar::new();
    let exported = image::export(&host, &location, &name, &to, compression, &mut bar);
    bar.finish();
    match exported?.skipped_sockets {
        0 => {}
        1 => output::note("a socket was left out: no archive can hold one"),
        count => output::note(&format!("{count} sockets were left out: no archive can hold one")),
    }
    Ok(())
}
