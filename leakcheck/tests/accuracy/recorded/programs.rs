//! Programs whose every block is known: parsers, collections, call sites in turn, coroutines, panics, blocks that change threads.

use super::ledger;
use corosensei::{Coroutine, Yielder};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;

/// Whether a return address may lie in the function that all watched programs run in: that, or one of its neighbours.
pub(crate) fn is_near_watched(address: usize) -> bool {
    // The function is small: its code is not that far from its start.
    (watched as *const () as usize..watched as *const () as usize + 64).contains(&address)
}

/// Runs a program under the ledger's eyes; nothing else is called here while the ledger looks.
#[inline(never)]
fn watched(program: &mut dyn FnMut()) {
    program();
    black_box(());
}

fn on_a_thread(mut program: impl FnMut() + Send + 'static) -> std::thread::JoinHandle<()> {
    let body = move || ledger::watch(|| watched(&mut program));
    std::thread::Builder::new().stack_size(64 << 20).spawn(body).expect("a thread")
}

pub(crate) fn run_all(effort: u32) {
    let (blocks, freed_elsewhere) = mpsc::sync_channel::<Vec<Box<u64>>>(4);
    let mut threads: Vec<_> = (1..=2).map(|seed| on_a_thread(move || collections(seed * 31, effort))).collect();
    threads.push(on_a_thread(move || parsers(effort)));
    threads.push(on_a_thread(move || call_sites(effort)));
    threads.push(on_a_thread(move || coroutines(effort)));
    threads.push(on_a_thread(move || panics(effort)));
    threads.push(on_a_thread(move || {
        for number in 0..50 * u64::from(effort) {
            blocks.send((0..number % 7).map(Box::new).collect()).expect("the other thread waits for it");
        }
    }));
    threads.push(std::thread::spawn(move || many_threads(effort)));
    let receiver = std::thread::spawn(move || freed_elsewhere.into_iter().map(|blocks| blocks.len()).sum::<usize>());
    for thread in threads {
        thread.join().expect("no panic that is not caught");
    }
    assert!(receiver.join().expect("no panic") > 0);
}

/// Threads that come and go, each on the stack of the one before, by other ways.
fn many_threads(effort: u32) {
    for number in 0..20 * effort as usize {
        let thread = on_a_thread(move || {
            for site in 0..30 {
                black_box(deeper(number % 4, (number * 7 + site) % 64));
            }
        });
        thread.join().expect("no panic");
    }
}

fn collections(seed: u32, effort: u32) {
    for round in 0..effort {
        let mut words: HashMap<String, Vec<u32>> = HashMap::new();
        for number in 0..400_u32 {
            words
                .entry(format!("{:x}-{}", number.wrapping_mul(seed + round) % 97, number % 7))
                .or_default()
                .push(number);
        }
        let sorted: BTreeMap<_, _> = words.into_iter().collect();
        let text: String = sorted.iter().map(|(key, numbers)| format!("{key}={numbers:?};")).collect();
        let mut parts: Vec<String> = text.split(';').map(str::to_owned).collect();
        parts.retain(|part| part.len() % 3 == 0);
        parts.shrink_to_fit();
        black_box((parts, vec![0_u8; 5000]));
    }
}

fn parsers(effort: u32) {
    const SOURCE: &str = include_str!("programs.rs");
    for _ in 0..effort {
        let file = syn::parse_file(SOURCE).expect("this compiles");
        let nested: Value =
            (0..30).fold(Value::Null, |inner, n| serde_json::json!({ "n": n, "list": [inner, [1, "a"]] }));
        let text = serde_json::to_string_pretty(&nested).expect("a value can be written");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("just written"), nested);
        black_box(file);
    }
}

type Site = fn() -> Box<[u64]>;

#[inline(never)]
fn site<const NUMBER: u64>() -> Box<[u64]> {
    let block = vec![NUMBER; 1 + NUMBER as usize % 5].into_boxed_slice();
    black_box(block)
}

macro_rules! sites {
    ($($number:literal)*) => { [$(site::<$number>, site::<{ $number + 16 }>, site::<{ $number + 32 }>, site::<{ $number + 48 }>),*] };
}

const SITES: [Site; 64] = sites!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

#[inline(never)]
fn deeper(depth: usize, site: usize) -> Box<[u64]> {
    black_box(if depth == 0 { black_box(SITES[site])() } else { deeper(depth - 1, site) })
}

/// The same stack pointers over and over, with another caller each time.
fn call_sites(effort: u32) {
    let mut held = Vec::new();
    for number in 0..2000 * effort as usize {
        held.push(deeper(number / 64 % 5, number * 29 % 64));
        if number % 100 == 99 {
            held.truncate(number / 100 % 20);
        }
    }
}

/// Blocks born on stacks that are not the thread's, between others that are.
fn coroutines(effort: u32) {
    #[inline(never)]
    fn wander(yielder: &Yielder<(), ()>, depth: u32) -> u32 {
        let held = black_box(vec![depth; 3]);
        if depth.is_multiple_of(3) {
            yielder.suspend(());
        }
        let below = if depth > 0 { wander(yielder, depth - 1) } else { 0 };
        below + black_box(Box::new(held[1])).wrapping_add(1)
    }
    for round in 0..3 * effort {
        let start = |number: u32| {
            Coroutine::new(move |yielder: &Yielder<(), ()>, ()| {
                black_box(wander(yielder, 5 + number + round % 4));
            })
        };
        let mut coroutines: Vec<Coroutine<(), (), ()>> = (0..3).map(start).collect();
        while !coroutines.is_empty() {
            for coroutine in &mut coroutines {
                coroutine.resume(());
                black_box(Box::new(round));
            }
            coroutines.retain(|coroutine| !coroutine.done());
        }
    }
}

/// Destructors that allocate while the stack is unwound below them.
fn panics(effort: u32) {
    struct OnDrop(u32);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            black_box(format!("{}", self.0));
        }
    }
    #[inline(never)]
    fn fall(depth: u32) -> u32 {
        let guard = OnDrop(depth);
        if depth == 0 {
            if cfg!(panic = "abort") {
                return 1;
            }
            resume_unwind(Box::new(depth));
        }
        fall(depth - 1) + black_box(&guard).0
    }
    for depth in [0, 1, 10, 30].iter().cycle().take(8 * effort as usize) {
        let result = catch_unwind(AssertUnwindSafe(|| fall(*depth)));
        assert_eq!(result.is_err(), cfg!(panic = "unwind"));
    }
}
