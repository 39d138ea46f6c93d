//! What ordinary programs do: call, recurse, use collections on many threads, panic.

use crate::checking::{DEPTH, Found, check_here, checker, with_checked_allocations, with_checker};
use crate::unwind_support::{Oracle, Random, Tree};
use leakcheck::unwind::DEPTH_MAX;
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

pub(crate) fn trees(effort: u32) -> Found {
    let mut found = Found::default();
    for seed in 1..=4 {
        let random = Random::new(seed);
        let checks_max = 250 * u64::from(effort);
        let mut tree =
            Tree { checker: checker(DEPTH), random, depth_max: 12 * seed as u32, checks_max, oracle_every: 1 };
        tree.grow();
        found.add(Found::of(tree.checker));
    }
    found
}

pub(crate) fn main_thread(effort: u32) -> Found {
    let random = Random::new(77);
    let mut tree =
        Tree { checker: checker(DEPTH), random, depth_max: 30, checks_max: 250 * u64::from(effort), oracle_every: 1 };
    tree.grow();
    Found::of(tree.checker)
}

#[inline(never)]
fn words(seed: u32) -> usize {
    let mut words: HashMap<String, Vec<u32>> = HashMap::new();
    for number in 0..300_u32 {
        words.entry(format!("{:x}-{}", number.wrapping_mul(seed) % 97, number % 7)).or_default().push(number);
    }
    let sorted: BTreeMap<_, _> = words.into_iter().collect();
    let text: String = sorted.iter().map(|(key, numbers)| format!("{key}={numbers:?};")).collect();
    text.split(';').filter_map(|part| part.split_once('=')).map(|(key, list)| key.len() + list.len()).sum()
}

pub(crate) fn collections(effort: u32) -> Found {
    let threads: Vec<_> = (1..=4)
        .map(|seed| {
            std::thread::spawn(move || {
                with_checked_allocations(5, || {
                    for round in 0..effort {
                        black_box(words(seed * 31 + round));
                    }
                })
            })
        })
        .collect();
    let mut found = Found::default();
    for thread in threads {
        found.add(thread.join().expect("no panic"));
    }
    found
}

#[inline(never)]
fn recurse(depth: u32) -> u32 {
    let local = black_box([depth; 3]);
    let below = if depth == 0 {
        check_here();
        0
    } else {
        recurse(depth - 1)
    };
    // On the way back as well: the depth cap's window moves outward again.
    if depth.is_multiple_of(97) {
        check_here();
    }
    below + black_box(local)[1]
}

pub(crate) fn deep_recursion(effort: u32) -> Found {
    let depths: &[u32] =
        if effort == 1 { &[255, 256, 257, 3, 1_500] } else { &[1, 5, 255, 256, 257, 10_000, 3, 1_500, 10_000] };
    let mut found = Found::default();
    for depth_max in [64, 256, DEPTH_MAX] {
        found.add(with_checker(depth_max, || {
            for &depth in depths {
                recurse(depth);
            }
        }));
    }
    found
}

struct OnDrop(u32);

impl Drop for OnDrop {
    fn drop(&mut self) {
        check_here();
        black_box(self.0);
    }
}

#[inline(never)]
fn fall(depth: u32) -> u32 {
    let guard = OnDrop(depth);
    if depth == 0 {
        // Where panics abort, there is nothing to unwind, only to return.
        if cfg!(panic = "abort") {
            check_here();
            return 1;
        }
        resume_unwind(Box::new(format!("{depth}")));
    }
    let below = fall(depth - 1);
    below + black_box(&guard).0
}

/// Destructors that allocate while the stack is unwound below them.
pub(crate) fn panics(effort: u32) -> Found {
    with_checked_allocations(1, || {
        for depth in [0, 1, 10, 100].iter().cycle().take(4 * effort as usize) {
            let result = catch_unwind(AssertUnwindSafe(|| fall(*depth)));
            assert_eq!(result.is_err(), cfg!(panic = "unwind"));
        }
    })
}

/// Stacks as small as the oracles can do with.
pub(crate) fn small_stacks(effort: u32) -> Found {
    let mut found = Found::default();
    for size in [64, 80, 128].iter().cycle().take(3 * effort as usize) {
        let mut checker = checker(DEPTH);
        let body = move || {
            for _ in 0..3 {
                checker.check(Oracle::Backtrace);
            }
            checker
        };
        let thread = std::thread::Builder::new().stack_size(size << 10).spawn(body).expect("a thread");
        found.add(Found::of(thread.join().expect("no panic")));
    }
    found
}
