//! Running a command with an end: in time, and in what is kept of its output.

use std::fmt;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use thiserror::Error;

/// How long a command that was told to stop may go on before the next, harder word. LVM blocks signals while it
/// changes metadata or has devices suspended; that takes moments, and cutting it short is the last thing to do.
const GRACE: Duration = Duration::from_secs(10);
/// What is kept of a command's output. A report has less than 1 KiB for each volume.
const MOST_OUTPUT: usize = 64 << 20;
/// What is kept of its messages.
const MOST_MESSAGES: usize = 64 << 10;

/// A command that ended with something else than success.
#[derive(Debug, Clone, Error)]
#[error("`{command}` failed ({status}): {}", said(stderr))]
pub struct Failed {
    /// The whole command line.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it said, at most 64 KiB of it.
    pub stderr: String,
}

/// What can go wrong with a command.
#[derive(Debug, Error)]
pub enum RunError {
    /// It could not be started or waited for.
    #[error("`{command}` could not be run: {source}")]
    Start {
        /// The whole command line.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// It ended with something else than success.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// It didn't end in its time.
    #[error("`{command}` was stopped after {} s ({end}): {}", limit.as_secs_f32(), said(stderr))]
    TimedOut {
        /// The whole command line.
        command: String,
        /// How long it had.
        limit: Duration,
        /// How it came to its end.
        end: End,
        /// What it said until then.
        stderr: String,
    },
    /// It wrote more than anyone could mean.
    #[error("`{command}` wrote more than {} MiB", MOST_OUTPUT >> 20)]
    TooMuch {
        /// The whole command line.
        command: String,
    },
}

/// How a command came to its end that didn't come to it in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It stopped when it was asked to.
    Asked,
    /// It had to be killed; what it was changing may be half done.
    Killed,
    /// Not even that helped: the kernel holds it, most likely in I/O that never ends.
    Stuck,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "it stopped when asked to",
            Self::Killed => "it had to be killed, and what it changed may be half done",
            Self::Stuck => {
                "it can't even be killed, so a disk probably doesn't answer; `dmesg` may say which"
            }
        })
    }
}

/// Messages on one line.
fn said(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { "it said nothing".to_owned() } else { lines.join("; ") }
}

/// Runs a command without input and returns what it printed. When its time is up, it is asked to stop, and after a
/// while made to.
pub fn run(command: &mut Command, limit: Duration) -> Result<Vec<u8>, RunError> {
    run_with_input(command, Stdio::null(), limit)
}

/// The same with something to read. A file, not a pipe: that waits for nobody.
pub fn run_with_input(
    command: &mut Command,
    input: impl Into<Stdio>,
    limit: Duration,
) -> Result<Vec<u8>, RunError> {
    let told = command_line(command.stdin(input));
    steps::around(format_args!("run {told}"), || run_with_grace(command, limit, GRACE))
}

#[allow(clippy::disallowed_methods, reason = "this is the step")]
fn run_with_grace(command: &mut Command, limit: Duration, grace: Duration) -> Result<Vec<u8>, RunError> {
    let told = command_line(command);
    let start = |source| RunError::Start { command: told.clone(), source };
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::new(command.spawn().map_err(start)?).map_err(start)?;
    steps::during(format_args!("run {told}"));
    let mut end = None;
    if !running.ended_within(limit).map_err(start)? {
        end = Some(running.stop(grace).map_err(start)?);
    }
    let stderr = String::from_utf8_lossy(&running.messages.kept).into_owned();
    if let Some(end) = end {
        return Err(RunError::TimedOut { command: told, limit, end, stderr });
    }
    let status = running.child.wait().map_err(start)?;
    if !status.success() {
        return Err(Failed { command: told, status, stderr }.into());
    }
    if running.output.overflowed {
        return Err(RunError::TooMuch { command: told });
    }
    Ok(running.output.kept)
}

/// The command as it could be typed.
fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| {
        let word = word.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,./:%@".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// One of the two pipes of a running command.
struct Pipe<R> {
    source: Option<R>,
    kept: Vec<u8>,
    most: usize,
    overflowed: bool,
}

impl<R: Read + AsFd> Pipe<R> {
    fn new(source: Option<R>, most: usize) -> Self {
        Self { source, kept: Vec::new(), most, overflowed: false }
    }

    /// Reads what is there. Called only when there is something, or the end.
    fn read(&mut self) -> std::io::Result<()> {
        let mut buffer = [0; 16 << 10];
        let Some(source) = &mut self.source else { return Ok(()) };
        let count = match source.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        };
        let room = self.most - self.kept.len();
        self.kept.extend_from_slice(&buffer[..count.min(room)]);
        // The rest is read all the same, or the command would wait for ever.
        self.overflowed |= count > room;
        if count == 0 {
            self.source = None;
        }
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.source.as_ref().map(AsFd::as_fd)
    }
}

/// A command that was started.
struct Running {
    child: Child,
    process: OwnedFd,
    output: Pipe<std::process::ChildStdout>,
    messages: Pipe<std::process::ChildStderr>,
}

/// What there is to do.
#[derive(Default)]
struct Ready {
    output: bool,
    messages: bool,
    ended: bool,
}

impl Running {
    fn new(mut child: Child) -> std::io::Result<Self> {
        let process = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(process) => process,
            Err(errno) => {
                child.kill()?;
                child.wait()?;
                return Err(errno.into());
            }
        };
        let output = Pipe::new(child.stdout.take(), MOST_OUTPUT);
        let messages = Pipe::new(child.stderr.take(), MOST_MESSAGES);
        Ok(Self { child, process, output, messages })
    }

    /// Reads until the process ends; false when the time was up before. The process decides, not its pipes: a
    /// daemon that it started may keep those open.
    fn ended_within(&mut self, limit: Duration) -> std::io::Result<bool> {
        let deadline = Instant::now() + limit;
        let mut ended = false;
        loop {
            // After its end only what is already in the pipes is of interest.
            let left =
                if ended { Duration::ZERO } else { deadline.saturating_duration_since(Instant::now()) };
            let ready = self.wait(left)?;
            if ready.output {
                self.output.read()?;
            }
            if ready.messages {
                self.messages.read()?;
            }
            let idle = !ready.output && !ready.messages;
            let late = Instant::now() >= deadline;
            if ended && (idle || late) || !ready.ended && late {
                return Ok(ended);
            }
            ended |= ready.ended;
        }
    }

    fn wait(&self, left: Duration) -> std::io::Result<Ready> {
        let process = PollFd::new(&self.process, PollFlags::IN);
        let pipe = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let pipes = [self.output.fd(), self.messages.fd()];
        let mut fds: Vec<PollFd<'_>> =
            std::iter::once(process).chain(pipes.into_iter().flatten().map(pipe)).collect();
        let timeout = Timespec::try_from(left).map_err(std::io::Error::other)?;
        match poll(&mut fds, Some(&timeout)) {
            Err(Errno::INTR) => return Ok(Ready::default()),
            result => result?,
        };
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let ended = ready.next().unwrap_or(false);
        let mut next = |pipe: Option<BorrowedFd<'_>>| pipe.is_some() && ready.next().unwrap_or(false);
        Ok(Ready { ended, output: next(pipes[0]), messages: next(pipes[1]) })
    }

    /// Asks it to stop, then makes it.
    fn stop(&mut self, grace: Duration) -> std::io::Result<End> {
        for (signal, end) in [(Signal::TERM, End::Asked), (Signal::KILL, End::Killed)] {
            // That it ended in this moment is no error.
            let _ = pidfd_send_signal(&self.process, signal);
            if self.ended_within(grace)? {
                self.child.wait()?;
                return Ok(end);
            }
        }
        Ok(End::Stuck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_failed_command_said_is_kept_with_its_command_line() {
        let error = run(&mut sh("echo out; echo 'no such' >&2; echo disk >&2; exit 5"), LONG).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no such; disk") && text.contains("exit status: 5"), "{text}");
        assert!(text.contains("`sh -c 'echo out;"), "{text}");
    }

    #[test]
    fn output_larger_than_a_pipe_doesnt_stop_the_command() {
        let output = run(&mut sh("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2"), LONG).unwrap();
        assert_eq!(output.len(), 1_000_000);
    }

    #[test]
    fn a_command_that_hangs_is_asked_to_stop() {
        let error =
            run(&mut sh("echo waiting >&2; exec sleep 1000"), Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, RunError::TimedOut { end: End::Asked, .. }), "{error}");
    }

    #[test]
    fn a_command_that_wont_stop_is_killed() {
        let short = Duration::from_millis(300);
        let error = run_with_grace(&mut sh("trap '' TERM; while :; do sleep 0.05; done"), short, short);
        let error = error.unwrap_err();
        assert!(matches!(error, RunError::TimedOut { end: End::Killed, .. }), "{error}");
    }

    #[test]
    fn a_daemon_that_keeps_the_pipes_doesnt_keep_us() {
        // The reader of the fifo lives on, with our pipes, until we let it go.
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        let script = format!("mkfifo {0}; (cat {0}) & echo started", fifo.display());
        assert_eq!(run(&mut sh(&script), LONG).unwrap(), b"started\n");
        std::fs::write(fifo, "").unwrap();
    }

    #[test]
    fn a_command_that_isnt_there_is_an_error_that_names_it() {
        let error = run(&mut Command::new("/nowhere/lvm"), LONG).unwrap_err();
        assert!(error.to_string().contains("/nowhere/lvm"), "{error}");
    }
}
