//! A progress bar: on a terminal, and nowhere else.

use indicatif::{ProgressBar, ProgressStyle};

use crate::image::{Progress, Stage};

/// The bar of an import or an export.
pub(super) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar that shows nothing before the first stage begins.
    pub(super) fn new() -> Self {
        // indicatif draws to standard error, and only where that is a terminal.
        Self { bar: ProgressBar::new_spinner() }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn begin(&mut self, stage: Stage, total: Option<u64>) {
        let message = match stage {
            Stage::Spooling => "Reading".to_owned(),
            Stage::Unpacking => "Unpacking".to_owned(),
            Stage::Committing => "Committing".to_owned(),
            Stage::Packing { layer, of } => format!("Layer {layer} of {of}"),
        };
        let form = if total.is_some() && stage != Stage::Spooling { BAR } else { SPINNER };
        self.bar.reset();
        if let Ok(style) = ProgressStyle::with_template(form) {
            self.bar.set_style(style);
        }
        self.bar.set_length(total.unwrap_or(0));
        self.bar.set_message(message);
    }

    fn advance(&mut self, bytes: u64) {
        self.bar.inc(bytes);
    }
}

const BAR: &str = "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
const SPINNER: &str = "{msg} {spinner} {bytes} {bytes_per_sec}";
