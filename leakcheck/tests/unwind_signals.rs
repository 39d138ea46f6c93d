//! Walks from signal handlers, on the normal and on an alternate stack, and walks on stacks that are no thread's own.

#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod unwind_support;

use leakcheck::unwind::{End, Unwinder};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use unwind_support::machine::{call_on, call_twice, signal_here};
use unwind_support::{Checker, Oracle, Random};

thread_local! {
    static CHECKER: Cell<*mut Checker> = const { Cell::new(null_mut()) };
    static CHECKED: Cell<u64> = const { Cell::new(0) };
}

#[inline(never)]
fn check_here() {
    let checker = CHECKER.get();
    // SAFETY: null or set by `with_handler` on this thread, which touches its checker only when no handler runs.
    if let Some(checker) = unsafe { checker.as_mut() } {
        checker.check(Oracle::Backtrace);
        CHECKED.set(CHECKED.get() + 1);
    }
}

extern "C" fn handler(_signal: c_int) {
    #[inline(never)]
    fn nested(depth: u32) -> u32 {
        let below = if depth == 0 { 0 } else { nested(depth - 1) };
        check_here();
        black_box(below + depth)
    }
    nested(2);
}

fn install(signal: c_int, flags: c_int) {
    // SAFETY: an all-zero sigaction is valid; the handler has the right type and only does what is safe in the tests below.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as extern "C" fn(c_int) as usize;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &raw const action, null_mut()), 0);
    }
}

/// Runs `body` on a thread of its own where the handler checks.
fn with_handler(is_alternate: bool, body: impl FnOnce() + Send) -> Checker {
    thread::scope(|scope| {
        let run = || {
            let mut checker = Checker::new(256);
            let mut memory = vec![0u8; 1 << 20];
            if is_alternate {
                // SAFETY: the memory outlives its use: the alternate stack is given up before it is freed.
                unsafe {
                    let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
                    assert_eq!(libc::sigaltstack(&raw const stack, null_mut()), 0);
                }
            }
            CHECKER.set(&raw mut checker);
            body();
            CHECKER.set(null_mut());
            // SAFETY: disabling needs no memory.
            unsafe {
                let stack = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
                assert_eq!(libc::sigaltstack(&raw const stack, null_mut()), 0);
            }
            checker
        };
        let thread = thread::Builder::new().stack_size(8 << 20).spawn_scoped(scope, run);
        thread.expect("a thread").join().expect("no panic")
    })
}

#[inline(never)]
fn raise_from(depth: u32, signal: c_int) -> u32 {
    let local = black_box([depth; 5]);
    if depth == 0 {
        check_here();
        // SAFETY: the handler of this signal is installed.
        unsafe { libc::raise(signal) };
        check_here();
    } else {
        raise_from(depth - 1, signal);
    }
    black_box(local)[2]
}

#[test]
fn a_raised_signal_on_the_normal_stack() {
    install(libc::SIGUSR1, 0);
    let checker = with_handler(false, || {
        for depth in [0, 1, 7, 7, 30, 2, 300] {
            raise_from(depth, libc::SIGUSR1);
        }
    });
    let checker = checker.finish(35);
    assert!(checker.taken_over > 0);
    assert_eq!(checker.kept.counters().ends[End::BadStack as usize], 0);
}

#[test]
fn a_raised_signal_on_an_alternate_stack() {
    install(libc::SIGUSR2, libc::SA_ONSTACK);
    let checker = with_handler(true, || {
        for depth in [0, 1, 7, 7, 30, 2, 300] {
            raise_from(depth, libc::SIGUSR2);
        }
    });
    checker.finish(35);
}

#[inline(never)]
fn below<const WORDS: usize>(body: &mut dyn FnMut()) {
    let mut local = [0u64; WORDS];
    black_box(&mut local);
    body();
    black_box(&local);
}

/// The kernel aligns the handler's stack: its frames lie in the same places although the interrupted function's do not.
#[test]
fn a_signal_at_the_same_instruction_with_another_stack_pointer() {
    install(libc::SIGIO, 0);
    let checker = with_handler(false, || {
        // SAFETY: no arguments; a thread identifier is positive.
        let (process, thread) = unsafe { (libc::getpid() as usize, libc::gettid() as usize) };
        for _ in 0..10 {
            let mut signal_twice = || {
                // SAFETY: signals this thread, whose handler is installed; the registers of a C call are all that is used.
                unsafe { call_twice(process, thread, signal_here as *const ()) };
            };
            // All alignments of the stack occur.
            below::<2>(&mut signal_twice);
            below::<4>(&mut signal_twice);
            below::<6>(&mut signal_twice);
            below::<8>(&mut signal_twice);
        }
    });
    checker.finish(240);
}

/// Code of all sorts for a signal to interrupt: prologues, tail calls, libc's assembly, aligned frames. No allocation.
#[inline(never)]
fn work(random: &mut Random, buffer: &mut [u8], depth: u32) -> u64 {
    #[repr(align(64))]
    struct Aligned([u64; 16]);
    let mut local = Aligned([u64::from(depth); 16]);
    black_box(&mut local);
    let half = buffer.len() / 2;
    let (from, to) = buffer.split_at_mut(half);
    to[..half].copy_from_slice(&from[..half]);
    let key = random.below(256) as u8;
    from[..64].sort_unstable_by_key(|byte| byte ^ key);
    // SAFETY: both ranges are initialised and `half` long.
    let order = unsafe { libc::memcmp(from.as_ptr().cast(), to.as_ptr().cast(), half) };
    let mut sum = order as u64 ^ local.0[3];
    if depth > 0 {
        sum ^= work(random, buffer, depth - 1);
        sum ^= black_box(work as fn(&mut Random, &mut [u8], u32) -> u64)(random, buffer, depth - 1);
    }
    sum
}

const CHECKS: u64 = 1_500;

fn interrupt_anywhere(signal: c_int, is_alternate: bool) {
    install(signal, if is_alternate { libc::SA_ONSTACK } else { 0 });
    let checker = with_handler(is_alternate, || {
        // SAFETY: names the calling thread.
        let target = unsafe { libc::pthread_self() };
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = Random::new(5);
                while !is_done.load(Ordering::Relaxed) {
                    for _ in 0..random.below(20_000) {
                        black_box(());
                    }
                    // SAFETY: the target thread is in this scope and so still lives.
                    unsafe { libc::pthread_kill(target, signal) };
                }
            });
            let mut random = Random::new(6);
            let mut buffer = [7u8; 4096];
            while CHECKED.get() < CHECKS {
                black_box(work(&mut random, &mut buffer, 5));
            }
            is_done.store(true, Ordering::Relaxed);
        });
    });
    checker.finish(CHECKS);
}

#[test]
fn a_signal_at_any_instruction() {
    interrupt_anywhere(libc::SIGURG, false);
}

#[test]
fn a_signal_at_any_instruction_on_an_alternate_stack() {
    interrupt_anywhere(libc::SIGWINCH, true);
}

/// A stack that no thread was started on, with an inaccessible page at either end.
struct Coroutine {
    start: *mut c_void,
    size: usize,
}

const PAGE: usize = 4096;

impl Coroutine {
    fn new(at: *mut c_void, size: usize) -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | if at.is_null() { 0 } else { libc::MAP_FIXED_NOREPLACE };
        // SAFETY: a new anonymous mapping, over nothing that exists; its first and last page are made inaccessible.
        unsafe {
            let start = libc::mmap(at, size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(start, PAGE, libc::PROT_NONE), 0);
            assert_eq!(libc::mprotect(start.byte_add(size - PAGE), PAGE, libc::PROT_NONE), 0);
            Self { start, size }
        }
    }

    /// Runs `body` on this stack, `below` bytes under its top.
    #[inline(never)]
    fn run(&self, below: usize, body: &mut dyn FnMut()) {
        extern "C" fn enter(body: *mut c_void) {
            // SAFETY: `run` passes a closure that lives on its own frame.
            unsafe { (*body.cast::<&mut dyn FnMut()>())() }
        }
        let mut body = body;
        let top = self.start.wrapping_byte_add(self.size - PAGE - below);
        // SAFETY: the new stack is large enough and 16-byte aligned. Panics in `enter` abort, as it is `extern "C"`.
        unsafe { call_on(top, enter, (&raw mut body).cast()) };
    }
}

impl Drop for Coroutine {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, which nothing runs on any more.
        unsafe { libc::munmap(self.start, self.size) };
    }
}

#[inline(never)]
fn descend(depth: u32, body: &mut dyn FnMut()) -> u32 {
    let local = black_box([depth; 4]);
    if depth == 0 {
        body();
    } else {
        descend(depth - 1, body);
    }
    black_box(local)[1]
}

/// What lies above a coroutine's first frame is anything: nothing readable, zeros, garbage.
#[test]
fn a_stack_switched_by_hand_gives_its_inner_frames() {
    thread::spawn(|| {
        let mut checker = Checker::new(256);
        let stack = Coroutine::new(null_mut(), 64 * PAGE);
        for below in [0, 16, 256, 4096] {
            // Twice with zeros above, twice with garbage.
            for round in 0..4u8 {
                // SAFETY: the bytes between the first frame and the inaccessible page, which nothing else uses.
                unsafe {
                    let top = stack.start.byte_add(stack.size - PAGE - below).cast::<u8>();
                    top.write_bytes(if round < 2 { 0 } else { 0xa5 }, below);
                }
                for depth in [0, 3, 3, 20] {
                    let mut depths = Vec::new();
                    stack.run(below, &mut || {
                        descend(depth, &mut || {
                            checker.check(Oracle::Fresh);
                            depths.push(checker.kept.frames().len());
                        });
                    });
                    assert!(depths[0] > depth as usize + 1, "{depths:?} frames at depth {depth}");
                    // In between on the thread's own stack.
                    checker.check(Oracle::Backtrace);
                }
            }
        }
        checker.finish(128);
    })
    .join()
    .expect("no panic");
}

#[test]
fn the_first_walk_of_a_thread_may_be_on_a_foreign_stack() {
    thread::spawn(|| {
        let mut checker = Checker::new(256);
        let stack = Coroutine::new(null_mut(), 64 * PAGE);
        stack.run(64, &mut || {
            descend(5, &mut || checker.check(Oracle::Fresh));
        });
        checker.check(Oracle::Backtrace);
        raise_from(3, 0);
        checker.finish(2);
    })
    .join()
    .expect("no panic");
}

/// A kept walk must not be trusted where its stack may be gone.
#[test]
fn a_stack_that_is_unmapped_and_replaced_by_a_smaller_one() {
    thread::spawn(|| {
        leakcheck::unwind::prepare().expect("can be walked");
        let mut unwinder = Unwinder::boxed();
        let mut walk = || {
            // SAFETY: this thread's unwinder, after `prepare`.
            unsafe { unwinder.walk(256) }
        };
        let large = Coroutine::new(null_mut(), 64 * PAGE);
        let start = large.start;
        let mut walks = Vec::new();
        large.run(64, &mut || {
            descend(200, &mut || walks.push(walk()));
        });
        drop(large);
        let small = Coroutine::new(start, 8 * PAGE);
        small.run(64, &mut || {
            descend(20, &mut || walks.push(walk()));
        });
        assert!(walks[0].depth > 200 && walks[1].depth > 20, "{walks:?}");
    })
    .join()
    .expect("no panic");
}
