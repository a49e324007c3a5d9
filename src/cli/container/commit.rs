//! `thinpool container commit`

use std::collections::BTreeMap;

use clap::Args;

use super::super::image::ImageJson;
use super::super::progress::Bar;
use super::super::{CliError, Context, output};
use crate::image::{self, Commit, ConfigChange};
use crate::pool::{Host, ImageStatus, Labels};

pub(super) const ABOUT: &str = "\
Make an image of a container, as it is at this moment.

The image has the layers of the container's own image, and one more with what changed since; if nothing did, it has just \
those layers. The container may be in use and stays so: what it writes waits for the moment that the kernel takes for the \
snapshot, and its file system is whole in it. The image's configuration is that of the container's image, with what is \
given here.";

/// Which container, and what is said of the image.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The container.
    container: String,
    /// What the image is to be called.
    image: String,
    /// A label of the image; can be given several times.
    #[arg(long, short, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// What this step is for: the comment in the image's history.
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
    /// Who made it.
    #[arg(long, short, value_name = "TEXT")]
    author: Option<String>,
    /// A change of the image's configuration, in the words of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER,
    /// VOLUME or WORKDIR. Can be given several times.
    #[arg(long, short, value_name = "INSTRUCTION")]
    change: Vec<String>,
    #[command(flatten)]
    format: output::Format,
}

pub(super) fn run(context: &Context, host: &Host, arguments: &Arguments) -> Result<(), CliError> {
    let labels: BTreeMap<_, _> = Labels::parse(&arguments.label)?.into();
    let labels: Vec<_> = labels.into_iter().collect();
    let changes = arguments.change.iter().map(|change| change.parse());
    let mut changes = changes.collect::<Result<Vec<ConfigChange>, _>>()?;
    changes.extend((!labels.is_empty()).then_some(ConfigChange::Label(labels)));
    let commit = Commit { message: arguments.message.clone(), author: arguments.author.clone(), changes };
    let (container, name) = (arguments.container.parse()?, arguments.image.parse()?);
    let mut bar = Bar::new();
    let committed = image::commit(host, &context.location(), &container, &name, &commit, &mut bar);
    bar.finish();
    let image = committed?;
    if arguments.format.json {
        return output::json(&ImageJson::new(&ImageStatus { image, containers: Vec::new() }));
    }
    output::line(image.name)
}
