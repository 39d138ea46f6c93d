//! Serves the last figures to Prometheus over HTTP: one thread, one connection at a time, so much time for each, and
//! nothing that a client sends can stop the watch.
//!
//! It does not know what the figures are, and there is neither encryption nor a password: it listens to this machine
//! unless it is told otherwise.

mod address;
mod answer;
#[cfg(test)]
mod prometheus;
#[cfg(test)]
mod tests;

use crate::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a client may take to ask, and again to take the answer.
const CLIENT_TIME: Duration = Duration::from_secs(2);
/// How often a wait for a client looks whether the server is to end.
const LOOK: Duration = Duration::from_millis(100);
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The server; it ends, and its port is free again, when this is dropped.
pub(crate) struct MetricsServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    text: Mutex<Arc<str>>,
    ending: AtomicBool,
}

impl MetricsServer {
    /// Listens at `127.0.0.1:9464`, `:9464`, `9464`, `localhost` and the like.
    pub(crate) fn listen(address: &str) -> Result<Self, Error> {
        let candidates = address::parsed(address)?;
        let listener = TcpListener::bind(candidates.as_slice()).map_err(|e| address::cannot_listen(address, e))?;
        let address = listener.local_addr().map_err(|e| address::cannot_listen(address, e))?;
        // Until the first sample there is nothing, which is valid.
        let shared = Arc::new(Shared { text: Mutex::new("# EOF\n".into()), ending: AtomicBool::new(false) });
        let serving = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || serve(&listener, &serving))
            .map_err(|e| Error::because("start the thread that serves metrics", e))?;
        Ok(Self { shared, address, thread: Some(thread) })
    }

    /// Where it listens, with the port that was chosen for port 0.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the user should know, when others than this machine can read the figures.
    pub(crate) fn note(&self) -> Option<String> {
        (!self.address.ip().to_canonical().is_loopback()).then(|| {
            format!(
                "metrics are served at {} to everyone who can reach this machine, names of processes included; \
                 give 127.0.0.1:{} to keep them to it",
                self.address,
                self.address.port()
            )
        })
    }

    /// Serves this from now on: the text of `render::metrics::metrics`.
    pub(crate) fn publish(&self, text: String) {
        *self.shared.text.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        // Relaxed: the connection below, or the next look, orders it.
        self.shared.ending.store(true, Ordering::Relaxed);
        // A connection of our own ends the wait for one. Should it fail, the thread is left behind rather than waited for.
        let woken = TcpStream::connect_timeout(&reachable(self.address), CLIENT_TIME).is_ok();
        if let Some(thread) = self.thread.take()
            && (woken || thread.is_finished())
        {
            // It does not panic, and there is nothing to say if it did.
            let _ = thread.join();
        }
    }
}

/// Where a server that listens at `address` can be reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn serve(listener: &TcpListener, shared: &Shared) {
    for client in listener.incoming() {
        if shared.is_ending() {
            return;
        }
        match client {
            // Whatever goes wrong with one client is over with it.
            Ok(client) => drop(serve_one(client, shared)),
            // Too many open files, say: no reason to try without end in a loop.
            Err(_) => thread::sleep(LOOK),
        }
    }
}

/// Reads one request and answers it.
fn serve_one(mut client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    client.set_read_timeout(Some(LOOK))?;
    client.set_write_timeout(Some(LOOK))?;
    let Some(head) = read_head(&mut client, shared)? else { return Ok(()) };
    let text = Arc::clone(&shared.text.lock().unwrap_or_else(PoisonError::into_inner));
    write_all(&mut client, &answer::answer(&head, &text), shared)?;
    client.shutdown(Shutdown::Write)?;
    drain(&mut client, shared)
}

/// What a client sends until its head is whole, too long, or it sends no more; nothing when that takes too long.
fn read_head(client: &mut TcpStream, shared: &Shared) -> std::io::Result<Option<Vec<u8>>> {
    let until = Instant::now() + CLIENT_TIME;
    let mut head = Vec::new();
    let mut bytes = [0; 1024];
    while Instant::now() < until && !shared.is_ending() {
        match client.read(&mut bytes) {
            Ok(0) => return Ok((!head.is_empty()).then_some(head)),
            Ok(read) => head.extend_from_slice(&bytes[..read]),
            Err(e) if waited(&e) => continue,
            Err(e) => return Err(e),
        }
        if answer::is_whole(&head) || head.len() > HEAD_BYTES_MAX {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

fn write_all(client: &mut TcpStream, mut bytes: &[u8], shared: &Shared) -> std::io::Result<()> {
    let until = Instant::now() + CLIENT_TIME;
    while !bytes.is_empty() && Instant::now() < until && !shared.is_ending() {
        match client.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(e) if waited(&e) => {}
            Err(e) => return Err(e),
        }
    }
    if bytes.is_empty() { Ok(()) } else { Err(ErrorKind::TimedOut.into()) }
}

/// Reads what the client still sends: closed with something unread, a connection loses the answer on its way.
fn drain(client: &mut TcpStream, shared: &Shared) -> std::io::Result<()> {
    let until = Instant::now() + LOOK;
    let mut bytes = [0; 1024];
    while Instant::now() < until && !shared.is_ending() {
        match client.read(&mut bytes) {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) if waited(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn waited(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

impl Shared {
    fn is_ending(&self) -> bool {
        // Relaxed: nothing else is read because of it.
        self.ending.load(Ordering::Relaxed)
    }
}
