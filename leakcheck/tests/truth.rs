//! Truth: with threads that allocate, resize and free across each other, every site's counts are exact to the byte.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use leakcheck::model::{Counters, Site, Snapshot};
use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::mpsc;
use std::thread;

#[global_allocator]
static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();

const THREADS: usize = 8;
const ROUNDS: usize = 400;

/// A block handed around by address, so that nothing else allocates between.
struct Block {
    address: usize,
    layout: Layout,
}

#[inline(never)]
fn born_in_truth_test(size: usize, zeroed: bool) -> Block {
    let layout = Layout::from_size_align(size, 8).unwrap();
    // SAFETY: the size is not zero.
    let address = unsafe { if zeroed { ALLOC.alloc_zeroed(layout) } else { ALLOC.alloc(layout) } };
    assert!(!address.is_null());
    black_box(Block { address: address as usize, layout })
}

#[inline(never)]
fn resized_in_truth_test(block: Block, size: usize) -> Block {
    // SAFETY: the block is live and owned here; the size is not zero.
    let address = unsafe { ALLOC.realloc(block.address as *mut u8, block.layout, size) };
    assert!(!address.is_null());
    black_box(Block { address: address as usize, layout: Layout::from_size_align(size, 8).unwrap() })
}

#[inline(never)]
fn freed_in_truth_test(block: Block) {
    // SAFETY: the block is live and owned here.
    unsafe { ALLOC.dealloc(block.address as *mut u8, block.layout) };
    black_box(());
}

#[derive(Default, Clone, Copy, PartialEq, Debug)]
struct Expected {
    blocks: u64,
    allocated: u64,
    freed_blocks: u64,
    freed: u64,
    resized: u64,
}

fn has_frame(snapshot: &Snapshot, site: &Site, name: &str) -> bool {
    snapshot.frames_of(site).flat_map(|frame| &frame.functions).any(|function| function.name.contains(name))
}

fn counted(snapshot: &Snapshot) -> Counters {
    let ours = snapshot.sites.iter().filter(|site| has_frame(snapshot, site, "born_in_truth_test"));
    ours.fold(Counters::default(), |sum, site| sum.plus(site.counters))
}

#[test]
fn counts_are_exact_to_the_byte() {
    let recording = leakcheck::Recorder::builder().exact().every(std::time::Duration::from_millis(20)).start().unwrap();
    let mut senders = Vec::new();
    let mut receivers = Vec::new();
    for _ in 0..THREADS {
        let (sender, receiver) = mpsc::channel::<Block>();
        senders.push(sender);
        receivers.push(receiver);
    }
    let workers: Vec<_> = receivers
        .into_iter()
        .enumerate()
        .map(|(number, receiver)| {
            let next = senders[(number + 1) % THREADS].clone();
            thread::spawn(move || {
                let mut expected = Expected::default();
                let mut kept = Vec::new();
                for round in 0..ROUNDS {
                    let size = 1 + (number * 7919 + round * 104_729) % 5000;
                    let mut block = born_in_truth_test(size, round % 3 == 0);
                    expected.blocks += 1;
                    expected.allocated += size as u64;
                    if round % 4 == 1 {
                        let new_size = 1 + (size * 31 + round) % 9000;
                        block = resized_in_truth_test(block, new_size);
                        expected.resized += 1;
                        if new_size >= size {
                            expected.allocated += (new_size - size) as u64;
                        } else {
                            expected.freed += (size - new_size) as u64;
                        }
                    }
                    if round % 10 == 9 {
                        kept.push(block);
                    } else {
                        // Freed by the next thread.
                        expected.freed_blocks += 1;
                        expected.freed += block.layout.size() as u64;
                        next.send(block).unwrap();
                    }
                    while let Ok(block) = receiver.try_recv() {
                        freed_in_truth_test(block);
                    }
                }
                drop(next);
                for block in receiver {
                    freed_in_truth_test(block);
                }
                (expected, kept)
            })
        })
        .collect();
    drop(senders);
    let mut total = Expected::default();
    let mut kept = Vec::new();
    for worker in workers {
        let (expected, blocks) = worker.join().unwrap();
        total.blocks += expected.blocks;
        total.allocated += expected.allocated;
        total.freed_blocks += expected.freed_blocks;
        total.freed += expected.freed;
        total.resized += expected.resized;
        kept.extend(blocks);
    }
    let as_expected = |counters: Counters| Expected {
        blocks: counters.allocated.blocks,
        allocated: counters.allocated.bytes,
        freed_blocks: counters.freed.blocks,
        freed: counters.freed.bytes,
        resized: counters.resized,
    };
    let snapshot = leakcheck::snapshot().unwrap();
    assert_eq!(as_expected(counted(&snapshot)), total);
    let live = counted(&snapshot).live();
    assert_eq!(live.blocks, kept.len() as u64);
    assert_eq!(live.bytes, kept.iter().map(|block| block.layout.size() as u64).sum::<u64>());
    for block in kept {
        total.freed_blocks += 1;
        total.freed += block.layout.size() as u64;
        freed_in_truth_test(block);
    }
    let last = recording.finish().unwrap();
    assert_eq!(as_expected(counted(&last)), total);
    assert!(counted(&last).live().is_zero());
}
