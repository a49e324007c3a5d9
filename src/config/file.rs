//! The configuration file: TOML, read with the place of every value, so that an error points at it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::error::ConfigError;
use super::registry::Setting;
use super::settings::{ConfigFile, Given, Level, add};
use super::source::{Place, Source};
use super::value::Shape;
use crate::units::{Bytes, PoolName};

/// The largest file that is read: a thousand times what anybody needs.
pub(super) const MAX_FILE: Bytes = Bytes::mib(1);

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct FileSettings {
    /// Its top level.
    pub top: Level,
    /// Its tables `[pools.NAME]`.
    pub pools: BTreeMap<String, Level>,
}

impl FileSettings {
    pub(super) fn load(file: &ConfigFile) -> Result<Self, ConfigError> {
        let (path, may_be_missing) = match file {
            ConfigFile::IfThere(path) => (path, true),
            ConfigFile::Named(path) => (path, false),
            ConfigFile::Ignored => return Ok(Self::default()),
        };
        match read_bounded(path) {
            Ok(text) => Document { path, text: &text }.read(),
            Err(ConfigError::Unreadable { source, .. })
                if may_be_missing && source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(Self::default())
            }
            Err(error) => Err(error),
        }
    }
}

fn read_bounded(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE.0 + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE.0 {
        return Err(ConfigError::TooLarge(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| ConfigError::NotText(path.to_owned()))
}

/// A file's text while it is being read.
struct Document<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Document<'_> {
    fn read(&self) -> Result<FileSettings, ConfigError> {
        let document = DeTable::parse(self.text).map_err(|error| ConfigError::Syntax {
            place: self.place(&error.span().unwrap_or(0..0)),
            message: error.message().trim().replace('\n', ", "),
        })?;
        let mut settings = FileSettings::default();
        for (key, value) in document.get_ref() {
            if key.get_ref() == "pools" {
                settings.pools = self.pool_tables(value)?;
            } else {
                self.setting(&mut settings.top, key, value)?;
            }
        }
        Ok(settings)
    }

    fn pool_tables(&self, pools: &Spanned<DeValue>) -> Result<BTreeMap<String, Level>, ConfigError> {
        let bad_table = |place: &Range<usize>, message: &str| ConfigError::BadPoolTable {
            place: self.place(place),
            message: message.to_owned(),
        };
        let not_a_table = "the settings of one pool go under a line [pools.NAME]";
        let Some(tables) = pools.get_ref().as_table() else {
            return Err(bad_table(&pools.span(), not_a_table));
        };
        let mut levels = BTreeMap::new();
        for (name, table) in tables {
            let Some(entries) = table.get_ref().as_table() else {
                return Err(bad_table(&table.span(), not_a_table));
            };
            if let Err(error) = name.get_ref().parse::<PoolName>() {
                return Err(bad_table(&name.span(), &error.to_string()));
            }
            let mut level = Level::new();
            for (key, value) in entries {
                if key.get_ref() == "pool" {
                    return Err(bad_table(&key.span(), "the table's own name says which pool it is for"));
                }
                self.setting(&mut level, key, value)?;
            }
            levels.insert(name.get_ref().clone().into_owned(), level);
        }
        Ok(levels)
    }

    fn setting(
        &self,
        level: &mut Level,
        key: &Spanned<std::borrow::Cow<str>>,
        value: &Spanned<DeValue>,
    ) -> Result<(), ConfigError> {
        let name = key.get_ref();
        let Some(setting) = Setting::by_name(name) else {
            return Err(self.unknown(key, value));
        };
        let place = self.place(&value.span());
        let whence = place.to_string();
        let texts = texts(setting.shape, value.get_ref()).ok_or_else(|| {
            let found = value.get_ref().type_str();
            setting.bad(&whence, &format!("{} {found}", article(found)), None)
        })?;
        let source = Source::File { path: place.path, line: place.line };
        add(level, setting, Given { texts, source, whence })
    }

    fn unknown(&self, key: &Spanned<std::borrow::Cow<str>>, value: &Spanned<DeValue>) -> ConfigError {
        let whence = self.place(&key.span()).to_string();
        // `dm.basesize = …` is a table `dm` with a key `basesize` to TOML.
        let inner =
            value.get_ref().as_table().filter(|_| key.get_ref() == "dm").and_then(|t| t.keys().next());
        match inner {
            Some(inner) => ConfigError::unknown_setting(&whence, &format!("dm.{}", inner.get_ref())),
            None => ConfigError::unknown_setting(&whence, key.get_ref()),
        }
    }

    /// Where a span begins.
    fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            path: PathBuf::from(self.path),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'i']) { "an" } else { "a" }
}

/// A TOML value as the texts that a setting of this shape is read from, or none if it has the wrong type.
fn texts(shape: Shape, value: &DeValue) -> Option<Vec<String>> {
    let one = |text: String| Some(vec![text]);
    match (shape, value) {
        (Shape::Text | Shape::TextOrNumber | Shape::SwitchOrText, DeValue::String(text)) => {
            one(text.clone().into_owned())
        }
        (Shape::TextOrNumber, DeValue::Integer(number)) => one(decimal(number)),
        (Shape::Switch | Shape::SwitchOrText, DeValue::Boolean(on)) => one(on.to_string()),
        (Shape::List, DeValue::Array(items)) => {
            items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
        }
        _ => None,
    }
}

/// An integer in base 10 whatever base it was written in; one that is too large stays as it was written, and is
/// refused by whoever reads it.
fn decimal(number: &DeInteger) -> String {
    i128::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_| number.to_string(), |n| n.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<FileSettings, ConfigError> {
        Document { path: Path::new("/etc/t.toml"), text }.read()
    }

    fn error(text: &str) -> String {
        read(text).expect_err("refused").to_string()
    }

    fn value(text: &str, name: &str) -> Vec<String> {
        read(text).expect("reads").top.remove(name).expect("is there").texts
    }

    #[test]
    fn every_way_to_write_a_value_is_read() {
        assert_eq!(value("base-size = \"20G\"", "base-size"), ["20G"]);
        assert_eq!(value("base-size = 0x4000_0000", "base-size"), ["1073741824"]);
        assert_eq!(value("zero-new-blocks = false", "zero-new-blocks"), ["false"]);
        assert_eq!(value("deferred-removal = 'auto'", "deferred-removal"), ["auto"]);
        assert_eq!(value("deferred-removal = true", "deferred-removal"), ["true"]);
        assert_eq!(value("mkfs-args = ['-m', '0']", "mkfs-args"), ["-m", "0"]);
        assert_eq!(value("mkfs-args = []", "mkfs-args"), [""; 0]);
        assert_eq!(value("log-level = 7", "log-level"), ["7"]);
        assert_eq!(value("udev-timeout = 5", "udev-timeout"), ["5"]);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest() {
        let message = error("# a comment\n\n  bas-size = '1G'\n");
        assert!(message.starts_with("/etc/t.toml:3:3: there is no setting 'bas-size'."), "{message}");
        assert!(message.contains("Did you mean base-size?"), "{message}");
        assert!(message.contains("Settings are: pool, root, dir,"), "{message}");
        let message = error("dm.basesize = '1G'");
        assert!(message.contains("called base-size here"), "{message}");
    }

    #[test]
    fn a_wrong_type_or_value_is_an_error_with_its_place() {
        for (text, start) in [
            ("base-size = true", "/etc/t.toml:1:13: base-size can't be a boolean. Allowed is a size"),
            ("base-size = -1", "/etc/t.toml:1:13: base-size can't be '-1'. Allowed is a size"),
            ("base-size = 0", "/etc/t.toml:1:13: base-size can't be '0': it must be more than 0. Allowed"),
            ("zero-new-blocks = 1", "/etc/t.toml:1:19: zero-new-blocks can't be an integer. Allowed is true"),
            ("mkfs-args = '-K'", "/etc/t.toml:1:13: mkfs-args can't be a string. Allowed is a list"),
            ("mkfs-args = [1]", "/etc/t.toml:1:13: mkfs-args can't be an array. Allowed is a list"),
            ("block-size = '96K'", "/etc/t.toml:1:14: block-size can't be '96K'. Allowed is a multiple"),
            ("pools = 1", "/etc/t.toml:1:9: the settings of one pool go under"),
            ("[pools]\na = 1", "/etc/t.toml:2:5: the settings of one pool go under"),
            ("[pools.\"a/b\"]", "/etc/t.toml:1:8: 'a/b' is not a pool name"),
            ("[pools.a]\npool = 'b'", "/etc/t.toml:2:1: the table's own name"),
            ("[pools.a]\nfs = 'ntfs'", "/etc/t.toml:2:6: fs can't be 'ntfs'. Allowed is ext4"),
            ("ä = 'ö' = 1", "/etc/t.toml:1:9: "),
            ("fs = 'xfs'\nfs = 'xfs'", "/etc/t.toml:2:1: duplicate key"),
        ] {
            let message = error(text);
            assert!(message.starts_with(start), "{text}\n{message}");
        }
    }

    #[test]
    fn a_missing_file_is_an_error_only_if_somebody_named_it() {
        let path = PathBuf::from("/nonexistent/t.toml");
        assert!(FileSettings::load(&ConfigFile::IfThere(path.clone())).is_ok());
        let error = FileSettings::load(&ConfigFile::Named(path)).expect_err("refused").to_string();
        assert!(error.contains("/nonexistent/t.toml"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_configuration_is_refused_without_reading_it_all() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("t.toml");
        File::create(&path).and_then(|f| f.set_len(1 << 40)).expect("a sparse file");
        let refused = FileSettings::load(&ConfigFile::Named(path.clone()));
        assert!(matches!(refused, Err(ConfigError::TooLarge(_))));
        std::fs::write(&path, b"\xff\xfe").expect("writes");
        let refused = FileSettings::load(&ConfigFile::Named(path));
        assert!(matches!(refused, Err(ConfigError::NotText(_))));
    }

    #[test]
    fn brackets_without_end_do_not_overflow_the_stack() {
        let _ = read(&format!("pool = {}", "[".repeat(500_000)));
        let _ = read(&format!("pool = {}", "{a=".repeat(250_000)));
        let _ = read(&format!("{}a = 1", "a.".repeat(250_000)));
    }

    proptest! {
        #[test]
        fn no_file_makes_the_parser_panic(text in "\\PC*", key in "[a-z-]{1,12}", value in "\\PC{0,20}") {
            let _ = read(&text);
            let _ = read(&format!("{key} = {value}\n[pools.{key}]\nfs = {value}"));
            for setting in super::super::SETTINGS {
                let _ = read(&format!("{} = {value}", setting.name));
                let _ = read(&format!("{} = '{value}'", setting.name));
            }
        }
    }
}
