//! The unwinder where it lives: inside a global allocator, on every allocation of every thread. It must not allocate there, and every
//! stack must be whole.

#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

use leakcheck::unwind::{End, Unwinder};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

struct Walking;

#[global_allocator]
static ALLOCATOR: Walking = Walking;

static IS_ON: AtomicBool = AtomicBool::new(false);
static WALKS: AtomicU64 = AtomicU64::new(0);
static CHANGED: AtomicU64 = AtomicU64::new(0);
static FRAMES: AtomicU64 = AtomicU64::new(0);
static REENTERED: AtomicU64 = AtomicU64::new(0);
static NOT_WHOLE: AtomicU64 = AtomicU64::new(0);
static DIFFERENT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_WALKING: Cell<bool> = const { Cell::new(false) };
    static KEPT: Cell<*mut Unwinder> = const { Cell::new(null_mut()) };
    static FRESH: Cell<*mut Unwinder> = const { Cell::new(null_mut()) };
}

/// Zeroed memory that is never given back: threads of this test are few.
fn map_unwinder() -> *mut Unwinder {
    // SAFETY: a new anonymous mapping.
    let memory = unsafe {
        libc::mmap(
            null_mut(),
            size_of::<Unwinder>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(memory, libc::MAP_FAILED);
    memory.cast()
}

#[inline(never)]
fn walk_here() {
    if !IS_ON.load(Ordering::Relaxed) {
        return;
    }
    if IS_WALKING.replace(true) {
        REENTERED.fetch_add(1, Ordering::Relaxed);
        return;
    }
    if KEPT.get().is_null() {
        KEPT.set(map_unwinder());
        FRESH.set(map_unwinder());
    }
    // SAFETY: zeroed mappings of this thread, which nothing else refers to while IS_WALKING; `prepare` ran before IS_ON.
    unsafe {
        let walk = (*KEPT.get()).walk(1024);
        let number = WALKS.fetch_add(1, Ordering::Relaxed);
        FRAMES.fetch_add(walk.depth.into(), Ordering::Relaxed);
        CHANGED.fetch_add(walk.changed.into(), Ordering::Relaxed);
        NOT_WHOLE.fetch_add((walk.end != End::Root).into(), Ordering::Relaxed);
        if number.is_multiple_of(8) {
            (*FRESH.get()).forget();
            let fresh = (*FRESH.get()).walk(1024);
            let is_same = fresh.hash == walk.hash && fresh.depth == walk.depth && fresh.end == walk.end;
            DIFFERENT.fetch_add((!is_same).into(), Ordering::Relaxed);
        }
    }
    IS_WALKING.set(false);
}

// SAFETY: hands every call to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Walking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        walk_here();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        walk_here();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn work(seed: u32) -> usize {
    let mut words: HashMap<String, Vec<u32>> = HashMap::new();
    for number in 0..2_000u32 {
        let key = format!("{:x}-{}", number.wrapping_mul(seed) % 97, number % 7);
        words.entry(key).or_default().push(number);
    }
    let sorted: BTreeMap<_, _> = words.into_iter().collect();
    let text: String = sorted.iter().map(|(key, numbers)| format!("{key}={numbers:?};")).collect();
    text.split(';').filter_map(|part| part.split_once('=')).map(|(key, list)| key.len() + list.len()).sum()
}

fn parse(text: &[u8], at: &mut usize) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    while *at < text.len() {
        let byte = text[*at];
        *at += 1;
        match byte {
            b'(' => parts.extend(parse(text, at)),
            b')' => break,
            other => parts.push(vec![other]),
        }
    }
    parts
}

#[test]
fn every_allocation_of_a_program() {
    leakcheck::unwind::prepare().expect("this program can be walked");
    IS_ON.store(true, Ordering::SeqCst);
    let threads: Vec<_> = (1..=6).map(|seed| std::thread::spawn(move || work(seed * 31))).collect();
    let nested: String = (0..200).map(|n| if n % 3 == 0 { "(a(b)" } else { "(c(d(e)f)g)" }).collect();
    let parsed = parse(nested.as_bytes(), &mut 0);
    let total: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    // A panic allocates while it unwinds.
    for depth in 0..20 {
        fn fall(depth: u32) {
            let held = black_box(vec![depth; 4]);
            if depth == 0 {
                std::panic::resume_unwind(Box::new(format!("{held:?}")));
            }
            fall(depth - 1);
        }
        assert!(std::panic::catch_unwind(|| fall(depth)).is_err());
    }
    IS_ON.store(false, Ordering::SeqCst);
    assert!(total > 0 && !parsed.is_empty());
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    assert!(count(&WALKS) > 10_000, "only {} walks", count(&WALKS));
    assert_eq!(count(&REENTERED), 0, "the unwinder allocated");
    assert_eq!(count(&DIFFERENT), 0, "kept walks differ from whole ones");
    assert_eq!(count(&NOT_WHOLE), 0, "stacks that did not end at the root");
    assert!(count(&CHANGED) * 2 < count(&FRAMES), "{} of {} frames were walked anew", count(&CHANGED), count(&FRAMES));
}
