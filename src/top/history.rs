//! Samples of a pool, the newest last, and what follows from them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::event::between;
use super::{Event, Sample};
use crate::pool::status::{Space, Status};
use crate::units::{Bytes, Rate};

/// A rate is that of the last minute: long enough to be calm, short enough to follow what somebody does.
const WINDOW: Duration = Duration::from_secs(60);

/// More events than a screen has lines.
const KEPT: usize = 200;

/// What was seen of a pool.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
    events: VecDeque<(Instant, Event)>,
}

/// What there is to show.
#[derive(Debug)]
pub struct View<'a> {
    /// The pool as it is.
    pub status: &'a Status,
    /// How fast data is used.
    pub data: Option<Rate>,
    /// How fast metadata is used.
    pub metadata: Option<Rate>,
    /// The active devices that have blocks, those with most first.
    pub holders: Vec<(&'a str, Bytes)>,
    /// Those that are written to, that with the highest rate first.
    pub writers: Vec<(&'a str, Rate)>,
    /// What happened, and how long ago; the newest first.
    pub events: Vec<(Duration, &'a Event)>,
}

impl History {
    /// Takes in another sample.
    pub fn push(&mut self, sample: Sample) {
        if let Some(last) = self.samples.back() {
            // Those of one moment stand as they come: the worst on top.
            for event in between(last, &sample).into_iter().rev() {
                self.events.push_front((sample.at, event));
            }
            self.events.truncate(KEPT);
        }
        // One sample stays that is as old as the window, or nearly so.
        while self.samples.get(1).is_some_and(|second| sample.at.duration_since(second.at) >= WINDOW) {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// What there is to show at a moment; nothing before the first sample.
    #[must_use]
    pub fn view(&self, now: Instant) -> Option<View<'_>> {
        let last = self.samples.back()?;
        let ago = |at: &Instant| now.saturating_duration_since(*at);
        Some(View {
            status: &last.status,
            data: self.rate(Status::data_space),
            metadata: self.rate(Status::metadata_space),
            holders: holders(last),
            writers: self.writers(last),
            events: self.events.iter().map(|(at, event)| (ago(at), event)).collect(),
        })
    }

    /// Over the window, or as much of it as the numbers are known in.
    fn rate(&self, space: impl Fn(&Status) -> Option<Space>) -> Option<Rate> {
        let told = |sample: &Sample| Some((sample.at, space(&sample.status)?.used));
        let (now, used) = told(self.samples.back()?)?;
        let (then, before) = self.samples.iter().rev().map_while(told).last()?;
        Rate::between(before, used, now.duration_since(then))
    }

    /// From the last sample but one: who writes is to be seen at once.
    fn writers<'a>(&'a self, last: &'a Sample) -> Vec<(&'a str, Rate)> {
        let Some(before) = self.samples.len().checked_sub(2).and_then(|index| self.samples.get(index)) else {
            return Vec::new();
        };
        let time = last.at.duration_since(before.at);
        let mut writers: Vec<(&str, Rate)> = last
            .devices
            .iter()
            .filter_map(|device| {
                let earlier = before.devices.iter().find(|earlier| earlier.name == device.name)?;
                let (was, is) = (earlier.written?, device.written?);
                // A node that was made anew counts from nothing.
                let rate = Rate::between(if is < was { Bytes(0) } else { was }, is, time)?;
                (!rate.is_zero()).then_some((device.name.as_str(), rate))
            })
            .collect();
        writers.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
        writers
    }
}

fn holders(sample: &Sample) -> Vec<(&str, Bytes)> {
    let held = |device: &crate::pool::DeviceActivity| device.mapped.filter(|mapped| mapped.0 > 0);
    let mut holders: Vec<(&str, Bytes)> =
        sample.devices.iter().filter_map(|device| Some((device.name.as_str(), held(device)?))).collect();
    holders.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
    holders
}
