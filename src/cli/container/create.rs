//! `thinpool container create`

use clap::Args;

use super::list::ContainerJson;
use super::{CliError, Context, open, output};
use crate::pool::{ContainerStatus, Labels, NewContainer};
use crate::units::Bytes;

/// What to make.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The image.
    image: String,
    /// What the container is to be called; without, a name is made up.
    #[arg(long)]
    name: Option<String>,
    /// How large it is to be, if larger than the image: 20G. The file system in it grows too.
    #[arg(long)]
    size: Option<String>,
    /// Note something on it; can be given several times.
    #[arg(long = "label", short, value_name = "KEY=VALUE")]
    labels: Vec<String>,
    #[command(flatten)]
    format: output::Format,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<(), CliError> {
    let new = NewContainer {
        image: arguments.image.parse()?,
        name: arguments.name.map(|name| name.parse()).transpose()?,
        size: arguments.size.map(|size| size.parse::<Bytes>()).transpose()?,
        labels: Labels::parse(&arguments.labels)?,
    };
    let container = open(context, &context.host()?)?.create_container(&new)?;
    if arguments.format.json {
        let status = ContainerStatus { container, path: None, mounts: Vec::new(), mapped: None };
        return output::json(&ContainerJson::new(&status));
    }
    output::line(container.name)
}
