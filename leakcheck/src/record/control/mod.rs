//! The socket by which a watcher wakes a dormant recorder: opened before `main`, served by a thread that sleeps until
//! somebody connects.
//!
//! Until then the thread has allocated nothing. What cannot be opened is not there: a dormant recorder prints nothing.

mod connections;
mod place;
mod serve;

use self::place::Place;
use super::{recording, thread};
use std::ffi::CString;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// Of the thread; only what is touched takes memory.
const STACK_BYTES: usize = 512 << 10;
/// A forked child that starts another program at once shall not have made a socket.
const CHILD_PATIENCE_NS: libc::c_long = 100_000_000;

// All relaxed: set before `main` or in a child that has one thread, and otherwise by the thread itself.
/// Whether this process has, or is about to have, a socket.
static WANTED: AtomicBool = AtomicBool::new(false);
/// Whether the thread is there.
static SERVES: AtomicBool = AtomicBool::new(false);
/// Whether the process that forks had no threads but this module's.
static ALONE: AtomicBool = AtomicBool::new(false);
/// The socket's path, to be removed at exit.
static PATH: AtomicPtr<libc::c_char> = AtomicPtr::new(ptr::null_mut());

/// Opens the socket, unless the environment says otherwise. Called once, before `main`.
pub(super) fn open() {
    if std::env::var_os("LEAKCHECK_SOCKET").is_some_and(|value| value == "off") {
        return;
    }
    let Some(listener) = Place::of_this_process().and_then(bind) else { return };
    if !spawn(run_at_once, listener) {
        remove();
        connections::close_all();
        return;
    }
    WANTED.store(true, Ordering::Relaxed);
    // SAFETY: the handlers are plain functions that live as long as the process.
    unsafe {
        libc::atexit(remove);
        libc::pthread_atfork(Some(before_fork), None, Some(after_fork_in_child));
    }
}

/// The listening socket, whose path is kept for the exit.
fn bind(place: Place) -> Option<OwnedFd> {
    let listener = place.bind()?;
    // Never freed: `remove` may run while another thread looks.
    let path = CString::new(place.into_path()).ok()?;
    PATH.store(path.into_raw(), Ordering::Relaxed);
    Some(listener)
}

extern "C" fn remove() {
    let path = PATH.swap(ptr::null_mut(), Ordering::Relaxed);
    if !path.is_null() {
        // SAFETY: the path is a C string that is never freed.
        unsafe { libc::unlink(path) };
    }
}

extern "C" fn before_fork() {
    // The links of the folder are its own two and one for each thread.
    let mut found = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the path is a C string, and `stat` fills the struct in when it returns 0.
    let links = unsafe {
        if libc::stat(c"/proc/self/task".as_ptr(), found.as_mut_ptr()) == 0 { found.assume_init().st_nlink } else { 0 }
    };
    // A watcher may come between this look and the fork: accepted, as it takes some microseconds at the right moment.
    let alone = links == 4 && SERVES.load(Ordering::Relaxed) && recording::is_idle();
    ALONE.store(alone, Ordering::Relaxed);
}

/// Whether the process that forked had no threads but this module's; asked in the child.
pub(super) fn was_alone() -> bool {
    ALONE.load(Ordering::Relaxed)
}

/// The child has no thread that serves, and its parent's sockets. Where the parent had no other threads the child is
/// sound, and listens for itself.
extern "C" fn after_fork_in_child() {
    SERVES.store(false, Ordering::Relaxed);
    PATH.store(ptr::null_mut(), Ordering::Relaxed);
    connections::close_all();
    let sound = WANTED.load(Ordering::Relaxed) && ALONE.load(Ordering::Relaxed);
    WANTED.store(sound, Ordering::Relaxed);
    if sound {
        start(run_after_a_while, ptr::null_mut());
    }
}

fn spawn(entry: Entry, listener: OwnedFd) -> bool {
    let descriptor = connections::keep_listener(listener.into_raw_fd());
    start(entry, ptr::without_provenance_mut(descriptor as usize))
}

type Entry = extern "C" fn(*mut libc::c_void) -> *mut libc::c_void;

/// Starts the thread with all signals blocked: handlers run on the program's threads, as without us. Not by the standard
/// library, which would allocate in the new thread and so have the C library set up another arena.
fn start(entry: Entry, argument: *mut libc::c_void) -> bool {
    // SAFETY: the sets and attributes are valid for writing, the mask is put back, and the entry is a plain function.
    unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        let mut before = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let mut attributes = std::mem::zeroed::<libc::pthread_attr_t>();
        let mut id = std::mem::zeroed::<libc::pthread_t>();
        libc::pthread_attr_init(&raw mut attributes);
        libc::pthread_attr_setstacksize(&raw mut attributes, STACK_BYTES);
        libc::pthread_attr_setdetachstate(&raw mut attributes, libc::PTHREAD_CREATE_DETACHED);
        // Not by the thread itself: the program may fork before it has run.
        SERVES.store(true, Ordering::Relaxed);
        let failed = libc::pthread_create(&raw mut id, &raw const attributes, entry, argument);
        libc::pthread_attr_destroy(&raw mut attributes);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        SERVES.fetch_and(failed == 0, Ordering::Relaxed);
        failed == 0
    }
}

extern "C" fn run_at_once(listener: *mut libc::c_void) -> *mut libc::c_void {
    run(|| Some(listener.addr() as libc::c_int));
    ptr::null_mut()
}

extern "C" fn run_after_a_while(_: *mut libc::c_void) -> *mut libc::c_void {
    run(|| {
        let patience = libc::timespec { tv_sec: 0, tv_nsec: CHILD_PATIENCE_NS };
        // SAFETY: the time is valid; all signals are blocked, so nothing wakes it early.
        unsafe { libc::nanosleep(&raw const patience, ptr::null_mut()) };
        let place = Place::of_this_process()?;
        place.remove_dead();
        let listener = bind(place)?;
        Some(connections::keep_listener(listener.into_raw_fd()))
    });
    ptr::null_mut()
}

/// Serves until the end of the process. A defect here must not end the program.
fn run(listener: impl FnOnce() -> Option<libc::c_int>) {
    thread::become_recorders_own();
    // SAFETY: the name is a C string of less than 16 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"leakcheck-ctl".as_ptr()) };
    // Whether it returns or fails, nobody serves any more.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        if let Some(listener) = listener() {
            serve::serve(listener);
        }
    }));
    SERVES.store(false, Ordering::Relaxed);
    remove();
    connections::close_all();
}
