//! `thinpool top` on a terminal of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;

use crate::support::{Bench, wait_until};

const ROWS: NonZero<u16> = NonZero::new(24).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(80).unwrap();

/// A terminal of 80 columns and 24 rows with the command on it.
struct Terminal {
    keys: File,
    slave: OwnedFd,
    before: Termios,
    shown: Arc<Mutex<Shown>>,
    command: Child,
}

/// What came to the terminal: as it looks, and as it came.
struct Shown {
    screen: vt100::Parser,
    bytes: Vec<u8>,
}

impl Terminal {
    fn start(bench: &Bench, change: impl FnOnce(&mut Command)) -> Self {
        let size = Winsize { ws_row: ROWS.get(), ws_col: COLUMNS.get(), ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a terminal");
        let before = tcgetattr(&pty.slave).expect("its settings");
        let end = || Stdio::from(pty.slave.try_clone().expect("another"));
        let top = bench.command(["top", "--interval", "1s"]);
        // Its controlling terminal, too: that is where programs ask for the size.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(top.get_program()).args(top.get_args());
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        change(&mut command);
        let command = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("starts");
        let keys = File::from(pty.master);
        let shown =
            Arc::new(Mutex::new(Shown { screen: vt100::Parser::new(ROWS, COLUMNS, 0), bytes: Vec::new() }));
        let (mut output, into) = (keys.try_clone().expect("another"), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Ends with an error when nobody has the terminal any more.
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                let mut shown = into.lock().expect("whole");
                shown.screen.process(&bytes[..length]);
                shown.bytes.extend_from_slice(&bytes[..length]);
            }
        });
        Self { keys, slave: pty.slave, before, shown, command }
    }

    fn text(&self) -> String {
        self.shown.lock().expect("whole").screen.screen().contents()
    }

    fn wait_for(&self, text: &str) {
        let print = || eprintln!("the screen:\n{}", self.text());
        let guard = PrintIfPanicking(&print);
        wait_until(text, || self.text().contains(text));
        drop(guard);
    }

    fn type_key(&mut self, key: &[u8]) {
        self.keys.write_all(key).expect("typed");
    }

    /// It ends by itself, and the terminal is as it was.
    fn assert_given_back(&mut self) -> ExitStatus {
        let ended = self.command.wait().expect("ends");
        assert_eq!(tcgetattr(&self.slave).expect("its settings"), self.before, "the terminal's settings");
        wait_until("the cursor and the old screen", || {
            let shown = self.shown.lock().expect("whole");
            let screen = shown.screen.screen();
            !screen.hide_cursor() && !screen.alternate_screen()
        });
        ended
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}

/// A failed wait shows what was on the screen instead.
struct PrintIfPanicking<'a>(&'a dyn Fn());

impl Drop for PrintIfPanicking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}

/// Says that something is over.
struct SetInTheEnd<'a>(&'a AtomicBool);

impl Drop for SetInTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_screen_has_the_pools_numbers_and_follows_what_happens() {
    let bench = Bench::with_pool();
    let at = bench.with_container();
    let mut terminal = Terminal::start(&bench, |_| {});
    terminal.wait_for("read-write, healthy");
    terminal.wait_for("every 1 s, q quits");
    wait_until("the screen and the status to agree", || {
        let status = bench.run(["status"]).out;
        let row = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("no {name} in {status}")).to_owned()
        };
        let told = |of: &str| {
            format!("% {} of {}", row(&format!("{of} Space Used")), row(&format!("{of} Space Total")))
        };
        let shown = terminal.text();
        ["Data", "Metadata"].iter().all(|of| shown.contains(&told(of)))
    });

    let seen = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when it is not seen.
        let end = SetInTheEnd(&seen);
        scope.spawn(|| {
            let chunk = vec![7; 4 << 20];
            for round in (0_u32..).take_while(|_| !seen.load(Ordering::Relaxed)) {
                let mut file = File::create(at.join(format!("data{}", round % 16))).expect("made");
                file.write_all(&chunk).and_then(|()| file.sync_all()).expect("written");
            }
        });
        bench.ok(["container", "create", "small", "--name", "second"]);
        bench.ok(["container", "activate", "second"]);
        terminal.wait_for("The device second is active.");
        bench.ok(["extend", "--data", "+1G"]);
        terminal.wait_for("Data has 3.221GB (it had 2.147GB).");
        // The holder, the writer, and when the pool will be full.
        wait_until("the writer to be seen", || {
            let shown = terminal.text();
            let is_box = |line: &str| line.starts_with("box ") && line.ends_with("/s");
            shown.contains("full in ") && shown.lines().any(is_box)
        });
        // With --no-capture: what docs/top.md shows.
        eprintln!("{}", terminal.text());
        drop(end);
    });

    terminal.type_key(b"q");
    assert!(terminal.assert_given_back().success());
}

#[test]
fn every_way_to_end_it_gives_the_terminal_back() {
    let bench = Bench::with_pool();
    for key in [&b"\x1b"[..], b"\x03"] {
        let mut terminal = Terminal::start(&bench, |_| {});
        terminal.wait_for("healthy");
        // An arrow begins as Esc does, and is none.
        terminal.type_key(b"\x1b[A");
        bench.ok(["container", "list"]);
        terminal.wait_for("healthy");
        terminal.type_key(key);
        assert!(terminal.assert_given_back().success(), "{key:?}");
    }
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut terminal = Terminal::start(&bench, |_| {});
        terminal.wait_for("healthy");
        let pid = i32::try_from(terminal.command.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("sent");
        assert!(terminal.assert_given_back().success(), "{signal}");
    }
}

#[test]
fn there_are_no_colours_where_they_are_not_wanted() {
    let bench = Bench::with_pool();
    let colours = |wanted: bool| {
        let mut terminal = Terminal::start(&bench, |command| {
            if !wanted {
                command.env("NO_COLOR", "1");
            }
        });
        terminal.wait_for("q quits");
        terminal.type_key(b"q");
        terminal.assert_given_back();
        let shown = terminal.shown.lock().expect("whole");
        let text = String::from_utf8_lossy(&shown.bytes).into_owned();
        // Green: by number, or out of 256.
        text.contains("\x1b[32m") || text.contains("38;5;2")
    };
    assert!(colours(true));
    assert!(!colours(false));
}

#[test]
fn without_a_terminal_or_a_pool_it_says_so() {
    let bench = Bench::new();
    let error = bench.fails(2, ["top"]);
    assert!(error.contains("--prometheus"), "{error}");
    let mut terminal = Terminal::start(&bench, |_| {});
    assert_eq!(terminal.command.wait().expect("ends").code(), Some(4));
    terminal.wait_for("thinpool setup");
    terminal.assert_given_back();
}
