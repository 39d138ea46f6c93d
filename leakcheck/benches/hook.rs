//! What the hook costs: CPU time of allocate-and-free pairs under the recorder as ratios to the plain allocator.
//!
//! `cargo bench -p leakcheck` prints the table. All variants of a row run in turn within each round, and the figure is
//! the median of the rounds' ratios, so that a machine whose speed drifts gives the same answer. Run it again with
//! `RUSTFLAGS="-C force-frame-pointers=yes"` to see what frame pointers change.
//!
//! Rows: one or two threads; stacks 5 or 40 frames deep; *same path* allocates in a loop at the bottom of the stack,
//! *path changes* walks down a different half of the stack for every pair.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first thing that goes wrong")]

use leakcheck::{Leakcheck, Recorder};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::thread;
use std::time::Duration;

#[global_allocator]
static RECORDED: Leakcheck = Leakcheck::system();

const ROUNDS: usize = 15;
const PAIRS: u64 = 60_000;

#[derive(Clone, Copy)]
struct Row {
    threads: usize,
    depth: u32,
    changing: bool,
}

/// One pair, of a size between 16 and 143 bytes.
#[inline(never)]
fn pair<A: GlobalAlloc>(allocator: &A, number: u64) {
    let size = 16 + (number.wrapping_mul(0x9e37_79b9) >> 16 & 127) as usize;
    let layout = Layout::from_size_align(size, 8).unwrap();
    // SAFETY: the size is not zero, and the block is freed with its own layout.
    unsafe {
        let block = black_box(allocator.alloc(layout));
        block.write(1);
        allocator.dealloc(block, layout);
    }
}

#[inline(never)]
fn left<A: GlobalAlloc>(allocator: &A, depth: u32, number: u64, pairs: u64) {
    descend(allocator, depth, number, pairs);
    black_box(depth);
}

#[inline(never)]
fn right<A: GlobalAlloc>(allocator: &A, depth: u32, number: u64, pairs: u64) {
    descend(allocator, depth, number, pairs);
    black_box(number);
}

/// Goes `depth` frames down, by a way that the bits of `number` choose, and does `pairs` pairs there.
#[inline(always)]
fn descend<A: GlobalAlloc>(allocator: &A, depth: u32, number: u64, pairs: u64) {
    if depth == 0 {
        for pair_number in 0..pairs {
            pair(allocator, number.wrapping_add(pair_number));
        }
    } else if number >> depth & 1 == 0 {
        left(allocator, depth - 1, number, pairs);
    } else {
        right(allocator, depth - 1, number, pairs);
    }
}

/// Goes down the constant outer half, then down the inner half anew for every pair.
#[inline(never)]
fn outer_half<A: GlobalAlloc>(allocator: &A, depth: u32, inner: u32, pairs: u64) {
    if depth > 0 {
        outer_half(allocator, depth - 1, inner, pairs);
    } else {
        let mut number = 1_u64;
        for _ in 0..pairs {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Up to 64 different ways down.
            descend(allocator, inner, number >> 58 << (inner.saturating_sub(6)) << 1, 1);
        }
    }
    black_box(depth);
}

fn work<A: GlobalAlloc>(allocator: &A, row: Row) {
    if row.changing {
        outer_half(allocator, row.depth / 2, row.depth - row.depth / 2, PAIRS);
    } else {
        descend(allocator, row.depth, 0, PAIRS);
    }
}

/// CPU nanoseconds per pair, the mean over the row's threads.
fn measure<A: GlobalAlloc + Sync>(allocator: &'static A, row: Row) -> f64 {
    let workers: Vec<_> = (0..row.threads)
        .map(|_| {
            thread::spawn(move || {
                work(allocator, row);
                let began = thread_cpu();
                work(allocator, row);
                (thread_cpu() - began).as_nanos() as f64 / PAIRS as f64
            })
        })
        .collect();
    workers.into_iter().map(|worker| worker.join().unwrap()).sum::<f64>() / row.threads as f64
}

fn thread_cpu() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for writing.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Plain, dormant, sampled and exact nanoseconds of each round.
fn rounds(row: Row) -> Vec<[f64; 4]> {
    (0..ROUNDS)
        .map(|_| {
            let plain = measure(&System, row);
            let dormant = measure(&RECORDED, row);
            let sampled = {
                let _recording =
                    Recorder::builder().sampled(512 << 10).every(Duration::ZERO).names(false).start().unwrap();
                measure(&RECORDED, row)
            };
            let exact = {
                let _recording = Recorder::builder().exact().every(Duration::ZERO).names(false).start().unwrap();
                measure(&RECORDED, row)
            };
            [plain, dormant, sampled, exact]
        })
        .collect()
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Resident bytes that a million live blocks of `size` bytes cost.
fn live_cost(size: usize, record: bool) -> f64 {
    const BLOCKS: usize = 1_000_000;
    let recording = record.then(|| Recorder::builder().exact().every(Duration::ZERO).names(false).start().unwrap());
    let mut blocks: Vec<Box<[u8]>> = Vec::with_capacity(BLOCKS);
    let spare: Vec<u8> = vec![1; BLOCKS * size_of::<Box<[u8]>>()];
    drop(black_box(spare));
    let before = resident_bytes();
    for _ in 0..BLOCKS {
        blocks.push(vec![1_u8; size].into_boxed_slice());
    }
    let cost = (resident_bytes() - before) as f64 / BLOCKS as f64;
    drop(black_box(blocks));
    drop(recording);
    cost
}

/// In a process of its own, so that each begins with an untouched heap.
fn live_cost_in_child(size: usize, record: bool) -> f64 {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--live", &size.to_string(), &record.to_string()])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, size, record] = &arguments[..]
        && mode == "--live"
    {
        println!("{}", live_cost(size.parse().unwrap(), record == "true"));
        return;
    }
    if let [_, mode, which, depth, changing] = &arguments[..]
        && mode == "--once"
    {
        // One variant, for counting instructions: valgrind --tool=callgrind hook --once exact 40 same
        let row = Row { threads: 1, depth: depth.parse().unwrap(), changing: changing == "changing" };
        let _recording =
            (which == "exact").then(|| Recorder::builder().every(Duration::ZERO).names(false).start().unwrap());
        if which == "plain" {
            work(&System, row)
        } else {
            work(&RECORDED, row)
        }
        return;
    }
    println!("CPU time of an allocate-and-free pair of 16 to 143 bytes; medians of {ROUNDS} interleaved rounds");
    println!("threads  depth  path     plain ns   dormant   sampled 512 KiB     exact   exact adds");
    for threads in [1, 2] {
        for depth in [5, 40] {
            for changing in [false, true] {
                let all = rounds(Row { threads, depth, changing });
                let ratio = |variant: usize| median(all.iter().map(|round| round[variant] / round[0]).collect());
                let plain = median(all.iter().map(|round| round[0]).collect());
                let added = median(all.iter().map(|round| round[3] - round[0]).collect());
                let path = if changing { "changes" } else { "same" };
                println!(
                    "{threads:7}  {depth:5}  {path:7}  {plain:8.1}   {:7.2}   {:15.2}   {:7.2}   {added:+7.0} ns",
                    ratio(1),
                    ratio(2),
                    ratio(3)
                );
            }
        }
    }
    println!();
    println!("resident bytes per live block, a million blocks of one size");
    println!("size   plain   exact   added");
    for size in [24, 64, 250, 1000] {
        let (plain, exact) = (live_cost_in_child(size, false), live_cost_in_child(size, true));
        println!("{size:4}  {plain:6.1}  {exact:6.1}  {:6.1}", exact - plain);
    }
}
