//! The open sockets, where a forked child finds them to close them: it must not hold its parent's.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};

/// Connections served at one time.
pub(super) const CONNECTIONS_MAX: usize = 8;

/// The listening socket, then the connections; -1 where there is none.
static OPEN: [AtomicI32; CONNECTIONS_MAX + 1] = [const { AtomicI32::new(-1) }; CONNECTIONS_MAX + 1];

/// Notes the listening socket and returns it.
pub(super) fn keep_listener(listener: RawFd) -> RawFd {
    OPEN[0].store(listener, Ordering::Relaxed);
    listener
}

/// Notes a connection; false when there are too many.
pub(super) fn keep(connection: RawFd) -> bool {
    let free = OPEN[1..].iter().find(|place| place.load(Ordering::Relaxed) < 0);
    free.is_some_and(|place| {
        place.store(connection, Ordering::Relaxed);
        true
    })
}

/// Forgets a connection that is about to be closed.
pub(super) fn forget(connection: RawFd) {
    // One thread at a time changes the places.
    for place in OPEN[1..].iter().filter(|place| place.load(Ordering::Relaxed) == connection) {
        place.store(-1, Ordering::Relaxed);
    }
}

/// Closes all of them, in a process where nobody serves them any more.
pub(super) fn close_all() {
    for place in &OPEN {
        let descriptor = place.swap(-1, Ordering::Relaxed);
        if descriptor >= 0 {
            // SAFETY: the descriptor is open and its owner, the thread that serves, is gone.
            unsafe { libc::close(descriptor) };
        }
    }
}
