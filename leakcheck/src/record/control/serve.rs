//! Answers watchers. What one of them woke ends with its connection.

use super::connections::{self, CONNECTIONS_MAX};
use crate::control::{Line, REQUEST_BYTES_MAX, Reply, Request, SILENCE_MS_MAX, State, VERSION};
use crate::format;
use crate::model::Mode;
use crate::record::recording::{self, Lease};
use crate::record::{RecorderBuilder, kernel};
use serde::Deserialize;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A peer that reads nothing for so long is cut off.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);
/// Time between the totals for charts.
const TIMELINE: Duration = Duration::from_secs(1);

/// Serves for as long as the process lives and leaves us our socket.
pub(super) fn serve(listener: RawFd) {
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        let (new, ready) = wait(listener, &connections);
        if !connections::is_still_ours(listener) {
            return;
        }
        connections.retain_mut(|connection| connection.is_still_ours());
        if new && let Some(connection) = Connection::accept(listener) {
            connections.push(connection);
        }
        connections.retain_mut(|connection| {
            let has_said = ready.contains(&connection.stream.as_raw_fd());
            if has_said { connection.answer().is_ok() } else { !connection.is_silent() }
        });
    }
}

/// Sleeps until something is to be done: whether somebody connects, and which connections have something to say.
fn wait(listener: RawFd, connections: &[Connection]) -> (bool, [RawFd; CONNECTIONS_MAX]) {
    let nobody = libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 };
    let mut watched = [nobody; CONNECTIONS_MAX + 1];
    watched[0].fd = listener;
    for (place, connection) in watched[1..].iter_mut().zip(connections) {
        place.fd = connection.stream.as_raw_fd();
    }
    let timeout = if connections.is_empty() { -1 } else { 1000 };
    // SAFETY: the list is valid for its length.
    let count = unsafe { libc::poll(watched.as_mut_ptr(), watched.len() as libc::nfds_t, timeout) };
    if count < 0 {
        // Only want of memory is left as a cause; it must not make this spin.
        std::thread::sleep(Duration::from_secs(1));
    }
    let is_ready = |one: &libc::pollfd| count > 0 && one.revents != 0;
    let ready = |place: usize| if is_ready(&watched[place + 1]) { watched[place + 1].fd } else { -1 };
    (is_ready(&watched[0]), std::array::from_fn(ready))
}

/// A watcher, and the recording that it woke.
struct Connection {
    stream: ManuallyDrop<UnixStream>,
    unread: Vec<u8>,
    heard: Instant,
    lease: Option<Lease>,
}

impl Connection {
    fn accept(listener: RawFd) -> Option<Self> {
        let (no_address, no_length) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: no address is asked for; what is returned is owned here alone.
        let stream = unsafe {
            let descriptor = libc::accept4(listener, no_address, no_length, libc::SOCK_CLOEXEC);
            (descriptor >= 0).then(|| OwnedFd::from_raw_fd(descriptor))?
        };
        let stream = UnixStream::from(connections::out_of_the_way(stream)?);
        if !is_of_our_user(&stream) || !connections::keep(stream.as_raw_fd()) {
            return None;
        }
        let connection =
            Self { stream: ManuallyDrop::new(stream), unread: Vec::new(), heard: Instant::now(), lease: None };
        connection.stream.set_write_timeout(Some(WRITE_PATIENCE)).ok()?;
        Some(connection)
    }

    /// Whether the program has not closed the socket under our hands.
    fn is_still_ours(&self) -> bool {
        connections::is_still_ours(self.stream.as_raw_fd())
    }

    fn is_silent(&self) -> bool {
        self.heard.elapsed() > Duration::from_millis(SILENCE_MS_MAX)
    }

    /// Reads what has come and answers each whole line of it. An error ends the connection.
    fn answer(&mut self) -> io::Result<()> {
        let mut chunk = [0; REQUEST_BYTES_MAX];
        let read = self.stream.read(&mut chunk)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.heard = Instant::now();
        self.unread.extend_from_slice(&chunk[..read]);
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            self.answer_line(&line)?;
        }
        if self.unread.len() > REQUEST_BYTES_MAX {
            self.say(&refused("the request is longer than 4096 bytes"))?;
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(())
    }

    fn answer_line(&mut self, line: &[u8]) -> io::Result<()> {
        match request_in(line) {
            Err(why) => self.say(&refused(&why)),
            Ok(Request::State) => self.say(&Reply::State(state())),
            Ok(Request::Wake { mode }) => {
                let woken = self.wake(mode);
                self.say(&woken)
            }
            Ok(Request::Sleep) => {
                self.lease = None;
                self.say(&Reply::State(state()))
            }
            Ok(Request::Snapshot) => match recording::snapshot_for_a_watcher() {
                Err(error) => self.say(&refused(&error.to_string())),
                Ok(snapshot) => {
                    self.say(&Reply::Snapshot)?;
                    let mut out = BufWriter::with_capacity(1 << 16, &mut *self.stream);
                    format::write_to(&mut out, &snapshot)?;
                    out.flush()
                }
            },
        }
    }

    fn wake(&mut self, mode: Mode) -> Reply {
        let options = RecorderBuilder::default().every(Duration::ZERO).timeline(TIMELINE);
        let options = match mode {
            Mode::Exact => options.exact(),
            Mode::Sampled { interval_bytes } => options.sampled(interval_bytes),
        };
        match Lease::begin(options) {
            Ok(lease) => {
                self.lease = Some(lease);
                Reply::State(state())
            }
            Err(error) => refused(&error.to_string()),
        }
    }

    fn say(&mut self, reply: &Reply) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line::new(reply))?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let descriptor = self.stream.as_raw_fd();
        let ours = connections::is_still_ours(descriptor);
        connections::forget(descriptor);
        if ours {
            // SAFETY: the stream is not used again.
            unsafe { ManuallyDrop::drop(&mut self.stream) };
        }
    }
}

/// The request in a line, or why there is none.
fn request_in(line: &[u8]) -> Result<Request, String> {
    #[derive(Deserialize)]
    struct Versioned {
        leakcheck: u32,
    }
    match serde_json::from_slice::<Versioned>(line) {
        Ok(Versioned { leakcheck: VERSION }) => {}
        Ok(Versioned { leakcheck }) => {
            return Err(format!(
                "the request is in version {leakcheck} of the protocol, and this recorder knows {VERSION}"
            ));
        }
        Err(error) => return Err(format!("the request is not understood: {error}")),
    }
    serde_json::from_slice::<Line<Request>>(line)
        .map(|line| line.body)
        .map_err(|error| format!("the request is not understood: {error}"))
}

fn refused(why: &str) -> Reply {
    Reply::Refused { why: why.to_owned() }
}

fn state() -> State {
    let (activity, recording) = recording::activity();
    State { process: kernel::process(), activity, recording }
}

/// Whether the peer is of this process's user, or root.
fn is_of_our_user(stream: &UnixStream) -> bool {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the struct is valid for writing and as long as said; geteuid has no preconditions.
    let (failed, own) = unsafe {
        let failed = libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        );
        (failed, libc::geteuid())
    };
    failed == 0 && (peer.uid == own || peer.uid == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_request_is_refused_in_words() {
        let check = |line: &str, expected: &str| {
            let why = request_in(line.as_bytes()).unwrap_err();
            assert!(why.contains(expected), "{line}: {why}");
        };
        check("", "not understood");
        check("{", "not understood");
        check(r#"{"request":"state"}"#, "leakcheck");
        check(r#"{"leakcheck":1,"request":"dance"}"#, "dance");
        check(r#"{"leakcheck":1,"request":"wake"}"#, "mode");
        check(r#"{"leakcheck":2,"request":"state"}"#, "version 2 of the protocol, and this recorder knows 1");
        let more = br#"{"leakcheck":1,"request":"state","colour":"red"}"#;
        assert_eq!(request_in(more), Ok(Request::State), "unknown fields are ignored");
    }
}
