//! `thinpool trim`

use indicatif::{ProgressBar, ProgressStyle};

use super::{CliError, Context, exit, output};
use crate::pool::Pool;
use crate::pool::trim::{TrimProgress, Trimmed};
use crate::units::Bytes;

pub(super) fn run(context: &Context) -> Result<u8, CliError> {
    let host = context.host()?;
    let mut pool = Pool::open(&host, &context.location())?;
    let mut bar = Bar::new();
    let trimmed = pool.trim(&mut bar);
    bar.0.finish_and_clear();
    let trimmed = trimmed?;
    for failed in &trimmed.failed {
        output::note(&format!(
            "warning: the container '{}' could not be trimmed: {}",
            failed.name, failed.why
        ));
    }
    if !trimmed.out_of_reach.is_empty() {
        output::note(&format!(
            "note: active, but mounted nowhere that can be seen from here: {}; whoever uses them can run `fstrim` inside",
            trimmed.out_of_reach.join(", ")
        ));
    }
    output::line(told(&trimmed))?;
    Ok(if trimmed.failed.is_empty() { exit::DONE } else { exit::DEGRADED })
}

fn told(trimmed: &Trimmed) -> String {
    let Trimmed { containers, used_before, used_after, .. } = trimmed;
    let file = trimmed.file.map_or_else(String::new, |(before, after)| {
        format!("; the loop file takes up {after}, {} less", before - after)
    });
    let plural = if *containers == 1 { "" } else { "s" };
    format!(
        "{containers} container{plural} trimmed: {} were given back, {used_after} of data are in use{file}.",
        *used_before - *used_after
    )
}

/// How far it has come, on a terminal and nowhere else.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        Self(ProgressBar::new(0))
    }
}

impl TrimProgress for Bar {
    fn begin(&mut self, total: Bytes) {
        if let Ok(style) = ProgressStyle::with_template("Trimming {bar:30} {bytes}/{total_bytes}, {eta} left")
        {
            self.0.set_style(style);
        }
        self.0.set_length(total.0);
    }

    fn advance(&mut self, bytes: Bytes) {
        self.0.inc(bytes.0);
    }
}
