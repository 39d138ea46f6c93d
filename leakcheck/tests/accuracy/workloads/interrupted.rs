//! Walks from signal handlers: at any instruction, on either stack, and in the kernel's own code.

use crate::checking::{DEPTH, Found, check_here, checks_so_far, with_checker};
use crate::unwind_support::Random;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::ops::Range;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

thread_local! {
    /// Checks where the interrupted instruction was in the range asked for.
    static INSIDE: Cell<u64> = const { Cell::new(0) };
    static SIGNALS: Cell<u64> = const { Cell::new(0) };
}

/// The addresses at which an interruption is of interest. Relaxed: set before the first signal.
static START: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(usize::MAX);

extern "C" fn handler(_signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes the interrupted thread's context to a handler with SA_SIGINFO.
    let pc = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] } as usize;
    SIGNALS.set(SIGNALS.get() + 1);
    if (START.load(Ordering::Relaxed)..END.load(Ordering::Relaxed)).contains(&pc) {
        INSIDE.set(INSIDE.get() + 1);
        check_here();
    }
}

fn install(flags: c_int, range: Range<usize>) {
    START.store(range.start, Ordering::Relaxed);
    END.store(range.end, Ordering::Relaxed);
    // SAFETY: an all-zero sigaction is valid; the handler has the type that SA_SIGINFO asks for and only does what is safe at any
    // instruction of the workloads: they do not allocate while their checker is set.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
        action.sa_flags = flags | libc::SA_SIGINFO | libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGURG, &raw const action, null_mut()), 0);
    }
}

/// Runs `body` over and over while another thread sends signals here, until it says that it is enough.
fn under_fire(mut body: impl FnMut() -> bool) {
    // SAFETY: names the calling thread.
    let target = unsafe { libc::pthread_self() };
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new(5);
            // Relaxed: nothing else hangs on it.
            while !is_done.load(Ordering::Relaxed) {
                for _ in 0..random.below(20_000) {
                    black_box(());
                }
                // SAFETY: the target thread is in this scope and so still lives.
                unsafe { libc::pthread_kill(target, libc::SIGURG) };
            }
        });
        while !body() {}
        is_done.store(true, Ordering::Relaxed);
    });
}

/// Code of all sorts to interrupt: prologues, tail calls, libc's assembly, aligned frames. No allocation.
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

fn interrupt_work(checks: u64) -> Found {
    with_checker(DEPTH, || {
        let mut random = Random::new(6);
        let mut buffer = [7_u8; 4096];
        under_fire(|| {
            black_box(work(&mut random, &mut buffer, 5));
            checks_so_far() >= checks
        });
    })
}

pub(crate) fn anywhere(effort: u32) -> Found {
    install(0, 0..usize::MAX);
    interrupt_work(300 * u64::from(effort))
}

pub(crate) fn anywhere_on_an_alternate_stack(effort: u32) -> Found {
    install(libc::SA_ONSTACK, 0..usize::MAX);
    let mut memory = vec![0_u8; 1 << 20];
    // SAFETY: the memory outlives its use: the alternate stack is given up before it is freed.
    unsafe {
        let mut before: libc::stack_t = std::mem::zeroed();
        let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
        assert_eq!(libc::sigaltstack(&raw const stack, &raw mut before), 0);
        let found = interrupt_work(300 * u64::from(effort));
        assert_eq!(libc::sigaltstack(&raw const before, null_mut()), 0);
        found
    }
}

/// A signal that arrives in `clock_gettime`, whose code is the kernel's. Where the kernel lends none, signals anywhere.
pub(crate) fn in_the_kernels_module(effort: u32) -> Found {
    // SAFETY: reads the auxiliary vector, which the kernel filled.
    let start = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as usize;
    // Two pages at least; what lies behind it is the stack or nothing, never code.
    install(0, if start == 0 { 0..usize::MAX } else { start..start + (64 << 10) });
    let wanted = 40 * u64::from(effort);
    let signals_max = SIGNALS.get() + 4000 * u64::from(effort);
    with_checker(DEPTH, || {
        under_fire(|| {
            for _ in 0..200 {
                // SAFETY: the time is written to a value that outlives the call.
                unsafe {
                    let mut time: libc::timespec = std::mem::zeroed();
                    libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
                    black_box(time.tv_nsec);
                }
            }
            INSIDE.get() >= wanted || SIGNALS.get() >= signals_max
        });
        if INSIDE.get() == 0 {
            // A virtual machine without a clock in user space never is inside.
            check_here();
        }
    })
}
