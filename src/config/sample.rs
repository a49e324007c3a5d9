//! The sample file and the table of the documentation, generated from the registry.

use std::fmt::Write;

use super::registry::{SETTINGS, Setting};
use super::settings::DEFAULT_FILE;
use super::value::Shape;

/// The text of `configs/thinpool.toml`: every setting, commented out, at its default.
#[must_use]
pub fn sample_file() -> String {
    let mut text = format!(
        "# Settings of thinpool; it reads {DEFAULT_FILE} unless --config names another file.\n\
         # Every setting is shown at its default. Flags and --storage-opt beat what is set here.\n"
    );
    for setting in SETTINGS {
        text.push('\n');
        add_sample(&mut text, setting);
    }
    text.push_str(
        "\n# A table for one pool beats what is set above, for that pool only.\n\
         # [pools.ci]\n\
         # base-size = \"20G\"\n",
    );
    text
}

fn add_sample(text: &mut String, setting: &Setting) {
    let default = default_as_toml(setting);
    // Writing to a String can't fail.
    let _ = writeln!(text, "# {}", setting.help);
    let _ = writeln!(text, "# Allowed: {}.", setting.allowed());
    if let Some(key) = setting.docker_key {
        let _ = writeln!(text, "# Docker's option: {key}.");
    }
    let _ = writeln!(text, "# {} = {default}", setting.name);
}

/// A default as the file would hold it.
fn default_as_toml(setting: &Setting) -> String {
    match (setting.shape, setting.default) {
        (Shape::List, texts) => format!("{texts:?}"),
        (Shape::Switch, texts) => texts.concat(),
        (_, texts) => format!("\"{}\"", texts.concat()),
    }
}

/// The table of all settings for `docs/configuration.md`.
#[must_use]
pub fn settings_table() -> String {
    let mut text = "| setting | default | allowed | Docker's option | what it is for |\n\
                    |---|---|---|---|---|\n"
        .to_owned();
    for setting in SETTINGS {
        let _ = writeln!(
            text,
            "| `{}` | `{}` | {} | {} | {} |",
            setting.name,
            default_as_toml(setting),
            setting.allowed().replace('<', "&lt;"),
            setting.docker_key.map(|key| format!("`{key}`")).unwrap_or_default(),
            setting.help,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{ConfigFile, Inputs, Settings};

    /// Holds a part of a committed file to what the registry generates.
    fn hold(file: &str, generated: impl Fn(&str) -> String) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let wanted = generated(&committed);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, wanted).expect("writes");
            return;
        }
        assert_eq!(committed, wanted, "{file} differs from the registry: run `UPDATE=1 cargo test config::`");
    }

    #[test]
    fn the_sample_file_never_drifts_from_the_settings() {
        hold("configs/thinpool.toml", |_| sample_file());
    }

    #[test]
    fn the_documentation_never_drifts_from_the_settings() {
        hold("docs/configuration.md", |committed| {
            let (begin, end) = ("<!-- settings -->\n", "<!-- end of settings -->");
            let (before, rest) = committed.split_once(begin).expect("a line that begins the table");
            let (_, after) = rest.split_once(end).expect("a line that ends the table");
            format!("{before}{begin}{}{end}{after}", settings_table())
        });
    }

    #[test]
    fn the_sample_file_with_every_comment_taken_off_changes_nothing() {
        let is_setting = |line: &&str| line.contains(" = ") && !line.contains("  ");
        let lines = sample_file();
        let lines = lines.split("\n# A table").next().expect("a part").lines();
        let lines: Vec<&str> = lines.filter_map(|line| line.strip_prefix("# ")).filter(is_setting).collect();
        let text = lines.join("\n");
        assert_eq!(text.lines().count(), SETTINGS.len());

        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("t.toml");
        std::fs::write(&path, text).expect("writes");
        let load = |file| Settings::load(&Inputs { file, ..Inputs::default() }).expect("loads");
        let values = |s: Settings| s.effective().into_iter().map(|e| (e.name, e.value)).collect::<Vec<_>>();
        assert_eq!(values(load(ConfigFile::Named(path))), values(load(ConfigFile::Ignored)));
    }
}
