//! The recorder in a running process, spoken to over its control socket.

use super::ProcessFigures;
use leakcheck::control::{self, Line, Reply, Request, SILENCE_MS_MAX, State};
use leakcheck::format;
use leakcheck::model::{Mode, Snapshot};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A snapshot of a million sites takes some seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between looks whether it is stopped while it is waited for.
const LOOK: Duration = Duration::from_millis(200);
/// For a whole answer, however it trickles in.
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(30);

/// An answer that is longer is none.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Of a snapshot of some millions of sites.
const SNAPSHOT_BYTES_MAX: u64 = 2 << 30;

/// A connection to the recorder of one process.
pub(crate) struct RecorderSocket {
    stream: BufReader<UnixStream>,
    pid: u32,
    asked: Instant,
}

/// Why the recorder gave no answer.
#[derive(Debug)]
pub(crate) enum RecorderError {
    /// It said why.
    Refused(String),
    /// It is gone, or silent.
    Lost(io::Error),
}

impl RecorderSocket {
    /// Connects to the recorder of the process; `None` when it has none, or none that we may talk to.
    pub(crate) fn of(process: &ProcessFigures) -> Option<Self> {
        let name = control::socket_name(process.inner_pid, process.started_ticks);
        let own_runtime_dir = std::env::var("XDG_RUNTIME_DIR").ok();
        let mut folders = control::folders(process.uid, process.runtime_dir().as_deref());
        folders.extend(control::folders(process.uid, own_runtime_dir.as_deref()));
        if own_uid() != process.uid {
            // Started by us, before it became another user's.
            folders.extend(control::folders(own_uid(), own_runtime_dir.as_deref()));
        }
        let root = format!("/proc/{}/root", process.pid);
        // First as we see the files, then as the process does: it may be in another container.
        let roots = ["", root.as_str()].into_iter();
        let mut places = roots.flat_map(|root| folders.iter().map(move |folder| format!("{root}{folder}")));
        places.find_map(|folder| Self::at(&Path::new(&folder).join(&name), process))
    }

    fn at(path: &Path, process: &ProcessFigures) -> Option<Self> {
        let stream = connect_to(path).ok()?;
        // The kernel says who listens: not a socket that another process put there. 0: it is in a namespace we do not see.
        if listener_of(&stream)? != process.pid {
            return None;
        }
        stream.set_read_timeout(Some(LOOK)).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        let stream = BufReader::with_capacity(1 << 16, stream);
        let mut socket = Self { stream, pid: process.pid, asked: Instant::now() };
        let state = socket.state().ok()?;
        (state.process.pid == process.inner_pid).then_some(socket)
    }

    /// How the recorder stands.
    pub(crate) fn state(&mut self) -> Result<State, RecorderError> {
        self.ask_state(Request::State)
    }

    /// Has it record until this connection ends.
    pub(crate) fn wake(&mut self, mode: Mode) -> Result<State, RecorderError> {
        self.ask_state(Request::Wake { mode })
    }

    /// Has it be as it was. What this connection woke ends with it all the same.
    pub(crate) fn sleep(&mut self) -> Result<State, RecorderError> {
        self.ask_state(Request::Sleep)
    }

    /// Its counters now.
    pub(crate) fn snapshot(&mut self) -> Result<Snapshot, RecorderError> {
        match self.ask(Request::Snapshot)? {
            Reply::Snapshot => format::from_json(self.line(SNAPSHOT_BYTES_MAX)?.as_bytes()).map_err(garbled),
            other => Err(garbled(format!("an unexpected answer: {other:?}"))),
        }
    }

    /// Says something when nothing was said for so long that the recorder would take us for gone.
    pub(crate) fn keep_alive(&mut self) -> Result<(), RecorderError> {
        if self.asked.elapsed() > Duration::from_millis(SILENCE_MS_MAX / 3) {
            self.state()?;
        }
        Ok(())
    }

    fn ask_state(&mut self, request: Request) -> Result<State, RecorderError> {
        match self.ask(request)? {
            Reply::State(state) => Ok(state),
            other => Err(garbled(format!("an unexpected answer: {other:?}"))),
        }
    }

    fn ask(&mut self, request: Request) -> Result<Reply, RecorderError> {
        self.asked = Instant::now();
        let mut line = serde_json::to_vec(&Line::new(request)).map_err(garbled)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(RecorderError::Lost)?;
        let answer = self.line(ANSWER_BYTES_MAX)?;
        match serde_json::from_str::<Line<Reply>>(&answer).map_err(garbled)?.body {
            Reply::Refused { why } => Err(RecorderError::Refused(why)),
            reply => Ok(reply),
        }
    }

    /// The next line, if it has `bytes_max` at most: whatever is at the other end shall not fill our memory.
    fn line(&mut self, bytes_max: u64) -> Result<String, RecorderError> {
        let until = Instant::now() + PATIENCE_FOR_ALL;
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let chunk = match self.stream.fill_buf() {
                // Whether it takes its time, or will answer nothing as long as it is stopped.
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if self.asked.elapsed() > PATIENCE || is_stopped(self.pid) {
                        return Err(RecorderError::Lost(e));
                    }
                    continue;
                }
                other => other.map_err(RecorderError::Lost)?,
            };
            let end = chunk.iter().position(|byte| *byte == b'\n').map_or(chunk.len(), |end| end + 1);
            line.extend_from_slice(&chunk[..end]);
            self.stream.consume(end);
            if end == 0 {
                return Err(RecorderError::Lost(ErrorKind::UnexpectedEof.into()));
            }
            if line.len() as u64 > bytes_max || Instant::now() > until {
                return Err(garbled(format!("an answer that is longer than {bytes_max} bytes, or takes too long")));
            }
        }
        String::from_utf8(line).map_err(garbled)
    }
}

impl fmt::Display for RecorderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => f.write_str(why),
            Self::Lost(error) => write!(f, "{error}"),
        }
    }
}

fn garbled(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RecorderError {
    RecorderError::Lost(io::Error::new(ErrorKind::InvalidData, what))
}

/// Whether a process is stopped, by a signal or a debugger.
fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The pid of the process that listens at the other end, as we see it: 0 when we do not.
fn listener_of(stream: &UnixStream) -> Option<u32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and the struct is valid for writing and as long as said.
    let failed = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    (failed == 0).then_some(peer.pid.cast_unsigned())
}

/// Connects to a path of any length: the address of a socket has 107 bytes, so the folder is opened first and the name
/// looked up below it.
fn connect_to(path: &Path) -> io::Result<UnixStream> {
    let (folder, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
    // Whatever a process has put there instead of a folder is not waited for.
    let folder = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_PATH | libc::O_NOFOLLOW)
        .open(folder)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    // A listener that accepts nobody, because it is stopped, is not waited for.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(short)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Whether a socket is named after a process that is not there, as far as we see.
fn is_of_a_dead_process(socket: &Path) -> bool {
    let name = socket.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".sock"));
    let pid = name.and_then(|name| name.split_once('-')).and_then(|(pid, _)| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

/// Removes sockets of this user that nobody listens on any more: those of processes that were killed.
pub(crate) fn remove_stale_sockets() {
    let own_runtime_dir = std::env::var("XDG_RUNTIME_DIR").ok();
    for folder in control::folders(own_uid(), own_runtime_dir.as_deref()) {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in entries.filter(|path| is_of_a_dead_process(path)) {
            if connect_to(&path).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused) {
                // Best effort: another watcher may have been first.
                let _ = fs::remove_file(path);
            }
        }
    }
}
