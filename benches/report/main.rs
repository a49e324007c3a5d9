//! Makes tables, JSON and docs/performance.md of what the benchmarks in the test machine said.
//!
//! ```text
//! cargo bench --bench report -- target/bench/records
//! ```
//!
//! `make bench` calls it after the benchmarks. The JSON goes beside the records, the tables to the terminal and between
//! the markers in the document.
#![allow(missing_docs, reason = "nobody but this program uses its parts")]

mod document;
mod figures;
mod json;
#[path = "../record/mod.rs"]
#[allow(dead_code, reason = "the benchmarks have the other half")]
mod record;
mod targets;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use self::figures::Figures;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(records) = std::env::args_os().skip(1).find(|argument| argument != "--bench") else {
        // `cargo bench` without a name starts all of them.
        println!("the report is made by `make bench`");
        return Ok(());
    };
    let records = PathBuf::from(records);
    let figures =
        Figures::of(&fs::read_to_string(&records)?).with_binary(Path::new("target/release/thinpool"));
    if figures.is_empty() {
        return Err(format!("no benchmark said anything in {}", records.display()).into());
    }
    let tables = document::tables(&figures);
    println!("{tables}");
    fs::write(records.with_extension("json"), json::text(&figures)?)?;
    document::replace_figures(Path::new("docs/performance.md"), &tables)
}
