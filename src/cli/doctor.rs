//! `thinpool doctor`

use super::{CliError, Context, exit, output};
use crate::doctor::{CHECKS, Level, Machine, Pools, examine, worst};
use crate::report::{FindingsJson, findings_text};

/// What `--help` and the manual page say.
pub(super) fn about() -> String {
    let checks: Vec<String> = CHECKS.iter().map(|check| format!("{}: {}", check.name, check.about)).collect();
    format!(
        "Look for everything on this host that would bite a pool, and tell what to do about it. Nothing is changed. Who \
         isn't root is told what could not be looked at. The checks:\n\n{}",
        checks.join("\n\n")
    )
}

pub(super) fn run(context: &Context, format: output::Format) -> Result<u8, CliError> {
    let settings = &context.settings;
    let pools = Pools {
        root: settings.root.get().as_path().to_owned(),
        loop_files: settings.dir.get().as_path().to_owned(),
    };
    let findings = examine(&Machine::this(pools));
    if format.json {
        output::json(&FindingsJson::new(&findings))?;
    } else {
        output::print(&findings_text(&findings))?;
    }
    Ok(if worst(&findings) > Level::Note { exit::DEGRADED } else { exit::DONE })
}
