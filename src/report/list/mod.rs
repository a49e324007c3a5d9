//! Lists of images or containers: which of them, which columns, in which form.
//!
//! All three are said in the keys of the JSON that `docs/json.md` explains (`device_bytes`), or in the words that Docker's
//! templates and headers have for them (`.DeviceBytes`, `.Size`).

mod filter;
mod show;
mod template;

use std::fmt::Write;

use serde_json::Value;
use thiserror::Error;

pub use filter::{Filter, FilterKind};
pub use show::{Show, short};
pub use template::Template;

use super::table::{Column, Table};

/// What can be listed of a kind of thing.
#[derive(Debug, Clone, Copy)]
pub struct List {
    /// Its keys.
    pub fields: &'static [Field],
    /// Other words for keys: Docker's.
    pub aliases: &'static [(&'static str, &'static str)],
    /// By what can be chosen.
    pub filters: &'static [Filter],
}

/// A key of what is listed.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The key, as in JSON.
    pub key: &'static str,
    /// The header of its column.
    pub header: &'static str,
    /// How people are shown it.
    pub show: Show,
    /// Whether it has a column unless somebody says which.
    pub usual: bool,
}

/// In which form a list is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// The usual columns.
    Usual,
    /// These columns.
    Columns(Vec<String>),
    /// A line for each, made of this template.
    Template(String),
    /// The names alone.
    Names,
}

/// What was asked of a list and can't be done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ListError {
    /// There is no such key.
    #[error("there is no '{asked}' here; there are {}", .known.join(", "))]
    Field {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It can't be chosen by that.
    #[error("'{asked}' is no filter; there are {}", .known.join(", "))]
    Filter {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The filter's value can't be one.
    #[error("the filter '{filter}' can't be used: {why}")]
    FilterValue {
        /// The whole filter.
        filter: String,
        /// Why not.
        why: String,
    },
    /// The template can't be understood.
    #[error("the template has '{part}', which can't be understood: {why}")]
    Template {
        /// The part of it.
        part: String,
        /// Why not.
        why: &'static str,
    },
}

impl List {
    /// Those items that pass every filter.
    pub fn choose(&self, items: Vec<Value>, filters: &[String]) -> Result<Vec<Value>, ListError> {
        let chosen = filter::Chosen::parse(self.filters, filters)?;
        Ok(items.into_iter().filter(|item| chosen.has(item)).collect())
    }

    /// The items as text.
    pub fn text(&self, items: &[Value], form: &Form) -> Result<String, ListError> {
        match form {
            Form::Usual => {
                let usual = self.fields.iter().filter(|field| field.usual);
                Ok(Self::table(items, &usual.collect::<Vec<_>>()))
            }
            Form::Columns(columns) => {
                let fields =
                    columns.iter().map(|column| self.field(column)).collect::<Result<Vec<_>, _>>()?;
                Ok(Self::table(items, &fields))
            }
            Form::Template(template) => self.with_template(items, template),
            Form::Names => Ok(items.iter().fold(String::new(), |mut text, item| {
                // Writing to a String can't fail.
                let _ = writeln!(text, "{}", Show::Plain.text(&item["name"]));
                text
            })),
        }
    }

    fn table(items: &[Value], fields: &[&Field]) -> String {
        let column = |field: &&Field| match field.show {
            Show::Size | Show::Number | Show::Count => Column::right(field.header),
            _ => Column::left(field.header),
        };
        let mut table = Table::new(fields.iter().map(column));
        for item in items {
            table.row(fields.iter().map(|field| field.show.text(&item[field.key])));
        }
        table.to_string()
    }

    /// As Docker does: `table` at its beginning asks for headers and columns, `json` alone for an object a line.
    fn with_template(&self, items: &[Value], template: &str) -> Result<String, ListError> {
        let (in_table, template) = match template.strip_prefix("table") {
            Some(rest) if rest.starts_with(char::is_whitespace) || rest.starts_with("\\t") => {
                (true, rest.trim_start())
            }
            _ => (false, template),
        };
        let template = Template::parse(if template == "json" { "{{json .}}" } else { template })?;
        for path in template.paths() {
            self.field(path)?;
        }
        let line = |item: &Value| {
            template.fill(item, &|key, value| self.shown(key, value), &|word| self.key_of(word))
        };
        if !in_table {
            return items.iter().map(|item| Ok(line(item)? + "\n")).collect();
        }
        let header = template.headers(|word| self.field(word).map_or(word, |field| field.header).to_owned());
        let mut table = Table::new(header.split('\t').map(Column::left));
        for item in items {
            table.row(line(item)?.split('\t'));
        }
        Ok(table.to_string())
    }

    fn shown(&self, key: &str, value: &Value) -> String {
        let field = self.fields.iter().find(|field| field.key == key);
        field.map_or(Show::Plain, |field| field.show).text(value)
    }

    /// The key that a word means: itself, in Docker's way of writing it, or another word of Docker's for it.
    fn key_of(&self, word: &str) -> Option<&'static str> {
        let is = |other: &str| template::same_word(word, other);
        let alias = self.aliases.iter().find(|(alias, _)| is(alias)).map(|(_, key)| *key);
        alias.or_else(|| self.fields.iter().map(|field| field.key).find(|key| is(key)))
    }

    fn field(&self, word: &str) -> Result<&Field, ListError> {
        let key = self.key_of(word.trim());
        self.fields.iter().find(|field| Some(field.key) == key).ok_or_else(|| ListError::Field {
            asked: word.to_owned(),
            known: self.fields.iter().map(|field| field.key.to_owned()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const THINGS: List = List {
        fields: &[
            Field { key: "name", header: "NAME", show: Show::Plain, usual: true },
            Field { key: "device_bytes", header: "SIZE", show: Show::Size, usual: true },
            Field { key: "mounted_at", header: "MOUNTED AT", show: Show::Plain, usual: true },
            Field { key: "labels", header: "LABELS", show: Show::Plain, usual: false },
        ],
        aliases: &[("Names", "name"), ("Size", "device_bytes"), ("Mounts", "mounted_at")],
        filters: &[
            Filter { key: "name", kind: FilterKind::Part("name") },
            Filter { key: "label", kind: FilterKind::Label },
            Filter { key: "mounted", kind: FilterKind::Any("mounted_at") },
        ],
    };

    fn things() -> Vec<Value> {
        vec![
            json!({"name": "web1", "device_bytes": 1024, "mounted_at": ["/mnt"], "labels": {"env": "prod", "a.b": "x"}}),
            json!({"name": "db", "device_bytes": 2048, "mounted_at": [], "labels": {}}),
        ]
    }

    fn told(form: &Form) -> String {
        THINGS.text(&things(), form).expect("good")
    }

    fn template(template: &str) -> Result<String, ListError> {
        THINGS.text(&things(), &Form::Template(template.to_owned()))
    }

    fn chosen(filters: &[&str]) -> Vec<String> {
        let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
        let chosen = THINGS.choose(things(), &filters).expect("good");
        chosen.iter().map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
    }

    #[test]
    fn the_usual_columns_and_those_that_were_asked_for() {
        assert_eq!(told(&Form::Usual), "NAME    SIZE   MOUNTED AT\nweb1   1 KiB   /mnt\ndb     2 KiB   -\n");
        let columns = ["size", "name"].map(str::to_owned).to_vec();
        assert_eq!(told(&Form::Columns(columns)), " SIZE   NAME\n1 KiB   web1\n2 KiB   db\n");
        assert_eq!(told(&Form::Names), "web1\ndb\n");
    }

    #[test]
    fn templates_are_filled_as_dockers() {
        assert_eq!(template("{{.Names}}\\t{{.Size}}").expect("good"), "web1\t1 KiB\ndb\t2 KiB\n");
        assert_eq!(
            template("{{ .device_bytes }}").expect("good"),
            template("{{.DeviceBytes}}").expect("good")
        );
        assert_eq!(template("{{json .Mounts}}").expect("good"), "[\"/mnt\"]\n[]\n");
        assert_eq!(template("{{.Label \"env\"}}|{{.labels.a.b}}").expect("good"), "prod|x\n|\n");
        assert_eq!(
            template("table {{.Name}}\\t{{.Mounts}}").expect("good"),
            "NAME   MOUNTED AT\nweb1   /mnt\ndb     -\n"
        );
        assert!(template("json").expect("good").starts_with("{\"device_bytes\":1024"));
    }

    #[test]
    fn a_template_that_asks_for_what_is_not_there_is_refused_even_if_the_list_is_empty() {
        let wrong =
            |text: &str| THINGS.text(&[], &Form::Template(text.to_owned())).expect_err(text).to_string();
        assert!(wrong("{{.Nome}}").contains("name, device_bytes"), "{}", wrong("{{.Nome}}"));
        for text in ["{{.Name", "{{}}", "{{if .Name}}", "{{Name}}", "{{json}}", "{{range .Mounts}}"] {
            assert!(wrong(text).contains("can't be understood"), "{}", wrong(text));
        }
        let columns = Form::Columns(vec!["nome".to_owned()]);
        assert!(THINGS.text(&[], &columns).expect_err("no such column").to_string().contains("'nome'"));
    }

    #[test]
    fn filters_of_one_key_add_up_and_those_of_several_narrow() {
        assert_eq!(chosen(&["name=eb"]), ["web1"]);
        assert_eq!(chosen(&["name=d?"]), ["db"]);
        assert_eq!(chosen(&["name=e*"]), Vec::<String>::new());
        assert_eq!(chosen(&["name=web", "name=db"]), ["web1", "db"]);
        assert_eq!(chosen(&["name=web", "mounted=false"]), Vec::<String>::new());
        assert_eq!(chosen(&["mounted=true"]), ["web1"]);
        assert_eq!(
            (chosen(&["label=env"]), chosen(&["label=env=prod"])),
            (vec!["web1".to_owned()], vec!["web1".to_owned()])
        );
        assert_eq!(chosen(&["label=env", "label=none"]), Vec::<String>::new());
        for wrong in ["nome=x", "name", "mounted=perhaps", "name=[", "label="] {
            THINGS.choose(things(), &[wrong.to_owned()]).expect_err(wrong);
        }
    }
}
