//! Libraries that come and go at the same addresses.

use crate::checking::{DEPTH, Found, check_here, with_checker};
use std::ffi::{CString, c_ulong, c_void};
use std::hint::black_box;

/// Both made by `build.rs` from one source, with frames of different sizes.
const LIBRARIES: [&str; 2] =
    [concat!(env!("OUT_DIR"), "/small_frames.so"), concat!(env!("OUT_DIR"), "/large_frames.so")];

type Callback = extern "C-unwind" fn(*mut c_void);
type Run = unsafe extern "C-unwind" fn(c_ulong, Callback, *mut c_void);

extern "C-unwind" fn check(_context: *mut c_void) {
    check_below(black_box(3));
}

#[inline(never)]
fn check_below(depth: u32) -> u32 {
    let local = black_box([depth; 3]);
    check_here();
    if depth > 0 {
        check_below(depth - 1);
    }
    black_box(local)[1]
}

/// A library that is open.
struct Library(*mut c_void);

impl Library {
    fn open(path: &str) -> Self {
        let path = CString::new(path).expect("no zero byte");
        // SAFETY: the path ends with a zero; the libraries run nothing when they are loaded.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null(), "failed to load {}", path.to_string_lossy());
        Self(handle)
    }

    fn run(&self, times: u64) -> usize {
        // SAFETY: the library is open, and the name ends with a zero.
        let run = unsafe { libc::dlsym(self.0, c"plugin_run".as_ptr()) };
        assert!(!run.is_null());
        let address = run.expose_provenance();
        // SAFETY: this is its type in `plugin.c`; the library is open while it runs.
        unsafe { std::mem::transmute::<*mut c_void, Run>(run)(times, check, std::ptr::null_mut()) };
        address
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: nothing of the library is in use any more.
        unsafe { libc::dlclose(self.0) };
    }
}

/// One library at a time, now this one, now that one, each where the other was.
pub(crate) fn in_turn(effort: u32) -> Found {
    with_checker(DEPTH, || {
        let mut places = std::collections::HashSet::new();
        for load in 0..20 * effort as usize {
            places.insert(Library::open(LIBRARIES[load % 2]).run(3));
        }
        assert!(places.len() < 4, "the loader reuses addresses: {places:x?}");
    })
}

/// Both at once, and the stack through both.
pub(crate) fn one_through_the_other(effort: u32) -> Found {
    extern "C-unwind" fn load_another(number: *mut c_void) {
        check_here();
        Library::open(LIBRARIES[1 - number.addr()]).run(2);
        check_here();
    }
    with_checker(DEPTH, || {
        for load in 0..20 * effort as usize {
            let outer = Library::open(LIBRARIES[load % 2]);
            // SAFETY: as in `run`.
            let run = unsafe { std::mem::transmute::<*mut c_void, Run>(libc::dlsym(outer.0, c"plugin_run".as_ptr())) };
            // SAFETY: the library is open while it runs; the context is a number.
            unsafe { run(2, load_another, std::ptr::without_provenance_mut(load % 2)) };
        }
    })
}
