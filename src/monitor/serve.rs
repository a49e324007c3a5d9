//! The metrics of a pool for who asks over HTTP: by a thread of its own, which sleeps until somebody does.

use std::fs::Permissions;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::config::MetricsListen;
use crate::files;

/// How long one who asks may take for it: the next one waits.
const LIMIT: Duration = Duration::from_secs(2);

/// The longest request that is read. Scrapers ask in a few hundred bytes.
const LONGEST: usize = 8 << 10;

/// Nobody can be told the metrics.
#[derive(Debug, Error)]
#[error("metrics can't be told at {place}: {source}; the setting metrics-listen says where")]
pub struct ListenError {
    place: String,
    source: io::Error,
}

/// Metrics that are told, until the process ends. A socket goes with this.
#[derive(Debug)]
pub struct Serving {
    socket: Option<PathBuf>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(path) = &self.socket
            && let Err(error) = files::remove(path)
        {
            tracing::debug!(path = %path.display(), %error, "the socket is left: the next monitor takes its place");
        }
    }
}

/// Tells whoever asks at this place what `metrics` gives then.
pub fn serve(
    place: &MetricsListen,
    metrics: impl Fn() -> String + Send + 'static,
) -> Result<Option<Serving>, ListenError> {
    let (socket, listener) = match place {
        MetricsListen::Nowhere => return Ok(None),
        MetricsListen::Socket(path) => (Some(path.clone()), bind_socket(path).map(Listener::Socket)),
        MetricsListen::Loopback(address) => (None, TcpListener::bind(address).map(Listener::Port)),
    };
    let begin = |listener| {
        let thread = std::thread::Builder::new().name("metrics".to_owned());
        thread.spawn(move || tell_all(&listener, metrics)).map(drop)
    };
    match listener.and_then(begin) {
        Ok(()) => Ok(Some(Serving { socket })),
        Err(source) => Err(ListenError { place: place.to_string(), source }),
    }
}

/// Where somebody may ask.
#[derive(Debug)]
enum Listener {
    /// At a socket in the file system.
    Socket(UnixListener),
    /// At a port.
    Port(TcpListener),
}

/// Somebody who asks.
trait Asker: Read + Write {
    fn set_limit(&self, limit: Duration) -> io::Result<()>;
}

impl Asker for UnixStream {
    fn set_limit(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit)).and_then(|()| self.set_write_timeout(Some(limit)))
    }
}

impl Asker for TcpStream {
    fn set_limit(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit)).and_then(|()| self.set_write_timeout(Some(limit)))
    }
}

impl Listener {
    fn next(&self) -> io::Result<Box<dyn Asker>> {
        Ok(match self {
            Self::Socket(listener) => Box::new(listener.accept()?.0),
            Self::Port(listener) => Box::new(listener.accept()?.0),
        })
    }
}

/// A socket that anybody may use. One that a monitor left which was killed is nobody's. Anything else stays: the kernel refuses a
/// connection to any file.
fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    let is_socket = path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
    let is_refused =
        || UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    if is_socket && is_refused() {
        files::remove(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(listener)
}

fn tell_all(listener: &Listener, metrics: impl Fn() -> String) {
    loop {
        match listener.next().and_then(|mut asker| answer(&mut *asker, &metrics)) {
            Ok(()) => {}
            // No more files can be open, say: to ask again at once would only be worse.
            Err(error) if !is_askers(&error) => {
                tracing::warn!(%error, "somebody who asked for metrics was told nothing");
                std::thread::sleep(LIMIT);
            }
            Err(error) => tracing::debug!(%error, "somebody who asked for metrics went away"),
        }
    }
}

/// Whether an error is of whoever asks.
fn is_askers(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut | UnexpectedEof | WouldBlock
    )
}

fn answer(asker: &mut dyn Asker, metrics: impl Fn() -> String) -> io::Result<()> {
    asker.set_limit(LIMIT)?;
    let (status, body) = match asked(asker)? {
        Asked::Metrics => ("200 OK", metrics()),
        Asked::Head => ("200 OK", String::new()),
        Asked::SomethingElse => ("404 Not Found", "There is /metrics here, and nothing else.\n".to_owned()),
        Asked::Nonsense => ("400 Bad Request", String::new()),
    };
    write!(
        asker,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    asker.flush()
}

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Metrics,
    Head,
    SomethingElse,
    Nonsense,
}

/// Reads a request to its end: who closes a connection with something unread in it resets it, and the answer may be lost.
fn asked(asker: &mut dyn Asker) -> io::Result<Asked> {
    let deadline = Instant::now() + LIMIT;
    let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let count = asker.read(&mut buffer)?;
        request.extend_from_slice(&buffer[..count]);
        if let Some(wanted) = understood(&request) {
            return Ok(wanted);
        }
        if count == 0 || request.len() > LONGEST {
            return Ok(Asked::Nonsense);
        }
        if Instant::now() >= deadline {
            return Err(ErrorKind::TimedOut.into());
        }
    }
}

/// What a request wants; none as long as it isn't whole.
fn understood(request: &[u8]) -> Option<Asked> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(request) {
        Ok(httparse::Status::Partial) => None,
        Err(_) => Some(Asked::Nonsense),
        Ok(httparse::Status::Complete(_)) => {
            let path = parsed.path.map(|path| path.split('?').next().unwrap_or(path));
            Some(match (parsed.method, path) {
                (Some("GET"), Some("/metrics")) => Asked::Metrics,
                (Some("HEAD"), Some("/metrics")) => Asked::Head,
                _ => Asked::SomethingElse,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(path: &Path, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(path).expect("connected");
        stream.write_all(request).expect("asked");
        stream.shutdown(std::net::Shutdown::Write).expect("ended");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }

    #[test]
    fn a_scraper_is_told_the_metrics_and_nobody_else_anything() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("metrics.sock");
        // What a killed monitor leaves.
        drop(UnixListener::bind(&path).expect("bound"));
        // A process that another test starts has a copy of it, until it becomes the program that it is to be.
        let deadline = std::time::Instant::now() + Duration::from_secs(120);
        while UnixStream::connect(&path).is_ok() {
            assert!(std::time::Instant::now() < deadline, "somebody still listens");
            std::thread::sleep(Duration::from_millis(5));
        }
        let place = MetricsListen::Socket(path.clone());
        let metrics = || "thinpool_pool_state 1\n".to_owned();
        let serving = serve(&place, metrics).expect("served");
        let answer = ask(&path, b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\r\nContent-Length: 22\r\n"),
            "{answer}"
        );
        assert!(answer.ends_with("\r\n\r\nthinpool_pool_state 1\n"), "{answer}");
        assert!(ask(&path, b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask(&path, b"POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask(&path, b"\0\0 nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
        assert!(ask(&path, b"").starts_with("HTTP/1.1 400"));
        // Who goes away in the middle is no reason to tell the next one nothing.
        drop(UnixStream::connect(&path).expect("connected"));
        assert!(ask(&path, b"HEAD /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
        // Its place is taken.
        let error = serve(&place, metrics).expect_err("taken").to_string();
        assert!(error.contains("metrics.sock") && error.contains("metrics-listen"), "{error}");
        drop(serving);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_of_somebodys_is_not_taken_for_a_socket_that_was_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("passwd");
        std::fs::write(&path, "root").expect("written");
        serve(&MetricsListen::Socket(path.clone()), String::new).expect_err("it is no socket");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "root");
    }

    proptest! {
        #[test]
        fn no_request_makes_it_panic(request: Vec<u8>) {
            let asked = understood(&request);
            prop_assert!(asked != Some(Asked::Metrics));
        }
    }
}
