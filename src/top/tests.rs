//! The screen and what it is made of.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;

use super::*;
use crate::pool::status::{Mode, Severity};
use crate::report::testing::{every_status, inactive, looped, with_figures};
use crate::units::{Bytes, DataBlocks, Rate};

const SECOND: Duration = Duration::from_secs(1);

fn device(name: &str, mapped: u64, written: u64) -> DeviceActivity {
    DeviceActivity { name: name.to_owned(), mapped: Some(Bytes(mapped)), written: Some(Bytes(written)) }
}

fn sample(at: Instant, used: u64, devices: Vec<DeviceActivity>) -> Sample {
    let mut status = looped();
    with_figures(&mut status, |figures| figures.data.used = DataBlocks(used));
    Sample { at, status: Status { problems: Vec::new(), ..status }.assessed(), devices }
}

fn history(samples: impl IntoIterator<Item = Sample>) -> History {
    let mut history = History::default();
    samples.into_iter().for_each(|sample| history.push(sample));
    history
}

fn drawn(history: &History, width: u16, height: u16, palette: Palette) -> Buffer {
    let view = history.view(Instant::now()).expect("there is a sample");
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(frame, &view, 2 * SECOND, palette)).expect("drawn");
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width.max(1));
    let row =
        |cells: &[ratatui::buffer::Cell]| cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>();
    buffer.content.chunks(width).map(|cells| row(cells).trim_end().to_owned()).collect()
}

/// A pool of 1 638 400 blocks of 64 KiB, a tenth full, which takes 100 blocks a second.
fn busy(now: Instant) -> History {
    let ago = |seconds: u32| now.checked_sub(SECOND * seconds).expect("it is later than that");
    history([
        sample(ago(4), 163_840, vec![device("web1", 1 << 30, 0), device("base", 0, 0)]),
        sample(ago(2), 164_040, vec![device("web1", 1 << 30, 1_000_000), device("ci", 3 << 30, 7)]),
        sample(ago(0), 164_240, vec![device("web1", 1 << 30, 5_000_000), device("ci", 3 << 30, 1_000_007)]),
    ])
}

#[test]
fn an_ordinary_terminal_shows_all_that_matters() {
    let told = lines(&drawn(&busy(Instant::now()), 80, 24, Palette::Coloured));
    let text = told.join("\n");
    assert_eq!(told.len(), 24);
    assert!(
        told[0].starts_with("thinpool: read-write, healthy") && told[0].ends_with("every 2 s, q quits"),
        "{text}"
    );
    assert!(told[2].starts_with("Data     ████") && told[2].ends_with("10.0% 10.76GB of 107.4GB"), "{text}");
    // 33.91 GB are free on the host, and 6.5536 MB are used a second.
    assert!(told[3].contains("6.554MB/s, full in 1 h 26 min; 33.91GB can still be used"), "{text}");
    assert!(told[4].starts_with("Metadata ░") && told[5].contains("no change"), "{text}");
    assert!(told[7].starts_with("Hold most") && told[7].contains("Write most"), "{text}");
    assert_eq!(told[8].split_whitespace().collect::<Vec<_>>(), ["ci", "3.221GB", "web1", "2MB/s"]);
    assert_eq!(told[9].split_whitespace().collect::<Vec<_>>(), ["web1", "1.074GB", "ci", "500kB/s"]);
    assert!(text.contains("2 s  The device ci is active.\n"), "{text}");
    assert!(text.contains("2 s  The device base is no longer active."), "{text}");
}

#[test]
fn no_terminal_is_too_small_and_no_status_too_strange() {
    for status in every_status() {
        let at = Instant::now();
        let before = sample(at.checked_sub(SECOND).expect("later"), 1, Vec::new());
        let history = history([before, Sample { at, status, devices: vec![device("web1", 1, 1)] }]);
        for (width, height) in [(1, 1), (1, 30), (5, 4), (20, 8), (40, 2), (79, 23), (80, 24), (300, 100)] {
            drawn(&history, width, height, Palette::Coloured);
        }
    }
}

#[test]
fn where_colours_are_not_wanted_there_are_none_and_words_tell_the_same() {
    let mut status = looped();
    if let Some(live) = &mut status.live {
        live.mode = Mode::OutOfDataSpace;
    }
    let status = Status { problems: Vec::new(), ..status }.assessed();
    let history = history([Sample { at: Instant::now(), status, devices: Vec::new() }]);
    let is_coloured = |buffer: &Buffer| buffer.content.iter().any(|cell| cell.fg != Color::Reset);
    let plain = drawn(&history, 80, 24, Palette::Plain);
    assert!(!is_coloured(&plain));
    assert!(is_coloured(&drawn(&history, 80, 24, Palette::Coloured)));
    let text = lines(&plain).join("\n");
    assert!(text.starts_with("thinpool: out of data space, failed"), "{text}");
    assert!(text.contains("\nCritical: The pool has no free block for data"), "{text}");
}

#[test]
fn what_nobody_knows_is_not_shown_as_nothing() {
    let history = history([Sample { at: Instant::now(), status: inactive(), devices: Vec::new() }]);
    let told = lines(&drawn(&history, 80, 24, Palette::Plain));
    assert!(told[0].starts_with("thinpool: inactive, not active"), "{told:?}");
    assert_eq!([&*told[2], &*told[4]], ["Data     unknown", "Metadata unknown"]);
}

#[test]
fn a_rate_is_that_of_the_last_minute_and_of_numbers_that_were_known() {
    let now = Instant::now();
    let at = |seconds: u32| now + SECOND * seconds;
    // Much at first, and nothing in the last minute.
    let mut seen = history([sample(at(0), 0, Vec::new()), sample(at(10), 50_000, Vec::new())]);
    assert!(seen.view(at(10)).expect("seen").data.is_some_and(|rate| !rate.is_zero()));
    for seconds in 11..=70 {
        seen.push(sample(at(seconds), 50_000, Vec::new()));
    }
    assert!(seen.view(at(70)).expect("seen").data.is_some_and(Rate::is_zero));
    // A pool that was away has its rate from when it came back.
    seen.push(Sample { at: at(71), status: inactive(), devices: Vec::new() });
    assert_eq!(seen.view(at(71)).expect("seen").data, None);
    seen.push(sample(at(72), 60_000, Vec::new()));
    assert_eq!(seen.view(at(72)).expect("seen").data, None);
    seen.push(sample(at(73), 60_000, Vec::new()));
    assert!(seen.view(at(73)).expect("seen").data.is_some_and(Rate::is_zero));
}

#[test]
fn whatever_changes_is_told_once_and_the_worst_on_top() {
    let now = Instant::now();
    let calm = || sample(now, 1000, vec![device("web1", 1, 1)]);
    let full = || {
        let mut full = sample(now, 1_638_400, Vec::new());
        if let Some(live) = &mut full.status.live {
            live.mode = Mode::OutOfDataSpace;
        }
        full.status = Status { problems: Vec::new(), ..full.status }.assessed();
        full
    };
    let told = |history: &History| -> Vec<(Severity, String)> {
        let events = history.view(now).expect("seen").events;
        events.into_iter().map(|(_, event)| (event.severity, event.text.clone())).collect()
    };
    let events = told(&history([calm(), calm(), full(), full()]));
    assert!(
        events[0].0 == Severity::Critical && events[0].1.contains("no free block for data"),
        "{events:?}"
    );
    for text in ["The mode is out of data space (it was read-write).", "The device web1 is no longer active."]
    {
        assert_eq!(events.iter().filter(|(_, told)| told == text).count(), 1, "{events:?}");
    }

    let mut larger = calm();
    with_figures(&mut larger.status, |figures| figures.data.total = DataBlocks(3_276_800));
    let mut seen = history([full(), larger]);
    let events = told(&seen);
    assert!(
        events.contains(&(Severity::Note, "Data has 214.7GB (it had 107.4GB).".to_owned())),
        "{events:?}"
    );
    assert!(events.contains(&(Severity::Note, "No longer: out of data space.".to_owned())), "{events:?}");
    seen.push(Sample { at: now, status: inactive(), devices: Vec::new() });
    assert!(told(&seen).iter().any(|(_, text)| text == "The pool is inactive (it was active)."));
}

#[test]
fn a_node_that_was_made_anew_wrote_no_less_than_nothing() {
    let now = Instant::now();
    let seen = history([
        sample(now, 1, vec![device("web1", 1, 1_000_000)]),
        sample(now + SECOND, 1, vec![device("web1", 1, 4000)]),
    ]);
    let writers = seen.view(now).expect("seen").writers;
    assert_eq!(
        writers.iter().map(|(name, rate)| (*name, rate.to_string())).collect::<Vec<_>>(),
        [("web1", "4kB/s".to_owned())]
    );
}
