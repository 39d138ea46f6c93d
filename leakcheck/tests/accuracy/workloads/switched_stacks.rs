//! Programs that change stacks under the walk: corosensei's coroutines and libc's contexts.

use crate::checking::{DEPTH, Found, check_here, with_checker};
use crate::unwind_support::Random;
use corosensei::{Coroutine, Yielder};
use std::cell::Cell;
use std::hint::black_box;
use std::ptr::null_mut;

/// Recurses to a random depth, pausing here and there on the way.
#[inline(never)]
fn wander(yielder: &Yielder<(), ()>, random: &mut Random, depth: u32) -> u32 {
    let local = black_box([depth; 4]);
    check_here();
    if random.below(3) == 0 {
        yielder.suspend(());
        check_here();
    }
    if depth > 0 {
        wander(yielder, random, depth - 1);
    }
    if random.below(3) == 0 {
        yielder.suspend(());
    }
    black_box(local)[2]
}

#[inline(never)]
fn resume_from(depth: u32, coroutine: &mut Coroutine<(), (), ()>) -> u32 {
    let local = black_box([depth; 3]);
    if depth > 0 {
        resume_from(depth - 1, coroutine);
    } else {
        check_here();
        coroutine.resume(());
    }
    black_box(local)[1]
}

/// Several coroutines, resumed in random order from random depths. Their tables lead through to the stack of who resumed them.
pub(crate) fn coroutines(effort: u32) -> Found {
    with_checker(DEPTH, || {
        for seed in 0..u64::from(effort) {
            let start = |number: u64| {
                Coroutine::new(move |yielder: &Yielder<(), ()>, ()| {
                    let mut random = Random::new(seed * 10 + number);
                    for _ in 0..4 {
                        let depth = random.below(12) as u32;
                        wander(yielder, &mut random, depth);
                    }
                })
            };
            let mut coroutines: Vec<_> = (0..4).map(start).collect();
            let mut random = Random::new(seed);
            while !coroutines.is_empty() {
                let number = random.below(coroutines.len() as u64) as usize;
                resume_from(random.below(6) as u32, &mut coroutines[number]);
                if coroutines[number].done() {
                    coroutines.swap_remove(number);
                }
            }
        }
    })
}

/// One coroutine that always pauses in the same place, resumed from many: its own words stay the same, the way out does not.
pub(crate) fn one_pause(effort: u32) -> Found {
    with_checker(DEPTH, || {
        let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(|yielder: &Yielder<(), ()>, ()| {
            loop {
                check_here();
                yielder.suspend(());
            }
        });
        let mut random = Random::new(41);
        for _ in 0..100 * effort {
            if random.below(2) == 0 {
                resume_from(random.below(4) as u32, &mut coroutine);
            } else {
                resume_otherwise(random.below(4) as u32, &mut coroutine);
            }
        }
        // It never ends by itself, and where panics abort it cannot be unwound.
        // SAFETY: its stack holds nothing that must be dropped.
        unsafe { coroutine.force_reset() };
    })
}

/// Another way to the same depth, in frames of the same size.
#[inline(never)]
fn resume_otherwise(depth: u32, coroutine: &mut Coroutine<(), (), ()>) -> u32 {
    let local = black_box([depth + 7; 3]);
    if depth > 0 {
        resume_otherwise(depth - 1, coroutine);
    } else {
        coroutine.resume(());
    }
    black_box(local)[1]
}

/// Coroutines that come and go on the same stack memory.
pub(crate) fn short_lived(effort: u32) -> Found {
    with_checker(DEPTH, || {
        let mut random = Random::new(43);
        for _ in 0..40 * effort {
            let depth = random.below(5) as u32;
            let mut coroutine = Coroutine::new(move |yielder: &Yielder<(), ()>, ()| {
                let mut random = Random::new(depth.into());
                black_box(wander(yielder, &mut random, depth));
            });
            while !coroutine.done() {
                resume_from(random.below(6) as u32, &mut coroutine);
            }
        }
    })
}

thread_local! {
    /// The contexts of [`contexts`]: of the thread itself, and of the other stack.
    static CONTEXTS: Cell<[*mut libc::ucontext_t; 2]> = const { Cell::new([null_mut(); 2]) };
}

/// Goes over to the context of this number, leaving the other one.
#[inline(never)]
fn switch_to(number: usize) {
    let contexts = CONTEXTS.get();
    // SAFETY: both contexts live as long as `contexts` runs, and each is only continued after it was left.
    unsafe { assert_eq!(libc::swapcontext(contexts[1 - number], contexts[number]), 0) };
}

#[inline(never)]
fn pause_at(depth: u32) -> u32 {
    let local = black_box([depth; 5]);
    check_here();
    switch_to(0);
    check_here();
    if depth > 0 {
        pause_at(depth - 1);
    }
    black_box(local)[3]
}

extern "C" fn on_the_other_stack() {
    for depth in (0..8).cycle() {
        pause_at(depth);
    }
}

#[inline(never)]
fn visit_from(depth: u32) -> u32 {
    let local = black_box([depth; 2]);
    if depth > 0 {
        visit_from(depth - 1);
    } else {
        check_here();
        switch_to(1);
        check_here();
    }
    black_box(local)[0]
}

/// Two contexts of libc that take turns. The other one's stack has an end of its own.
pub(crate) fn contexts(effort: u32) -> Found {
    let mut stack = vec![0_u8; 1 << 20];
    with_checker(DEPTH, || {
        // SAFETY: all-zero contexts are valid to be written to; the stack and both contexts outlive the last switch; the other
        // context is never continued once this function returns.
        unsafe {
            let (mut own, mut other): (libc::ucontext_t, libc::ucontext_t) = (std::mem::zeroed(), std::mem::zeroed());
            assert_eq!(libc::getcontext(&raw mut other), 0);
            other.uc_stack.ss_sp = stack.as_mut_ptr().cast();
            other.uc_stack.ss_size = stack.len();
            libc::makecontext(&raw mut other, on_the_other_stack, 0);
            CONTEXTS.set([&raw mut own, &raw mut other]);
            let mut random = Random::new(23);
            for _ in 0..60 * effort {
                visit_from(random.below(10) as u32);
            }
            CONTEXTS.set([null_mut(); 2]);
        }
    })
}
