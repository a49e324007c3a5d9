//! Makes tables, JSON and docs/performance.md of what the benchmarks in the test machine said.
//!
//! ```text
//! cargo bench --bench report -- target/bench/records [DOCUMENT]
//! ```
//!
//! `make bench` calls it after the benchmarks. The JSON goes beside the records, the tables to the terminal and, if one is
//! named, between the markers in a document.
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
use std::path::Path;

use self::figures::Figures;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).filter(|argument| argument != "--bench");
    let Some(records) = arguments.next() else {
        // `cargo bench` without a name starts all of them.
        println!("the report is made by `make bench`");
        return Ok(());
    };
    let records = Path::new(&records);
    let figures =
        Figures::of(&fs::read_to_string(records)?).with_binary(Path::new("target/release/thinpool"));
    if figures.is_empty() {
        return Err(format!("no benchmark said anything in {}", records.display()).into());
    }
    let tables = document::tables(&figures);
    println!("{tables}");
    fs::write(records.with_extension("json"), json::text(&figures)?)?;
    match arguments.next() {
        Some(document) => document::replace_figures(Path::new(&document), &tables),
        None => Ok(()),
    }
}
