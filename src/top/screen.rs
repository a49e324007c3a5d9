//! What is on the screen: lines of text, cut to its size. The fixed part comes first, so that a small terminal shows what
//! matters most; devices and events share what is left.

use std::time::Duration;

use ratatui::Frame;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::View;
use crate::pool::status::{Problem, Severity, Space, Verdict};
use crate::units::{Bytes, DockerSize, Rate, span};

/// Rows that are left to events where there are few, their heading included.
const EVENTS: usize = 7;

/// Below this a bar says less than the number beside it.
const NARROWEST_BAR: usize = 10;

/// Whether there are colours: never where `NO_COLOR` is set (<https://no-color.org>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Palette {
    /// Green, yellow, red.
    Coloured,
    /// None: words say the same.
    Plain,
}

impl Palette {
    fn of(self, colour: Color) -> Style {
        match self {
            Self::Coloured => Style::new().fg(colour),
            Self::Plain => Style::new(),
        }
    }

    fn severity(self, severity: Severity) -> Style {
        match severity {
            Severity::Critical => self.of(Color::Red).add_modifier(Modifier::BOLD),
            Severity::Warning => self.of(Color::Yellow),
            Severity::Note => Style::new(),
        }
    }

    fn verdict(self, verdict: Verdict) -> Style {
        match verdict {
            Verdict::Healthy => self.of(Color::Green),
            Verdict::Failed => self.severity(Severity::Critical),
            Verdict::Degraded | Verdict::NotActive | Verdict::Absent => self.severity(Severity::Warning),
        }
    }
}

/// Draws what there is to show.
pub fn draw(frame: &mut Frame<'_>, view: &View<'_>, every: Duration, palette: Palette) {
    let area = frame.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let buffer = frame.buffer_mut();
    for (y, line) in (area.y..area.bottom()).zip(lines(view, every, palette, width, height)) {
        buffer.set_line(area.x, y, &line, area.width);
    }
}

fn lines<'a>(
    view: &'a View<'_>,
    every: Duration,
    palette: Palette,
    width: usize,
    height: usize,
) -> Vec<Line<'a>> {
    let mut lines = vec![title(view, every, palette, width), Line::default()];
    lines.extend(space("Data", view.status.data_space(), view.data, palette, width));
    lines.extend(space("Metadata", view.status.metadata_space(), view.metadata, palette, width));
    lines.push(Line::default());
    lines.extend(problems(view, palette, width));
    let left = height.saturating_sub(lines.len());
    let events = EVENTS.max(left / 2).min(left);
    lines.extend(devices(view, width, left - events));
    lines.extend(happened(view, palette, width).into_iter().take(events));
    lines
}

fn title<'a>(view: &View<'_>, every: Duration, palette: Palette, width: usize) -> Line<'a> {
    let status = view.status;
    let verdict = status.verdict();
    let mode = status.live.as_ref().map_or(status.state.as_str(), |live| live.mode.as_str());
    let needs_check = status.figures().is_some_and(|figures| figures.needs_check);
    let pool = format!("{}: {mode}{}, ", status.pool, if needs_check { ", needs check" } else { "" });
    let help = format!("every {}, q quits", span(every));
    let gap = width.saturating_sub(pool.len() + verdict.as_str().len() + help.len());
    Line::from(vec![
        Span::styled(pool, Modifier::BOLD),
        Span::styled(verdict.as_str(), palette.verdict(verdict)),
        Span::raw(" ".repeat(gap.max(2)) + &help),
    ])
}

/// Two lines: how much is in use, and how that changes.
fn space<'a>(
    name: &'static str,
    space: Option<Space>,
    rate: Option<Rate>,
    palette: Palette,
    width: usize,
) -> [Line<'a>; 2] {
    let heading = format!("{name:9}");
    let Some(space) = space else { return [Line::from(heading + "unknown"), Line::default()] };
    let permille = share(space.used, space.total, 1000);
    let figures =
        format!(" {:>3}.{}% {} of {}", permille / 10, permille % 10, size(space.used), size(space.total));
    let cells = width.saturating_sub(heading.len() + figures.len());
    let mut first = vec![Span::raw(heading)];
    if cells >= NARROWEST_BAR {
        let full = share(space.used, space.total, cells);
        first.push(Span::styled("█".repeat(full), palette.of(level(permille))));
        first.push(Span::raw("░".repeat(cells - full)));
    }
    first.push(Span::raw(figures));
    let change = match rate {
        None => "measuring".to_owned(),
        Some(rate) if rate.is_zero() => "no change".to_owned(),
        Some(rate) => match rate.uses_up(space.available) {
            Some(time) => format!("{rate}, full in {}", span(time)),
            None => rate.to_string(),
        },
    };
    let second = format!("{:9}{change}; {} can still be used", "", size(space.available));
    [Line::from(first), Line::from(second)]
}

fn size(bytes: Bytes) -> DockerSize {
    DockerSize(bytes)
}

/// The share of something, in parts of the whole.
fn share(used: Bytes, total: Bytes, parts: usize) -> usize {
    let share = u128::from(used.0) * (parts as u128) / u128::from(total.0.max(1));
    usize::try_from(share).unwrap_or(parts).min(parts)
}

fn level(permille: usize) -> Color {
    match permille {
        900.. => Color::Red,
        750.. => Color::Yellow,
        _ => Color::Green,
    }
}

/// What is wrong, the worst first: a line for each, and no more than three.
fn problems<'a>(view: &View<'_>, palette: Palette, width: usize) -> Vec<Line<'a>> {
    let told: Vec<&Problem> =
        view.status.problems.iter().filter(|problem| problem.severity() > Severity::Note).collect();
    let mut lines: Vec<Line<'_>> = told
        .iter()
        .take(3)
        .map(|problem| {
            let severity = problem.severity();
            let text = format!("{}: {}", severity.as_str(), problem.sentence(&view.status.pool));
            Line::styled(cut(&text, width), palette.severity(severity))
        })
        .collect();
    if told.len() > lines.len() {
        lines.push(Line::from(format!("and {} more: `thinpool status`", told.len() - lines.len())));
    }
    if !lines.is_empty() {
        lines.push(Line::default());
    }
    lines
}

/// Two lists beside each other, in just so many rows.
fn devices<'a>(view: &View<'_>, width: usize, rows: usize) -> Vec<Line<'a>> {
    let half = width.saturating_sub(2) / 2;
    let mut left = view.holders.iter().map(|(name, bytes)| entry(name, &size(*bytes).to_string(), half));
    let mut right = view.writers.iter().map(|(name, rate)| entry(name, &rate.to_string(), half));
    let heading = format!("{:half$}  {:half$}", cut("Hold most", half), cut("Write most", half));
    let nothing = || " ".repeat(half);
    std::iter::once(Line::styled(heading, Modifier::UNDERLINED))
        .chain(std::iter::from_fn(|| {
            let (left, right) = (left.next().unwrap_or_else(nothing), right.next().unwrap_or_else(nothing));
            Some(Line::from(format!("{left}  {right}")))
        }))
        .take(rows)
        .collect()
}

/// A name and a value, which stands at the right.
fn entry(name: &str, value: &str, width: usize) -> String {
    let room = width.saturating_sub(value.len() + 1);
    format!("{:room$} {value}", cut(name, room))
}

fn happened<'a>(view: &View<'_>, palette: Palette, width: usize) -> Vec<Line<'a>> {
    let line = |(ago, event): &(Duration, &super::Event)| {
        let text = format!("{:>9}  {}", span(*ago), event.text);
        Line::styled(cut(&text, width), palette.severity(event.severity))
    };
    let heading = Line::styled(format!("{:width$}", cut("What happened", width)), Modifier::UNDERLINED);
    if view.events.is_empty() {
        return vec![heading, Line::from("Nothing since this began.")];
    }
    std::iter::once(heading).chain(view.events.iter().map(line)).collect()
}

/// No longer than this, with a mark where something is left out. Control characters, which a path can have, become `?`.
fn cut(text: &str, width: usize) -> String {
    let mut printable = text.chars().map(|c| if c.is_control() { '?' } else { c });
    let mut fitting: String = printable.by_ref().take(width).collect();
    if printable.next().is_some() && fitting.pop().is_some() {
        fitting.push('…');
    }
    fitting
}
