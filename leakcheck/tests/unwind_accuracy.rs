//! The fast unwinder gives the very stacks of the platform's own, whatever was walked before.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use leakcheck::unwind::{self, DEPTH_MAX, End, Unwinder};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

struct Checker {
    unwinder: Box<Unwinder>,
    by_hash: HashMap<u64, Vec<u64>>,
    by_stack: HashMap<Vec<u64>, u64>,
    checks: u64,
}

thread_local! {
    static CHECKER: RefCell<Option<Checker>> = const { RefCell::new(None) };
}

fn with_checker(work: impl FnOnce()) -> u64 {
    unwind::prepare().expect("unwind tables");
    CHECKER.with(|slot| {
        *slot.borrow_mut() =
            Some(Checker { unwinder: Unwinder::boxed(), by_hash: HashMap::new(), by_stack: HashMap::new(), checks: 0 });
    });
    work();
    CHECKER.with(|slot| slot.borrow_mut().take().map_or(0, |checker| checker.checks))
}

/// Walks, asks the platform, compares.
#[inline(never)]
fn check() {
    CHECKER.with(|slot| {
        let mut slot = slot.borrow_mut();
        let checker = slot.as_mut().expect("a checker");
        compare(checker);
    });
}

#[inline(never)]
fn compare(checker: &mut Checker) {
    // SAFETY: made on this thread.
    let walk = unsafe { checker.unwinder.walk(DEPTH_MAX as u32) };
    let ours: Vec<u64> = (0..walk.depth).rev().map(|place| checker.unwinder.address(place)).collect();
    let mut theirs: Vec<u64> = Vec::new();
    // SAFETY: nothing else traces at this moment on this thread, and the crate keeps no global state on Linux.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            theirs.push(frame.ip() as u64);
            theirs.len() < 4 * DEPTH_MAX
        });
    }
    while theirs.last() == Some(&0) {
        theirs.pop();
    }
    let start = theirs.iter().position(|address| *address == ours[0]).expect("our first frame is among theirs");
    let theirs = &theirs[start..];
    let depth = theirs.len().min(DEPTH_MAX);
    assert_eq!(walk.end, if theirs.len() > DEPTH_MAX { End::DepthLimit } else { End::Root });
    if ours != theirs[..depth] {
        let first = ours.iter().zip(theirs).position(|(a, b)| a != b);
        panic!("differs at {first:?} of {} and {}: {ours:x?} {theirs:x?}", ours.len(), theirs.len());
    }
    // Equal stacks have equal hashes, different ones different hashes.
    let hash = *checker.by_stack.entry(ours.clone()).or_insert(walk.hash);
    assert_eq!(hash, walk.hash);
    let stack = checker.by_hash.entry(walk.hash).or_insert_with(|| ours.clone());
    assert_eq!(*stack, ours);
    checker.checks += 1;
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[inline(never)]
fn small(random: &mut Random, depth: u64) -> u64 {
    black_box(turn(random, depth)) + 1
}

#[inline(never)]
fn large(random: &mut Random, depth: u64) -> u64 {
    let room = black_box([depth; 300]);
    black_box(turn(random, depth)) + room[(depth % 300) as usize]
}

/// Keeps many values alive across the call, so that callee-saved registers, BP among them, are in use.
#[inline(never)]
fn busy(random: &mut Random, depth: u64) -> u64 {
    let (a, b, c, d, e, f) =
        (black_box(depth), black_box(1), black_box(2), black_box(3), black_box(depth * 5), black_box(7));
    let result = turn(random, depth);
    black_box(a ^ b ^ c ^ d ^ e ^ f) + result + turn(random, depth.min(1))
}

#[inline(never)]
fn through_closure(random: &mut Random, depth: u64) -> u64 {
    let call: &mut dyn FnMut() -> u64 = &mut || turn(random, depth);
    black_box(call())
}

#[inline(never)]
fn through_c(random: &mut Random, depth: u64) -> u64 {
    struct Context<'a>(&'a mut Random, u64, u64);
    unsafe extern "C" fn compare_two(
        _: *const libc::c_void,
        _: *const libc::c_void,
        context: *mut libc::c_void,
    ) -> i32 {
        // SAFETY: qsort_r passes the context on.
        let context = unsafe { &mut *context.cast::<Context<'_>>() };
        if context.2 == 0 {
            context.2 = 1;
            turn(context.0, context.1);
        }
        0
    }
    unsafe extern "C" {
        fn qsort_r(
            base: *mut libc::c_void,
            count: usize,
            size: usize,
            compare: unsafe extern "C" fn(*const libc::c_void, *const libc::c_void, *mut libc::c_void) -> i32,
            context: *mut libc::c_void,
        );
    }
    let mut values = [3_u32, 1, 2];
    let mut context = Context(random, depth, 0);
    // SAFETY: three elements of four bytes, and a comparator that ignores them.
    unsafe { qsort_r(values.as_mut_ptr().cast(), 3, 4, compare_two, (&raw mut context).cast()) };
    black_box(u64::from(values[0]))
}

fn turn(random: &mut Random, depth: u64) -> u64 {
    if depth == 0 || random.below(12) == 0 {
        check();
        return 1;
    }
    match random.below(9) {
        0..=2 => small(random, depth - 1),
        3 | 4 => large(random, depth - 1),
        5 | 6 => busy(random, depth - 1),
        7 => through_closure(random, depth - 1),
        _ => through_c(random, depth - 1),
    }
}

#[test]
fn random_call_trees() {
    let checks = with_checker(|| {
        for seed in 0..3_000 {
            let mut random = Random(seed);
            let depth = 2 + random.below(30);
            black_box(turn(&mut random, depth));
        }
    });
    assert!(checks >= 3_000);
}

#[test]
fn the_same_place_again_and_again() {
    #[inline(never)]
    fn nested(depth: u32) {
        if depth == 0 {
            for _ in 0..50 {
                check();
            }
        } else {
            nested(depth - 1);
        }
        black_box(depth);
    }
    with_checker(|| (0..40).for_each(nested));
}

#[test]
fn very_deep_recursion_grows_and_shrinks() {
    #[inline(never)]
    fn deep(depth: u32) -> u32 {
        if depth.is_multiple_of(500) || depth < 3 || depth % 511 == 7 {
            check();
        }
        let result = if depth == 0 { 0 } else { deep(depth - 1) + 1 };
        if depth.is_multiple_of(777) || depth > 9_998 {
            check();
        }
        black_box(result)
    }
    let child =
        thread::Builder::new().stack_size(64 << 20).spawn(|| with_checker(|| assert!(black_box(deep(10_000)) > 0)));
    assert!(child.expect("a thread").join().expect("no panic") > 40);
}

#[test]
fn small_stacks_and_many_threads() {
    for _ in 0..10 {
        let threads: Vec<_> = (0..8_u64)
            .map(|seed| {
                let work = move || with_checker(|| assert!(black_box(turn(&mut Random(seed), 6)) > 0));
                thread::Builder::new().stack_size(256 << 10).spawn(work).expect("a thread")
            })
            .collect();
        for thread in threads {
            assert!(thread.join().expect("no panic") > 0);
        }
    }
}

#[test]
fn destructors_while_a_panic_unwinds() {
    struct ChecksOnDrop;
    impl Drop for ChecksOnDrop {
        fn drop(&mut self) {
            check();
        }
    }
    #[inline(never)]
    fn fails(depth: u32) {
        let _checks = ChecksOnDrop;
        if depth == 0 {
            std::panic::resume_unwind(Box::new(1));
        }
        fails(depth - 1);
        black_box(depth);
    }
    with_checker(|| assert!(std::panic::catch_unwind(|| fails(12)).is_err()));
}

static IN_HANDLER: AtomicU64 = AtomicU64::new(0);
static INTERRUPTED_ROOTS: AtomicU64 = AtomicU64::new(0);

extern "C" fn handler(_: libc::c_int) {
    thread_local! {
        static OURS: RefCell<Option<Box<Unwinder>>> = const { RefCell::new(None) };
    }
    OURS.with(|slot| {
        let mut slot = slot.borrow_mut();
        let unwinder = slot.get_or_insert_with(Unwinder::boxed);
        walk_in_handler(unwinder);
    });
}

#[inline(never)]
fn walk_in_handler(unwinder: &mut Unwinder) {
    // SAFETY: made on this thread.
    let walk = unsafe { unwinder.walk(256) };
    IN_HANDLER.fetch_add(1, Ordering::Relaxed);
    if walk.end == End::Root {
        INTERRUPTED_ROOTS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Through the kernel's signal frame, on the thread's stack and on an alternate one, to the thread's start.
#[test]
fn through_signal_frames() {
    unwind::prepare().expect("unwind tables");
    let alternate = vec![0_u8; 64 << 10].leak();
    for on_alternate in [false, true] {
        // SAFETY: the handler is sound when raised on this thread; the alternate stack lives for ever.
        unsafe {
            if on_alternate {
                let stack =
                    libc::stack_t { ss_sp: alternate.as_mut_ptr().cast(), ss_flags: 0, ss_size: alternate.len() };
                assert_eq!(libc::sigaltstack(&raw const stack, std::ptr::null_mut()), 0);
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = if on_alternate { libc::SA_ONSTACK } else { 0 };
            assert_eq!(libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()), 0);
            for _ in 0..20 {
                libc::raise(libc::SIGUSR2);
            }
        }
    }
    assert_eq!(IN_HANDLER.load(Ordering::Relaxed), 40);
    assert_eq!(INTERRUPTED_ROOTS.load(Ordering::Relaxed), 40);
}

/// On a stack that was switched under us there is no root to find, but the inner frames are right and nothing crashes.
#[test]
fn switched_stacks() {
    static FRAMES: AtomicU64 = AtomicU64::new(0);

    #[inline(never)]
    fn inner(unwinder: &mut Unwinder) {
        // SAFETY: made on this thread.
        let walk = unsafe { unwinder.walk(256) };
        let leaf = unwinder.address(walk.depth - 1);
        let mut name = String::new();
        backtrace::resolve(leaf as *mut _, |symbol| name = symbol.name().map(|n| n.to_string()).unwrap_or_default());
        assert!(name.contains("on_other_stack"), "{name}");
        FRAMES.fetch_add(u64::from(walk.depth), Ordering::Relaxed);
    }

    #[inline(never)]
    extern "C" fn on_other_stack(unwinder: *mut Unwinder) {
        // SAFETY: the pointer comes from the live box below.
        inner(unsafe { &mut *unwinder });
        black_box(());
    }

    unwind::prepare().expect("unwind tables");
    let mut unwinder = Unwinder::boxed();
    let mut memory = vec![0_u128; 32 << 10];
    for _ in 0..10 {
        let top = memory.as_mut_ptr_range().end as usize;
        // SAFETY: switches to memory of our own, large enough, and back; the callee keeps R12 (System V ABI).
        unsafe {
            std::arch::asm!(
                "mov r12, rsp",
                "mov rsp, {top}",
                "call {function}",
                "mov rsp, r12",
                top = in(reg) top,
                function = in(reg) on_other_stack as *const (),
                in("rdi") &raw mut *unwinder,
                out("r12") _,
                clobber_abi("C"),
            );
        }
    }
    assert!(FRAMES.load(Ordering::Relaxed) >= 10);
}
