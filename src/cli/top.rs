//! `thinpool top`

use std::io::{self, IsTerminal, stdin, stdout};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use clap::Args;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use ratatui::DefaultTerminal;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{CliError, Context};
use crate::config::Timeout;
use crate::pool::PoolError;
use crate::pool::status::State;
use crate::top::{History, Palette, Sample, draw};

/// How the screen is refreshed.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How often to look at the pool: a second at least, such as 5s or 1m.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    interval: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    match text.parse::<Timeout>().map(Timeout::duration)? {
        Duration::ZERO => Err("a second is the least".to_owned()),
        time => Ok(time),
    }
}

/// What the help of the command says.
pub(super) fn about() -> &'static str {
    "Watch a pool on the terminal: how much data and metadata is in use, how fast that changes and when the pool is full at this \
     rate; its mode and what is wrong; the active devices that hold most and that write most; and what happens meanwhile. It \
     only looks. q, Esc and Ctrl-C quit. There are no colours where NO_COLOR is set."
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), CliError> {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Err(CliError::NoTerminal);
    }
    let (host, location) = (context.host()?, context.location());
    let first = Sample::take(&location, &host);
    if first.status.state == State::Absent {
        return Err(PoolError::Absent { pool: location.name.to_string(), root: location.root }.into());
    }
    let mut history = History::default();
    history.push(first);
    let mut next = Instant::now() + arguments.interval;
    let signals = signals().map_err(|errno| CliError::Terminal(errno.into()))?;
    let mut screen = Screen::open().map_err(CliError::Terminal)?;
    loop {
        screen.show(&history, arguments.interval).map_err(CliError::Terminal)?;
        match wait(&signals, next).map_err(CliError::Terminal)? {
            Woken::ToQuit => return Ok(()),
            Woken::ByTheTerminal => {}
            Woken::ByTheClock => {
                history.push(Sample::take(&location, &host));
                next = Instant::now() + arguments.interval;
            }
        }
    }
}

/// The terminal while it is ours. It is given back however this ends.
struct Screen {
    terminal: DefaultTerminal,
    palette: Palette,
}

impl Screen {
    fn open() -> io::Result<Self> {
        // ratatui's own hook gives the terminal back before a panic is told, but for the cursor.
        let terminal = ratatui::try_init();
        let restore = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            show_cursor();
            restore(panic);
        }));
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let palette = if plain { Palette::Plain } else { Palette::Coloured };
        match terminal {
            Ok(terminal) => Ok(Self { terminal, palette }),
            Err(error) => {
                ratatui::restore();
                Err(error)
            }
        }
    }

    fn show(&mut self, history: &History, every: Duration) -> io::Result<()> {
        let palette = self.palette;
        let Some(view) = history.view(Instant::now()) else { return Ok(()) };
        self.terminal.draw(|frame| draw(frame, &view, every, palette)).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
        show_cursor();
    }
}

fn show_cursor() {
    // A terminal that is gone needs no cursor.
    let _ = execute!(stdout(), Show);
}

/// The signals that end a program, and the one that says that the terminal has another size, as something to wait for.
fn signals() -> nix::Result<SignalFd> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGWINCH] {
        signals.add(signal);
    }
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Why a wait ended.
enum Woken {
    ToQuit,
    ByTheTerminal,
    ByTheClock,
}

/// Waits for a key, a signal or the time, whichever comes first.
fn wait(signals: &SignalFd, until: Instant) -> io::Result<Woken> {
    let keys = stdin();
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(io::Error::other)?;
    let mut ready = [PollFd::new(&keys, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
    match poll(&mut ready, Some(&left)) {
        Ok(0) => return Ok(Woken::ByTheClock),
        // The process was stopped, and goes on.
        Err(Errno::INTR) => return Ok(Woken::ByTheTerminal),
        polled => polled?,
    };
    let [key, signal] = ready.map(|ready| !ready.revents().is_empty());
    if signal {
        match signals.read_signal()? {
            Some(signal) if signal.ssi_signo != Signal::SIGWINCH as u32 => return Ok(Woken::ToQuit),
            _ => {}
        }
    }
    Ok(if key && quits(&keys)? { Woken::ToQuit } else { Woken::ByTheTerminal })
}

/// Whether what was typed means that it is enough: q, Ctrl-C or Esc. Every other key of a terminal's begins with Esc as well,
/// so that only counts where nothing follows, and letters only where it is not there. A terminal that is gone is enough, too.
fn quits(keys: impl AsFd) -> io::Result<bool> {
    const CONTROL_C: u8 = 3;
    const ESCAPE: u8 = 27;
    let mut typed = [0; 64];
    let length = rustix::io::read(keys, &mut typed)?;
    let typed = &typed[..length];
    let has = |key: u8| typed.contains(&key);
    Ok(typed.is_empty()
        || has(CONTROL_C)
        || typed.ends_with(&[ESCAPE])
        || !has(ESCAPE) && (has(b'q') || has(b'Q')))
}
