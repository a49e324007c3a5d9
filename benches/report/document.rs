//! The figures for people.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::figures::{Counted, Figures};
use crate::record::{Unit, job};
use crate::targets::TARGETS;

const BEGIN: &str = "<!-- figures of `make bench`: begin -->\n";
const END: &str = "<!-- figures of `make bench`: end -->\n";

/// The jobs, in the order in which they are told.
const JOBS: [&str; 22] = [
    job::SNAPSHOT,
    job::ACTIVATE,
    job::DEVICE,
    job::WRITE,
    job::REMOVE,
    job::IDLE,
    job::IMPORT,
    job::DIFFERENCE,
    job::PROCESS,
    job::SYNC,
    job::HUNDRED,
    job::READ,
    job::CREATE_AMONG,
    job::REMOVE_AMONG,
    job::STATUS,
    job::DMSETUP_STATUS,
    job::LIST,
    job::USAGE,
    job::THIN_LS,
    job::ACTIVATE_POOL,
    job::FIRST_WRITE,
    job::WRITE_AGAIN,
];

/// Everything that stands between the markers.
pub fn tables(figures: &Figures) -> String {
    let mut text = String::new();
    machine(figures, &mut text);
    targets(figures, &mut text);
    for job in JOBS {
        times(figures, job, &mut text);
    }
    counts(figures, &mut text);
    absent(figures, &mut text);
    text
}

fn machine(figures: &Figures, text: &mut String) {
    let told: Vec<String> = figures.machine.iter().map(|(what, is)| format!("{what}: {is}")).collect();
    put(text, format_args!("The machine: {}.\n\n", told.join("; ")));
}

fn targets(figures: &Figures, text: &mut String) {
    put(text, format_args!("| | target | is to be | is | reached |\n|---|---|---|---|---|\n"));
    for target in &TARGETS {
        let (is, reached) = match target.ratio(figures) {
            Some(ratio) => (format!("{ratio:.2}"), if target.bound.holds(ratio) { "yes" } else { "**no**" }),
            None => ("not measured".to_owned(), ""),
        };
        put(
            text,
            format_args!("| {} | {} | {} | {is} | {reached} |\n", target.number, target.says, target.bound),
        );
    }
}

/// A table of everybody who did a job, beside the first of them.
fn times(figures: &Figures, job: &str, text: &mut String) {
    let Some(first) = figures.of_job(job).next() else { return };
    let least = first.median();
    put(text, format_args!("\n### {}\n\n", capitalised(job)));
    put(text, format_args!("| | × the first | median, ms | quartiles | runs |\n|---|---:|---:|---:|---:|\n"));
    for measured in figures.of_job(job) {
        let ratio = format!("{:.2}", measured.median() / least);
        let (median, (first, third)) = (in_ms(measured.median()), measured.quartiles());
        let (first, third) = (in_ms(first), in_ms(third));
        let (way, runs) = (&measured.way, measured.runs());
        put(text, format_args!("| {way} | {ratio} | {median} | {first} to {third} | {runs} |\n"));
    }
}

/// What is no time.
fn counts(figures: &Figures, text: &mut String) {
    if figures.counted.is_empty() {
        return;
    }
    put(text, format_args!("\n### Counted\n\n| | of | |\n|---|---|---:|\n"));
    for counted in &figures.counted {
        let (what, of) = (capitalised(&counted.what), &counted.of);
        put(text, format_args!("| {what} | {of} | {} |\n", amount(counted)));
    }
}

#[allow(clippy::cast_precision_loss, reason = "it is shown with two digits")]
fn amount(counted: &Counted) -> String {
    let is = counted.is as f64;
    match counted.unit {
        Unit::Bytes if counted.is < 1 << 20 => format!("{:.1} KiB", is / f64::from(1 << 10)),
        Unit::Bytes => format!("{:.2} MiB", is / f64::from(1 << 20)),
        Unit::Microseconds => format!("{:.2} ms", is / 1e3),
        Unit::Times => counted.is.to_string(),
    }
}

fn absent(figures: &Figures, text: &mut String) {
    for (way, why) in &figures.absent {
        put(text, format_args!("\n**{way}** didn't take part: {why}\n"));
    }
}

/// Three digits that mean something.
fn in_ms(nanoseconds: f64) -> String {
    let ms = nanoseconds / 1e6;
    match ms {
        100.0.. => format!("{ms:.0}"),
        10.0.. => format!("{ms:.1}"),
        _ => format!("{ms:.2}"),
    }
}

fn capitalised(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn put(text: &mut String, words: std::fmt::Arguments<'_>) {
    // A string takes everything.
    let _ = text.write_fmt(words);
}

/// Puts the tables between the markers of a document.
pub fn replace_figures(document: &Path, tables: &str) -> Result<(), Box<dyn Error>> {
    let old = fs::read_to_string(document)?;
    let parts = old
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)))
        .ok_or_else(|| format!("{} has no place for the figures", document.display()))?;
    let (before, after) = parts;
    Ok(fs::write(document, format!("{before}{BEGIN}\n{tables}\n{END}{after}"))?)
}
