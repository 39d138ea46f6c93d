//! Every walk against the `backtrace` crate, over the kinds of stacks that programs have.

#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod unwind_support;

use leakcheck::unwind::{End, Unwinder};
use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::thread;
use unwind_support::machine::{Call, FRAMES, call_twice};
use unwind_support::{Checker, Oracle, tree};

fn on_a_big_stack(body: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(256 << 20).spawn(body).expect("a thread");
    thread.join().expect("no panic");
}

#[test]
fn random_call_trees_match_backtrace() {
    on_a_big_stack(|| {
        let (mut otherwise, mut glanced) = (0, 0);
        for seed in 1..=8 {
            let mut tree = tree(seed, 10 * seed as u32, 800, 1);
            tree.grow();
            let checker = tree.checker.finish(800);
            assert!(checker.recognised > 0, "no stack was recognised");
            otherwise += checker.otherwise;
            glanced += checker.glanced;
            assert!(checker.taken_over * 2 > checker.frames, "kept frames were seldom taken over");
        }
        assert!(otherwise > 0, "no stack was recognised by a second layout with its stack pointer");
        assert!(glanced > 0, "no glance led to a kept frame");
    });
}

#[test]
fn a_hundred_thousand_changes_match_a_fresh_walk() {
    on_a_big_stack(|| {
        let mut tree = tree(42, 30, 100_000, 1000);
        tree.grow();
        tree.checker.finish(100_000);
    });
}

#[test]
fn random_trees_deeper_than_the_cap() {
    on_a_big_stack(|| {
        for depth_max in [1, 2, 7, 20, 100] {
            let mut tree = tree(7, 60, 2_000, 4);
            tree.checker.depth_max = depth_max;
            tree.grow();
            tree.checker.finish(2_000);
        }
    });
}

#[test]
fn many_threads_at_once() {
    let threads: Vec<_> = (0..8)
        .map(|seed| {
            let builder = thread::Builder::new().stack_size(8 << 20);
            let body = move || {
                let mut tree = tree(seed + 100, 20, 3_000, 20);
                tree.grow();
                tree.checker.finish(3_000);
            };
            builder.spawn(body).expect("a thread")
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
}

#[test]
fn rules_may_be_forgotten_at_any_time() {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let churn = thread::spawn(move || {
        while receiver.try_recv().is_err() {
            // SAFETY: loads a library that has no effects of its own, and lets it go again.
            unsafe {
                let handle = libc::dlopen(c"libresolv.so.2".as_ptr(), libc::RTLD_NOW);
                leakcheck::unwind::refresh_modules();
                if !handle.is_null() {
                    libc::dlclose(handle);
                }
            }
            leakcheck::unwind::refresh_modules();
        }
    });
    on_a_big_stack(|| {
        let mut tree = tree(9, 20, 5_000, 20);
        tree.grow();
        tree.checker.finish(5_000);
    });
    sender.send(()).expect("the churn waits for this");
    churn.join().expect("no panic");
}

#[test]
fn small_stacks() {
    for stack_size in [16, 24, 32, 64] {
        for _ in 0..8 {
            let mut checker = Checker::new(256);
            let builder = thread::Builder::new().stack_size(stack_size << 10);
            let body = move || {
                for _ in 0..3 {
                    checker.check(Oracle::Backtrace);
                }
                checker.finish(3);
            };
            builder.spawn(body).expect("a thread").join().expect("no panic");
        }
    }
}

#[inline(never)]
fn recurse(depth: u32, checker: &mut Checker) -> u32 {
    let local = black_box([depth; 3]);
    let below = if depth == 0 {
        checker.check(Oracle::Backtrace);
        0
    } else {
        recurse(depth - 1, checker)
    };
    // On the way back as well: the depth cap's window moves outward again.
    if depth.is_multiple_of(97) {
        checker.check(Oracle::Backtrace);
    }
    below + black_box(local)[1]
}

#[test]
fn deep_recursion() {
    on_a_big_stack(|| {
        for depth_max in [64, 256, 1024] {
            let mut checker = Checker::new(depth_max);
            for depth in [1, 5, 255, 256, 257, 10_000, 3, 1_500, 10_000] {
                recurse(depth, &mut checker);
            }
            checker.finish(100);
        }
    });
}

#[test]
fn the_same_inner_frames_hash_the_same() {
    #[inline(never)]
    fn descend(depth: u32, unwinder: &mut Unwinder) -> u64 {
        let hash = if depth == 0 {
            // SAFETY: this thread's unwinder, after `prepare`.
            let walk = unsafe { unwinder.walk(32) };
            assert_eq!((walk.end, walk.depth), (End::DepthLimit, 32));
            walk.hash
        } else {
            descend(depth - 1, unwinder)
        };
        black_box(hash)
    }
    leakcheck::unwind::prepare().expect("can be walked");
    let mut unwinder = Unwinder::boxed();
    let hashes = [100, 40, 1000, 57].map(|depth| descend(depth, &mut unwinder));
    assert!(hashes.iter().all(|&hash| hash == hashes[0]), "{hashes:x?}");
}

thread_local! {
    /// The checker of callbacks from C, which have no argument to carry it.
    static CHECKER: RefCell<Option<Checker>> = const { RefCell::new(None) };
}

fn with_checker(run: impl FnOnce()) -> Checker {
    CHECKER.set(Some(Checker::new(256)));
    run();
    CHECKER.take().expect("set above")
}

#[inline(never)]
fn check_here() {
    CHECKER.with_borrow_mut(|checker| checker.as_mut().expect("in `with_checker`").check(Oracle::Backtrace));
}

unsafe extern "C" fn compare_numbers(a: *const c_void, b: *const c_void) -> c_int {
    check_here();
    // SAFETY: the callers below pass arrays of, or pointers to, i32.
    unsafe { (*a.cast::<i32>()).cmp(&*b.cast::<i32>()) as c_int }
}

unsafe extern "C" {
    fn tsearch(key: *const c_void, root: *mut *mut c_void, compare: Comparator) -> *mut c_void;
    fn twalk(root: *const c_void, action: extern "C" fn(*const c_void, c_int, c_int));
    fn tdestroy(root: *mut c_void, free: extern "C" fn(*mut c_void));
}

type Comparator = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;

#[test]
fn through_c_code() {
    extern "C" fn visit(_node: *const c_void, _visit: c_int, _level: c_int) {
        check_here();
    }
    extern "C" fn keep(_key: *mut c_void) {
        check_here();
    }
    extern "C" fn once() {
        check_here();
    }
    extern "C" fn module(_info: *mut libc::dl_phdr_info, _size: usize, _data: *mut c_void) -> c_int {
        check_here();
        0
    }
    let checker = with_checker(|| {
        // Small: sorted on the stack. Large: glibc takes another way.
        for count in [3, 50, 4000] {
            let mut numbers: Vec<i32> = (0..count).map(|n| n * 7919 % 1009).collect();
            // SAFETY: the array has `count` elements of 4 bytes.
            unsafe { libc::qsort(numbers.as_mut_ptr().cast(), numbers.len(), 4, Some(compare_numbers)) };
            assert!(numbers.is_sorted());
            let key = numbers[1];
            // SAFETY: as above, and sorted.
            let found = unsafe {
                libc::bsearch((&raw const key).cast(), numbers.as_ptr().cast(), numbers.len(), 4, Some(compare_numbers))
            };
            assert!(!found.is_null());
        }
        let numbers: Vec<i32> = (0..60).map(|n| n * 31 % 61).collect();
        let mut root = std::ptr::null_mut();
        let mut flag = 0 as c_int;
        // SAFETY: keys outlive the tree; the callbacks match their types.
        unsafe {
            for number in &numbers {
                tsearch((&raw const *number).cast(), &raw mut root, compare_numbers);
            }
            twalk(root, visit);
            tdestroy(root, keep);
            pthread_once(&raw mut flag, once);
            libc::dl_iterate_phdr(Some(module), std::ptr::null_mut());
        }
    });
    checker.finish(10_000);
}

unsafe extern "C" {
    fn pthread_once(flag: *mut c_int, routine: extern "C" fn()) -> c_int;
}

#[test]
fn while_a_panic_unwinds() {
    struct OnDrop(u32);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            check_here();
            black_box(self.0);
        }
    }
    #[inline(never)]
    fn fall(depth: u32) {
        let guard = OnDrop(depth);
        if depth == 0 {
            std::panic::resume_unwind(Box::new(1));
        }
        fall(depth - 1);
        drop(guard);
    }
    let checker = with_checker(|| {
        for depth in [0, 1, 10, 100] {
            assert!(std::panic::catch_unwind(|| fall(depth)).is_err());
        }
    });
    checker.finish(112);
}

/// Frames too large for a compiled rule.
#[test]
fn huge_frames() {
    #[inline(never)]
    fn huge<const BYTES: usize>(depth: u32, checker: &mut Checker) -> u8 {
        let mut local = [depth as u8; BYTES];
        black_box(&mut local);
        if depth > 0 {
            huge::<BYTES>(depth - 1, checker);
        }
        for _ in 0..3 {
            checker.check(Oracle::Backtrace);
        }
        black_box(&local)[BYTES / 2]
    }
    on_a_big_stack(|| {
        let mut checker = Checker::new(256);
        huge::<100_000>(5, &mut checker);
        huge::<131_056>(5, &mut checker);
        huge::<300_000>(5, &mut checker);
        recurse(200, &mut checker);
        checker.finish(54);
    });
}

struct Mixed {
    checker: Checker,
    random: unwind_support::Random,
    depth: u32,
}

extern "C" fn mix(mixed: *mut c_void) {
    // SAFETY: `mix` is only called with the one value of the test below, by callers that do not touch it meanwhile.
    let Mixed { checker, random, depth } = unsafe { &mut *mixed.cast::<Mixed>() };
    checker.check(Oracle::Backtrace);
    if *depth < 11 {
        *depth += 1;
        for _ in 0..2 {
            let (count, number) = (FRAMES.len(), random.below(2 * FRAMES.len() as u64 + 1) as usize);
            // SAFETY: the frames call their argument by the C convention.
            unsafe {
                match FRAMES.get(number % count) {
                    Some(frame) if number < count => frame(mix, mixed),
                    Some(frame) if number < 2 * count => {
                        call_twice(mix as Call as usize, mixed.expose_provenance(), *frame as *const ());
                    }
                    _ => black_box(mix as Call)(mixed),
                }
            }
        }
        // SAFETY: as above.
        unsafe { (*mixed.cast::<Mixed>()).depth -= 1 };
    }
    // SAFETY: as above.
    unsafe { (*mixed.cast::<Mixed>()).checker.check(Oracle::Backtrace) };
}

#[test]
fn frames_of_hand_written_assembly() {
    on_a_big_stack(|| {
        for seed in 1..=6 {
            let random = unwind_support::Random::new(seed);
            let mut mixed = Mixed { checker: Checker::new(256), random, depth: 6 };
            mix((&raw mut mixed).cast());
            let checker = mixed.checker.finish(126);
            assert_eq!(checker.kept.counters().ends[End::Unsupported as usize], 0);
        }
    });
}
