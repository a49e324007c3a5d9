//! One status, told in several ways: the rows of `docker info`, text with what Docker never showed, JSON, metrics.
//! Also the tables and ages of lists. Nothing here asks the kernel or decides anything.

mod age;
mod check;
mod docker;
mod doctor;
mod fields;
mod json;
mod list;
mod prometheus;
mod rescue;
mod row;
mod table;
#[cfg(test)]
pub(crate) mod testing;
mod text;
mod usage;

pub use age::age;
pub use check::{CheckJson, found_text, repaired_text};
pub use docker::docker_rows;
pub use doctor::{FindingsJson, findings_text};
pub use fields::fields;
pub use json::{StatusJson, json};
pub use list::{Field, Filter, FilterKind, Form, List, ListError, Show, Template, short};
pub use prometheus::{TextfileError, prometheus, write_textfile};
pub use rescue::{BackupJson, RestorePlanJson, backups_json, backups_table, outlook_text, restore_text};
pub use row::{Row, aligned, print_rows};
pub use table::{Column, Table};
pub use text::{lies_on, metadata_check, text, text_rows};
pub use usage::{Lines, TreeJson, UsageJson, tree_text, usage_text};
