//! Shared libraries are loaded and unloaded over and over; each calls back to allocate, and another thread allocates
//! meanwhile.
//!
//! Parameters: `loads` a region, `pairs` a load. What one library has allocated is freed when another is loaded, often
//! at the same address with other frames. An operation is a pair of either thread.

use super::slots::Slots;
use super::{Account, Workload, call_tree};
use crate::parameters::Parameters;
use std::ffi::{CStr, CString, c_ulong, c_void};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Both made by `build.rs`.
const LIBRARIES: [&str; 2] =
    [concat!(env!("OUT_DIR"), "/small_frames.so"), concat!(env!("OUT_DIR"), "/large_frames.so")];
/// Blocks that starting a thread may take, with room to spare.
const STARTING_BLOCKS: u64 = 50;

type Callback = extern "C-unwind" fn(*mut c_void);
type Run = unsafe extern "C-unwind" fn(c_ulong, Callback, *mut c_void);

pub(super) struct Dlopen {
    paths: Vec<CString>,
    loads: u64,
    pairs: u64,
    slots: Slots,
    /// Of the other thread.
    other: Mutex<Slots>,
    regions: u64,
}

impl Dlopen {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, String> {
        let paths = LIBRARIES.iter().map(|path| CString::new(*path)).collect::<Result<_, _>>();
        Ok(Self {
            paths: paths.map_err(|why| why.to_string())?,
            loads: parameters.number("loads", 50)?,
            pairs: parameters.scaled("pairs", 2000)?,
            slots: Slots::new(512),
            other: Mutex::new(Slots::new(512)),
            regions: 0,
        })
    }
}

impl Workload for Dlopen {
    fn region(&mut self) -> Result<u64, String> {
        let before = self.pairs_done();
        let ended = AtomicBool::new(false);
        let Self { paths, loads, pairs, slots, other, .. } = self;
        thread::scope(|scope| {
            scope.spawn(|| allocate_until(&ended, other));
            let done = (0..*loads).try_for_each(|load| load_and_run(&paths[load as usize % 2], *pairs, slots));
            // Relaxed: it says nothing about other memory.
            ended.store(true, Ordering::Relaxed);
            done
        })?;
        self.regions += 1;
        Ok(self.pairs_done() - before)
    }

    fn account(&self) -> Account {
        Account {
            allocated_bytes: None,
            freed_bytes: None,
            slack_blocks: self.regions * STARTING_BLOCKS,
            ..self.slots.account().plus(self.other().account())
        }
    }
}

impl Dlopen {
    fn other(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.other.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn pairs_done(&self) -> u64 {
        self.slots.pairs() + self.other().pairs()
    }
}

fn allocate_until(ended: &AtomicBool, slots: &Mutex<Slots>) {
    let mut slots = slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Relaxed: as above.
    while !ended.load(Ordering::Relaxed) {
        call_tree::descend(0x1b, 8, &mut || (0..100).for_each(|_| slots.replace()));
    }
}

fn load_and_run(path: &CStr, pairs: u64, slots: &mut Slots) -> Result<(), String> {
    extern "C-unwind" fn allocate(context: *mut c_void) {
        // SAFETY: the library passes on what `plugin_run` was given: the slots, borrowed for its call.
        let slots = unsafe { &mut *context.cast::<Slots>() };
        slots.replace();
    }
    // SAFETY: the path ends with a zero; the libraries run nothing when they are loaded.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    if library.is_null() {
        return Err(format!("failed to load {}", path.to_string_lossy()));
    }
    // SAFETY: the library is open, and the name ends with a zero.
    let run = unsafe { libc::dlsym(library, c"plugin_run".as_ptr()) };
    if run.is_null() {
        return Err("there is no plugin_run".into());
    }
    // SAFETY: this is its type in `plugin.c`.
    let run = unsafe { std::mem::transmute::<*mut c_void, Run>(run) };
    // SAFETY: the library is open, and calls back with these slots while they are borrowed.
    unsafe { run(pairs, allocate, std::ptr::from_mut(slots).cast()) };
    // SAFETY: nothing of the library is in use any more.
    unsafe { libc::dlclose(library) };
    Ok(())
}
