//! Watching over a pool: it sleeps until device-mapper says that something has happened, looks at the pool, and lets it grow
//! before it is full.
//!
//! Each look begins anew from what the kernel says, so a monitor may be killed at any moment and another one goes on. What
//! is remembered between two looks serves only to say nothing twice, and to know how fast the pool fills.

mod backups;
mod event;
pub mod hooks;
mod notice;
mod plan;
pub mod serve;
mod systemd;
mod tell;
mod wait;

use std::time::{Duration, Instant};

use thiserror::Error;

pub use backups::{BackupError, REST, Schedule, Take};
pub use event::Event;
pub use hooks::Hooks;
pub use notice::{Kind, Notice};
pub use plan::{Due, Plan, Rules, Seen};

use self::backups::Scheduler;
use self::serve::{ListenError, Serving};
use self::systemd::Systemd;
use self::tell::is_nearly_full;
use self::wait::{Stop, Woken};
use crate::backing::{Backing, Part};
use crate::config::WhenFull;
use crate::dm::{self, Events, NoSpacePolicy, PoolStatus, PoolUsage};
use crate::pool::extend::{By, Extension};
use crate::pool::status::Problem;
use crate::pool::{Host, Location, Pool, PoolError, Pulse, Sample, Watch};
use crate::units::{Bytes, DataBlocks, Growth, TransactionId};

/// After how long a growth is tried again that failed, or for which there was no room: nothing tells when there is.
pub const RETRY: Duration = Duration::from_secs(10);

/// Why nobody watches over a pool.
#[derive(Debug, Error)]
pub enum MonitorError {
    /// The pool, or that another process watches over it already.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Device-mapper has no events to wait for.
    #[error(transparent)]
    Dm(#[from] dm::Error),
    /// Its metrics can't be told where they should be.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The process can't wait.
    #[error("can't wait for events and signals: {0}")]
    Wait(#[from] std::io::Error),
}

/// Why a monitor came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The pool is no longer active.
    PoolInactive,
    /// A signal asked for it.
    Asked,
}

/// How a pool is watched over, where people can choose. By default as it suits the pool, with nobody to be told.
#[derive(Debug, Default)]
pub struct Manner {
    /// What a write to the full pool is to meet.
    pub when_full: WhenFull,
    /// Who is told of what happens.
    pub hooks: Hooks,
    /// When the metadata is backed up; none: only when somebody asks for it, and at each deactivation.
    pub backups: Option<Schedule>,
}

/// Watches over a pool that is active, until it no longer is or a signal (SIGTERM, SIGINT) says that it's enough. Those two
/// signals are the process's own from then on. Its metrics are told by what `serve` gives, once it is sure that nobody else
/// watches: who finds a socket must know that it was left.
pub fn watch(
    host: &Host,
    location: &Location,
    manner: Manner,
    serve: impl FnOnce() -> Result<Option<Serving>, ListenError>,
) -> Result<Ended, MonitorError> {
    let (stop, events) = (Stop::new()?, Events::open()?);
    let mut monitor = Monitor::begin(host, location, manner)?;
    let _serving = serve()?;
    let mut systemd = Systemd::from_environment();
    let ended = loop {
        // First listen, then look: what comes in between is heard.
        events.arm()?;
        let Look::Done { again } = monitor.look(Instant::now()) else { break Ended::PoolInactive };
        let due = systemd.alive(Instant::now());
        let wait = [again, due].into_iter().flatten().min();
        if wait::until(&events, &stop, wait)? == Woken::ToStop {
            monitor.leave();
            break Ended::Asked;
        }
    };
    systemd.stopping();
    monitor.hooks.finish();
    Ok(ended)
}

/// A pool that is watched over.
#[allow(clippy::struct_excessive_bools, reason = "each of them is independent of the others")]
pub struct Monitor<'h> {
    host: &'h Host,
    location: Location,
    pulse: Pulse,
    rules: Rules,
    hooks: Hooks,
    is_ours: bool,
    /// At the last look.
    last: Option<(Instant, DataBlocks)>,
    /// What the kernel said then, if it said any numbers.
    usage: Option<PoolUsage>,
    /// How many events the pool had raised at the last look.
    events: u32,
    /// Whether the kernel will raise its event for data at the next crossing of the mark: it does so once between two resumes.
    armed: bool,
    /// When it was last made to.
    armed_at: Option<Instant>,
    /// Whether its samples for forecasts could be written down.
    writes_down: bool,
    /// Whether what an earlier process was killed at is finished.
    has_finished: bool,
    room: RoomKnown,
    /// What should grow and can't, as far as that was told.
    stuck: Vec<Part>,
    failed: Option<String>,
    backups: Scheduler,
    /// Whether a backup is wanting that could not be taken.
    lacks_backup: bool,
    /// Nothing is tried before.
    rest_until: Option<Instant>,
    troubles: Vec<Problem>,
    /// What runs out in the pool's life.
    scarce: Vec<Problem>,
    /// Nothing more of that can be scarce before the pool's transaction id is this.
    scarce_not_before: TransactionId,
    #[allow(dead_code, reason = "held, not read")]
    watch: Watch,
}

/// What is known of the room that the pool has to grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RoomKnown {
    /// Nobody has asked yet.
    No,
    /// There was some.
    Some,
    /// There was none.
    None,
}

/// What a look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The pool is there.
    Done {
        /// When to look again although nothing has happened; none: not at all.
        again: Option<Duration>,
    },
    /// The kernel doesn't have the pool any more.
    Gone,
}

impl<'h> Monitor<'h> {
    /// Begins to watch over a pool, which must be active; refused while another process does.
    pub fn begin(host: &'h Host, location: &Location, manner: Manner) -> Result<Self, PoolError> {
        let pool = Pool::open(host, location)?;
        let watch = location.watch()?;
        let (pulse, record) = (pool.pulse(), pool.record());
        if pulse.feel(&*host.dm)?.is_none() {
            return Err(PoolError::NotActive(location.name.to_string()));
        }
        let (rules, is_ours) =
            (Rules::of(&record.policy, manner.when_full), !matches!(record.backing, Backing::ThinPool(_)));
        tracing::info!(
            pool = %location.name, threshold = %rules.threshold, percent = %rules.percent,
            "watching{}", if is_ours && rules.are_on() { "" } else { "; it doesn't grow by itself" }
        );
        Ok(Self {
            host,
            location: location.clone(),
            pulse,
            rules,
            hooks: manner.hooks,
            is_ours,
            last: None,
            usage: None,
            events: 0,
            armed: false,
            armed_at: None,
            writes_down: true,
            has_finished: false,
            room: RoomKnown::No,
            stuck: Vec::new(),
            failed: None,
            backups: Scheduler::new(manner.backups.filter(|_| is_ours), record.uuid.to_string()),
            lacks_backup: false,
            rest_until: None,
            troubles: Vec::new(),
            scarce: Vec::new(),
            scarce_not_before: TransactionId(0),
            watch,
        })
    }

    /// Looks at the pool, and does what is to be done.
    pub fn look(&mut self, now: Instant) -> Look {
        let again = match self.pulse.feel(&*self.host.dm) {
            Ok(None) => {
                self.leave_nothing();
                return Look::Gone;
            }
            Ok(Some((status, events))) => {
                // One of them may have been that for data, whatever is free by now: blocks that were discarded count as in use
                // until the kernel has committed, and as free when it tells how many are.
                self.armed &= events == std::mem::replace(&mut self.events, events);
                self.usage = match &status {
                    PoolStatus::Working(usage) => Some(usage.clone()),
                    PoolStatus::Fail | PoolStatus::Error => None,
                };
                self.tell_troubles(&status);
                self.write_down();
                if let Some(news) = self.backups.finish(now) {
                    self.tell_of_backups(news);
                }
                match status {
                    PoolStatus::Working(usage) => {
                        let again = self.tend(&usage, now);
                        let looked = again.and_then(|again| self.tell_scarcity(&usage).map(|()| again));
                        let backed_up = self.back_up(&usage, now);
                        looked.map(|again| sooner(again, backed_up))
                    }
                    PoolStatus::Fail | PoolStatus::Error => Ok(None),
                }
            }
            Err(error) => Err(error.into()),
        };
        let again = again.unwrap_or_else(|error| Some(self.failure(error.to_string(), now)));
        // Nothing tells when blocks have become free, so that the kernel's event can be had anew.
        let again = sooner(again, self.troubles.iter().any(is_nearly_full).then_some(RETRY));
        Look::Done { again }
    }

    /// Whether a backup of the metadata is being taken.
    #[cfg(test)]
    pub(crate) fn is_backing_up(&self) -> bool {
        self.backups.is_running()
    }

    /// Leaves the pool to itself: nobody is there any more for whom a write could wait.
    pub fn leave(&mut self) {
        let waits = self.pulse.feel(&*self.host.dm).is_ok_and(|status| {
            matches!(status, Some((PoolStatus::Working(usage), _)) if usage.no_space == NoSpacePolicy::Queue)
        });
        if waits
            && self.is_ours
            && let Err(error) = self.pool().and_then(|mut pool| pool.when_full(NoSpacePolicy::Error))
        {
            tracing::warn!(pool = %self.location.name, %error, "writes to it still wait when it is full");
        }
    }

    /// Lets the pool grow if that is due. Tells when to look again.
    fn tend(&mut self, usage: &PoolUsage, now: Instant) -> Result<Option<Duration>, PoolError> {
        if !self.is_ours {
            return Ok(None);
        }
        let seen = Seen { usage, pace: self.pace(usage.data.used, now) };
        // What failed, or what was done about it, may have been an event in itself.
        let rest = self.rest_until.map(|until| until.saturating_duration_since(now));
        if let Some(rest) = rest.filter(|rest| !rest.is_zero()) {
            return Ok(Some(rest));
        }
        self.rest_until = None;
        if !self.has_finished && !plan::is_left_alone(usage) {
            // A growth may be in the kernel, and whoever made it was killed before he had said so.
            if self.pool()?.finish_extension()? {
                return Ok(Some(Duration::ZERO));
            }
            self.has_finished = true;
        }
        let mut plan = Plan::new(&seen, &self.rules, None);
        // To ask for the room takes time where LVM has it. So nobody asks while there was some, nor before it is needed.
        let mut room = match self.room {
            RoomKnown::No if self.rules.are_on() => Some(self.pool()?.room()?),
            RoomKnown::None if plan.is_due() => Some(self.pool()?.room()?),
            RoomKnown::None => {
                plan.when_full = usage.no_space;
                None
            }
            RoomKnown::No | RoomKnown::Some => None,
        };
        if room.is_some() {
            plan = Plan::new(&seen, &self.rules, room.as_ref());
        }
        while plan.grows() {
            match self.extend(&plan) {
                Err(error) if error.is_lack_of_room() && room.is_none() => {
                    let found = self.pool()?.room()?;
                    plan = Plan::new(&seen, &self.rules, Some(&found));
                    room = Some(found);
                }
                // It was resumed, so the next event comes; and it may be at its threshold again already.
                extended => return extended.map(|()| Some(Duration::ZERO)),
            }
        }
        self.tell_room(&plan, room);
        self.tell_relief(usage, &plan);
        let again = self.settle(usage, &plan, now)?;
        self.failed = None;
        if again == Some(Duration::ZERO) {
            return Ok(again);
        }
        let wait = plan.is_stuck().then_some(RETRY);
        self.rest_until = wait.map(|wait| now + wait);
        Ok(wait.or(again))
    }

    /// Has writes to a full pool wait, or fail, as is planned; and has the kernel raise its event anew where it would not: it
    /// does so once, until the pool is resumed. Tells when to look again: at once when it was made to, since what was written
    /// meanwhile raises none. It isn't made to at every look. Each table that is loaded makes the kernel raise the event for
    /// scarce metadata anew (`dm_pool_register_metadata_threshold` in `pool_ctr`), for which the next table would be loaded.
    fn settle(
        &mut self,
        usage: &PoolUsage,
        plan: &Plan,
        now: Instant,
    ) -> Result<Option<Duration>, PoolError> {
        let is_below = usage.data.free() > self.rules.low_water_mark(usage.data.total);
        let is_spent = is_below && !self.armed;
        let rests = self.armed_at.is_some_and(|at| now.saturating_duration_since(at) < RETRY);
        let arms = is_spent && !rests;
        if usage.no_space != plan.when_full || arms {
            self.pool()?.when_full(plan.when_full)?;
        }
        self.armed = is_below && (self.armed || arms);
        if arms {
            self.armed_at = Some(now);
        }
        Ok(is_spent.then_some(if arms { Duration::ZERO } else { RETRY }))
    }

    /// Has the metadata backed up if that is due. Tells when to look again. That it fails keeps nobody from anything.
    fn back_up(&mut self, usage: &PoolUsage, now: Instant) -> Option<Duration> {
        let (again, news) = self.backups.tend(&self.location, usage, now);
        if let Some(news) = news {
            self.tell_of_backups(news);
        }
        again
    }

    fn extend(&mut self, plan: &Plan) -> Result<(), PoolError> {
        let wanted = Extension {
            data: plan.data.by().map(Growth::By),
            metadata: plan.metadata.by().map(Growth::By),
            by: By::Itself,
            ..Extension::default()
        };
        let extended = self.pool()?.extend(&wanted)?;
        let mut has_grown = false;
        for (part, step) in [(Part::Data, extended.data), (Part::Metadata, extended.metadata)] {
            if step.is_growth() {
                has_grown = true;
                self.tell(&Event::Grown { part, step });
            }
        }
        if !has_grown {
            return Err(PoolError::Unusable {
                pool: self.location.name.to_string(),
                what: "it was to grow, and has not",
            });
        }
        if std::mem::replace(&mut self.room, RoomKnown::Some) == RoomKnown::None {
            self.tell(&Event::RoomAgain);
        }
        self.stuck.clear();
        (self.armed, self.failed) = (true, None);
        Ok(())
    }

    fn failure(&mut self, why: String, now: Instant) -> Duration {
        if self.failed.as_ref() != Some(&why) {
            self.tell(&Event::Failed { why: why.clone() });
            self.failed = Some(why);
        }
        self.rest_until = Some(now + RETRY);
        RETRY
    }

    /// Writes down how full the pool is, for forecasts. That this can't be is said once.
    fn write_down(&mut self) {
        let Some(usage) = &self.usage else { return };
        let written = self.location.write_down(&Sample::now(usage, self.rules.block_size));
        if let Err(error) = &written
            && self.writes_down
        {
            tracing::warn!(pool = %self.location.name, %error, "there will be no forecast");
        }
        self.writes_down = written.is_ok();
    }

    /// Takes back what was written down in the very moment in which somebody destroyed the pool.
    fn leave_nothing(&self) {
        if let Err(error) = self.location.forget_samples_without_pool() {
            tracing::warn!(pool = %self.location.name, %error, "what was written down for forecasts is left");
        }
    }

    /// How many bytes a second data has taken since the last look. What came in less than a second counts as a second's.
    fn pace(&mut self, used: DataBlocks, now: Instant) -> Bytes {
        let last = self.last.replace((now, used));
        let Some((then, before)) = last else { return Bytes(0) };
        let seconds = now.saturating_duration_since(then).as_secs().max(1);
        Bytes((used - before).bytes(self.rules.block_size).0 / seconds)
    }

    /// The pool as it is by now. It isn't kept open: another process may change it, or take it away.
    fn pool(&self) -> Result<Pool<'h>, PoolError> {
        Pool::open(self.host, &self.location)
    }
}

/// Of two moments to look again the first, as far as there are any.
fn sooner(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    [one, other].into_iter().flatten().min()
}
