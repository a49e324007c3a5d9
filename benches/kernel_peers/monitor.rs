//! What it costs that somebody watches over a pool in which nothing happens.

use std::time::Duration;

use crate::bed::Bed;
use crate::daemon::Daemon;
use crate::process::{Share, status};
use crate::race::settle;
use crate::record::{Record, Unit, count};
use crate::tool::Outcome;
use crate::ways::thinpool::OwnPool;

/// What comes to rest after it has started: its first look, udev.
const REST: Duration = Duration::from_secs(10);

const MINUTE: Duration = Duration::from_secs(60);

const OF: &str = "a pool of one image";

pub fn measure(bed: &Bed) -> Outcome {
    println!("a minute of a monitor at rest");
    let own = OwnPool::with_small_image(bed, "bench-monitor")?;
    let watched = || own.run(&["status"]).is_ok_and(|status| status.contains("Monitor: running"));
    let arguments = own.arguments(&["monitor"]);
    let monitor = Daemon::start("thinpool", &arguments, &bed.path("monitor-log"), watched)?;
    settle()?;
    std::thread::sleep(REST);
    let before = Share::of(monitor.pid())?;
    std::thread::sleep(MINUTE);
    let share = Share::of(monitor.pid())?.since(before);
    let told = [
        (count::MONITOR_OWN, status(monitor.pid(), "RssAnon")?, Unit::Bytes),
        (count::MONITOR_ALL, status(monitor.pid(), "VmRSS")?, Unit::Bytes),
        (count::MONITOR_TIME, share.nanoseconds / 1000, Unit::Microseconds),
        (count::MONITOR_WAKES, share.times, Unit::Times),
    ];
    for (what, is, unit) in told {
        Record::count(what, OF, is, unit).emit();
    }
    monitor.stop()?;
    own.destroy()
}
