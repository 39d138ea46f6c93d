//! Snapshots of many sites: how long one takes, and what a thread of the program notices of it.
//!
//! Parameters: `sites`, each with a live block; `snapshots` taken; `quiet_ms` of the same loop without. The loop frees
//! and allocates and looks at the clock; a delay is the time between two looks. A region does nothing: all is in the
//! facts.

use super::slots::Slots;
use super::{Workload, call_tree};
use crate::chance::mixed;
use crate::child::{Facts, Recording};
use crate::parameters::Parameters;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Looks at the clock that are kept; at 50 ns each, several seconds.
const DELAYS_MAX: usize = 1 << 27;

pub(super) struct Snapshot {
    /// One block a site.
    _blocks: Vec<Vec<u8>>,
    snapshots: u64,
    quiet: Duration,
}

impl Snapshot {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, String> {
        let sites = parameters.scaled("sites", 100_000)?;
        let mut blocks = Vec::with_capacity(sites as usize);
        for number in 0..sites {
            call_tree::descend(mixed(number + 1), 16, &mut || blocks.push(vec![1; 32]));
        }
        Ok(Self {
            _blocks: blocks,
            snapshots: parameters.number("snapshots", 5)?,
            quiet: Duration::from_millis(parameters.number("quiet_ms", 2000)?),
        })
    }
}

impl Workload for Snapshot {
    fn region(&mut self) -> Result<u64, String> {
        Ok(1)
    }

    fn finish(&mut self, recording: &dyn Recording) -> Result<Facts, String> {
        let mut delays = Delays::new();
        let began = Instant::now();
        delays.watch(|| began.elapsed() > self.quiet);
        let mut facts = delays.facts("quiet");
        delays.clear();
        let Some(take) = recording.take_snapshot() else { return Ok(facts) };
        let ended = AtomicBool::new(false);
        let times = thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let times = taken(take, self.snapshots);
                // Relaxed: it says nothing about other memory.
                ended.store(true, Ordering::Relaxed);
                times
            });
            delays.watch(|| ended.load(Ordering::Relaxed));
            taker.join()
        });
        let times = times.map_err(|_| "the thread that takes snapshots panicked")??;
        if let [first, later @ ..] = &times[..] {
            facts.push(("first_snapshot_ms".into(), *first));
            facts.push(("later_snapshot_ms".into(), later.iter().sum::<f64>() / later.len().max(1) as f64));
            facts.extend(delays.facts("snapshots"));
        }
        Ok(facts)
    }
}

/// Milliseconds of each.
fn taken(take: fn() -> bool, snapshots: u64) -> Result<Vec<f64>, String> {
    let mut times = Vec::with_capacity(snapshots as usize);
    for _ in 0..snapshots {
        let began = Instant::now();
        if !take() {
            return Err("a snapshot could not be taken".into());
        }
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(times)
}

/// How often each delay was seen, in steps of 10 ns up to 1 ms and then of 10 µs.
struct Delays {
    fine: Vec<u64>,
    coarse: Vec<u64>,
    longest_ns: u64,
    slots: Slots,
}

impl Delays {
    fn new() -> Self {
        Self { fine: vec![0; 100_000], coarse: vec![0; 100_000], longest_ns: 0, slots: Slots::new(4096) }
    }

    fn clear(&mut self) {
        self.fine.fill(0);
        self.coarse.fill(0);
        self.longest_ns = 0;
    }

    /// Looks at the clock between pairs until it is enough, or the limit of looks.
    fn watch(&mut self, enough: impl Fn() -> bool) {
        let mut last = Instant::now();
        for look in 0..DELAYS_MAX {
            self.slots.replace();
            let now = Instant::now();
            self.add((now - last).as_nanos() as u64);
            last = now;
            if look % 1024 == 0 && enough() {
                return;
            }
        }
    }

    fn add(&mut self, delay_ns: u64) {
        let (steps, place) =
            if delay_ns < 1_000_000 { (&mut self.fine, delay_ns / 10) } else { (&mut self.coarse, delay_ns / 10_000) };
        let place = (place as usize).min(steps.len() - 1);
        steps[place] += 1;
        self.longest_ns = self.longest_ns.max(delay_ns);
    }

    fn facts(&self, when: &str) -> Facts {
        let all: u64 = self.fine.iter().chain(&self.coarse).sum();
        let mut left = all - all / 10_000;
        let fine = self.fine.iter().zip((0..).step_by(10));
        let steps = fine.chain(self.coarse.iter().zip((0_u64..).step_by(10_000)));
        let mut rare_ns = 0;
        for (count, delay_ns) in steps {
            rare_ns = delay_ns;
            if *count >= left {
                break;
            }
            left -= count;
        }
        vec![
            (format!("{when}_p9999_us"), rare_ns as f64 / 1000.0),
            (format!("{when}_longest_us"), self.longest_ns as f64 / 1000.0),
        ]
    }
}
