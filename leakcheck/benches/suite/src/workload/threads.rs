//! Threads in a ring: each allocates blocks and sends them on in batches, and frees what it receives.
//!
//! Parameters: `threads`, `pairs` a region, all threads together. Threads are started anew in each region.

use super::{Account, Workload};
use crate::chance::Chance;
use crate::parameters::Parameters;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

/// Blocks that travel together.
const BATCH: u64 = 32;
/// Batches that a channel holds.
const CHANNEL: usize = 64;
/// Batches that a thread sends before it receives the first: waiting for each would measure the kernel's scheduler.
const LEAD: u64 = 16;
/// Blocks that starting a thread and its channel may take, with room to spare.
const STARTING_BLOCKS: u64 = 100;

type Batch = Vec<Vec<u8>>;

pub(super) struct Threads {
    threads: u64,
    batches_each: u64,
    regions: u64,
}

impl Threads {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, String> {
        let threads = parameters.number("threads", 2)?.max(1);
        let pairs = parameters.scaled("pairs", 1_000_000)?;
        Ok(Self { threads, batches_each: (pairs / threads / BATCH).max(1), regions: 0 })
    }
}

impl Workload for Threads {
    fn region(&mut self) -> Result<u64, String> {
        let (mut senders, receivers): (Vec<_>, Vec<_>) =
            (0..self.threads).map(|_| mpsc::sync_channel::<Batch>(CHANNEL)).unzip();
        // The first sends to the last, every other to the one before it.
        senders.rotate_right(1);
        let batches = self.batches_each;
        let workers: Vec<_> = senders
            .into_iter()
            .zip(receivers)
            .enumerate()
            .map(|(number, (to, from))| thread::spawn(move || work(number as u64, batches, &to, &from)))
            .collect();
        let mut freed = 0;
        for worker in workers {
            freed += worker.join().map_err(|_| "a thread panicked")?;
        }
        let pairs = self.threads * self.batches_each * BATCH;
        self.regions += 1;
        if freed == pairs { Ok(pairs) } else { Err(format!("{pairs} blocks were sent and {freed} received")) }
    }

    fn account(&self) -> Account {
        // Every batch has a block of its own besides.
        let blocks = self.regions * self.threads * self.batches_each * (BATCH + 1);
        Account {
            allocated_blocks: Some(blocks),
            freed_blocks: Some(blocks),
            balanced: true,
            slack_blocks: self.regions * self.threads * STARTING_BLOCKS,
            ..Account::default()
        }
    }
}

/// Sends its batches, receives those of its neighbour, and says how many blocks it has freed.
///
/// It cannot come to a stop: everyone has sent at most `LEAD` more than it has received, so not all channels are full,
/// and one whose channel is full has something to receive.
fn work(number: u64, batches: u64, to: &SyncSender<Batch>, from: &Receiver<Batch>) -> u64 {
    let mut chance = Chance::new(number);
    let mut freed = 0;
    for step in 0..batches + LEAD {
        if step < batches && to.send(made(&mut chance)).is_err() {
            break;
        }
        if step >= LEAD {
            let Ok(batch) = from.recv() else { break };
            freed += batch.len() as u64;
        }
    }
    freed
}

#[inline(never)]
fn made(chance: &mut Chance) -> Batch {
    let mut batch = Vec::with_capacity(BATCH as usize);
    for _ in 0..BATCH {
        let mut block = Vec::with_capacity(chance.small_size());
        block.push(1);
        batch.push(block);
    }
    batch
}
