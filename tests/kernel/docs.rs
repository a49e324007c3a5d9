//! What the documentation promises to programs.

use std::collections::BTreeSet;

use serde_json::Value;

/// The keys of an object.
pub fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().expect("an object").keys().cloned().collect()
}

/// The keys that `docs/json.md` has below this one.
pub fn documented(above: &str) -> BTreeSet<String> {
    let key = |row: &str| Some(row.strip_prefix("| `")?.split_once('`')?.0.strip_prefix(above)?.to_owned());
    include_str!("../../docs/json.md").lines().filter_map(key).collect()
}
