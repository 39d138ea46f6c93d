//! The open sockets: where a forked child finds them to close them, since it must not hold its parent's; and whether a
//! number still is the socket it was, since programs that become daemons close all numbers they find, and use them again.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// Connections served at one time.
pub(super) const CONNECTIONS_MAX: usize = 8;

/// The listening socket, then the connections.
static OPEN: [Place; CONNECTIONS_MAX + 1] =
    [const { Place { descriptor: AtomicI32::new(NONE), inode: AtomicU64::new(0) } }; CONNECTIONS_MAX + 1];
const NONE: RawFd = -1;

struct Place {
    descriptor: AtomicI32,
    /// Of the socket that the number was opened for.
    inode: AtomicU64,
}

impl Place {
    /// Relaxed: one thread at a time changes the places, and a forked child reads them as its parent left them.
    fn set(&self, descriptor: RawFd) {
        self.inode.store(inode_of(descriptor).unwrap_or(0), Ordering::Relaxed);
        self.descriptor.store(descriptor, Ordering::Relaxed);
    }

    fn is(&self, descriptor: RawFd) -> bool {
        self.descriptor.load(Ordering::Relaxed) == descriptor
    }

    fn is_still_ours(&self) -> bool {
        let descriptor = self.descriptor.load(Ordering::Relaxed);
        descriptor >= 0 && inode_of(descriptor) == Some(self.inode.load(Ordering::Relaxed))
    }
}

/// A descriptor with a number that programs do not expect to get: one that was started without standard input shall not
/// find a socket there.
pub(super) fn out_of_the_way(socket: OwnedFd) -> Option<OwnedFd> {
    const NUMBERS_MIN: [libc::c_int; 3] = [500, 100, 3];
    NUMBERS_MIN.into_iter().find_map(|from| {
        // SAFETY: the descriptor is open, and what is returned is owned here alone.
        unsafe {
            let moved = libc::fcntl(socket.as_raw_fd(), libc::F_DUPFD_CLOEXEC, from);
            (moved >= 0).then(|| OwnedFd::from_raw_fd(moved))
        }
    })
}

/// Notes the listening socket and returns it.
pub(super) fn keep_listener(listener: RawFd) -> RawFd {
    OPEN[0].set(listener);
    listener
}

/// Notes a connection; false when there are too many.
pub(super) fn keep(connection: RawFd) -> bool {
    let free = OPEN[1..].iter().find(|place| place.is(NONE));
    free.is_some_and(|place| {
        place.set(connection);
        true
    })
}

/// Whether a number still is the socket that was noted.
pub(super) fn is_still_ours(descriptor: RawFd) -> bool {
    OPEN.iter().any(|place| place.is(descriptor) && place.is_still_ours())
}

/// Forgets a connection that is about to be closed.
pub(super) fn forget(connection: RawFd) {
    for place in OPEN[1..].iter().filter(|place| place.is(connection)) {
        place.descriptor.store(NONE, Ordering::Relaxed);
    }
}

/// Closes all of them, in a process where nobody serves them any more.
pub(super) fn close_all() {
    for place in &OPEN {
        let ours = place.is_still_ours();
        let descriptor = place.descriptor.swap(NONE, Ordering::Relaxed);
        if ours {
            // SAFETY: the descriptor is open, and its owner, the thread that serves, is gone.
            unsafe { libc::close(descriptor) };
        }
    }
}

fn inode_of(descriptor: RawFd) -> Option<u64> {
    let mut found = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: any number may be asked for; the struct is filled in when 0 is returned.
    let found = unsafe { (libc::fstat(descriptor, found.as_mut_ptr()) == 0).then(|| found.assume_init())? };
    // All sockets are numbered together.
    (found.st_mode & libc::S_IFMT == libc::S_IFSOCK).then_some(found.st_ino)
}
