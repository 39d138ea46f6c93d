//! What must not hurt the watched program: failed allocations, forks, signals, dying threads, panics.
//!
//! The inner allocator here is async-signal-safe and can be told to fail, which the system's is not and cannot.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use leakcheck::model::{Counters, Snapshot};
use leakcheck::{Leakcheck, Recorder, Recording};
use std::alloc::{GlobalAlloc, Layout};
use std::cell::RefCell;
use std::hint::black_box;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

#[global_allocator]
static GLOBAL: Leakcheck = Leakcheck::system();

/// Fails on demand; hands out memory of a fixed area, never to be used again, so a signal handler may call it.
struct Area {
    fail: AtomicBool,
    used: AtomicUsize,
}

const AREA_BYTES: usize = 64 << 20;
static mut AREA_MEMORY: [u8; AREA_BYTES] = [0; AREA_BYTES];
static AREA: Leakcheck<&Area> = Leakcheck::new(&AREA_STATE);
static AREA_STATE: Area = Area { fail: AtomicBool::new(false), used: AtomicUsize::new(0) };

// SAFETY: every block is a part of the area of its own, aligned as asked.
unsafe impl GlobalAlloc for &Area {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let needed = layout.size() + layout.align();
        let offset = self.used.fetch_add(needed, Ordering::Relaxed);
        if self.fail.load(Ordering::Relaxed) || offset + needed > AREA_BYTES {
            return std::ptr::null_mut();
        }
        let start = &raw mut AREA_MEMORY as usize + offset;
        start.next_multiple_of(layout.align()) as *mut u8
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

fn one_at_a_time() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn record() -> Recording {
    Recorder::builder().exact().every(Duration::from_millis(5)).start().unwrap()
}

fn counted(snapshot: &Snapshot, function: &str) -> Counters {
    let has = |site: &&leakcheck::model::Site| {
        snapshot.frames_of(site).flat_map(|frame| &frame.functions).any(|f| f.name.contains(function))
    };
    snapshot.sites.iter().filter(has).fold(Counters::default(), |sum, site| sum.plus(site.counters))
}

const LAYOUT: Layout = match Layout::from_size_align(100, 8) {
    Ok(layout) => layout,
    Err(_) => panic!("a valid layout"),
};

#[inline(never)]
fn area_alloc_for_failures() -> *mut u8 {
    // SAFETY: the size is not zero.
    black_box(unsafe { AREA.alloc(LAYOUT) })
}

#[test]
fn a_failed_allocation_is_null_and_counts_nothing() {
    let _alone = one_at_a_time();
    let recording = record();
    let block = area_alloc_for_failures();
    assert!(!block.is_null());
    // SAFETY: the block is live, 100 bytes long.
    unsafe { block.write_bytes(0x5a, 100) };

    AREA_STATE.fail.store(true, Ordering::Relaxed);
    assert!(area_alloc_for_failures().is_null());
    // SAFETY: as above, and the sizes are valid.
    unsafe {
        assert!(AREA.alloc_zeroed(LAYOUT).is_null());
        assert!(AREA.realloc(block, LAYOUT, 5000).is_null());
    }
    AREA_STATE.fail.store(false, Ordering::Relaxed);

    let snapshot = leakcheck::snapshot().unwrap();
    let counters = counted(&snapshot, "area_alloc_for_failures");
    assert_eq!((counters.allocated.blocks, counters.allocated.bytes), (1, 100));
    assert_eq!(counters.resized, 0);
    // The block that could not grow is as it was, and still recognised when it is freed.
    // SAFETY: the block is live, 100 bytes long.
    unsafe {
        assert!((0..100).all(|place| *block.add(place) == 0x5a));
        AREA.dealloc(block, LAYOUT);
    }
    let last = recording.finish().unwrap();
    assert!(counted(&last, "area_alloc_for_failures").live().is_zero());
}

#[test]
fn impossible_sizes_and_large_alignments_are_forwarded() {
    let _alone = one_at_a_time();
    let recording = record();
    for align in [1_usize, 16, 64, 4096, 1 << 16] {
        for size in [1_usize, 8, 12, 16, 4095, 1 << 20] {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the size is not zero, and blocks are used within their size.
            unsafe {
                let block = GLOBAL.alloc_zeroed(layout);
                assert_eq!(block as usize % align, 0, "{size} bytes aligned to {align}");
                assert!((0..size).all(|place| *block.add(place) == 0));
                block.write_bytes(0xa5, size);
                let grown = GLOBAL.realloc(block, layout, size * 3);
                assert_eq!(grown as usize % align, 0);
                assert!((0..size).all(|place| *grown.add(place) == 0xa5));
                GLOBAL.dealloc(grown, Layout::from_size_align(size * 3, align).unwrap());
            }
        }
    }
    let huge = Layout::from_size_align(isize::MAX as usize - 7, 8).unwrap();
    // SAFETY: the size is not zero.
    unsafe {
        // Opaque to the optimiser, which takes out allocations that nobody uses.
        assert!(black_box(GLOBAL.alloc(black_box(huge))).is_null());
        let block = black_box(GLOBAL.alloc(LAYOUT));
        assert!(black_box(GLOBAL.realloc(block, LAYOUT, isize::MAX as usize - 7)).is_null());
        GLOBAL.dealloc(block, LAYOUT);
    }
    drop(recording);
}

#[test]
fn blocks_from_before_and_after_the_recording_are_recognised() {
    let _alone = one_at_a_time();
    let before: Vec<Vec<u8>> = (1..200).map(|size| vec![1; size]).collect();
    let recording = record();
    let during: Vec<Vec<u8>> = (1..200).map(|size| vec![2; size]).collect();
    drop(before);
    drop(recording);
    let after: Vec<Vec<u8>> = (1..200).map(|size| vec![3; size]).collect();
    drop(during);
    let again = record();
    drop(after);
    let last = again.finish().unwrap();
    let counters = counted(&last, "blocks_from_before_and_after");
    assert!(counters.allocated.blocks >= 199 && counters.freed.blocks >= 199, "{counters:?}");
}

/// Forks while other threads allocate; each child must be able to allocate, free inherited blocks and exit.
#[test]
fn children_of_a_threaded_program_run() {
    let _alone = one_at_a_time();
    let recording = record();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    black_box(vec![0_u8; black_box(300)]);
                }
            });
        }
        for round in 0..40 {
            let mut inherited: Vec<Vec<u8>> = (0..50).map(|n| vec![n; 64]).collect();
            // SAFETY: the child allocates, which glibc allows after fork from a threaded program, and leaves by _exit.
            let child = unsafe { libc::fork() };
            assert!(child >= 0);
            if child == 0 {
                inherited.truncate(25);
                inherited.extend((0..50).map(|n| vec![n; 200]));
                let refused = leakcheck::snapshot().is_err_and(|error| error.is_not_running());
                leakcheck::checkpoint("in the child");
                drop(leakcheck::scope("in the child"));
                drop(inherited);
                // SAFETY: ends the child without running the parent's exit handlers.
                unsafe { libc::_exit(if refused { 0 } else { 3 }) };
            }
            assert_eq!(wait_for(child), 0, "child of round {round}");
            drop(inherited);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let last = recording.finish().unwrap();
    assert_eq!(last.losses.forked_children, 40);
}

/// The exit code of a child, which is killed when it hangs.
fn wait_for(child: libc::pid_t) -> i32 {
    let mut status = 0;
    for _ in 0..3000 {
        // SAFETY: `status` is valid for writing.
        match unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } {
            0 => thread::sleep(Duration::from_millis(10)),
            _ => return if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -status },
        }
    }
    // SAFETY: the child is ours.
    unsafe { libc::kill(child, libc::SIGKILL) };
    panic!("the child hangs");
}

static HANDLER_RUNS: AtomicU64 = AtomicU64::new(0);

#[inline(never)]
extern "C" fn allocating_handler(_: libc::c_int) {
    for size in [24_usize, 500] {
        let layout = Layout::from_size_align(size, 8).unwrap_or(LAYOUT);
        // SAFETY: sizes are not zero; the area is async-signal-safe.
        unsafe {
            let block = AREA.alloc(layout);
            if !block.is_null() {
                block.write_bytes(1, size);
                AREA.dealloc(block, layout);
            }
        }
    }
    HANDLER_RUNS.fetch_add(1, Ordering::Relaxed);
}

/// A timer interrupts a thread that allocates all the time; some ticks hit the hook itself.
#[test]
fn signal_handlers_may_allocate_anywhere() {
    let _alone = one_at_a_time();
    let recording = record();
    // SAFETY: the handler is async-signal-safe; the timer is switched off below.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = allocating_handler as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()), 0);
        set_timer(200);
    }
    let mut blocks = 0_u64;
    while HANDLER_RUNS.load(Ordering::Relaxed) < 500 {
        black_box(vec![0_u8; black_box(40)]);
        blocks += 1;
    }
    set_timer(0);
    let last = recording.finish().unwrap();
    assert!(blocks > 0);
    let handler = counted(&last, "allocating_handler");
    let without_stack = last.sites.iter().find(|site| site.stack.is_none()).map_or(0, |s| s.counters.allocated.blocks);
    // Every block of the handler is counted, with its stack or, where it interrupted the hook, without.
    assert!(handler.allocated.blocks + without_stack >= 1000, "{handler:?} and {without_stack} without stack");
    assert_eq!(handler.live().blocks, 0);
    assert_eq!(without_stack, last.losses.blocks_without_stack);
}

fn set_timer(microseconds: libc::suseconds_t) {
    let span = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    let timer = libc::itimerval { it_interval: span, it_value: span };
    // SAFETY: `timer` is valid, and the handler is in place.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

struct AllocatesAtThreadEnd;

#[inline(never)]
fn at_thread_end_for_test() {
    black_box(vec![0_u8; black_box(123)]);
}

impl Drop for AllocatesAtThreadEnd {
    fn drop(&mut self) {
        at_thread_end_for_test();
    }
}

thread_local! {
    static AT_END: RefCell<Option<AllocatesAtThreadEnd>> = const { RefCell::new(None) };
}

#[test]
fn destructors_of_dying_threads_are_recorded() {
    let _alone = one_at_a_time();
    let recording = record();
    for _ in 0..50 {
        thread::spawn(|| AT_END.with(|slot| *slot.borrow_mut() = Some(AllocatesAtThreadEnd))).join().unwrap();
    }
    let last = recording.finish().unwrap();
    let counters = counted(&last, "at_thread_end_for_test");
    assert_eq!((counters.allocated.blocks, counters.freed.blocks), (50, 50));
    assert_eq!(counters.allocated.bytes, 50 * 123);
}

#[test]
fn panics_unwind_through_a_recorded_program() {
    let _alone = one_at_a_time();
    let recording = record();
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    for round in 0..50 {
        let caught = panic::catch_unwind(AssertUnwindSafe(|| {
            let _held = black_box(vec![0_u8; black_box(77)]);
            panic!("round {round}");
        }));
        assert!(caught.is_err());
    }
    panic::set_hook(hook);
    let last = recording.finish().unwrap();
    assert!(counted(&last, "panics_unwind_through").live().blocks < 5);
}

#[test]
fn a_second_recording_is_refused_and_the_first_goes_on() {
    let _alone = one_at_a_time();
    assert!(leakcheck::snapshot().is_err_and(|error| error.is_not_running()));
    let recording = record();
    assert!(Recorder::builder().start().is_err_and(|error| error.is_already_running()));
    assert!(leakcheck::snapshot().is_ok());
    drop(recording);
    drop(record());
}

/// Threads by the hundred: their states are handed on, and counts stay exact.
#[test]
fn many_short_threads_leave_exact_counts() {
    #[inline(never)]
    fn work_of_a_short_thread() {
        black_box(vec![0_u8; black_box(200)]);
    }
    let _alone = one_at_a_time();
    let recording = record();
    for _ in 0..30 {
        let threads: Vec<_> = (0..10).map(|_| thread::spawn(work_of_a_short_thread)).collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
    let last = recording.finish().unwrap();
    let counters = counted(&last, "work_of_a_short_thread");
    assert_eq!((counters.allocated.blocks, counters.freed.blocks), (300, 300));
    assert_eq!(counters.allocated.bytes, 300 * 200);
}

/// Cells are handed out again over many generations while the counts stay exact.
#[test]
fn counts_survive_many_generations() {
    #[inline(never)]
    fn churns_over_generations() -> Vec<u8> {
        black_box(vec![0_u8; black_box(50)])
    }
    let _alone = one_at_a_time();
    let recording = Recorder::builder().every(Duration::ZERO).start().unwrap();
    let mut kept = Vec::with_capacity(64);
    for round in 0..60_u64 {
        for _ in 0..20 {
            drop(churns_over_generations());
        }
        kept.push(churns_over_generations());
        let snapshot = leakcheck::snapshot().unwrap();
        let counters = counted(&snapshot, "churns_over_generations");
        assert_eq!((counters.allocated.blocks, counters.live().blocks), ((round + 1) * 21, round + 1));
    }
    let last = recording.finish().unwrap();
    let site = last.sites.iter().max_by_key(|site| site.survivors.len()).unwrap();
    // One survivor per generation: 32 generations of one snapshot, then two snapshots each.
    assert_eq!(site.survivors.len(), 32 + 14);
    assert_eq!(site.survivors.iter().map(|s| s.blocks).sum::<u64>(), 60);
}
